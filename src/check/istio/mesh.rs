//! All resources together: the clusters that Istio makes of them, and what applies to each.

use super::destination_rule::DestinationRule;
use super::document::{Document, ROOT_NAMESPACE, is_visible, same_namespace};
use super::envoy_filter;
use super::gateway::Gateway;
use super::plugin::{Place, Plugin};
use super::route::Route;
use super::service::Service;
use super::service_entry::{Port, ServiceEntry};
use crate::check::Report;
use crate::rules::{Authority, AuthorityPattern};

#[derive(Debug)]
pub(super) struct Mesh<'a> {
    pub(super) plugins: Vec<Plugin<'a>>,
    pub(super) entries: Vec<ServiceEntry<'a>>,
    pub(super) rules: Vec<DestinationRule<'a>>,
    pub(super) routes: Vec<Route<'a>>,
    pub(super) services: Vec<Service>,
}

/// A cluster that a ServiceEntry makes.
#[derive(Debug)]
pub(super) struct Cluster<'m, 'a> {
    pub(super) name: String,
    pub(super) host: &'a str,
    pub(super) entry: &'m ServiceEntry<'a>,
    pub(super) port: &'m Port<'a>,
    pub(super) subset: Option<&'a str>,
}

impl<'a> Mesh<'a> {
    pub(super) fn read(documents: &[Document<'a>], report: &mut Report) -> Self {
        let gateways: Vec<Gateway<'a>> = documents.iter().filter_map(Gateway::read).collect();
        let plugins = |document| {
            let plugin = Plugin::read(document, &gateways).into_iter();
            plugin.chain(envoy_filter::read(document, &gateways))
        };
        Self {
            plugins: documents.iter().flat_map(plugins).collect(),
            entries: documents
                .iter()
                .filter_map(|document| ServiceEntry::read(document, report))
                .collect(),
            rules: documents.iter().filter_map(DestinationRule::read).collect(),
            routes: documents.iter().filter_map(Route::read).collect(),
            services: documents.iter().filter_map(Service::read).collect(),
        }
    }

    /// The entries that the plugin's workloads see.
    pub(super) fn entries_for<'m>(
        &'m self,
        plugin: &Plugin<'a>,
    ) -> impl Iterator<Item = &'m ServiceEntry<'a>> {
        let from = plugin.namespace();
        self.entries
            .iter()
            .filter(move |entry| is_visible(&entry.export_to, entry.document.namespace, from))
    }

    /// The clusters that Istio gives the plugin's proxies of ServiceEntries.
    pub(super) fn clusters<'m>(&'m self, plugin: &Plugin<'a>) -> Vec<Cluster<'m, 'a>> {
        let entries = self.entries_for(plugin);
        entries
            .flat_map(|entry| self.clusters_of(entry, plugin))
            .collect()
    }

    /// The same for one entry, whether they see it or not.
    pub(super) fn clusters_of<'m>(
        &'m self,
        entry: &'m ServiceEntry<'a>,
        plugin: &Plugin<'a>,
    ) -> Vec<Cluster<'m, 'a>> {
        let mut clusters = Vec::new();
        for host in &entry.hosts {
            let rule = self.destination_rule(plugin, host, entry.document.namespace);
            let subsets = rule.map(|rule| rule.subsets.as_slice()).unwrap_or_default();
            for port in entry.ports.iter().filter(|port| !port.is_udp()) {
                for subset in std::iter::once(None).chain(subsets.iter().map(|name| Some(*name))) {
                    clusters.push(Cluster {
                        name: cluster_name(plugin.place, port.number, subset, host),
                        host,
                        entry,
                        port,
                        subset,
                    });
                }
            }
        }
        clusters
    }

    /// The clusters of Kubernetes Services, by name.
    pub(super) fn service_clusters(&self, plugin: &Plugin<'a>) -> Vec<String> {
        let names = self.services.iter().flat_map(|service| {
            let name = |port: &u64| cluster_name(plugin.place, *port, None, &service.host);
            service.ports.iter().map(name)
        });
        names.collect()
    }

    /// The rule that Istio takes for a host: from the workloads' own namespace, then from the entry's, then from the
    /// root namespace, and there the one with the narrowest host.
    pub(super) fn destination_rule<'m>(
        &'m self,
        plugin: &Plugin<'a>,
        host: &str,
        entry_namespace: Option<&str>,
    ) -> Option<&'m DestinationRule<'a>> {
        let from = plugin.namespace();
        let fits = |rule: &&DestinationRule<'a>| {
            rule.is_for(host)
                && is_visible(&rule.export_to, rule.document.namespace, from)
                && rule
                    .workloads
                    .iter()
                    .all(|label| plugin.selector.contains(label))
        };
        let all: Vec<_> = self.rules.iter().filter(fits).collect();
        let places = [from, entry_namespace, Some(ROOT_NAMESPACE)];
        places.into_iter().find_map(|namespace| {
            let here =
                |rule: &&&DestinationRule<'a>| same_namespace(rule.document.namespace, namespace);
            // Of rules for the same host Istio takes the first policy that one of them has.
            let rank = |rule: &&&DestinationRule<'a>| {
                (
                    !rule.host.starts_with('*'),
                    rule.host.len(),
                    !rule.workloads.is_empty(),
                    rule.has_policy(),
                )
            };
            // Of equals the first one: `max_by_key` takes the last.
            all.iter().rev().filter(here).max_by_key(rank).copied()
        })
    }

    /// A rule for the host that the plugin's workloads don't get, for an explanation.
    pub(super) fn hidden_rule(&self, host: &str) -> Option<&DestinationRule<'a>> {
        self.rules.iter().find(|rule| rule.is_for(host))
    }

    /// Whether requests to a host of this pattern can be led to that host.
    pub(super) fn can_lead(&self, authority: &AuthorityPattern, host: &str, port: u64) -> bool {
        overlap(authority, host)
            || self
                .routes
                .iter()
                .filter(|route| route.leads_to(host, port))
                .any(|route| route.hosts.iter().any(|host| overlap(authority, host)))
    }

    pub(super) fn is_routed(&self, host: &str, port: u64) -> bool {
        self.routes.iter().any(|route| route.leads_to(host, port))
    }
}

/// As `model.BuildSubsetKey` of Istio's writes it. A waypoint's own clusters have another name, with the protocol for a
/// subset.
fn cluster_name(place: Place, port: u64, subset: Option<&str>, host: &str) -> String {
    match (place, subset) {
        (Place::Waypoint, None) => format!("inbound-vip|{port}|http|{host}"),
        (Place::Waypoint, Some(subset)) => format!("inbound-vip|{port}|http/{subset}|{host}"),
        (_, subset) => format!("outbound|{port}|{}|{host}", subset.unwrap_or_default()),
    }
}

/// Whether a host of Istio's, perhaps `*.example.com`, and a rule's pattern can mean the same request. Ports are left
/// out: no token depends on them.
pub(super) fn overlap(pattern: &AuthorityPattern, host: &str) -> bool {
    let Some(suffix) = host.strip_prefix('*') else {
        return Authority::parse(host).is_some_and(|host| pattern.matches_host(&host));
    };
    let pattern = pattern.as_str().to_ascii_lowercase();
    let pattern = pattern.split(':').next().unwrap_or_default();
    let literal = pattern.rsplit('*').next().unwrap_or_default();
    literal.ends_with(suffix) || (pattern.contains('*') && suffix.ends_with(literal))
}
