//! Finds Invoker in a bootstrap, in either place.

use serde_json::Value;

use super::Envoy;
use super::cluster::HTTP_OPTIONS;
use crate::check::credential_files::{self, Variable};
use crate::check::node::Node;
use crate::config::{Config, ConfigErrors};

#[derive(Debug)]
pub(super) struct Plugin<'a> {
    /// The `config` of the Wasm filter.
    pub(super) node: Node<'a>,
    pub(super) place: Place<'a>,
    pub(super) configuration: Result<Embedded<'a>, &'static str>,
}

/// The same, wherever it stands.
#[derive(Debug)]
pub(in crate::check) struct Module<'a> {
    pub(in crate::check) node: Node<'a>,
    pub(in crate::check) configuration: Result<Embedded<'a>, &'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// A listener's filter, by its connection manager.
    Listener(usize),
    /// A cluster's upstream filter.
    Cluster(&'a str),
}

/// A configuration as Envoy hands it to the plugin.
#[derive(Debug)]
pub(in crate::check) enum Embedded<'a> {
    /// A `StringValue`.
    Json(&'a str),
    /// A `Struct`.
    Struct(&'a Value),
}

impl Embedded<'_> {
    pub(in crate::check) fn parse(&self) -> Result<Config, ConfigErrors> {
        match self {
            Self::Json(text) => Config::from_json(text),
            Self::Struct(value) => Config::from_value((*value).clone()),
        }
    }

    /// What is written there; `null` if it is not JSON.
    pub(super) fn value(&self) -> Value {
        match self {
            Self::Json(text) => serde_json::from_str(text).unwrap_or_default(),
            Self::Struct(value) => (*value).clone(),
        }
    }
}

pub(super) fn find<'a>(root: &Node<'a>, envoy: &Envoy<'a>) -> Vec<Plugin<'a>> {
    let mut plugins = Vec::new();
    for (index, manager) in envoy.managers.iter().enumerate() {
        plugins.extend(among(&manager.node, Place::Listener(index)));
    }
    let resources = root.get("static_resources");
    for cluster in resources
        .map(|resources| resources.list("clusters"))
        .unwrap_or_default()
    {
        if let Some(options) = cluster.at(&["typed_extension_protocol_options", HTTP_OPTIONS]) {
            let name = cluster.text("name").unwrap_or_default();
            plugins.extend(among(&options, Place::Cluster(name)));
        }
    }
    plugins
}

impl Plugin<'_> {
    pub(super) fn variable(&self, name: &str) -> Variable {
        variable(&self.node, name)
    }
}

/// An environment variable, as a module will see it.
pub(in crate::check) fn variable(module: &Node<'_>, name: &str) -> Variable {
    let Some(variables) = module.at(&["vm_config", "environment_variables"]) else {
        return Variable::Missing;
    };
    let values = variables.get("key_values");
    let value = values.and_then(|values| values.value().get(name)?.as_str());
    if let Some(value) = value {
        return Variable::InSight(value.to_owned());
    }
    let mut keys = variables.list("host_env_keys").into_iter();
    match keys.any(|key| key.value().as_str() == Some(name)) {
        true => credential_files::of_this_process(name),
        false => Variable::Missing,
    }
}

fn among<'a>(parent: &Node<'a>, place: Place<'a>) -> Vec<Plugin<'a>> {
    let modules = modules(&parent.list("http_filters")).into_iter();
    let plugin = |module: Module<'a>| Plugin {
        node: module.node,
        place,
        configuration: module.configuration,
    };
    modules.map(plugin).collect()
}

/// Invoker among HTTP filters.
pub(in crate::check) fn modules<'a>(filters: &[Node<'a>]) -> Vec<Module<'a>> {
    filters
        .iter()
        .filter_map(|filter| match filter.typed("typed_config")? {
            ("Wasm", wasm) => wasm.get("config"),
            _ => None,
        })
        .map(|node| Module {
            configuration: configuration(&node),
            node,
        })
        .filter(is_invoker)
        .collect()
}

/// By the module's name, or by a configuration that only ours has.
fn is_invoker(module: &Module<'_>) -> bool {
    let code = module
        .node
        .at(&["vm_config", "code"])
        .map(|code| code.value().to_string());
    let configuration = module
        .configuration
        .as_ref()
        .map(Embedded::value)
        .unwrap_or_default();
    let is_ours = configuration.get("credentials").is_some()
        && ["audiences", "audience_from_metadata"]
            .iter()
            .any(|f| configuration.get(f).is_some());
    is_ours || code.is_some_and(|code| code.to_lowercase().contains("invoker"))
}

fn configuration<'a>(config: &Node<'a>) -> Result<Embedded<'a>, &'static str> {
    let configuration = config
        .get("configuration")
        .ok_or("is missing; write Invoker's configuration as a google.protobuf.Struct")?;
    let kind = configuration.text("@type").unwrap_or_default();
    let value = configuration.get("value").map(|value| value.value());
    match (kind.rsplit(['.', '/']).next(), value) {
        (Some("StringValue"), Some(Value::String(text))) => Ok(Embedded::Json(text)),
        (Some("Struct"), Some(value @ Value::Object(_))) => Ok(Embedded::Struct(value)),
        _ => Err(
            "is neither a google.protobuf.Struct nor a StringValue with a `value`; write \
                  \"@type\": type.googleapis.com/google.protobuf.Struct, and the configuration as `value`",
        ),
    }
}
