//! Where Envoy takes the token of an upstream filter on to.
//!
//! The filter writes into the headers of the request itself, and Envoy uses these again for an internal
//! redirect and for a retry at another cluster. Only an Invoker there can take the token out. After a
//! redirect every Invoker does, since Envoy marks such a request; a retry has no mark, so that only one
//! that writes over the token helps.

use std::collections::BTreeSet;

use super::Configured;
use super::cluster::HTTP_OPTIONS;
use super::coverage::can_match;
use super::manager::{Route, mirrors_at};
use super::plugin::Place;
use crate::check::Findings;
use crate::check::node::Node;
use crate::credential_headers::{ExistingCredential, HeaderName, HeaderPolicy};
use crate::rules::{Action, RuleAudience};

/// `all` are the plugins that could take the token out.
pub(super) fn check(
    configured: &Configured<'_>,
    cluster: &str,
    all: &[Configured<'_>],
    findings: &mut Findings<'_>,
) {
    for manager in &configured.envoy.managers {
        let Some(routes) = &manager.routes else {
            let problem = "has its routes from elsewhere, so that they can't be checked: an \
                           internal_redirect_policy, or a retry_policy with refresh_cluster_on_retry, \
                           among them can take a token on to a cluster without Invoker";
            findings.warning(manager.node.path(), problem);
            continue;
        };
        for route in routes {
            let targets = &route.targets;
            let leads_here = targets.clusters.contains(&cluster) || targets.chooser.is_some();
            if leads_here && configured.gets_tokens(route, cluster) {
                redirect(configured, route, routes, all, findings);
                retries(configured, route, cluster, all, findings);
            }
        }
    }
}

/// The answer says where to, so that every route can be next.
fn redirect(
    configured: &Configured<'_>,
    route: &Route<'_>,
    routes: &[Route<'_>],
    all: &[Configured<'_>],
    findings: &mut Findings<'_>,
) {
    let Some(policy) = route.redirect_policy() else {
        return;
    };
    let written = configured.config.rules.headers_written().names();
    let mut reach = Reach::default();
    for next in routes {
        reach.add_targets(next);
        reach.add_mirrors(next, configured);
        reach.add_unlisted(next);
    }
    let takes_it_out = |plugin: &Configured<'_>| {
        let cleared = plugin.headers_cleared();
        written.iter().all(|name| cleared.contains(&name))
    };
    Carrier {
        path: policy.path(),
        what: "runs the request again, with the token in it, wherever the answer says",
        remedy: format!(
            "has no Invoker that takes it out of {}; leave the policy out, or make Invoker an upstream \
             filter there too, with the same `header` (where no token belongs, with {{cluster: \"*\", \
             bypass: true}})",
            quoted(written.iter().map(HeaderName::as_str)),
        ),
    }
    .check(configured, &reach, all, &|plugin, _| takes_it_out(plugin), findings);
}

/// A retry stays on its route, and can be led to another of its clusters.
fn retries(
    configured: &Configured<'_>,
    route: &Route<'_>,
    cluster: &str,
    all: &[Configured<'_>],
    findings: &mut Findings<'_>,
) {
    let options = options(configured, cluster);
    let of_cluster = options.and_then(|options| options.get("retry_policy"));
    let policies = route.retry_policy().into_iter().chain(of_cluster);
    let written = configured.config.rules.headers_written().names();
    for policy in policies.filter(|policy| policy.is_true(REFRESH)) {
        let Some(refresh) = policy.get(REFRESH) else {
            continue;
        };
        let mut reach = Reach::default();
        reach.add_targets(route);
        // A token may come back to the cluster that it is for.
        reach.clusters.remove(cluster);
        Carrier {
            path: refresh.path(),
            what: "sends the request again, with the token in it, to another cluster",
            remedy: format!(
                "has no Invoker that writes over {} on every request; leave it out, or make Invoker an \
                 upstream filter there too, with {{cluster: \"*\", audience: …}}, the same `header` and \
                 existing_credential: replace (bypass: true lets the token through)",
                quoted(written.iter().map(HeaderName::as_str)),
            ),
        }
        .check(
            configured,
            &reach,
            all,
            &|plugin, name| plugin.overwrites(route, name, written),
            findings,
        );
    }
}

const REFRESH: &str = "refresh_cluster_on_retry";

/// What takes a token on.
struct Carrier<'a> {
    path: &'a str,
    what: &'static str,
    /// What a cluster lacks, and what to write.
    remedy: String,
}

impl Carrier<'_> {
    fn check(
        &self,
        configured: &Configured<'_>,
        reach: &Reach<'_>,
        all: &[Configured<'_>],
        is_safe: &dyn Fn(&Configured<'_>, &str) -> bool,
        findings: &mut Findings<'_>,
    ) {
        let what = self.what;
        for chooser in &reach.choosers {
            let problem = format!(
                "{what}, and {chooser} leads to clusters that are not named here, perhaps without \
                 Invoker; leave it out"
            );
            findings.error(self.path, problem);
        }
        let stands_at =
            |plugin: &&Configured<'_>, name| plugin.plugin.place == Place::Cluster(name);
        let unsafe_ones = reach.clusters.iter().filter(|name| {
            let mut there = all.iter().filter(|plugin| stands_at(plugin, name));
            !there.any(|plugin| is_safe(plugin, name))
        });
        for name in unsafe_ones {
            if configured.envoy.cluster(name).is_none() && configured.envoy.has_more_clusters {
                let problem = format!(
                    "{what}; {name:?} is not among static_resources.clusters, and what the control \
                     plane makes of it needs Invoker as an upstream filter too"
                );
                findings.warning(self.path, problem);
            } else {
                let problem = format!("{what}, and cluster {name:?} {}", self.remedy);
                findings.error(self.path, problem);
            }
        }
    }
}

/// The clusters that a request can get to.
#[derive(Default)]
struct Reach<'a> {
    clusters: BTreeSet<&'a str>,
    /// The paths of what leads to clusters that are not named.
    choosers: BTreeSet<String>,
}

impl<'a> Reach<'a> {
    fn add_targets(&mut self, route: &Route<'a>) {
        self.clusters.extend(&route.targets.clusters);
        self.add_choosers(&route.targets.chooser);
    }

    /// A mirror's copy is made before any upstream filter, but of a request that may have been
    /// redirected.
    fn add_mirrors(&mut self, route: &Route<'a>, configured: &Configured<'a>) {
        let mut mirrors = route.mirrors();
        for name in &route.targets.clusters {
            let options = options(configured, name);
            mirrors.extend(options.iter().flat_map(mirrors_at));
        }
        for mirror in mirrors {
            self.clusters.extend(mirror.text("cluster"));
            self.add_choosers(&mirror.get("cluster_header"));
        }
    }

    /// Routes that are not in a list.
    fn add_unlisted(&mut self, route: &Route<'a>) {
        self.add_choosers(&route.configuration.get("vhds"));
        self.add_choosers(&route.virtual_host.get("matcher"));
    }

    fn add_choosers<'n>(&mut self, choosers: impl IntoIterator<Item = &'n Node<'n>>) {
        let paths = choosers.into_iter().map(|node| node.path().to_owned());
        self.choosers.extend(paths);
    }
}

/// What a cluster says about HTTP; it can mirror and retry too.
fn options<'a>(configured: &Configured<'a>, cluster: &str) -> Option<Node<'a>> {
    let clusters = &configured.envoy.clusters;
    let cluster = clusters.iter().find(|other| other.name == cluster)?;
    cluster
        .node
        .at(&["typed_extension_protocol_options", HTTP_OPTIONS])
}

impl Configured<'_> {
    /// The headers that hold nothing of a first run's once this plugin has seen a redirected request.
    /// One whose rules only bypass stands for its default `header`.
    fn headers_cleared(&self) -> Vec<&HeaderName> {
        match self.config.rules.headers_written().names() {
            [] => self.config.headers.names().collect(),
            written => written.iter().collect(),
        }
    }

    /// Whether every request of this route to that cluster gets a token over what stands in the headers.
    fn overwrites(&self, route: &Route<'_>, cluster: &str, written: &[HeaderName]) -> bool {
        let is_enough = |policy: &HeaderPolicy| {
            policy.existing() == ExistingCredential::Replace
                && written
                    .iter()
                    .all(|name| policy.names().any(|own| own == name))
        };
        if self.config.rules.honours_annotations() {
            // They go before the rules.
            if self.is_switched_off(route, cluster) {
                return false;
            }
            if self.is_annotated(route, cluster) {
                return is_enough(&self.config.headers);
            }
        }
        let domains = route.domains();
        for rule in self.config.rules.rules() {
            if !can_match(rule, Some(cluster), Some(&domains)) {
                continue;
            }
            let Action::Attach { policy, audience } = &rule.action else {
                return false;
            };
            if !is_enough(policy) {
                return false;
            }
            let is_always = rule.authority.is_none()
                && rule.path.is_none()
                && matches!(audience, RuleAudience::Literal(_));
            if is_always {
                return true;
            }
        }
        false
    }

    /// Whether route or cluster want no token.
    fn is_switched_off(&self, route: &Route<'_>, cluster: &str) -> bool {
        let cluster = self.envoy.cluster(cluster).map(|cluster| &cluster.node);
        let mut places = cluster.into_iter().chain([&route.node]);
        places.any(|place| {
            let invoker = place.at(&["metadata", "filter_metadata", "invoker"]);
            invoker.is_some_and(|invoker| invoker.is_true("disabled"))
        })
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("{name:?}")).collect();
    names.join(" and ")
}
