//! One root context: one plugin with one configuration, in one VM.
//!
//! Host calls that act on a request act on the *effective* context; whoever changes it sets it back
//! to the context that Envoy entered with: the root, or the request whose head has arrived.

use std::collections::BTreeMap;
use std::time::Duration;

use super::abi::{self, Level};
use super::metrics::Metrics;
use super::queue::Queue;
use super::shared_data::SharedData;
use super::signing::{self, Jobs, LastSignature};
use super::stream::Stream;
use super::{callout, clock};
use crate::authenticator::{CalloutId, Output, RequestId};
use crate::error::{Class, Code, Denial};
use crate::invoker::{Invoker, Plan, Verdict};
use crate::rules::RequestHead;
use crate::time::{Monotonic, Now};

/// While nothing is due soon.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// While a request waits or something is due: also how late a timeout can be noticed.
pub(super) const BUSY_TICK: Duration = Duration::from_millis(100);

/// What Envoy is to do with the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Continue = 0,
    Pause = 1,
}

/// A plugin's state.
#[derive(Debug)]
pub(super) struct Root {
    id: u32,
    invoker: Invoker,
    /// The core's callouts by Envoy's numbers.
    callouts: BTreeMap<u32, CalloutId>,
    signing: Jobs,
    queue: Queue,
    metrics: Metrics,
    tick: Duration,
    /// Ticks in between only sign.
    next_look: Monotonic,
    is_debug: bool,
}

impl Root {
    /// Starts ticking; everything else waits for the first tick, since a VM that Envoy only tries
    /// the configuration on never gets one.
    pub(super) fn new(id: u32, invoker: Invoker, owner: u64) -> Self {
        abi::set_tick_period(BUSY_TICK);
        Self {
            id,
            invoker,
            callouts: BTreeMap::new(),
            signing: Jobs::default(),
            queue: Queue::new(owner),
            metrics: Metrics::define(),
            tick: BUSY_TICK,
            next_look: Monotonic::from_millis(0),
            is_debug: false,
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// A request's head has arrived; it is the effective context.
    pub(super) fn on_request_headers(&mut self, context: u32) -> Action {
        #[cfg(feature = "test-panic")]
        super::panic_on_request();
        let mut stream = Stream::default();
        let action = match self.invoker.begin(&mut stream, clock::now) {
            Plan::Attach(attachment) => {
                if self.is_debug {
                    abi::log(
                        Level::Debug,
                        &format!(
                            "invoker: a token, says {}{}",
                            attachment.source,
                            whither(&stream)
                        ),
                    );
                }
                if self
                    .invoker
                    .authorize_cached(&attachment, clock::unix(), &mut stream)
                {
                    Action::Continue
                } else {
                    let request = RequestId(context.into());
                    let (store, now) = (&SharedData, clock::now());
                    self.keep_queue(now);
                    let verdict =
                        self.invoker
                            .handle_request(request, attachment, &mut stream, store, now);
                    self.drain(context, now);
                    match verdict {
                        Verdict::Continue => Action::Continue,
                        Verdict::Pause => Action::Pause,
                        Verdict::Reject(denial) => self.reply(&denial),
                    }
                }
            }
            Plan::Continue(passed) => {
                if self.is_debug {
                    abi::log(
                        Level::Debug,
                        &format!("invoker: no token: {passed}{}", whither(&stream)),
                    );
                }
                Action::Continue
            }
            Plan::Deny(denial) => {
                self.drain(context, clock::now());
                self.reply(&denial)
            }
        };
        if stream.has_refused() {
            self.invoker.handle_cancel(RequestId(context.into()));
            return self.reply(&refused_header());
        }
        action
    }

    /// Whether the request is held back, its body with it.
    pub(super) fn is_pending(&self, context: u32) -> bool {
        self.invoker.is_pending(RequestId(context.into()))
    }

    /// A callout's answer has arrived.
    pub(super) fn on_callout_response(&mut self, token: u32, headers: u32, body_size: usize) {
        let Some(callout) = self.callouts.remove(&token) else {
            return;
        };
        let now = clock::now();
        self.invoker.handle_response(
            callout,
            callout::answer(headers, body_size),
            &SharedData,
            now,
        );
        self.drain(self.id, now);
    }

    /// Another VM woke this root.
    pub(super) fn on_queue_ready(&mut self, queue: u32) {
        while abi::dequeue(queue).is_ok() {}
        let now = clock::now();
        self.invoker.handle_wake(&SharedData, now);
        self.drain(self.id, now);
    }

    /// Time has passed.
    pub(super) fn on_tick(&mut self, last_signature: &mut LastSignature) {
        let signature = self.signing.sign_one(last_signature, clock::monotonic);
        let now = clock::now();
        if let Some((id, signature)) = signature {
            self.invoker
                .handle_signature(id, signature, &SharedData, now);
            self.drain(self.id, now);
        }
        if now.monotonic < self.next_look {
            self.tick_every(BUSY_TICK);
            return;
        }
        self.look_around(now);
    }

    fn look_around(&mut self, now: Now) {
        self.next_look = now.monotonic + BUSY_TICK / 2;
        self.is_debug = abi::log_level() <= Level::Debug as u32;
        self.keep_queue(now);
        self.forget_those_who_left();
        self.invoker.handle_timeout(&SharedData, now);
        self.drain(self.id, now);
        self.metrics.add(&self.invoker.take_counts());
        let (cached, soonest) = self.invoker.tokens(now.unix);
        self.metrics.set_tokens(cached, soonest);
        let is_soon = self
            .invoker
            .poll_timeout(now)
            .is_some_and(|at| at < now.monotonic + IDLE_TICK);
        self.tick_every(if is_soon { BUSY_TICK } else { IDLE_TICK });
    }

    /// Whoever may wait must be reachable: also a request before the first tick.
    fn keep_queue(&mut self, now: Now) {
        self.queue.keep(&SharedData, now.monotonic);
        self.invoker.set_peer(self.queue.peer());
    }

    /// Requests that wait have no other way to say that their client left: an export for it would
    /// cost every request an entry into the VM.
    fn forget_those_who_left(&mut self) {
        for request in self.invoker.pending_requests() {
            if !enter(request) {
                self.invoker.handle_cancel(request);
            }
        }
        self.leave();
    }

    /// Does what the core asks for, and then makes `context` the effective one again.
    fn drain(&mut self, context: u32, now: Now) {
        while let Some(output) = self.invoker.poll_output() {
            match output {
                Output::Callout(id, request) => match callout::dispatch(&request) {
                    Ok(token) => drop(self.callouts.insert(token, id)),
                    Err(error) => self
                        .invoker
                        .handle_response(id, Err(error), &SharedData, now),
                },
                Output::Sign(id, input) => self.signing.push(id, input),
                Output::Resume(request, result) => {
                    if enter(request) {
                        let mut stream = Stream::default();
                        let denial = self.invoker.finish(request, result, &mut stream);
                        let denial = denial.or(stream.has_refused().then(refused_header));
                        match denial {
                            Some(denial) => {
                                self.reply(&denial);
                            }
                            None => drop(abi::continue_request()),
                        }
                    } else {
                        self.invoker.handle_cancel(request);
                    }
                }
                Output::Wake(peer) => drop(abi::enqueue(peer.0)),
                Output::Event(event) => {
                    abi::log(level(event.level()), &format!("invoker: {event}"))
                }
            }
        }
        if self.invoker.has_pending() || !self.signing.is_empty() {
            self.tick_every(BUSY_TICK);
        }
        let _ = abi::set_effective_context(context);
    }

    /// Answers the effective context's request.
    fn reply(&self, denial: &Denial) -> Action {
        let headers = [("content-type", "text/plain; charset=utf-8")];
        let sent = abi::send_local_response(
            denial.status(),
            &denial.details(),
            &headers,
            &self.invoker.body(denial),
            denial.grpc_status(),
        );
        if sent.is_err() {
            abi::log(
                Level::Error,
                "invoker: Envoy refused the answer to a request that is denied",
            );
        }
        // Whatever became of the answer, the request does not go on.
        Action::Pause
    }

    /// Starting the timer anew on every event would keep it from ever firing. As long as something is to
    /// be signed, it is each turn's.
    fn tick_every(&mut self, period: Duration) {
        let period = match self.signing.is_empty() {
            true => period,
            false => signing::TICK,
        };
        if self.tick != period {
            self.tick = period;
            self.leave();
            abi::set_tick_period(period);
        }
    }

    /// Makes the root the effective context again.
    fn leave(&self) {
        let _ = abi::set_effective_context(self.id);
    }
}

/// Where the request goes, for a debug line: what rules are matched against.
fn whither(stream: &Stream) -> String {
    format!(
        " (cluster {:?}, authority {:?})",
        stream.cluster().unwrap_or_default(),
        stream.authority().unwrap_or_default()
    )
}

/// Makes a request the effective context; `false` if it is gone.
fn enter(request: RequestId) -> bool {
    u32::try_from(request.0).is_ok_and(|context| abi::set_effective_context(context).is_ok())
}

fn refused_header() -> Denial {
    Denial {
        class: Class::Permanent,
        code: Code::RefusedHeader,
        message: "Envoy refused to change a header of the request".to_owned(),
    }
}

fn level(level: crate::authenticator::Level) -> Level {
    match level {
        crate::authenticator::Level::Debug => Level::Debug,
        crate::authenticator::Level::Info => Level::Info,
        crate::authenticator::Level::Warn => Level::Warn,
        crate::authenticator::Level::Error => Level::Error,
    }
}
