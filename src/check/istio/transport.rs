//! Whether tokens and credentials travel under TLS, and whose certificate Envoy takes.

use super::Configured;
use super::destination_rule::{DestinationRule, Tls, TlsSettings};
use super::document::Document;
use super::mesh::Cluster;
use super::plugin::Place;
use crate::check::Report;
use crate::config::ClusterField;

/// How a cluster's connections are protected.
enum Transport<'m, 'a> {
    Tls(&'m DestinationRule<'a>, TlsSettings<'a>),
    /// On this machine, or by Istio itself between workloads of the mesh.
    Safe,
    Plain(Plain<'m, 'a>),
}

/// Not at all: where that is said, why, and what to write.
struct Plain<'m, 'a> {
    document: &'m Document<'a>,
    path: String,
    reason: String,
}

impl<'m, 'a> Configured<'m, 'a> {
    /// Of each cluster that gets tokens.
    pub(super) fn transport(&self, report: &mut Report) {
        for cluster in &self.clusters {
            if self.is_metadata(cluster) {
                continue;
            }
            if let Some(index) = self.token_rule(cluster) {
                let plugin = self.plugin.document.full_name();
                let what = format!("would get tokens (audiences[{index}] of {plugin})");
                self.secure(cluster, &what, report);
            }
        }
    }

    /// Something secret goes there.
    pub(super) fn secure(&self, cluster: &Cluster<'m, 'a>, what: &str, report: &mut Report) {
        match self.transport_of(cluster) {
            Transport::Safe => {}
            Transport::Plain(plain) => plain.document.findings(report).error(
                plain.path,
                format!(
                    "cluster {:?} {what} without TLS: {}",
                    cluster.name, plain.reason
                ),
            ),
            Transport::Tls(rule, tls) => {
                if self.plugin.upstream().is_some_and(|it| it.means(cluster)) {
                    replaced_options(cluster, rule, &tls, report);
                }
                certificate(cluster, rule, &tls, report);
                port(cluster, report);
            }
        }
    }

    /// What is on the machine's own metadata server stays there, tokens too.
    fn is_metadata(&self, cluster: &Cluster<'m, 'a>) -> bool {
        let is_it = |field: &ClusterField<'_>| {
            field.is_plain == Some(true) && field.name == Some(cluster.name.as_str())
        };
        self.config.credentials.clusters().iter().any(is_it)
    }

    fn transport_of(&self, cluster: &Cluster<'m, 'a>) -> Transport<'m, 'a> {
        let entry = cluster.entry;
        let rule = self
            .mesh
            .destination_rule(self.plugin, cluster.host, entry.document.namespace);
        let is_of_mesh = !entry.is_external && entry.selects_workloads;
        let instead = write_instead(cluster);
        let plain = |document, path: String, reason: String| {
            Transport::Plain(Plain {
                document,
                path,
                reason,
            })
        };
        let Some(rule) = rule else {
            if entry.is_local() || is_of_mesh {
                return Transport::Safe;
            }
            let other = self.mesh.hidden_rule(cluster.host).map_or(String::new(), |rule| {
                format!(
                    " that these workloads get ({} is for others: see its exportTo and workloadSelector)",
                    rule.document.full_name()
                )
            });
            return plain(
                &entry.document,
                cluster.port.node.path().to_owned(),
                format!(
                    "there is no DestinationRule for {}{other}; write one with trafficPolicy: {{tls: {instead}}}",
                    cluster.host
                ),
            );
        };
        let tls = match rule.tls(cluster.port.number, cluster.subset) {
            Tls::Said(tls) => tls,
            Tls::Unsaid(_) if entry.is_local() || is_of_mesh => return Transport::Safe,
            Tls::Unsaid(node) if node.path().contains("portLevelSettings") => {
                return plain(
                    &rule.document,
                    node.path().to_owned(),
                    format!(
                        "a port's settings take the place of the others, and have no tls; write tls: {instead} here"
                    ),
                );
            }
            Tls::Unsaid(_) => {
                return plain(
                    &rule.document,
                    rule.document.spec.path_of("trafficPolicy.tls"),
                    format!("it is missing; write {instead}"),
                );
            }
        };
        let reason = match tls.mode {
            "SIMPLE" | "MUTUAL" if self.loses_secret(rule, &tls) => {
                "a sidecar leaves TLS out if there is a credentialName and no workloadSelector; leave it out, or name \
                 the workloads"
                    .to_owned()
            }
            "MUTUAL" if !tls.has_client_certificate => {
                "Istio leaves TLS out if a client certificate is missing; write clientCertificate and privateKey, or \
                 mode: SIMPLE"
                    .to_owned()
            }
            "ISTIO_MUTUAL" if self.plugin.place == Place::Waypoint && entry.is_external => {
                format!("a waypoint leaves ISTIO_MUTUAL out; write {instead}")
            }
            "SIMPLE" | "MUTUAL" | "ISTIO_MUTUAL" => return Transport::Tls(rule, tls),
            _ if entry.is_local() => return Transport::Safe,
            mode => format!("its mode is {mode}; write {instead}"),
        };
        plain(&rule.document, tls.node.path().to_owned(), reason)
    }

    /// Istio does not let every sidecar ask for a Secret, and then makes a cluster without TLS.
    fn loses_secret(&self, rule: &DestinationRule<'_>, tls: &TlsSettings<'_>) -> bool {
        tls.secret.is_some() && rule.workloads.is_empty() && self.plugin.place == Place::Sidecar
    }
}

/// Whom Envoy takes for the host. Without `sni` and `subjectAltNames` it asks for the name that the request is for, and
/// wants it in the certificate; with `sni` alone nobody looks at the name.
fn certificate(
    cluster: &Cluster<'_, '_>,
    rule: &DestinationRule<'_>,
    tls: &TlsSettings<'_>,
    report: &mut Report,
) {
    let mut findings = rule.document.findings(report);
    let (name, host) = (&cluster.name, cluster.host);
    if tls.mode == "ISTIO_MUTUAL" {
        if cluster.entry.is_external {
            findings.error(
                tls.node.path_of("mode"),
                format!(
                    "ISTIO_MUTUAL is for workloads of the mesh, and {host} is outside; write {}",
                    write_instead(cluster)
                ),
            );
        }
        return;
    }
    if tls.skips_verification {
        findings.error(
            tls.node.path_of("insecureSkipVerify"),
            format!("cluster {name:?} would give its tokens to whoever answers; leave it out"),
        );
        return;
    }
    let Some(sni) = tls.sni else {
        return;
    };
    if host.starts_with('*') {
        findings.error(
            tls.node.path_of("sni"),
            format!(
                "{sni:?} would be asked for whatever host of {host} a request is for; leave it out"
            ),
        );
    } else if !tls.names_certificate && !cluster.entry.names_certificate {
        findings.warning(
            tls.node.path_of("sni"),
            format!(
                "with sni alone every certificate is taken that a known authority has signed, whosever it is; write \
                 subjectAltNames: [{sni}] beside it, or leave both out"
            ),
        );
    }
}

/// A patch with HTTP filters takes the place of the options in which Istio asks for the request's name, and checks it.
fn replaced_options(
    cluster: &Cluster<'_, '_>,
    rule: &DestinationRule<'_>,
    tls: &TlsSettings<'_>,
    report: &mut Report,
) {
    if tls.mode != "ISTIO_MUTUAL" && tls.sni.is_none() {
        rule.document.findings(report).error(
            tls.node.path_of("sni"),
            format!(
                "is missing, and what Istio does without it the EnvoyFilter replaces: nobody looks at the \
                 certificate's name; write {}",
                match cluster.host.starts_with('*') {
                    true => "a ServiceEntry for each host, or use a WasmPlugin".to_owned(),
                    false => write_instead(cluster),
                }
            ),
        );
    }
}

/// TLS belongs to port 443; Envoy takes that by itself where it looks up the name itself.
fn port(cluster: &Cluster<'_, '_>, report: &mut Report) {
    let (entry, port) = (cluster.entry, cluster.port);
    if entry.connects_to(port, 80) && !entry.is_dynamic() {
        entry.document.findings(report).error(
            port.node.path(),
            format!(
                "cluster {:?} would speak TLS to port 80; write targetPort: 443",
                cluster.name
            ),
        );
    }
}

fn write_instead(cluster: &Cluster<'_, '_>) -> String {
    let host = cluster.host;
    if host.starts_with('*') {
        return "{mode: SIMPLE}".to_owned();
    }
    format!("{{mode: SIMPLE, sni: {host}, subjectAltNames: [{host}]}}")
}
