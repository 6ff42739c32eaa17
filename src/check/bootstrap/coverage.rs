//! Which requests a plugin's rules can reach. Where a bootstrap does not tell, it counts as reached.

use std::sync::Arc;

use super::Configured;
use super::manager::Route;
use crate::credential_headers::HeaderPolicy;
use crate::rules::{Action, Authority, Rule, is_passthrough};

impl Configured<'_> {
    /// How tokens would be written to requests that go to this cluster; empty if none gets one.
    /// Without `domains`, the authority may be any.
    pub(super) fn policies(
        &self,
        cluster: Option<&str>,
        domains: Option<&[&str]>,
    ) -> Vec<Arc<HeaderPolicy>> {
        let mut policies = Vec::new();
        for rule in self.config.rules.rules() {
            if !can_match(rule, cluster, domains) {
                continue;
            }
            if let Action::Attach { policy, .. } = &rule.action {
                policies.push(Arc::clone(policy));
            }
            // Nothing gets past a rule that asks for nothing else.
            if rule.authority.is_none() && rule.path.is_none() && cluster.is_some() {
                break;
            }
        }
        policies
    }

    /// The same for a route, and for what route and clusters carry themselves.
    pub(super) fn route_policies(&self, route: &Route<'_>) -> Vec<Arc<HeaderPolicy>> {
        let domains = route.domains();
        let clusters = route.targets.clusters.iter().map(|name| Some(*name));
        let others = route.targets.chooser.is_some().then_some(None);
        let mut policies: Vec<_> = clusters
            .chain(others)
            .flat_map(|cluster| self.policies(cluster, Some(&domains)))
            .collect();
        let names = &route.targets.clusters;
        let is_annotated = names.iter().any(|name| self.is_annotated(route, name));
        if is_annotated {
            policies.push(Arc::clone(&self.config.headers));
        }
        policies
    }

    /// Whether this route's requests to that cluster can get a token.
    pub(super) fn gets_tokens(&self, route: &Route<'_>, cluster: &str) -> bool {
        self.is_annotated(route, cluster)
            || !self
                .policies(Some(cluster), Some(&route.domains()))
                .is_empty()
    }

    /// Whether route or cluster carry an audience, and are heard.
    pub(super) fn is_annotated(&self, route: &Route<'_>, cluster: &str) -> bool {
        let cluster = self.envoy.cluster(cluster);
        self.config.rules.honours_annotations()
            && (route.is_annotated() || cluster.is_some_and(|cluster| cluster.is_annotated))
    }
}

pub(super) fn can_match(rule: &Rule, cluster: Option<&str>, domains: Option<&[&str]>) -> bool {
    let named = match (&rule.cluster, cluster) {
        (Some(pattern), Some(cluster)) => pattern.matches(cluster),
        (None, Some(cluster)) => !is_passthrough(cluster),
        (_, None) => true,
    };
    let meant = match (&rule.authority, domains) {
        (Some(pattern), Some(domains)) => domains.iter().any(|domain| {
            // The port is left out: Envoy can be told to ignore it, and no token depends on it.
            let host = domain.split(':').next().unwrap_or_default();
            domain.contains('*')
                || Authority::parse(host).is_some_and(|host| pattern.matches_host(&host))
        }),
        _ => true,
    };
    named && meant
}
