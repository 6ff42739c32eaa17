//! What differs between hosts.

use super::error::Problems;
use super::{Config, ConfigErrors};

/// Who runs the core, as far as the configuration cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Callouts go through one of Envoy's clusters.
    Envoy,
    /// WASI and JavaScript: callouts go out as they are.
    Standalone,
}

impl Config {
    /// Checks what only this host requires or forbids.
    pub fn for_host(self, host: Host) -> Result<Self, ConfigErrors> {
        let mut problems = Problems::default();
        for field in self.credentials.clusters() {
            match (host, field.name) {
                (Host::Envoy, None) if field.is_required => problems.add(
                    field.path,
                    format!(
                        "is missing; write the name of the Envoy cluster that leads to {}",
                        field.leads_to
                    ),
                ),
                (Host::Standalone, Some(cluster)) => problems.add(
                    field.path,
                    format!(
                        "{cluster:?} names an Envoy cluster, and there is no Envoy here; leave it out"
                    ),
                ),
                _ => {}
            }
        }
        if host == Host::Envoy && self.allow_insecure {
            problems.add(
                "allow_insecure",
                "is for WASI and JavaScript, where the request's URL says whether it is secure; in Envoy \
                 the cluster does, with its transport_socket: leave it out",
            );
        }
        problems.into_result().map(|()| self)
    }
}
