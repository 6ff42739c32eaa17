//! Which clusters the rules reach. Where the files do not tell, it counts as reached.

use super::Configured;
use super::mesh::Cluster;
use super::plugin::ClusterMatch;
use crate::rules::{Action, Rule};

impl Configured<'_, '_> {
    /// The first rule that gives a token to requests that go to this cluster.
    pub(super) fn token_rule(&self, cluster: &Cluster<'_, '_>) -> Option<usize> {
        // What Istio takes for a stream of bytes never gets to an HTTP filter.
        let is_elsewhere = |upstream: &ClusterMatch<'_>| !upstream.means(cluster);
        if !self.carries_http(cluster) || self.plugin.upstream().is_some_and(is_elsewhere) {
            return None;
        }
        for (index, rule) in self.config.rules.rules().iter().enumerate() {
            if !self.can_match(rule, cluster) {
                continue;
            }
            if let Action::Attach { .. } = rule.action {
                return Some(index);
            }
            if self.takes_all(rule, cluster) {
                return None;
            }
        }
        None
    }

    pub(super) fn carries_http(&self, cluster: &Cluster<'_, '_>) -> bool {
        cluster.port.is_http() || self.mesh.is_routed(cluster.host, cluster.port.number)
    }

    fn can_match(&self, rule: &Rule, cluster: &Cluster<'_, '_>) -> bool {
        let named = rule
            .cluster
            .as_ref()
            .is_none_or(|pattern| pattern.matches(&cluster.name));
        let meant = rule.authority.as_ref().is_none_or(|pattern| {
            self.mesh
                .can_lead(pattern, cluster.host, cluster.port.number)
        });
        named && meant
    }

    /// Whether nothing that goes there gets past a rule that can match.
    fn takes_all(&self, rule: &Rule, cluster: &Cluster<'_, '_>) -> bool {
        let takes_hosts = rule.authority.as_ref().is_none_or(|pattern| {
            pattern.exact().as_deref() == Some(cluster.host)
                && !self.mesh.is_routed(cluster.host, cluster.port.number)
        });
        rule.path.is_none() && takes_hosts
    }
}
