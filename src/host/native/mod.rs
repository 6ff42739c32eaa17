//! A process of its own: real clocks, real HTTP, a store that nobody else sees.
//!
//! It serves the command, which wants one token or stands for a metadata server. Everything about a token's life
//! (retries, pauses, what may pass and what may not) is the core's; here are only its clocks and its
//! wires.

mod broker;
mod clock;
mod http;
mod metadata_server;
mod stream;
mod subject_token;

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

pub use self::broker::{BrokeredToken, TokenBroker};
use self::clock::Clock;
use self::http::Exchange;
pub use self::metadata_server::{AddressError, MetadataServer};
use self::subject_token::Brought;
use crate::authenticator::{Answer, Authenticator, CalloutId, Event, Output, RequestId, Settings};
use crate::config::Timing;
use crate::error::Denial;
use crate::rules::Target;
use crate::source::Source;
use crate::store::MemoryStore;
use crate::token::Token;
use crate::wanted::Wanted;

/// The first thing that a host is made for.
pub const FIRST: Target = Target::Literal(0);

/// As many as a worker of Envoy's lets wait.
const MAX_WAITING: usize = 1024;

/// One credential in this process, inside of a tokio runtime.
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
    callouts: JoinSet<(CalloutId, Came)>,
    callout_timeout: Duration,
    last_exchange: Option<(String, String)>,
    asked: u64,
    pending: BTreeSet<RequestId>,
    happenings: VecDeque<Happening>,
}

/// The end of what was spawned for the core.
#[derive(Debug)]
enum Came {
    Exchange(Exchange),
    Subject(Brought),
}

/// What [`Native::next`] tells.
#[derive(Debug)]
pub enum Happening {
    /// The answer to [`Native::ask`].
    Answered(RequestId, Result<Rc<Token>, Denial>),
    /// A step in the life of the token.
    Event(Event),
}

impl Native {
    /// Nothing is sent before the first [`Native::ask`]. The source is one of credentials without clusters:
    /// those are names in Envoy's configuration, and here callouts go out as they are.
    ///
    /// `wanted` is what it goes on looking for by itself once it was asked; of anything else it can be asked
    /// as well.
    pub fn new(source: Source, wanted: &[Wanted], timing: Timing, server: MetadataServer) -> Self {
        let callout_timeout = timing.callout_timeout;
        let settings = Settings {
            timing: Timing {
                // A lease must last as long as its longest leg.
                callout_timeout: callout_timeout.max(source.patience().unwrap_or_default()),
                ..timing
            },
            max_waiting_requests: MAX_WAITING,
            prefetch: false,
            lateness: Duration::ZERO,
            joins_fetches: true,
        };
        let clock = Clock::start();
        // For jitter only, and for leases that nobody else takes: any number will do.
        let seed = getrandom::u64().unwrap_or_default();
        let started = clock.now().monotonic;
        Self {
            authenticator: Authenticator::new(source, settings, wanted, seed, started),
            server,
            store: MemoryStore::default(),
            clock,
            callouts: JoinSet::new(),
            callout_timeout,
            last_exchange: None,
            asked: 0,
            pending: BTreeSet::new(),
            happenings: VecDeque::new(),
        }
    }

    /// Asks for a token; [`Happening::Answered`] with this number follows, at the latest after `timeout`.
    pub fn ask(&mut self, target: &Target) -> RequestId {
        let request = RequestId(self.asked);
        self.asked += 1;
        let now = self.clock.now();
        let answer = self
            .authenticator
            .handle_request(request, target, &self.store, now);
        self.drain();
        let result = match answer {
            Answer::Token(token) => Ok(token),
            Answer::Denied(denial) => Err(denial),
            Answer::Pending => {
                self.pending.insert(request);
                return request;
            }
        };
        self.happenings
            .push_back(Happening::Answered(request, result));
        request
    }

    /// Whether a question is still without an answer.
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Asks for the [`FIRST`] token, and waits for the answer.
    ///
    /// # Errors
    ///
    /// The core's denial.
    pub async fn token(&mut self) -> Result<Rc<Token>, Denial> {
        let asked = self.ask(&FIRST);
        loop {
            match self.next().await {
                Happening::Answered(request, result) if request == asked => return result,
                _ => {}
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
                    if let Ok((callout, came)) = done {
                        self.answered(callout, came);
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

    fn answered(&mut self, callout: CalloutId, came: Came) {
        let now = self.clock.now();
        match came {
            Came::Exchange(exchange) => {
                self.last_exchange = Some((exchange.asked, exchange.in_words));
                self.authenticator
                    .handle_response(callout, exchange.answer, &self.store, now);
            }
            Came::Subject(brought) => {
                let in_words = match &brought.answer {
                    Ok(_) => "it gave a subject token".to_owned(),
                    Err(error) => error.to_string(),
                };
                self.last_exchange = Some((brought.asked, in_words));
                self.authenticator
                    .handle_subject(callout, brought.answer, &self.store, now);
            }
        }
    }

    /// Does what the core asks for.
    fn drain(&mut self) {
        while let Some(output) = self.authenticator.poll_output() {
            match output {
                Output::Callout(id, mut request) => {
                    request.timeout = request.timeout.min(self.callout_timeout);
                    let server = self.server.clone();
                    self.callouts.spawn(async move {
                        let exchange = http::exchange(&request, &server).await;
                        (id, Came::Exchange(exchange))
                    });
                }
                Output::Subject(id, subject) => {
                    let (clock, timeout) = (self.clock, self.callout_timeout);
                    let server = self.server.clone();
                    self.callouts.spawn(async move {
                        let now = || clock.now().unix;
                        let brought = subject_token::get(&subject, &server, timeout, now).await;
                        (id, Came::Subject(brought))
                    });
                }
                Output::Sign(id, input) => {
                    let (signature, now) = (input.sign(), self.clock.now());
                    self.authenticator
                        .handle_signature(id, signature, &self.store, now);
                }
                Output::Resume(request, result) => {
                    if self.pending.remove(&request) {
                        self.happenings
                            .push_back(Happening::Answered(request, result));
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
