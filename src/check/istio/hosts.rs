//! Whether Istio knows the hosts that rules are for. It refuses the others (`REGISTRY_ONLY`), or sends them on past every
//! rule.

use super::Configured;
use super::mesh::overlap;
use super::service::is_inside_cluster;
use crate::check::Report;
use crate::rules::{Action, AuthorityPattern, Rule};

impl Configured<'_, '_> {
    pub(super) fn named_hosts(&self, report: &mut Report) {
        for (index, rule) in self.config.rules.rules().iter().enumerate() {
            let (Some(authority), Action::Attach { .. }) = (&rule.authority, &rule.action) else {
                continue;
            };
            let place = self.in_configuration(&format!("audiences[{index}].authority"));
            if !self.is_known(authority) {
                self.unknown(authority, &place, report);
            } else if self.never_meet(rule, authority) {
                self.findings(report).warning(
                    place,
                    format!(
                        "requests for {:?} don't go to the cluster beside it, so the rule never matches; write the \
                         cluster of the ServiceEntry that has this host",
                        authority.as_str()
                    ),
                );
            }
        }
    }

    fn is_known(&self, authority: &AuthorityPattern) -> bool {
        let mut entries = self
            .mesh
            .entries_for(self.plugin)
            .flat_map(|entry| &entry.hosts);
        let mut routes = self.mesh.routes.iter().flat_map(|route| &route.hosts);
        let mut services = self.mesh.services.iter();
        entries.any(|host| overlap(authority, host))
            || routes.any(|host| overlap(authority, host))
            || services.any(|service| overlap(authority, &service.host))
    }

    fn unknown(&self, authority: &AuthorityPattern, place: &str, report: &mut Report) {
        let mut findings = self.findings(report);
        let text = authority.as_str();
        let host = text.split(':').next().unwrap_or_default();
        if is_inside_cluster(host) {
            return;
        }
        if authority.exact().is_none() {
            findings.warning(
                place,
                format!("{text:?} means no host of these files; write a ServiceEntry for each of its hosts"),
            );
            return;
        }
        let what_becomes = "Istio refuses such requests (REGISTRY_ONLY), or sends them on in the clear through \
                            PassthroughCluster, without a token";
        let hidden = self
            .mesh
            .entries
            .iter()
            .find(|entry| entry.hosts.iter().any(|host| overlap(authority, host)));
        match hidden {
            Some(entry) => findings.error(
                place,
                format!(
                    "{} has {text:?}, but its exportTo hides it from namespace {}: {what_becomes}; add the namespace \
                     there",
                    entry.document.full_name(),
                    self.plugin.namespace().unwrap_or_default()
                ),
            ),
            None => findings.error(
                place,
                format!("no ServiceEntry in these files has {text:?}: {what_becomes}; write one with hosts: [{host}]"),
            ),
        }
    }

    /// Whether the clusters that the rule names are all other hosts'.
    fn never_meet(&self, rule: &Rule, authority: &AuthorityPattern) -> bool {
        let Some(pattern) = &rule.cluster else {
            return false;
        };
        let named: Vec<_> = self
            .clusters
            .iter()
            .filter(|cluster| pattern.matches(&cluster.name))
            .collect();
        !named.is_empty()
            && !named.iter().any(|cluster| {
                self.mesh
                    .can_lead(authority, cluster.host, cluster.port.number)
            })
    }
}
