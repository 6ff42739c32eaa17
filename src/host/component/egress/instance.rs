//! What an instance keeps from one request to the next: the core, its tokens, and the callouts under way.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use wasip2::io::poll::{self, Pollable};
use wasip2::random::random;

use super::callout::{Callout, Outcome};
use super::clock;
use super::store::{self, Store};
use crate::authenticator::{CalloutId, Output, RequestId};
use crate::config::Host;
use crate::error::Denial;
use crate::host::component::configuration::{self, Configured, Misconfigured};
use crate::host::component::log;
use crate::invoker::Invoker;
use crate::token::Token;

pub(super) struct Instance {
    pub(super) invoker: Invoker,
    pub(super) store: Store,
    pub(super) allow_insecure: bool,
    callouts: Vec<Callout>,
    /// For requests that waited.
    results: BTreeMap<RequestId, Result<Rc<Token>, Denial>>,
    requests: u64,
    metadata_host: Option<String>,
}

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
        if matches!(made, Some(Err(problem)) if problem.is_temporary) {
            *made = None;
        }
        let made = made.get_or_insert_with(Instance::new);
        made.as_mut()
            .map(act)
            .map_err(|misconfigured| *misconfigured)
    })
}

impl Instance {
    fn new() -> Result<Self, Misconfigured> {
        let (seed, started) = (random::get_random_u64(), clock::now().monotonic);
        let configured = configuration::read(Host::Wasi, seed, started)?;
        let store = store::new(&configured);
        let Configured {
            invoker,
            allow_insecure,
            metadata_host,
            ..
        } = configured;
        Ok(Self {
            invoker,
            store,
            allow_insecure,
            callouts: Vec::new(),
            results: BTreeMap::new(),
            requests: 0,
            metadata_host,
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
                Output::Event(event) => log::tell(&event),
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
