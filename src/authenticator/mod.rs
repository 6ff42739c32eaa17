//! The life of tokens: who fetches, who waits, what is refreshed when, and what happens on failure.
//!
//! One [`Authenticator`] is one VM's part. It owns a first-level cache and the requests that wait in
//! this VM; what all VMs must agree on (who fetches, how it failed, the token) is in the shared
//! [`Record`](crate::store::Record)s, and every decision is made by reading one and swapping it.
//!
//! # Calling contract
//!
//! The host calls a `handle_*` method when something happened, then drains
//! [`poll_output`](Authenticator::poll_output) to the end, then asks
//! [`poll_timeout`](Authenticator::poll_timeout) when to call
//! [`handle_timeout`](Authenticator::handle_timeout) if nothing happens before.
//!
//! # Before changing it
//!
//! Everything that goes on here is played against itself in `tests/simulation`: several VMs, lost
//! swaps, dead holders, frozen clocks. `cargo test --test simulation` runs it.

mod advance;
mod backoff;
mod bearer;
mod entries;
mod entry;
mod event;
mod flight;
mod look;
mod output;
mod refresh;
mod waiting;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;

use self::advance::Demand;
use self::entries::{Entries, EntryId};
use self::entry::{Keep, Waiter};
pub use self::event::{Event, Level, Success};
use self::flight::Flight;
pub use self::output::{Answer, CalloutId, Output, RequestId, SignatureId};
use crate::config::Timing;
use crate::error::Code;
use crate::rules::Target;
use crate::source::Source;
use crate::store::{PeerId, SharedStore, success_key};
use crate::time::{Monotonic, Now, UnixTime};
use crate::token::Token;
use crate::wanted::Wanted;

/// Callouts in flight per credential and VM.
pub const MAX_IN_FLIGHT: usize = 64;

/// How an authenticator behaves; the configuration's values.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a request may wait, how long a callout may take, and how early tokens are refreshed.
    pub timing: Timing,
    /// How many requests may wait in this VM.
    pub max_waiting_requests: usize,
    /// Whether literal audiences get a token before anybody asks.
    pub prefetch: bool,
    /// How much later than asked the host may call `handle_timeout`: a waiting request is let go that
    /// much earlier, so that it never waits beyond `timeout`.
    pub lateness: Duration,
    /// Whether a request waits for another VM's fetch. Where it can't (on Cloudflare's workerd no request may
    /// await another one's IO), it fetches beside it.
    pub joins_fetches: bool,
}

/// Denials of one kind since the last line about them.
#[derive(Debug, Default)]
struct Denied {
    count: u64,
    last_line: Option<Monotonic>,
}

/// One VM's part in keeping all VMs supplied with tokens.
#[derive(Debug)]
pub struct Authenticator {
    source: Source,
    server: String,
    settings: Settings,
    entries: Entries,
    waiting: BTreeMap<RequestId, EntryId>,
    /// By the number of their step: a callout or a signature.
    flights: BTreeMap<u64, Flight>,
    /// Entries that wait for one of the places in flight.
    queued: VecDeque<EntryId>,
    in_flight: usize,
    next_step: u64,
    outputs: VecDeque<Output>,
    peer: Option<PeerId>,
    rng: Rng,
    started: Monotonic,
    has_succeeded: bool,
    has_remarked: bool,
    /// Whether the bearer came or failed, and what waits for it is still to be told.
    has_bearer_settled: bool,
    success_key: String,
    denied: BTreeMap<Code, Denied>,
}

impl Authenticator {
    /// For the literal audiences of a configuration. `seed` makes jitter and lease numbers: another
    /// one for each VM. `started` is when the VM started.
    pub fn new(
        source: Source,
        settings: Settings,
        literals: &[Wanted],
        seed: u64,
        started: Monotonic,
    ) -> Self {
        let keep = if settings.prefetch {
            Keep::Fresh
        } else {
            Keep::Idle
        };
        Self {
            server: source.server(),
            success_key: success_key(&source.identity()),
            entries: Entries::new(source.identity(), literals, keep, source.bearer()),
            source,
            settings,
            waiting: BTreeMap::new(),
            flights: BTreeMap::new(),
            queued: VecDeque::new(),
            in_flight: 0,
            next_step: 0,
            outputs: VecDeque::new(),
            peer: None,
            rng: Rng::with_seed(seed),
            started,
            has_succeeded: false,
            has_remarked: false,
            has_bearer_settled: false,
            denied: BTreeMap::new(),
        }
    }

    /// Where other VMs wake this one; without it, it looks by itself.
    pub fn set_peer(&mut self, peer: Option<PeerId>) {
        self.peer = peer;
    }

    /// See [`Settings::joins_fetches`].
    pub fn set_joins_fetches(&mut self, joins_fetches: bool) {
        self.settings.joins_fetches = joins_fetches;
    }

    /// The hit path: for an audience that the configuration spells out an index and two comparisons.
    /// `None` if there is more to do than to attach a token; [`Self::handle_request`] does it.
    pub fn cached(&mut self, target: &Target, now: UnixTime) -> Option<&Token> {
        let entry = match target {
            Target::Literal(index) => self.entries.literal(*index)?,
            Target::Derived(wanted) => self.entries.used(wanted)?,
        };
        let cached = entry.usable(now)?;
        (now < cached.refresh_due).then_some(&*cached.token)
    }

    /// A request that needs a token. If the answer is `Pending`, an [`Output::Resume`] with this id
    /// follows, at the latest after `timeout`.
    pub fn handle_request(
        &mut self,
        request: RequestId,
        target: &Target,
        store: &dyn SharedStore,
        now: Now,
    ) -> Answer {
        let Some(id) = self.entry_for(target) else {
            return Answer::Denied(self.too_many_audiences(target.wanted(), now));
        };
        // A request can be what finds a refresh due: after a long sleep it is here before the tick.
        let rejection = match self.entries.get(id) {
            Some(entry) if entry.is_settled(now) => None,
            _ => self.advance(id, Demand::Waits, store, now),
        };
        self.advance_dependents(store, now);
        if let Some(token) = self.token(id, now) {
            return Answer::Token(token);
        }
        if let Some(failure) = rejection {
            return Answer::Denied(self.rejection(id, &failure, now));
        }
        if self.waiting.len() >= self.settings.max_waiting_requests {
            let wanted = self.entries.get(id).map(|entry| entry.wanted.clone());
            return Answer::Denied(self.too_many_waiting(wanted.as_ref(), now));
        }
        let deadline = now.monotonic + self.settings.timing.timeout - self.settings.lateness;
        if let Some(entry) = self.entries.get_mut(id) {
            entry.waiters.push_back(Waiter { request, deadline });
            self.waiting.insert(request, id);
        }
        Answer::Pending
    }

    /// A pending request whose client left.
    pub fn handle_cancel(&mut self, request: RequestId) {
        let Some(id) = self.waiting.remove(&request) else {
            return;
        };
        if let Some(entry) = self.entries.get_mut(id) {
            entry.waiters.retain(|waiter| waiter.request != request);
        }
    }

    /// Another VM is done with something that this one waited for.
    pub fn handle_wake(&mut self, store: &dyn SharedStore, now: Now) {
        for id in self.entries.ids_where(|entry| !entry.waiters.is_empty()) {
            self.advance(id, Demand::None, store, now);
        }
        self.advance_dependents(store, now);
    }

    /// Time has passed: fails requests whose time is up, gives up callouts, retries and refreshes.
    pub fn handle_timeout(&mut self, store: &dyn SharedStore, now: Now) {
        self.give_up_flights(store, now);
        for id in self.entries.ids_where(|entry| entry.is_due(now)) {
            self.advance(id, Demand::None, store, now);
        }
        self.advance_dependents(store, now);
        for id in self
            .entries
            .ids_where(|entry| entry.has_late_waiter(now.monotonic))
        {
            self.let_go_late_waiters(id, now);
        }
    }

    /// When to call [`Self::handle_timeout`], if nothing happens before.
    pub fn poll_timeout(&self, now: Now) -> Option<Monotonic> {
        let flights = self
            .flights
            .values()
            .filter(|flight| !flight.given_up)
            .map(|f| f.until);
        let entries = self.entries.iter().flat_map(|entry| {
            let wish = match (entry.flight, entry.look_at) {
                (None, None) => entry.wants_token_at(now.unix),
                _ => None,
            };
            let wish = wish.map(|at| now.monotonic + at.since(now.unix));
            let waiter = entry.waiters.front().map(|waiter| waiter.deadline);
            [wish, entry.look_at, waiter].into_iter().flatten()
        });
        flights.chain(entries).min()
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How many usable tokens this VM holds, and the soonest of their usable ends.
    pub fn tokens(&self, now: UnixTime) -> (usize, Option<UnixTime>) {
        let ends = self
            .entries
            .iter_asked()
            .filter_map(|entry| Some(entry.usable(now)?.usable_end));
        ends.fold((0, None), |(count, soonest), end| {
            (
                count + 1,
                Some(soonest.map_or(end, |soonest| end.min(soonest))),
            )
        })
    }

    /// Whether it is any use to ask for an audience.
    pub fn gives_id_tokens(&self) -> bool {
        self.source.gives_id_tokens()
    }

    /// How many derived audiences this VM keeps.
    pub fn derived_audiences(&self) -> usize {
        self.entries.derived_len()
    }

    fn entry_for(&mut self, target: &Target) -> Option<EntryId> {
        match target {
            Target::Literal(index) => {
                let id = self.entries.literal_id(*index)?;
                self.entries.get_mut(id)?.keep = Keep::Fresh;
                Some(id)
            }
            Target::Derived(wanted) => self.entries.derived_id(wanted),
        }
    }

    fn token(&self, id: EntryId, now: Now) -> Option<Rc<Token>> {
        self.entries
            .get(id)?
            .usable(now.unix)
            .map(|cached| Rc::clone(&cached.token))
    }
}

#[cfg(test)]
mod tests;
