//! Istio's resources, together: what Envoy would be given of them, checked against the plugins in them.
//!
//! Each resource is read once into what matters of it (a file a kind); `mesh` says which clusters Istio makes of them and
//! which DestinationRule applies to each. The checks are a file a topic. What Istio itself refuses is `istioctl
//! validate`'s business; here is what it takes, and what then fails or leaks.
//!
//! What Istio does was read in its source (`pilot/pkg/networking/core`, 1.31): a change there can change what is right here.

use std::path::PathBuf;

use super::bootstrap::Embedded;
use super::configuration;
use super::credential_files::Environment;
use super::file::FileError;
use super::{Findings, Report};
use crate::config::{Config, Host};

mod callouts;
mod carried;
mod clusters;
mod coverage;
mod destination_rule;
mod document;
mod envoy_filter;
mod envoy_gateway;
mod gateway;
mod hosts;
mod mesh;
mod neighbours;
mod plugin;
mod route;
mod service;
mod service_entry;
mod settings;
mod transport;

use document::{Document, File};
use envoy_gateway::ExtensionPolicy;
use mesh::{Cluster, Mesh};
use plugin::Plugin;

/// One plugin with what it was configured to do, and the clusters that its proxies have.
struct Configured<'m, 'a> {
    mesh: &'m Mesh<'a>,
    plugin: &'m Plugin<'a>,
    config: &'m Config,
    clusters: Vec<Cluster<'m, 'a>>,
}

/// Checks Istio's resources, and each of Invoker's plugins among them against all others.
///
/// # Errors
///
/// A file can't be read, or is no YAML.
pub fn check(files: &[PathBuf]) -> Result<Report, FileError> {
    let files: Vec<File> = files.iter().map(File::read).collect::<Result<_, _>>()?;
    let mut report = Report::default();
    let mut documents = Vec::new();
    for file in &files {
        documents.extend(file.documents(&mut report));
    }
    let mesh = Mesh::read(&documents, &mut report);
    let policies: Vec<_> = documents.iter().flat_map(ExtensionPolicy::read).collect();
    if let (Some(first), [], []) = (files.first(), mesh.plugins.as_slice(), policies.as_slice()) {
        first.findings(&mut report).error(
            "",
            "there is no plugin of Invoker's in these files: a WasmPlugin whose pluginConfig has `credentials`, or \
             whose url, pluginName or name has \"invoker\" in it (or such a module in an EnvoyFilter or an \
             EnvoyExtensionPolicy)",
        );
    }
    for plugin in &mesh.plugins {
        plugin_and_mesh(plugin, &mesh, &mut report);
    }
    for policy in &policies {
        policy.check(&mut report);
    }
    neighbours::check(&mesh.plugins, &mut report);
    Ok(report)
}

fn plugin_and_mesh<'a>(plugin: &Plugin<'a>, mesh: &Mesh<'a>, report: &mut Report) {
    let variable = |name: &str| plugin.variable(name);
    let environment = match plugin.patch {
        Some(_) => Environment::of_envoy(&variable),
        None => Environment {
            variable: &variable,
            give: "write {name: NAME, valueFrom: HOST} in vmConfig.env",
            in_sight: "stands in vmConfig.env, where everybody sees it who reads this resource or Envoy's \
                       config_dump; give it to the istio-proxy container from a Secret, and write valueFrom: HOST \
                       without a value",
        },
    };
    let config = embedded(
        &plugin.document,
        plugin.configuration_path(),
        &plugin.configuration,
        &environment,
        report,
    );
    if plugin.patch.is_none() {
        settings::check(plugin, config.as_ref(), report);
    }
    let Some(config) = config else {
        return;
    };
    let configured = Configured {
        clusters: mesh.clusters(plugin),
        mesh,
        plugin,
        config: &config,
    };
    if let Some(patch) = &plugin.patch {
        configured.patch(patch, report);
    }
    configured.callouts(report);
    configured.named_clusters(report);
    if plugin.upstream().is_none() {
        configured.named_hosts(report);
        configured.carried(report);
    }
    configured.transport(report);
}

/// A plugin's own configuration, with its problems told at their place in the resource.
fn embedded(
    document: &Document<'_>,
    path: String,
    configuration: &Result<Embedded<'_>, &'static str>,
    environment: &Environment<'_>,
    report: &mut Report,
) -> Option<Config> {
    let mut findings = document.findings(report);
    match configuration {
        Err(problem) => {
            findings.error(path, *problem);
            None
        }
        Ok(configuration) => {
            findings.prefix = path;
            configuration::check(
                configuration.parse(),
                Host::Envoy,
                environment,
                &mut findings,
            )
        }
    }
}

impl Configured<'_, '_> {
    fn findings<'r>(&'r self, report: &'r mut Report) -> Findings<'r> {
        self.plugin.document.findings(report)
    }

    /// The path of something in the plugin's configuration.
    fn in_configuration(&self, path: &str) -> String {
        format!("{}.{path}", self.plugin.configuration_path())
    }
}
