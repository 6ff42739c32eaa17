//! Envoy Gateway's EnvoyExtensionPolicy: its configuration, and what happens if the module fails.

use super::document::Document;
use super::embedded;
use crate::check::Report;
use crate::check::bootstrap::Embedded;
use crate::check::credential_files::{self, Environment, Variable};
use crate::check::node::Node;
use crate::config::FailureMode;

#[derive(Debug)]
pub(super) struct ExtensionPolicy<'a> {
    document: Document<'a>,
    /// The entry of `wasm`.
    wasm: Node<'a>,
}

impl<'a> ExtensionPolicy<'a> {
    /// Each of its modules that is Invoker.
    pub(super) fn read(document: &Document<'a>) -> Vec<Self> {
        if !document.is("gateway.envoyproxy.io", "EnvoyExtensionPolicy") {
            return Vec::new();
        }
        let modules = document.spec.list("wasm").into_iter();
        let policy = |wasm| Self {
            document: document.clone(),
            wasm,
        };
        modules.map(policy).filter(Self::is_invoker).collect()
    }

    pub(super) fn check(&self, report: &mut Report) {
        let variable = |name: &str| self.variable(name);
        let environment = Environment {
            variable: &variable,
            give: "name it in env.hostKeys",
            in_sight: "is in sight",
        };
        let config = self.wasm.get("config");
        let config = config.map(|node| Embedded::Struct(node.value()));
        let config = embedded(
            &self.document,
            self.wasm.path_of("config"),
            &config.ok_or("is missing; write Invoker's configuration here"),
            &environment,
            report,
        );
        let is_closed = config.is_none_or(|config| config.failure_mode == FailureMode::Deny);
        if self.wasm.is_true("fail_open") && is_closed {
            self.document.findings(report).error(
                self.wasm.path_of("failOpen"),
                "lets requests out without a token if the module fails, while failure_mode is deny; leave it out",
            );
        }
    }

    fn variable(&self, name: &str) -> Variable {
        let keys = self.wasm.get("env").map(|env| env.texts("host_keys"));
        match keys.is_some_and(|keys| keys.contains(&name)) {
            true => credential_files::of_this_process(name),
            false => Variable::Missing,
        }
    }

    fn is_invoker(&self) -> bool {
        let config = self.wasm.get("config");
        let code = self.wasm.get("code").map(|code| code.value().to_string());
        config.is_some_and(|config| config.get("credentials").is_some())
            || self
                .wasm
                .text("name")
                .is_some_and(|name| name.contains("invoker"))
            || code.is_some_and(|code| code.contains("invoker"))
    }
}
