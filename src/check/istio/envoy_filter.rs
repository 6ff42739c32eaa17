//! EnvoyFilter: patches that put Invoker into a listener, or into a cluster as its upstream filter.

use super::Configured;
use super::document::Document;
use super::gateway::Gateway;
use super::mesh::Cluster;
use super::plugin::{ClusterMatch, Patch, Place, Plugin};
use crate::check::Report;
use crate::check::bootstrap::{self, HTTP_OPTIONS};
use crate::check::node::Node;

/// Each Invoker that the resource puts somewhere.
pub(super) fn read<'a>(document: &Document<'a>, gateways: &[Gateway<'a>]) -> Vec<Plugin<'a>> {
    if !document.is("networking.istio.io", "EnvoyFilter") {
        return Vec::new();
    }
    let patches = document.spec.list("config_patches");
    let plugins = patches.iter().flat_map(|node| {
        let filters = filters(node).into_iter();
        filters.map(|(module, patch)| {
            let mut plugin = Plugin {
                configuration: module.configuration,
                ..Plugin::at(document, &["workload_selector", "labels"], module.node)
            };
            plugin.place = match patch.context {
                "GATEWAY" => Place::Gateway,
                "WAYPOINT" => Place::Waypoint,
                _ => plugin.placed(gateways),
            };
            plugin.patch = Some(patch);
            plugin
        })
    });
    plugins.collect()
}

fn filters<'a>(node: &Node<'a>) -> Vec<(bootstrap::Module<'a>, Patch<'a>)> {
    let Some(value) = node.at(&["patch", "value"]) else {
        return Vec::new();
    };
    let kind = node.text("apply_to").unwrap_or_default();
    let filters = match kind {
        "HTTP_FILTER" => vec![value],
        "CLUSTER" => value
            .at(&["typed_extension_protocol_options", HTTP_OPTIONS])
            .map(|options| options.list("http_filters"))
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    let patch = || Patch {
        node: node.clone(),
        context: node
            .get("match")
            .and_then(|it| it.text("context"))
            .unwrap_or("ANY"),
        cluster: (kind == "CLUSTER").then(|| ClusterMatch::read(node)),
    };
    let modules = bootstrap::modules(&filters).into_iter();
    modules.map(|module| (module, patch())).collect()
}

impl<'a> ClusterMatch<'a> {
    fn read(patch: &Node<'a>) -> Self {
        let Some(cluster) = patch.at(&["match", "cluster"]) else {
            return Self::default();
        };
        Self {
            name: cluster.text("name"),
            service: cluster.text("service"),
            port: cluster.number("port_number"),
            subset: cluster.text("subset"),
        }
    }

    pub(super) fn means(&self, cluster: &Cluster<'_, '_>) -> bool {
        self.name.is_none_or(|name| name == cluster.name)
            && self.service.is_none_or(|service| service == cluster.host)
            && self.port.is_none_or(|port| port == cluster.port.number)
            && self
                .subset
                .is_none_or(|subset| Some(subset) == cluster.subset)
    }
}

impl Configured<'_, '_> {
    /// What stands around the configuration.
    pub(super) fn patch(&self, patch: &Patch<'_>, report: &mut Report) {
        let mut findings = self.findings(report);
        bootstrap::failure_policy(&self.plugin.wasm, self.config, &mut findings);
        let means_none = |upstream: &ClusterMatch<'_>| {
            !self.clusters.iter().any(|cluster| upstream.means(cluster))
        };
        match &patch.cluster {
            Some(upstream) if means_none(upstream) => findings.error(
                patch.node.path_of("match.cluster"),
                format!("means no cluster{}", self.made()),
            ),
            Some(_) => {}
            None if self.plugin.place == Place::Sidecar && patch.context != "SIDECAR_OUTBOUND" => {
                findings.warning(
                    patch.node.path_of("match.context"),
                    format!(
                        "{} also means requests that come in, or only those; write SIDECAR_OUTBOUND",
                        patch.context
                    ),
                );
            }
            None => {}
        }
    }
}
