//! What the WasmPlugin says around the configuration: where the module comes from, where it runs, and what happens if it
//! fails.

use super::plugin::{Place, Plugin};
use crate::check::{Findings, Report};
use crate::config::{Config, FailureMode};
use crate::rules::{Action, Rule};

pub(super) fn check(plugin: &Plugin<'_>, config: Option<&Config>, report: &mut Report) {
    let mut findings = plugin.document.findings(report);
    kind(plugin, &mut findings);
    module(plugin, &mut findings);
    phase(plugin, &mut findings);
    traffic(plugin, config, &mut findings);
    if let Some(config) = config {
        failures(plugin, config, &mut findings);
    }
}

fn kind(plugin: &Plugin<'_>, findings: &mut Findings<'_>) {
    if plugin.wasm.text("type") == Some("NETWORK") {
        findings.error(
            plugin.wasm.path_of("type"),
            "NETWORK runs the module on connections, where there are no headers; write HTTP",
        );
    }
}

/// Whoever can put another module behind the name gets the tokens.
fn module(plugin: &Plugin<'_>, findings: &mut Findings<'_>) {
    let path = plugin.wasm.path_of("url");
    let Some(url) = plugin.wasm.text("url") else {
        findings.error(
            path,
            "is missing; write where the module is, such as oci://REGISTRY/invoker:VERSION",
        );
        return;
    };
    let is_pinned =
        url.contains("@sha256:") || plugin.wasm.text("sha256").is_some_and(|it| !it.is_empty());
    if is_pinned || url.starts_with("file://") {
        return;
    }
    if url.starts_with("http://") || url.starts_with("https://") {
        findings.warning(
            path,
            format!("{url:?} can change unseen, and who changes it gets the tokens; write the module's sha256 beside it"),
        );
        return;
    }
    let image = url.strip_prefix("oci://").unwrap_or(url);
    let name = image.rsplit('/').next().unwrap_or_default();
    if matches!(name.split_once(':'), None | Some((_, "latest"))) {
        findings.warning(
            path,
            format!("{url:?} is another module tomorrow; write a version's tag, or better its digest (…@sha256:…)"),
        );
    }
}

fn phase(plugin: &Plugin<'_>, findings: &mut Findings<'_>) {
    let path = plugin.document.spec.path_of("phase");
    let phase = plugin.document.spec.text("phase");
    match (plugin.place, phase) {
        (Place::Sidecar, Some("AUTHN")) => {}
        (Place::Sidecar, _) => findings.warning(
            path,
            "puts Invoker behind other plugins, which then see the caller's own credential in place of the token; \
             write AUTHN",
        ),
        (_, Some("AUTHN")) => findings.warning(
            path,
            "AUTHN puts Invoker in front of Istio's own authentication, which would take the token for the caller's; \
             write STATS",
        ),
        _ => {}
    }
}

fn traffic(plugin: &Plugin<'_>, config: Option<&Config>, findings: &mut Findings<'_>) {
    let path = plugin.document.spec.path_of("match");
    let path = match plugin.traffic.as_slice() {
        [only] => only.node.path_of("mode"),
        _ => path,
    };
    let (is_client, is_server) = (plugin.runs_on("CLIENT"), plugin.runs_on("SERVER"));
    match plugin.place {
        Place::Sidecar if !is_client => findings.error(
            path,
            "leaves out all that the workload sends, so nothing gets a token; write match: [{mode: CLIENT}]",
        ),
        Place::Sidecar if is_server => {
            let rules = config.map(|config| config.rules.rules()).unwrap_or_default();
            if let Some(index) = rules.iter().position(can_come_in) {
                findings.error(
                    path,
                    format!(
                        "lets the plugin run on requests that come in, too, and pluginConfig.audiences[{index}] can \
                         mean those: the workload would get tokens for other services; write match: [{{mode: CLIENT}}]"
                    ),
                );
            } else {
                findings.warning(
                    path,
                    "lets the plugin run on requests that come in, too, for nothing; write match: [{mode: CLIENT}]",
                );
            }
        }
        Place::Gateway if !is_client => findings.error(
            path,
            "never means a gateway's traffic, all of which is CLIENT; write match: [{mode: CLIENT}]",
        ),
        Place::Waypoint if !is_server => findings.error(
            path,
            "never means a waypoint's traffic, all of which is SERVER; leave match out",
        ),
        _ => {}
    }
}

/// Whether a rule can mean an inbound cluster, which Istio calls `inbound|PORT||`.
fn can_come_in(rule: &Rule) -> bool {
    let is_inbound = rule
        .cluster
        .as_ref()
        .is_none_or(|cluster| cluster.matches("inbound|8080||"));
    is_inbound && matches!(rule.action, Action::Attach { .. })
}

fn failures(plugin: &Plugin<'_>, config: &Config, findings: &mut Findings<'_>) {
    let path = plugin.wasm.path_of("failStrategy");
    match plugin.wasm.text("fail_strategy") {
        Some("FAIL_RELOAD") => {}
        Some("FAIL_OPEN") if config.failure_mode == FailureMode::Allow => {}
        Some("FAIL_OPEN") => findings.error(
            path,
            "lets requests out without a token if the module fails or can't be fetched, while failure_mode is deny; \
             write FAIL_RELOAD",
        ),
        _ => findings.warning(
            path,
            "refuses every request after a crash, until the proxy is started anew; write FAIL_RELOAD",
        ),
    }
}
