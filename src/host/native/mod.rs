//! A process of its own: real clocks, real HTTP, a store that nobody else sees.
//!
//! It serves the command, which wants one token. Everything about a token's life
//! (retries, pauses, what may pass and what may not) is the core's; here are only its clocks and its
//! wires.

mod clock;
mod http;
mod metadata_server;
mod stream;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use tokio::task::JoinSet;

use self::clock::Clock;
use self::http::Exchange;
pub use self::metadata_server::{AddressError, METADATA_HOST, MetadataServer};
use crate::authenticator::{Answer, Authenticator, CalloutId, Event, Output, RequestId, Settings};
use crate::config::Timing;
use crate::error::Denial;
use crate::rules::Target;
use crate::source::Source;
use crate::store::MemoryStore;
use crate::token::Token;
use crate::wanted::Wanted;

/// The only thing that such a host is asked for.
const WANTED: Target = Target::Literal(0);

/// One credential and one wish in this process, inside of a tokio runtime.
///
/// [`Native::ask`] for a token, then wait for what happens with [`Native::next`], which may be
/// dropped and called again without a loss. The core goes on looking for a token after it has
/// answered with a denial, as long as `next` is awaited.
#[derive(Debug)]
pub struct Native {
    authenticator: Authenticator,
    server: MetadataServer,
    store: MemoryStore,
    clock: Clock,
    callouts: JoinSet<(CalloutId, Exchange)>,
    last_exchange: Option<(String, String)>,
    asked: u64,
    pending: Option<RequestId>,
    happenings: VecDeque<Happening>,
}

/// What [`Native::next`] tells.
#[derive(Debug)]
pub enum Happening {
    /// The answer to [`Native::ask`].
    Answered(Result<Rc<Token>, Denial>),
    /// A step in the life of the token.
    Event(Event),
}

impl Native {
    /// Nothing is sent before the first [`Native::ask`]. The source is one of credentials without clusters:
    /// those are names in Envoy's configuration, and here callouts go out as they are.
    pub fn new(source: Source, wanted: Wanted, timing: Timing, server: MetadataServer) -> Self {
        let settings = Settings {
            timing,
            max_waiting_requests: 1,
            prefetch: false,
            lateness: std::time::Duration::ZERO,
        };
        let clock = Clock::start();
        // For jitter only, and for leases that nobody else takes: any number will do.
        let seed = getrandom::u64().unwrap_or_default();
        let started = clock.now().monotonic;
        Self {
            authenticator: Authenticator::new(source, settings, &[wanted], seed, started),
            server,
            store: MemoryStore::default(),
            clock,
            callouts: JoinSet::new(),
            last_exchange: None,
            asked: 0,
            pending: None,
            happenings: VecDeque::new(),
        }
    }

    /// Asks for a token; [`Happening::Answered`] follows, at the latest after `timeout`. An earlier
    /// question that is still open is withdrawn.
    pub fn ask(&mut self) {
        if let Some(request) = self.pending.take() {
            self.authenticator.handle_cancel(request);
        }
        let request = RequestId(self.asked);
        self.asked += 1;
        let now = self.clock.now();
        let answer = self
            .authenticator
            .handle_request(request, &WANTED, &self.store, now);
        self.drain();
        let result = match answer {
            Answer::Token(token) => Ok(token),
            Answer::Denied(denial) => Err(denial),
            Answer::Pending => {
                self.pending = Some(request);
                return;
            }
        };
        self.happenings.push_back(Happening::Answered(result));
    }

    /// Whether the last question is still without an answer.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Asks for a token, and waits for the answer.
    ///
    /// # Errors
    ///
    /// The core's denial.
    pub async fn token(&mut self) -> Result<Rc<Token>, Denial> {
        self.ask();
        loop {
            if let Happening::Answered(result) = self.next().await {
                return result;
            }
        }
    }

    /// Runs the core until something happens.
    pub async fn next(&mut self) -> Happening {
        loop {
            if let Some(happening) = self.happenings.pop_front() {
                return happening;
            }
            let due = self.authenticator.poll_timeout(self.clock.now());
            let due = due.and_then(|at| self.clock.instant(at));
            tokio::select! {
                Some(done) = self.callouts.join_next() => {
                    // One that was lost times out in the core.
                    if let Ok((callout, exchange)) = done {
                        self.answered(callout, exchange);
                    }
                }
                () = until(due) => {
                    self.authenticator.handle_timeout(&self.store, self.clock.now());
                }
            }
            self.drain();
        }
    }

    /// Which server was asked at last, and what the wire said, in more words than the core needs: a status,
    /// or the system's own message.
    pub fn last_exchange(&self) -> Option<(&str, &str)> {
        let (asked, said) = self.last_exchange.as_ref()?;
        Some((asked, said))
    }

    fn answered(&mut self, callout: CalloutId, exchange: Exchange) {
        self.last_exchange = Some((exchange.asked, exchange.in_words));
        let now = self.clock.now();
        self.authenticator
            .handle_response(callout, exchange.answer, &self.store, now);
    }

    /// Does what the core asks for.
    fn drain(&mut self) {
        while let Some(output) = self.authenticator.poll_output() {
            match output {
                Output::Callout(id, request) => {
                    let server = self.server.clone();
                    self.callouts
                        .spawn(async move { (id, http::exchange(&request, &server).await) });
                }
                Output::Sign(id, input) => {
                    let (signature, now) = (input.sign(), self.clock.now());
                    self.authenticator
                        .handle_signature(id, signature, &self.store, now);
                }
                Output::Resume(request, result) => {
                    if self.pending.take_if(|it| *it == request).is_some() {
                        self.happenings.push_back(Happening::Answered(result));
                    }
                }
                // There is no other VM.
                Output::Wake(_) => {}
                Output::Event(event) => self.happenings.push_back(Happening::Event(event)),
            }
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
