//! The index against trying each rule.

use proptest::prelude::*;

use super::{Head, rules};
use crate::rules::path::first_segment;
use crate::rules::*;

/// The obvious way: try each rule in order.
fn first_match(rules: &[Rule], head: &Head) -> Option<usize> {
    let authority = head.authority.and_then(Authority::parse);
    rules.iter().position(|rule| {
        let cluster = match (&rule.cluster, head.cluster) {
            (None, cluster) => !cluster.is_some_and(cluster::is_passthrough),
            (Some(pattern), Some(cluster)) => pattern.matches(cluster),
            (Some(pattern), None) => pattern.is_everything(),
        };
        let named =
            |pattern: &AuthorityPattern| authority.as_ref().is_some_and(|a| pattern.matches(a));
        let segment = match &rule.action {
            Action::Attach {
                audience: RuleAudience::Template(template),
                ..
            } if template.needs_path() => head.path.and_then(first_segment).is_some(),
            _ => true,
        };
        let below = |prefix: &PathPrefix| head.path.is_some_and(|path| prefix.matches(path));
        cluster
            && rule.authority.as_ref().is_none_or(named)
            && rule.path.as_ref().is_none_or(below)
            && segment
    })
}

fn some_rule() -> impl Strategy<Value = serde_json::Value> {
    let cluster = prop::option::of(prop::sample::select(vec![
        "a",
        "b",
        "a*",
        "*",
        "*b",
        "a*b",
        "PassthroughCluster",
    ]));
    let authority = prop::option::of(prop::sample::select(vec![
        "a.x.y",
        "b.x.y",
        "*.x.y",
        "a.*",
        "*",
        "A.x.y.:443",
        "a.x.y:8080",
        "*.x.y:8080",
    ]));
    let path = prop::option::of(prop::sample::select(vec!["/", "/p", "/p/q"]));
    (cluster, authority, path, 0..3u8).prop_map(|(cluster, authority, path, kind)| {
        let mut rule = serde_json::Map::new();
        for (field, value) in [
            ("cluster", cluster),
            ("authority", authority),
            ("path", path),
        ] {
            if let Some(value) = value {
                rule.insert(field.to_owned(), value.into());
            }
        }
        match kind {
            0 => rule.insert("bypass".to_owned(), true.into()),
            1 => rule.insert("audience".to_owned(), "https://x.y/{path_segment}".into()),
            _ => rule.insert("audience".to_owned(), "https://x.y".into()),
        };
        rule.into()
    })
}

fn some_head() -> impl Strategy<Value = Head> {
    let cluster = prop::sample::select(vec![
        None,
        Some("a"),
        Some("b"),
        Some("ab"),
        Some("c"),
        Some("PassthroughCluster"),
        Some("InboundPassthroughCluster"),
    ]);
    let authority = prop::sample::select(vec![
        None,
        Some("a.x.y"),
        Some("b.X.y."),
        Some("c.x.y:80"),
        Some("a.x.y:8080"),
        Some("a.z"),
        Some("u@a.x.y"),
        Some("x.y"),
    ]);
    let path = prop::sample::select(vec![
        None,
        Some("/"),
        Some("/p"),
        Some("/p/q/r?s"),
        Some("/pq"),
        Some("*"),
    ]);
    (cluster, authority, path)
        .prop_map(|(cluster, authority, path)| Head::new(cluster, authority, path))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn the_index_finds_what_trying_each_rule_finds(
        audiences in prop::collection::vec(some_rule(), 1..8),
        heads in prop::collection::vec(some_head(), 1..8),
    ) {
        let rules = rules(audiences.into());
        for head in heads {
            let found = match rules.decide(&head) {
                Decision::NoRule => None,
                Decision::Bypass { source: RuleSource::Rule(index) }
                | Decision::Attach { source: RuleSource::Rule(index), .. }
                | Decision::InvalidAnnotation { source: RuleSource::Rule(index), .. } => Some(index),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(found, first_match(rules.rules(), &head), "{:?}", head);
        }
    }
}
