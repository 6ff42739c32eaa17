//! Finds the first rule that matches without trying them all.
//!
//! Rules are sorted into *classes* by what they say of the cluster. A request's cluster picks a few
//! classes (no cluster named, `*`, the exact name, patterns that match it), and in each the authority is
//! looked up. Three passes, from what needs least to what needs most, each only as far as an earlier
//! rule could still win: rules that name neither authority nor path, rules that name an authority,
//! rules that need the path. The lowest index wins, which is the first in the configuration.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::authority::Authority;
use super::cluster::{ClusterPattern, is_passthrough};
use super::head::{Asked, RequestHead};
use super::path::first_segment;
use super::{Action, Rule, RuleAudience};

/// How many clusters' names are remembered; more than most proxies have. Names come from the
/// configuration, not from clients.
const REMEMBERED_CLUSTERS: usize = 4096;

/// "No rule": behind every rule.
const NONE: usize = usize::MAX;

#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    classes: Vec<Class>,
    /// Rules that name no cluster.
    unnamed: Option<usize>,
    /// Rules for the cluster `*`, which need no look at it.
    every: Option<usize>,
    exact: HashMap<Box<str>, usize>,
    patterns: Vec<(ClusterPattern, usize)>,
    /// The first rule that can't be told without the cluster, rules without a cluster aside.
    first_by_cluster: usize,
    /// Which patterns' classes a cluster is in.
    remembered: RefCell<HashMap<String, Arc<[usize]>>>,
}

/// The rules that say the same of the cluster, by index and in order.
#[derive(Debug, Clone)]
struct Class {
    /// The first that names neither authority nor path: it ends the class.
    plain: usize,
    by_authority: Layer,
    by_path: Vec<usize>,
    by_authority_and_path: Layer,
}

/// Rules that name an authority.
#[derive(Debug, Clone)]
struct Layer {
    first: usize,
    exact: HashMap<String, Vec<usize>>,
    patterns: Vec<usize>,
}

impl Index {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut index = Self {
            first_by_cluster: NONE,
            ..Self::default()
        };
        let mut patterns: HashMap<&str, usize> = HashMap::new();
        for (number, rule) in rules.iter().enumerate() {
            let next = index.classes.len();
            let class = match &rule.cluster {
                None => *index.unnamed.get_or_insert(next),
                Some(cluster) if cluster.is_everything() => *index.every.get_or_insert(next),
                Some(cluster) => {
                    index.first_by_cluster = index.first_by_cluster.min(number);
                    match cluster.exact() {
                        Some(name) => *index.exact.entry(name.into()).or_insert(next),
                        None => *patterns.entry(cluster.as_str()).or_insert_with(|| {
                            index.patterns.push((cluster.clone(), next));
                            next
                        }),
                    }
                }
            };
            if class == next {
                index.classes.push(Class::new());
            }
            if let Some(class) = index.classes.get_mut(class) {
                class.add(number, rule);
            }
        }
        index
    }

    /// The first rule that matches.
    pub(super) fn find(
        &self,
        rules: &[Rule],
        asked: &Asked<'_, impl RequestHead>,
    ) -> Option<usize> {
        let every = self.every.and_then(|class| self.classes.get(class));
        let unnamed = self.unnamed.and_then(|class| self.classes.get(class));
        let found = if self.first_by_cluster < every.map_or(NONE, |class| class.plain) {
            let cluster = asked.cluster();
            let unnamed = unnamed.filter(|_| !cluster.is_some_and(is_passthrough));
            let exact = cluster.and_then(|name| self.exact.get(name));
            let by_pattern = cluster.and_then(|name| self.matching_patterns(name));
            let by_pattern = by_pattern.as_deref().unwrap_or_default();
            let named = exact.into_iter().chain(by_pattern);
            let named = named.filter_map(|class| self.classes.get(*class));
            first_match(every.into_iter().chain(unnamed).chain(named), rules, asked)
        } else {
            let found = first_match(every.into_iter().chain(unnamed), rules, asked);
            // Only a rule without a cluster cares which one it is, and only if it has won.
            let won = rules.get(found).is_some_and(|rule| rule.cluster.is_none());
            if won && asked.cluster().is_some_and(is_passthrough) {
                first_match(every.into_iter(), rules, asked)
            } else {
                found
            }
        };
        (found != NONE).then_some(found)
    }

    fn matching_patterns(&self, cluster: &str) -> Option<Arc<[usize]>> {
        if self.patterns.is_empty() {
            return None;
        }
        if let Some(classes) = self.remembered.borrow().get(cluster) {
            return Some(Arc::clone(classes));
        }
        let matching = self
            .patterns
            .iter()
            .filter(|(pattern, _)| pattern.matches(cluster));
        let classes: Arc<[usize]> = matching.map(|(_, class)| *class).collect();
        let mut remembered = self.remembered.borrow_mut();
        if remembered.len() >= REMEMBERED_CLUSTERS {
            remembered.clear();
        }
        remembered.insert(cluster.to_owned(), Arc::clone(&classes));
        Some(classes)
    }
}

impl Class {
    fn new() -> Self {
        let (by_authority, by_authority_and_path) = (Layer::new(), Layer::new());
        Self {
            plain: NONE,
            by_authority,
            by_path: Vec::new(),
            by_authority_and_path,
        }
    }

    fn add(&mut self, number: usize, rule: &Rule) {
        match (&rule.authority, needs_path(rule)) {
            (None, false) => self.plain = self.plain.min(number),
            (None, true) => self.by_path.push(number),
            (Some(_), false) => self.by_authority.add(number, rule),
            (Some(_), true) => self.by_authority_and_path.add(number, rule),
        }
    }
}

impl Layer {
    fn new() -> Self {
        Self {
            first: NONE,
            exact: HashMap::new(),
            patterns: Vec::new(),
        }
    }

    fn add(&mut self, number: usize, rule: &Rule) {
        self.first = self.first.min(number);
        match rule
            .authority
            .as_ref()
            .and_then(|authority| authority.exact())
        {
            Some(authority) => self.exact.entry(authority).or_default().push(number),
            None => self.patterns.push(number),
        }
    }

    /// The first rule before `limit` that matches the authority and passes `test`.
    fn first_match(
        &self,
        rules: &[Rule],
        authority: &Authority,
        limit: usize,
        test: impl Fn(&Rule) -> bool,
    ) -> usize {
        let first = |numbers: &[usize], limit, authority: Option<&Authority>| {
            let before = numbers.iter().copied().take_while(|number| *number < limit);
            let mut matching = before.filter(|number| {
                rules.get(*number).is_some_and(|rule| {
                    let meant = |to| rule.authority.as_ref().is_some_and(|a| a.matches(to));
                    authority.is_none_or(meant) && test(rule)
                })
            });
            matching.next().unwrap_or(limit)
        };
        let exact = self
            .exact
            .get(authority.as_str())
            .map_or(&[][..], Vec::as_slice);
        let limit = first(exact, limit, None);
        first(&self.patterns, limit, Some(authority))
    }
}

/// The first rule in these classes that matches, or [`NONE`].
fn first_match<'a>(
    classes: impl Iterator<Item = &'a Class> + Clone,
    rules: &[Rule],
    asked: &Asked<'_, impl RequestHead>,
) -> usize {
    let mut best = classes
        .clone()
        .map(|class| class.plain)
        .min()
        .unwrap_or(NONE);
    for class in classes.clone() {
        if class.by_authority.first < best
            && let Some(authority) = asked.authority()
        {
            best = class
                .by_authority
                .first_match(rules, authority, best, |_| true);
        }
    }
    let path_matches = |rule: &Rule| asked.path().is_some_and(|path| matches_path(rule, path));
    for class in classes {
        let before = class.by_path.iter().take_while(|number| **number < best);
        let mut matching = before.filter(|number| rules.get(**number).is_some_and(path_matches));
        best = matching.next().copied().unwrap_or(best);
        if class.by_authority_and_path.first < best
            && let Some(authority) = asked.authority()
        {
            best = class
                .by_authority_and_path
                .first_match(rules, authority, best, path_matches);
        }
    }
    best
}

fn template_needs_path(rule: &Rule) -> bool {
    match &rule.action {
        Action::Attach {
            audience: RuleAudience::Template(template),
            ..
        } => template.needs_path(),
        _ => false,
    }
}

fn needs_path(rule: &Rule) -> bool {
    rule.path.is_some() || template_needs_path(rule)
}

/// A path from which a template could take no segment does not match either.
fn matches_path(rule: &Rule, path: &str) -> bool {
    rule.path.as_ref().is_none_or(|prefix| prefix.matches(path))
        && (!template_needs_path(rule) || first_segment(path).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    struct Head(String, String);

    impl RequestHead for Head {
        fn cluster(&self) -> Option<String> {
            Some(self.0.clone())
        }

        fn authority(&self) -> Option<String> {
            Some(self.1.clone())
        }

        fn path(&self) -> Option<String> {
            None
        }

        fn annotation(&self, _: super::super::Annotation) -> Option<Vec<u8>> {
            None
        }
    }

    fn rules(audiences: Vec<serde_json::Value>) -> Vec<Rule> {
        let config =
            serde_json::json!({"credentials": {"type": "metadata"}, "audiences": audiences});
        Config::from_value(config).unwrap().rules.rules().to_vec()
    }

    #[test]
    fn ten_thousand_exact_rules_leave_nothing_to_try_one_by_one() {
        let rule = |n| {
            let (cluster, authority) = (format!("c{n}"), format!("a{n}.com"));
            let audience = format!("https://s{n}.run.app");
            match n % 3 {
                0 => {
                    serde_json::json!({"cluster": cluster, "authority": authority, "audience": audience})
                }
                1 => serde_json::json!({"cluster": cluster, "audience": audience}),
                _ => serde_json::json!({"authority": authority, "audience": audience}),
            }
        };
        let rules = rules((0..10_000).map(rule).collect());
        let index = Index::new(&rules);
        assert!(index.patterns.is_empty());
        for class in &index.classes {
            assert!(class.by_authority.patterns.is_empty() && class.by_path.is_empty());
            assert!(
                class
                    .by_authority
                    .exact
                    .values()
                    .all(|numbers| numbers.len() == 1)
            );
        }
        for n in 0..10_000 {
            let head = Head(format!("c{n}"), format!("a{n}.com"));
            assert_eq!(index.find(&rules, &Asked::new(&head)), Some(n));
        }
    }

    #[test]
    fn the_memory_of_clusters_is_bounded() {
        let rules = rules(vec![
            serde_json::json!({"cluster": "c*", "audience": "https://a.run.app"}),
        ]);
        let index = Index::new(&rules);
        for n in 0..3 * REMEMBERED_CLUSTERS {
            let find = |name| index.find(&rules, &Asked::new(&Head(name, "a.com".to_owned())));
            assert_eq!(find(format!("c{n}")), Some(0));
            assert_eq!(find(format!("d{n}")), None);
            let remembered = index.remembered.borrow();
            assert!(remembered.len() <= REMEMBERED_CLUSTERS);
            // It is emptied only when it is full.
            assert_eq!(remembered.len(), (2 * n + 1) % REMEMBERED_CLUSTERS + 1);
        }
    }
}
