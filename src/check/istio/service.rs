//! Kubernetes Services, from which Istio makes clusters too.

use super::document::Document;

#[derive(Debug)]
pub(super) struct Service {
    pub(super) host: String,
    pub(super) ports: Vec<u64>,
}

impl Service {
    pub(super) fn read(document: &Document<'_>) -> Option<Self> {
        if !document.is("", "Service") {
            return None;
        }
        let namespace = document.namespace.unwrap_or("default");
        let ports = document.spec.list("ports");
        Some(Self {
            host: format!("{}.{namespace}.svc.cluster.local", document.name),
            ports: ports
                .iter()
                .filter_map(|port| port.number("port"))
                .collect(),
        })
    }
}

/// Whether a host is a Kubernetes Service's, by any of its names: it can come from elsewhere than these files.
pub(super) fn is_inside_cluster(host: &str) -> bool {
    !host.contains('.') || host.ends_with(".svc") || host.contains(".svc.")
}
