//! Envoy's bootstrap against the plugins in it.
//!
//! What is checked is what Envoy would run: each plugin with the configuration that is embedded there.
//! The file that the command was given must be one of them, or the check is about something else.

use serde_json::Value;

use super::Findings;
use super::configuration;
use super::credential_files::Environment;
use super::node::Node;
use crate::config::{Config, Host};

mod carried;
mod cluster;
mod compare;
mod coverage;
mod listener_form;
mod manager;
mod plugin;
mod upstream_form;

use cluster::{Cluster, Protocol, Transport};
use manager::Manager;
use plugin::{Place, Plugin};

pub(super) use cluster::HTTP_OPTIONS;
pub(super) use plugin::{Embedded, Module, modules, variable};

/// What Envoy's configuration says, as far as it matters here.
#[derive(Debug)]
struct Envoy<'a> {
    clusters: Vec<Cluster<'a>>,
    /// Clusters also come from a control plane, so that one that is not here may exist.
    has_more_clusters: bool,
    managers: Vec<Manager<'a>>,
}

impl Envoy<'_> {
    fn cluster(&self, name: &str) -> Option<&Cluster<'_>> {
        self.clusters.iter().find(|cluster| cluster.name == name)
    }
}

/// One plugin with what it was configured to do.
struct Configured<'a> {
    envoy: &'a Envoy<'a>,
    plugin: &'a Plugin<'a>,
    config: &'a Config,
}

pub(super) fn check(bootstrap: &Value, file: &Value, file_name: &str, findings: &mut Findings<'_>) {
    let root = Node::root(bootstrap);
    let envoy = Envoy {
        clusters: cluster::read_all(&root),
        has_more_clusters: root.at(&["dynamic_resources", "cds_config"]).is_some()
            || root.at(&["dynamic_resources", "ads_config"]).is_some(),
        managers: manager::read_all(&root),
    };
    let plugins = plugin::find(&root, &envoy);
    if plugins.is_empty() {
        findings.error(
            "",
            "holds no Invoker plugin, neither among a listener's http_filters nor among a cluster's \
             (envoy.extensions.upstreams.http.v3.HttpProtocolOptions)",
        );
        return;
    }
    let configs: Vec<Option<Config>> = plugins
        .iter()
        .map(|plugin| embedded(plugin, findings))
        .collect();
    let all: Vec<Configured<'_>> = plugins
        .iter()
        .zip(&configs)
        .filter_map(|(plugin, config)| {
            Some(Configured {
                envoy: &envoy,
                plugin,
                config: config.as_ref()?,
            })
        })
        .collect();
    for configured in &all {
        failure_policy(&configured.plugin.node, configured.config, findings);
        configured.callout_clusters(findings);
        match configured.plugin.place {
            Place::Listener(manager) => listener_form::check(configured, manager, findings),
            Place::Cluster(cluster) => upstream_form::check(configured, cluster, &all, findings),
        }
    }
    compare::with_file(file, file_name, &plugins, findings);
}

/// The plugin's own configuration, with its problems told at their place in the bootstrap.
fn embedded(plugin: &Plugin<'_>, findings: &mut Findings<'_>) -> Option<Config> {
    let embedded = match &plugin.configuration {
        Ok(embedded) => embedded,
        Err(problem) => {
            findings.error(plugin.node.path_of("configuration"), *problem);
            return None;
        }
    };
    let mut inner = Findings {
        file: findings.file,
        prefix: plugin.node.path_of("configuration.value"),
        report: findings.report,
    };
    let variable = |name: &str| plugin.variable(name);
    let environment = Environment::of_envoy(&variable);
    configuration::check(embedded.parse(), Host::Envoy, &environment, &mut inner)
}

impl Configured<'_> {
    /// They exist, and speak what their servers speak.
    fn callout_clusters(&self, findings: &mut Findings<'_>) {
        for field in self.config.credentials.clusters() {
            let Some(name) = field.name else {
                continue;
            };
            let place = self.in_configuration(&field.path);
            let Some(cluster) = self.existing_cluster(name, &place, findings) else {
                continue;
            };
            match field.is_plain {
                Some(true) => metadata_cluster(cluster, findings),
                Some(false) => secure_callouts(cluster, field.leads_to, findings),
                None => {}
            }
        }
    }

    /// The cluster, or a finding at the place that names it.
    fn existing_cluster(
        &self,
        name: &str,
        place: &str,
        findings: &mut Findings<'_>,
    ) -> Option<&Cluster<'_>> {
        let cluster = self.envoy.cluster(name);
        if cluster.is_none() {
            if self.envoy.has_more_clusters {
                let problem = format!(
                    "{name:?} is not among static_resources.clusters; \
                                       it has to come from the control plane"
                );
                findings.warning(place, problem);
            } else {
                let known: Vec<String> = self
                    .envoy
                    .clusters
                    .iter()
                    .map(|cluster| format!("{:?}", cluster.name))
                    .collect();
                let problem = format!(
                    "there is no cluster {name:?}; there are {}",
                    known.join(", ")
                );
                findings.error(place, problem);
            }
        }
        cluster
    }

    /// A token would go there: it has to be secure.
    fn secure(&self, cluster: &Cluster<'_>, findings: &mut Findings<'_>) {
        if let Transport::Plain(reason) = &cluster.transport {
            findings.error(
                cluster.node.path(),
                format!(
                    "cluster {:?} would get tokens without TLS ({reason}); give it a transport_socket \
                     with an UpstreamTlsContext (only loopback may go without)",
                    cluster.name
                ),
            );
        }
    }

    /// The path of something in the embedded configuration.
    fn in_configuration(&self, path: &str) -> String {
        self.plugin
            .node
            .path_of(&format!("configuration.value.{path}"))
    }

    fn timeout_seconds(&self) -> f64 {
        self.config.timing.timeout.as_secs_f64()
    }
}

/// What becomes of requests if the module fails.
pub(super) fn failure_policy(node: &Node<'_>, config: &Config, findings: &mut Findings<'_>) {
    let policy = node.text("failure_policy").unwrap_or_default();
    let is_open = policy == "FAIL_OPEN" || node.is_true("fail_open");
    let path = if node.get("fail_open").is_some() {
        "fail_open"
    } else {
        "failure_policy"
    };
    if is_open && config.failure_mode == crate::config::FailureMode::Deny {
        findings.error(
            node.path_of(path),
            "lets requests out without a token if the module fails, while failure_mode is deny; \
             write failure_policy: FAIL_RELOAD",
        );
    } else if !is_open && policy != "FAIL_RELOAD" {
        findings.warning(
            node.path_of(path),
            "refuses every request after a crash, until Envoy is restarted; write \
             failure_policy: FAIL_RELOAD",
        );
    }
}

/// The metadata server speaks HTTP/1.1 in the clear.
fn metadata_cluster(cluster: &Cluster<'_>, findings: &mut Findings<'_>) {
    let name = cluster.name;
    if cluster.transport == Transport::Tls {
        findings.error(
            cluster.node.path_of("transport_socket"),
            format!("cluster {name:?} speaks TLS, and the metadata server does not; leave it out"),
        );
    }
    if let Protocol::Other(path, found) = &cluster.protocol {
        findings.error(
            path,
            format!(
                "cluster {name:?} speaks {found}, and the metadata server only HTTP/1.1; write \
                 explicit_http_config: {{http_protocol_options: {{}}}}, or leave it out"
            ),
        );
    }
}

/// A credential goes there.
fn secure_callouts(cluster: &Cluster<'_>, leads_to: &str, findings: &mut Findings<'_>) {
    if let Transport::Plain(reason) = &cluster.transport {
        findings.error(
            cluster.node.path(),
            format!(
                "cluster {:?} would send credentials to {leads_to} without TLS ({reason}); give it a \
                 transport_socket with an UpstreamTlsContext (only loopback may go without)",
                cluster.name
            ),
        );
    }
}
