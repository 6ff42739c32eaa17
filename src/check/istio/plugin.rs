//! Invoker in Istio's resources: a WasmPlugin, a TrafficExtension (which newer versions of Istio put in its place), or an
//! EnvoyFilter's patch.

use super::document::{Document, ROOT_NAMESPACE, same_namespace};
use super::gateway::Gateway;
use crate::check::bootstrap::{self, Embedded};
use crate::check::credential_files::{self, Variable};
use crate::check::node::Node;

#[derive(Debug)]
pub(super) struct Plugin<'a> {
    pub(super) document: Document<'a>,
    /// Where the module and its configuration stand.
    pub(super) wasm: Node<'a>,
    pub(super) configuration: Result<Embedded<'a>, &'static str>,
    /// What an EnvoyFilter does with it; else Istio puts it into listeners.
    pub(super) patch: Option<Patch<'a>>,
    pub(super) selector: Vec<(&'a str, &'a str)>,
    pub(super) targets: Vec<Target<'a>>,
    pub(super) traffic: Vec<Traffic<'a>>,
    pub(super) place: Place,
}

/// An entry of an EnvoyFilter's `configPatches`.
#[derive(Debug)]
pub(super) struct Patch<'a> {
    pub(super) node: Node<'a>,
    pub(super) context: &'a str,
    /// The `match.cluster`, if it is an upstream filter.
    pub(super) cluster: Option<ClusterMatch<'a>>,
}

/// What is not said matches all.
#[derive(Debug, Default)]
pub(super) struct ClusterMatch<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) service: Option<&'a str>,
    pub(super) port: Option<u64>,
    pub(super) subset: Option<&'a str>,
}

/// An entry of `targetRefs`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
}

/// An entry of `match`.
#[derive(Debug)]
pub(super) struct Traffic<'a> {
    pub(super) node: Node<'a>,
    pub(super) mode: &'a str,
}

/// What kind of proxy it runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Beside a workload: what leaves it is CLIENT, what comes in is SERVER.
    Sidecar,
    /// All of its traffic counts as CLIENT.
    Gateway,
    /// Ambient mode's: all of its traffic counts as SERVER.
    Waypoint,
}

impl<'a> Plugin<'a> {
    /// Reads it if it is Invoker.
    pub(super) fn read(document: &Document<'a>, gateways: &[Gateway<'a>]) -> Option<Self> {
        const GROUP: &str = "extensions.istio.io";
        let spec = &document.spec;
        let wasm = if document.is(GROUP, "WasmPlugin") {
            spec.clone()
        } else if document.is(GROUP, "TrafficExtension") {
            spec.get("wasm")?
        } else {
            return None;
        };
        let configuration = wasm.get("plugin_config");
        let configuration = configuration.map(|node| Embedded::Struct(node.value()));
        let mut plugin = Self {
            traffic: spec.list("match").into_iter().map(Traffic::read).collect(),
            configuration: configuration.ok_or("is missing; write Invoker's configuration here"),
            ..Self::at(document, &["selector", "match_labels"], wasm)
        };
        plugin.place = plugin.placed(gateways);
        plugin.is_invoker().then_some(plugin)
    }

    /// One that is somewhere, with nothing said but where.
    pub(super) fn at(document: &Document<'a>, selector: &[&str], wasm: Node<'a>) -> Self {
        let spec = &document.spec;
        let single = spec.get("target_ref");
        let targets = spec.list("target_refs").into_iter().chain(single);
        Self {
            document: document.clone(),
            wasm,
            configuration: Err("is missing"),
            patch: None,
            selector: document.labels(selector),
            targets: targets.map(Target::read).collect(),
            traffic: Vec::new(),
            place: Place::Sidecar,
        }
    }

    /// The path of its configuration.
    pub(super) fn configuration_path(&self) -> String {
        self.wasm.path_of(match self.patch {
            None => "pluginConfig",
            Some(_) => "configuration.value",
        })
    }

    /// The clusters that it is an upstream filter of.
    pub(super) fn upstream(&self) -> Option<&ClusterMatch<'a>> {
        self.patch.as_ref()?.cluster.as_ref()
    }

    /// Its workloads' namespace, if they are all in one.
    pub(super) fn namespace(&self) -> Option<&'a str> {
        let namespace = self.document.namespace;
        namespace.filter(|namespace| *namespace != ROOT_NAMESPACE)
    }

    /// Whether some traffic in this direction goes through it.
    pub(super) fn runs_on(&self, mode: &str) -> bool {
        let is_meant = |it: &Traffic<'_>| {
            it.mode == mode || it.mode == "CLIENT_AND_SERVER" || it.mode == "UNDEFINED"
        };
        self.traffic.is_empty() || self.traffic.iter().any(is_meant)
    }

    /// An environment variable, as the module will see it.
    pub(super) fn variable(&self, name: &str) -> Variable {
        if self.patch.is_some() {
            return bootstrap::variable(&self.wasm, name);
        }
        let variables = self.wasm.get("vm_config").map(|config| config.list("env"));
        let mut variables = variables.into_iter().flatten();
        let Some(variable) = variables.find(|it| it.text("name") == Some(name)) else {
            return Variable::Missing;
        };
        match variable.text("value_from") {
            Some("HOST") => credential_files::of_this_process(name),
            _ => Variable::InSight(variable.text("value").unwrap_or_default().to_owned()),
        }
    }

    /// By a configuration that only ours has, or by the module's name.
    fn is_invoker(&self) -> bool {
        let config = self.wasm.get("plugin_config");
        let has_credentials = config.is_some_and(|config| config.get("credentials").is_some());
        let names = [
            self.wasm.text("url"),
            self.wasm.text("plugin_name"),
            Some(self.document.name),
        ];
        has_credentials
            || names
                .iter()
                .flatten()
                .any(|name| name.to_lowercase().contains("invoker"))
    }

    pub(super) fn placed(&self, gateways: &[Gateway<'_>]) -> Place {
        let namespace = self.document.namespace;
        if let Some(target) = self.targets.first() {
            let is_waypoint = match target.kind {
                "Service" | "ServiceEntry" => true,
                "GatewayClass" => target.name == WAYPOINT_CLASS,
                _ => gateways.iter().any(|gateway| {
                    gateway.class == Some(WAYPOINT_CLASS)
                        && gateway.name == target.name
                        && same_namespace(gateway.namespace, namespace)
                }),
            };
            return if is_waypoint {
                Place::Waypoint
            } else {
                Place::Gateway
            };
        }
        let is_gateways_label = |(name, value): &(&str, &str)| {
            (*name == "istio" && value.ends_with("gateway")) || GATEWAY_NAME_LABELS.contains(name)
        };
        let selects = |gateway: &Gateway<'_>| {
            !self.selector.is_empty()
                && !gateway.selector.is_empty()
                && (self
                    .selector
                    .iter()
                    .all(|label| gateway.selector.contains(label))
                    || gateway
                        .selector
                        .iter()
                        .all(|label| self.selector.contains(label)))
        };
        if self.selector.iter().any(is_gateways_label) || gateways.iter().any(selects) {
            Place::Gateway
        } else {
            Place::Sidecar
        }
    }
}

impl<'a> Target<'a> {
    fn read(node: Node<'a>) -> Self {
        Self {
            kind: node.text("kind").unwrap_or_default(),
            name: node.text("name").unwrap_or_default(),
        }
    }
}

impl<'a> Traffic<'a> {
    fn read(node: Node<'a>) -> Self {
        Self {
            mode: node.text("mode").unwrap_or("CLIENT_AND_SERVER"),
            node,
        }
    }
}

/// The class of the Gateways that `istioctl waypoint` makes.
const WAYPOINT_CLASS: &str = "istio-waypoint";

/// Istio puts one on the Pods of each Gateway of the Gateway API.
const GATEWAY_NAME_LABELS: [&str; 2] = [
    "gateway.networking.k8s.io/gateway-name",
    "istio.io/gateway-name",
];
