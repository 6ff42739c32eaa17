//! What an instance keeps from one request to the next: the core, its tokens, and the callouts under way.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use wasip2::io::poll::{self, Pollable};
use wasip2::random::random;

use super::callout::{Callout, Outcome};
use super::clock;
use crate::authenticator::{CalloutId, Event, Level, Output, RequestId};
use crate::config::{Config, ConfigErrors, Host};
use crate::error::Denial;
use crate::invoker::Invoker;
use crate::source::metadata::METADATA_HOST;
use crate::store::MemoryStore;
use crate::token::Token;

/// The environment variable with the configuration, as JSON.
const CONFIG: &str = "INVOKER_CONFIG";

pub(super) struct Instance {
    pub(super) invoker: Invoker,
    pub(super) store: MemoryStore,
    pub(super) allow_insecure: bool,
    callouts: Vec<Callout>,
    /// For requests that waited.
    results: BTreeMap<RequestId, Result<Rc<Token>, Denial>>,
    requests: u64,
    metadata_host: Option<String>,
}

/// There is no instance. What is wrong was told, once.
#[derive(Clone, Copy)]
pub(super) struct Misconfigured;

thread_local! {
    static INSTANCE: RefCell<Option<Result<Instance, Misconfigured>>> = const { RefCell::new(None) };
}

/// Lends the instance, which the first call makes. Nothing may wait meanwhile.
///
/// # Errors
///
/// The configuration can't be used.
pub(super) fn with<T>(act: impl FnOnce(&mut Instance) -> T) -> Result<T, Misconfigured> {
    INSTANCE.with_borrow_mut(|made| {
        let made = made.get_or_insert_with(|| {
            Instance::new().map_err(|problems| {
                eprintln!("invoker: error: {problems}");
                Misconfigured
            })
        });
        made.as_mut()
            .map(act)
            .map_err(|misconfigured| *misconfigured)
    })
}

impl Instance {
    fn new() -> Result<Self, String> {
        let variable = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
        let text = variable(CONFIG).ok_or_else(|| {
            format!("{CONFIG} is not set; give the component the configuration there, as JSON")
        })?;
        let told = |errors: ConfigErrors| format!("{CONFIG}: {errors}");
        let config = Config::from_json(&text).and_then(|config| config.for_host(Host::Wasi));
        let config = config.map_err(told)?;
        let source = config.source(&variable).map_err(told)?;
        let allow_insecure = config.allow_insecure;
        let seed = random::get_random_u64();
        let started = clock::now().monotonic;
        Ok(Self {
            invoker: Invoker::new(config, source, seed, started, Duration::ZERO),
            store: MemoryStore::default(),
            allow_insecure,
            callouts: Vec::new(),
            results: BTreeMap::new(),
            requests: 0,
            metadata_host: variable(METADATA_HOST),
        })
    }

    pub(super) fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    /// What came for a request that waited.
    pub(super) fn take_result(&mut self, request: RequestId) -> Option<Result<Rc<Token>, Denial>> {
        self.results.remove(&request)
    }

    /// Takes what has come, and does what is due.
    pub(super) fn step(&mut self) {
        let mut done: Vec<(CalloutId, Outcome)> = Vec::new();
        self.callouts.retain_mut(|callout| match callout.step() {
            Some(outcome) => {
                done.push((callout.id, outcome));
                false
            }
            None => true,
        });
        for (id, outcome) in done {
            let now = clock::now();
            self.invoker.handle_response(id, outcome, &self.store, now);
            self.drain();
        }
        let now = clock::now();
        if self
            .invoker
            .poll_timeout(now)
            .is_some_and(|due| now.monotonic >= due)
        {
            self.invoker.handle_timeout(&self.store, now);
        }
        self.drain();
    }

    /// Does what the core asks for.
    pub(super) fn drain(&mut self) {
        while let Some(output) = self.invoker.poll_output() {
            match output {
                Output::Callout(id, request) => {
                    match Callout::send(id, &request, self.metadata_host.as_deref()) {
                        Ok(callout) => self.callouts.push(callout),
                        Err(error) => {
                            let now = clock::now();
                            self.invoker
                                .handle_response(id, Err(error), &self.store, now);
                        }
                    }
                }
                Output::Sign(id, input) => {
                    let (signature, now) = (input.sign(), clock::now());
                    self.invoker
                        .handle_signature(id, signature, &self.store, now);
                }
                Output::Resume(request, result) => {
                    if self.invoker.is_pending(request) {
                        self.results.insert(request, result);
                    }
                }
                // There is no other instance that it could reach.
                Output::Wake(_) => {}
                Output::Event(event) => tell(&event),
            }
        }
        // Nobody asks what was counted here, and it would grow.
        self.invoker.take_counts();
    }

    /// What the callouts wait for, and the core.
    fn pollables(&self) -> Vec<Pollable> {
        let now = clock::now();
        let callouts = self.callouts.iter().map(Callout::subscribe);
        let deadlines = self.callouts.iter().map(|callout| callout.deadline);
        let due = deadlines.chain(self.invoker.poll_timeout(now)).min();
        callouts.chain(due.map(clock::at)).collect()
    }
}

/// Waits until one of these is ready, or the instance has something to do, and does that. Without anything to
/// wait for it comes back at once.
pub(super) fn wait(others: &[Pollable]) {
    let own = with(|instance| instance.pollables()).unwrap_or_default();
    let all: Vec<&Pollable> = others.iter().chain(&own).collect();
    if !all.is_empty() {
        poll::poll(&all);
    }
    drop(own);
    let _ = with(Instance::step);
}

/// The host keeps what is written to standard error, or does not.
fn tell(event: &Event) {
    let level = match event.level() {
        Level::Debug => return,
        Level::Info => "info",
        Level::Warn => "warning",
        Level::Error => "error",
    };
    eprintln!("invoker: {level}: {event}");
}
