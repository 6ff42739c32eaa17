//! One VM: its root contexts, and which of them a request belongs to.
//!
//! A VM can have several: plugins that share it, and during an update the old configuration's root
//! beside the new one's. Envoy tells a module which root a request belongs to when it creates the
//! request's context; but that export is an entry into the VM on every request. So it isn't
//! exported, and the question is asked only when there is more than one answer: each root
//! leaves a note (a constant CEL expression, which Envoy keeps per root context) that reads its own
//! id, and a request reads the note of its root.

use std::hash::{BuildHasher, RandomState};

use super::abi::{self, Buffer, Level};
use super::clock;
use super::root::{Action, BUSY_TICK, Root};
use super::signing::LastSignature;
use crate::config::{Config, Host};
use crate::host::proxy_wasm_wire::protobuf_struct;
use crate::invoker::Invoker;
use crate::time::Monotonic;

/// The first expression of a root context has this number, as Envoy's foreign functions pass it.
const NOTE: [u8; 4] = [0; 4];

/// All that a VM keeps. Nothing is static beside it: what belongs to a plugin is in its root.
#[derive(Debug)]
pub(super) struct Vm {
    roots: Vec<Root>,
    last_signature: LastSignature,
    started: Monotonic,
}

impl Vm {
    pub(super) fn new() -> Self {
        Self {
            roots: Vec::new(),
            last_signature: LastSignature::never(),
            started: clock::monotonic(),
        }
    }

    /// A plugin's configuration has come; `false` makes Envoy reject it.
    pub(super) fn on_configure(&mut self, root: u32, size: usize) -> bool {
        match self.configure(root, size) {
            Ok(root) => {
                self.roots.retain(|other| other.id() != root.id());
                self.roots.push(root);
                true
            }
            Err(problem) => {
                abi::log(
                    Level::Error,
                    &format!("invoker: configuration rejected: {problem}"),
                );
                false
            }
        }
    }

    pub(super) fn on_request_headers(&mut self, context: u32) -> Action {
        match self.root_of_request() {
            Some(root) => root.on_request_headers(context),
            None => {
                // Without its root nobody knows what the request needs: it does not go on.
                abi::log(Level::Error, "invoker: a request of an unknown plugin");
                let _ = abi::send_local_response(500, "invoker_unknown_plugin", &[], "", 16);
                Action::Pause
            }
        }
    }

    /// A body follows its head: Envoy's `allow_on_headers_stop_iteration` would otherwise send a
    /// waiting request on, without a token.
    pub(super) fn on_request_body(&self, context: u32) -> Action {
        if self.roots.iter().any(|root| root.is_pending(context)) {
            Action::Pause
        } else {
            Action::Continue
        }
    }

    pub(super) fn on_tick(&mut self, root: u32) {
        self.forget_replaced_roots(root);
        let roots = &mut self.roots;
        if let Some(root) = roots.iter_mut().find(|it| it.id() == root) {
            root.on_tick(&mut self.last_signature);
        }
    }

    pub(super) fn on_callout_response(&mut self, root: u32, token: u32, headers: u32, body: usize) {
        if let Some(root) = self.root(root) {
            root.on_callout_response(token, headers, body);
        }
    }

    pub(super) fn on_queue_ready(&mut self, root: u32, queue: u32) {
        if let Some(root) = self.root(root) {
            root.on_queue_ready(queue);
        }
    }

    fn configure(&self, root: u32, size: usize) -> Result<Root, String> {
        let bytes = match size {
            0 => Vec::new(),
            size => abi::buffer(Buffer::PluginConfiguration, size).unwrap_or_default(),
        };
        let config = match protobuf_struct::decode(&bytes) {
            Some(value) if !bytes.is_empty() => Config::from_value(value),
            _ => {
                Config::from_json(str::from_utf8(&bytes).map_err(|_| "it is not UTF-8".to_owned())?)
            }
        };
        let config = config.and_then(|config| config.for_host(Host::Envoy));
        let config = config.map_err(|errors| errors.to_string())?;
        let source = config.source(&|name| std::env::var(name).ok());
        let source = source.map_err(|errors| errors.to_string())?;
        for path in config.credentials.secrets_in_sight() {
            abi::log(
                Level::Warn,
                &format!(
                    "invoker: {path} holds a secret, which everybody sees in Envoy's config_dump; write \
                     {{env: NAME}} and name it in vm_config.environment_variables.host_env_keys"
                ),
            );
        }
        leave_note(root)?;
        let seed = random();
        Ok(Root::new(
            root,
            Invoker::new(config, source, seed, self.started, BUSY_TICK),
            random(),
        ))
    }

    fn root(&mut self, id: u32) -> Option<&mut Root> {
        self.roots.iter_mut().find(|root| root.id() == id)
    }

    /// The root of the request that is the effective context.
    fn root_of_request(&mut self) -> Option<&mut Root> {
        if self.roots.len() <= 1 {
            return self.roots.first_mut();
        }
        self.root(read_note()?)
    }

    /// Envoy says nothing when an update's old root goes (short of an export that every request
    /// would pay for), but its context is gone then.
    fn forget_replaced_roots(&mut self, current: u32) {
        if self.roots.len() > 1 {
            self.roots
                .retain(|root| abi::set_effective_context(root.id()).is_ok());
            let _ = abi::set_effective_context(current);
        }
    }
}

/// Leaves the root's id where its requests find it.
fn leave_note(root: u32) -> Result<(), String> {
    let token = abi::call_foreign_function("expr_create", format!("\"{root}\"").as_bytes());
    match token.as_deref() {
        Ok(token) if *token == NOTE => Ok(()),
        _ => Err(
            "this Envoy was built without CEL expressions, by which requests find their plugin"
                .to_owned(),
        ),
    }
}

fn read_note() -> Option<u32> {
    let note = abi::call_foreign_function("expr_evaluate", &NOTE).ok()?;
    str::from_utf8(&note).ok()?.parse().ok()
}

/// From the host's random numbers, by way of the standard library.
fn random() -> u64 {
    RandomState::new().hash_one(clock::monotonic().as_millis())
}
