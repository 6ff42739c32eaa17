//! The clusters of callouts: they exist, and speak what their servers speak.

use super::Configured;
use super::destination_rule::Tls;
use super::mesh::Cluster;
use crate::check::Report;

/// Google's name for it.
const METADATA_HOST: &str = "metadata.google.internal";

impl Configured<'_, '_> {
    pub(super) fn callouts(&self, report: &mut Report) {
        for field in self.config.credentials.clusters() {
            let Some(name) = field.name else {
                continue;
            };
            let place = self.in_configuration(&field.path);
            let Some(cluster) = self.existing(name, &place, report) else {
                continue;
            };
            endpoints(cluster, report);
            match field.is_plain {
                Some(true) => self.metadata(cluster, report),
                Some(false) => {
                    let what = format!("would send credentials to {}", field.leads_to);
                    self.secure(cluster, &what, report);
                }
                None => {}
            }
        }
    }

    /// The metadata server speaks HTTP/1.1 in the clear.
    fn metadata(&self, cluster: &Cluster<'_, '_>, report: &mut Report) {
        let (entry, port) = (cluster.entry, cluster.port);
        let mut findings = entry.document.findings(report);
        let path = port.node.path_of("protocol");
        match port.protocol.as_str() {
            "HTTP" | "" => {}
            other @ ("HTTP2" | "GRPC" | "GRPC-WEB") => findings.error(
                path,
                format!("{other} is HTTP/2, and the metadata server speaks only HTTP/1.1; write HTTP"),
            ),
            other => findings.warning(
                path,
                format!("the metadata server speaks plain HTTP, and {other} is something else to Istio; write HTTP"),
            ),
        }
        if cluster.host == METADATA_HOST && !entry.connects_to(port, 80) {
            findings.error(
                port.node.path(),
                "does not lead to port 80, the only one that the metadata server has; write {number: 80, name: http, \
                 protocol: HTTP}, without targetPort",
            );
        }
        if !entry.is_external {
            findings.warning(
                entry.document.spec.path_of("location"),
                "the metadata server is not of the mesh; write MESH_EXTERNAL",
            );
        }
        let namespace = entry.document.namespace;
        let Some(rule) = self
            .mesh
            .destination_rule(self.plugin, cluster.host, namespace)
        else {
            return;
        };
        let mut findings = rule.document.findings(report);
        if let Tls::Said(tls) = rule.tls(port.number, cluster.subset)
            && tls.mode != "DISABLE"
        {
            findings.error(
                tls.node.path(),
                format!(
                    "cluster {:?} speaks TLS, and the metadata server does not; leave it out, or write mode: DISABLE",
                    cluster.name
                ),
            );
        }
        if let Some(upgrade) = rule.upgrade(port.number) {
            findings.error(
                upgrade.path(),
                format!(
                    "cluster {:?} speaks HTTP/2, and the metadata server only HTTP/1.1; leave it out",
                    cluster.name
                ),
            );
        }
    }
}

/// A callout has no client whose address it could follow.
fn endpoints(cluster: &Cluster<'_, '_>, report: &mut Report) {
    let entry = cluster.entry;
    let spec = &entry.document.spec;
    let mut findings = entry.document.findings(report);
    match entry.resolution {
        "NONE" => findings.error(
            spec.path_of("resolution"),
            format!(
                "NONE, which is also the default, follows the address that a client has looked up, and a callout to \
                 {} has none; write DNS, or STATIC with endpoints",
                cluster.host
            ),
        ),
        "STATIC" if entry.endpoints.is_empty() && !entry.selects_workloads => findings.error(
            spec.path_of("endpoints"),
            "are missing, and STATIC knows no others; write endpoints: [{address: …}], or resolution: DNS",
        ),
        _ => {}
    }
}
