//! Whether the clusters that a configuration names are those that Istio makes.

use super::Configured;
use super::mesh::Cluster;
use super::plugin::{ClusterMatch, Place};
use super::service::is_inside_cluster;
use crate::check::{Findings, Report};
use crate::rules::{Action, ClusterPattern, is_passthrough};

/// Longer lists help nobody.
const MAX_LISTED: usize = 12;

/// Where Istio sends what no ServiceEntry covers, in the clear.
const PASSTHROUGH: &str = "PassthroughCluster";

impl<'m, 'a> Configured<'m, 'a> {
    /// The clusters in rules.
    pub(super) fn named_clusters(&self, report: &mut Report) {
        for (index, rule) in self.config.rules.rules().iter().enumerate() {
            let Some(pattern) = &rule.cluster else {
                continue;
            };
            let place = self.in_configuration(&format!("audiences[{index}].cluster"));
            if let Some(upstream) = self.plugin.upstream() {
                self.never_here(pattern, upstream, &place, report);
                continue;
            }
            if matches!(rule.action, Action::Attach { .. }) && pattern.matches(PASSTHROUGH) {
                self.findings(report).error(
                    &place,
                    format!(
                        "\"{pattern}\" also means {PASSTHROUGH}: tokens in the clear, to whatever address a client \
                         chose; write \"outbound|*\", or the clusters one by one"
                    ),
                );
            }
            match pattern.exact() {
                Some(name) if is_passthrough(name) => {}
                Some(name) => {
                    if let Some(cluster) = self.existing(name, &place, report) {
                        self.readable(cluster, &place, report);
                    }
                }
                None => self.meant(pattern, &place, report),
            }
        }
    }

    /// An upstream filter sees no cluster but its own.
    fn never_here(
        &self,
        pattern: &ClusterPattern,
        upstream: &ClusterMatch<'_>,
        place: &str,
        report: &mut Report,
    ) {
        let own = self.clusters.iter();
        let own = own.filter(|cluster| upstream.means(cluster));
        let own: Vec<&str> = own.map(|cluster| cluster.name.as_str()).collect();
        if !own.is_empty() && !own.iter().any(|name| pattern.matches(name)) {
            let own: Vec<String> = own.iter().map(|name| format!("{name:?}")).collect();
            self.findings(report).error(
                place,
                format!(
                    "never matches here: this filter sees only {}; write \"*\", or leave the rule out",
                    own.join(", ")
                ),
            );
        }
    }

    /// The cluster, if a ServiceEntry makes it; a finding at the place that names it, if nothing does.
    pub(super) fn existing(
        &self,
        name: &str,
        place: &str,
        report: &mut Report,
    ) -> Option<&Cluster<'m, 'a>> {
        let cluster = self.clusters.iter().find(|cluster| cluster.name == name);
        if cluster.is_none()
            && !self
                .mesh
                .service_clusters(self.plugin)
                .iter()
                .any(|it| it == name)
        {
            self.missing(name, place, &mut self.findings(report));
        }
        cluster
    }

    fn missing(&self, name: &str, place: &str, findings: &mut Findings<'_>) {
        if let Some(entry) = self.mesh.entries.iter().find(|entry| {
            let clusters = self.mesh.clusters_of(entry, self.plugin);
            clusters.iter().any(|cluster| cluster.name == name)
        }) {
            findings.error(
                place,
                format!(
                    "{name:?} comes from {}, whose exportTo hides it from namespace {}; add the namespace there",
                    entry.document.full_name(),
                    self.plugin.namespace().unwrap_or_default()
                ),
            );
            return;
        }
        if let Some(cluster) = self.of_a_waypoint(name) {
            findings.warning(
                place,
                format!(
                    "a waypoint has {name:?} only if a route leads there; what goes through it goes to {:?}",
                    cluster.name
                ),
            );
            return;
        }
        let host = name.rsplit('|').next().unwrap_or_default();
        if name.contains('|') && is_inside_cluster(host) {
            findings.warning(
                place,
                format!("{name:?} is not made by these files; it has to come from a Kubernetes Service {host:?}"),
            );
            return;
        }
        let hint = self
            .nearest(name)
            .map(|nearest| format!("; did you mean {nearest:?}?"))
            .unwrap_or_default();
        findings.error(
            place,
            format!("there is no cluster {name:?}{hint}{}", self.made()),
        );
    }

    /// What a sidecar would call by that name.
    fn of_a_waypoint(&self, name: &str) -> Option<&Cluster<'m, 'a>> {
        let is_meant = |cluster: &&Cluster<'m, 'a>| {
            let subset = cluster.subset.unwrap_or_default();
            name == format!("outbound|{}|{subset}|{}", cluster.port.number, cluster.host)
        };
        let mut clusters = self.clusters.iter();
        clusters.find(|cluster| self.plugin.place == Place::Waypoint && is_meant(cluster))
    }

    /// The name that was probably meant: of the same host, or wrong in a letter or two.
    fn nearest(&self, name: &str) -> Option<&str> {
        let distance = |cluster: &Cluster<'m, 'a>| strsim::damerau_levenshtein(name, &cluster.name);
        let nearest = self
            .clusters
            .iter()
            .min_by_key(|cluster| (!name.ends_with(cluster.host), distance(cluster)))?;
        let is_near = name.ends_with(nearest.host) || distance(nearest) <= name.len() / 10;
        is_near.then_some(nearest.name.as_str())
    }

    /// What Istio makes of these files.
    pub(super) fn made(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        let of_services = self.mesh.service_clusters(self.plugin);
        let all = self
            .clusters
            .iter()
            .map(|cluster| cluster.name.clone())
            .chain(of_services);
        for name in all {
            if !names.contains(&format!("{name:?}")) {
                names.push(format!("{name:?}"));
            }
        }
        if names.is_empty() {
            return "; these files make none, since there is no ServiceEntry".to_owned();
        }
        let more = match names.len().saturating_sub(MAX_LISTED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        names.truncate(MAX_LISTED);
        format!("; these files make {}{more}", names.join(", "))
    }

    fn meant(&self, pattern: &ClusterPattern, place: &str, report: &mut Report) {
        let of_services = self.mesh.service_clusters(self.plugin);
        let mut all = self
            .clusters
            .iter()
            .map(|cluster| &cluster.name)
            .chain(&of_services);
        if !all.any(|name| pattern.matches(name)) {
            self.findings(report).warning(
                place,
                format!("\"{pattern}\" means no cluster{}", self.made()),
            );
        }
    }

    /// What an application has encrypted itself can't be given a header.
    fn readable(&self, cluster: &Cluster<'m, 'a>, place: &str, report: &mut Report) {
        if !self.carries_http(cluster) {
            self.findings(report).warning(
                place,
                format!(
                    "port {} is {} to Istio, so Invoker never sees a request there; let the application speak plain \
                     HTTP to {{number: 80, name: http, protocol: HTTP, targetPort: 443}}, and a DestinationRule add TLS",
                    cluster.port.number, cluster.port.protocol
                ),
            );
        }
    }
}
