//! The life of tokens: who fetches, who waits, what is refreshed when, and what happens on failure.
//!
//! One [`Authenticator`] is one VM's part. It owns a first-level cache and the requests that wait in
//! this VM; what all VMs must agree on (who fetches, how it failed, the token) is in the shared
//! [`Record`]s, and every decision is made by reading one and swapping it.
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
//! swaps, dead holders, frozen clocks. `scripts/test simulation` runs it.

mod backoff;
mod entries;
mod entry;
mod event;
mod flight;
mod look;
mod refresh;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;

use self::entries::{Entries, EntryId};
use self::entry::{Cached, Keep, Waiter};
pub use self::event::{Event, Level, Success};
use self::flight::Flight;
use self::look::{Move, View, look};
use crate::audience::Audience;
use crate::error::{Class, Code, Denial};
use crate::http::Request;
use crate::rules::Target;
use crate::source::Source;
use crate::store::{
    Failure, Lease, PeerId, Record, SharedStore, Slot, StoredToken, Version, success_key,
};
use crate::time::{Monotonic, Now, UnixTime};
use crate::token::Token;

/// Callouts in flight per credential and VM.
pub const MAX_IN_FLIGHT: usize = 64;

/// A record that changes under every swap is left for a moment: somebody makes progress with it.
const MAX_SWAPS: usize = 8;
const AFTER_LOST_SWAPS: Duration = Duration::from_millis(100);

/// Between two lines about denied requests.
const DENIED_LINE_EVERY: Duration = Duration::from_secs(1);

/// A request that the host knows by this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A callout, by the number under which its answer comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CalloutId(pub u64);

/// How an authenticator behaves; the configuration's values.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a request may wait.
    pub timeout: Duration,
    /// How long a callout may take.
    pub callout_timeout: Duration,
    /// How long before its usable end a token is refreshed.
    pub refresh_margin: Duration,
    /// How many requests may wait in this VM.
    pub max_waiting_requests: usize,
    /// Whether literal audiences get a token before anybody asks.
    pub prefetch: bool,
    /// How much later than asked the host may call `handle_timeout`: a waiting request is let go that
    /// much earlier, so that it never waits beyond `timeout`.
    pub lateness: Duration,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Attach this.
    Token(Rc<Token>),
    /// There is none, and there won't be one in time.
    Denied(Denial),
    /// Wait: [`Output::Resume`] comes.
    Pending,
}

/// What the host is to do.
#[derive(Debug)]
pub enum Output {
    /// Send this request and bring the answer back to `handle_response`.
    Callout(CalloutId, Request),
    /// A pending request's answer, which is never `Pending` again.
    Resume(RequestId, Result<Rc<Token>, Denial>),
    /// Wake this VM.
    Wake(PeerId),
    /// Tell the operator.
    Event(Event),
}

/// One VM's part in keeping all VMs supplied with tokens.
#[derive(Debug)]
pub struct Authenticator {
    source: Source,
    server: String,
    settings: Settings,
    entries: Entries,
    waiting: BTreeMap<RequestId, EntryId>,
    flights: BTreeMap<CalloutId, Flight>,
    /// Entries that wait for one of the places in flight.
    queued: VecDeque<EntryId>,
    in_flight: usize,
    next_callout: u64,
    outputs: VecDeque<Output>,
    peer: Option<PeerId>,
    rng: Rng,
    started: Monotonic,
    has_succeeded: bool,
    has_remarked: bool,
    success_key: String,
    denied: u64,
    last_denied_line: Option<Monotonic>,
}

impl Authenticator {
    /// For the literal audiences of a configuration. `seed` makes jitter and lease numbers: another
    /// one for each VM. `started` is when the VM started.
    pub fn new(
        source: Source,
        settings: Settings,
        literals: &[Audience],
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
            entries: Entries::new(source.identity(), literals, keep),
            source,
            settings,
            waiting: BTreeMap::new(),
            flights: BTreeMap::new(),
            queued: VecDeque::new(),
            in_flight: 0,
            next_callout: 0,
            outputs: VecDeque::new(),
            peer: None,
            rng: Rng::with_seed(seed),
            started,
            has_succeeded: false,
            has_remarked: false,
            denied: 0,
            last_denied_line: None,
        }
    }

    /// Where other VMs wake this one; without it, it looks by itself.
    pub fn set_peer(&mut self, peer: Option<PeerId>) {
        self.peer = peer;
    }

    /// The hit path: for an audience that the configuration spells out an index and two comparisons.
    /// `None` if there is more to do than to attach a token; [`Self::handle_request`] does it.
    pub fn cached(&mut self, target: &Target, now: UnixTime) -> Option<&Token> {
        let entry = match target {
            Target::Literal(index) => self.entries.literal(*index)?,
            Target::Derived(audience) => self.entries.used(audience)?,
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
            return Answer::Denied(self.too_many(target, now));
        };
        // A request can be what finds a refresh due: after a long sleep it is here before the tick.
        let rejection = match self.entries.get(id) {
            Some(entry) if entry.is_settled(now) => None,
            _ => self.advance(id, true, store, now),
        };
        if let Some(token) = self.token(id, now) {
            return Answer::Token(token);
        }
        if let Some(failure) = rejection {
            return Answer::Denied(self.deny(
                id,
                failure.class,
                failure.code,
                &failure.reason,
                now,
            ));
        }
        if self.waiting.len() >= self.settings.max_waiting_requests {
            return Answer::Denied(self.too_many(target, now));
        }
        let deadline = now.monotonic + self.settings.timeout - self.settings.lateness;
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
            self.advance(id, false, store, now);
        }
    }

    /// Time has passed: fails requests whose time is up, gives up callouts, retries and refreshes.
    pub fn handle_timeout(&mut self, store: &dyn SharedStore, now: Now) {
        self.give_up_flights(store, now);
        for id in self.entries.ids_where(|entry| entry.is_due(now)) {
            self.advance(id, false, store, now);
        }
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
        let ends = || {
            self.entries
                .iter()
                .filter_map(|entry| entry.usable(now))
                .map(|c| c.usable_end)
        };
        (ends().count(), ends().min())
    }

    /// How many derived audiences this VM keeps.
    pub fn derived_audiences(&self) -> usize {
        self.entries.derived_len()
    }

    /// Counts a denial that was decided elsewhere, for the rate-limited line.
    pub fn note_denial(&mut self, denial: &Denial, now: Now) {
        self.denied += 1;
        let is_quiet = self
            .last_denied_line
            .is_some_and(|last| now.monotonic.since(last) < DENIED_LINE_EVERY);
        if !is_quiet {
            self.last_denied_line = Some(now.monotonic);
            let count = std::mem::take(&mut self.denied);
            self.outputs.push_back(Output::Event(Event::Denied {
                denial: denial.clone(),
                count,
            }));
        }
    }

    fn entry_for(&mut self, target: &Target) -> Option<EntryId> {
        match target {
            Target::Literal(index) => {
                let id = self.entries.literal_id(*index)?;
                self.entries.get_mut(id)?.keep = Keep::Fresh;
                Some(id)
            }
            Target::Derived(audience) => self.entries.derived_id(audience),
        }
    }

    fn token(&self, id: EntryId, now: Now) -> Option<Rc<Token>> {
        self.entries
            .get(id)?
            .usable(now.unix)
            .map(|cached| Rc::clone(&cached.token))
    }

    /// Does what the shared record asks for. `asking`: a request is about to wait here. Returns the
    /// failure with which the waiting requests were rejected, if they were.
    fn advance(
        &mut self,
        id: EntryId,
        asking: bool,
        store: &dyn SharedStore,
        now: Now,
    ) -> Option<Failure> {
        for _ in 0..MAX_SWAPS {
            let (slot, version) = self.read(id, store, now)?;
            let (mut record, is_shared) = match slot {
                Slot::Ours(record) => (record, true),
                Slot::Replaceable => (Record::default(), true),
                Slot::Taken => (Record::default(), false),
            };
            if let Some(stored) = &record.token {
                self.adopt(id, stored, now);
            }
            let entry = self.entries.get_mut(id)?;
            if entry.flight.is_some() {
                return None;
            }
            let has_token = entry.usable(now.unix).is_some();
            let somebody_waits = !has_token && (asking || !entry.waiters.is_empty());
            if record.failure.is_some() {
                entry.failure.clone_from(&record.failure);
            }
            let next = look(&View {
                somebody_waits,
                wanted: somebody_waits || entry.wants_token(now.unix),
                fetched_at: entry.cached.as_ref().map(|cached| cached.fetched_at),
                lease: record.lease.as_ref(),
                failure: entry.failure.as_ref(),
                peer: self.peer,
                now: now.monotonic,
            });
            match next {
                Move::Rest => {
                    entry.look_at = None;
                    return None;
                }
                Move::Wait(until) => {
                    entry.look_at = Some(until);
                    return None;
                }
                Move::Reject(failure, until) => {
                    entry.look_at = Some(until);
                    self.reject_waiters(id, &failure, now);
                    return Some(failure);
                }
                Move::Join(lease, until) => {
                    record.lease = Some(lease);
                    if self.write(id, &record, version, store) {
                        self.entries.get_mut(id)?.look_at = Some(until);
                        return None;
                    }
                }
                Move::Fetch(_) if self.in_flight >= MAX_IN_FLIGHT => {
                    entry.look_at = Some(now.monotonic + self.settings.callout_timeout);
                    if !self.queued.contains(&id) {
                        self.queued.push_back(id);
                    }
                    return None;
                }
                Move::Fetch(waiters) => {
                    let lease = self.rng.u64(..);
                    let until = self.lease_until(now.monotonic);
                    record.lease = Some(Lease {
                        id: lease,
                        until,
                        waiters,
                    });
                    if !is_shared || self.write(id, &record, version, store) {
                        self.take_off(id, lease, is_shared, store, now);
                        return None;
                    }
                }
            }
        }
        self.entries.get_mut(id)?.look_at = Some(now.monotonic + AFTER_LOST_SWAPS);
        None
    }

    /// What lies under the entry's key, and the version to swap it by (`None`: nothing lies there).
    fn read(
        &self,
        id: EntryId,
        store: &dyn SharedStore,
        now: Now,
    ) -> Option<(Slot, Option<Version>)> {
        let entry = self.entries.get(id)?;
        Some(match store.get(&entry.key.name) {
            Some((bytes, version)) => (
                Record::read(&bytes, &entry.key, &entry.audience, now),
                Some(version),
            ),
            None => (Slot::Ours(Record::default()), None),
        })
    }

    fn write(
        &self,
        id: EntryId,
        record: &Record,
        version: Option<Version>,
        store: &dyn SharedStore,
    ) -> bool {
        let Some(entry) = self.entries.get(id) else {
            return false;
        };
        let bytes = record.write(&entry.key);
        match version {
            Some(version) => store.compare_and_swap(&entry.key.name, &bytes, version),
            None => store.insert(&entry.key.name, &bytes),
        }
        .is_ok()
    }

    /// Takes a token into the first level, unless the one there is as good, and serves who waits.
    fn adopt(&mut self, id: EntryId, stored: &StoredToken, now: Now) {
        let jitter = self.rng.f64();
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let usable_end = stored.token.usable_end();
        let is_better = now.unix < usable_end
            && entry.cached.as_ref().is_none_or(|cached| {
                usable_end > cached.usable_end
                    || usable_end == cached.usable_end && stored.fetched_at > cached.fetched_at
            });
        if is_better {
            if entry.keep == Keep::Used && entry.cached.is_some() {
                entry.keep = Keep::Idle;
            }
            entry.cached = Some(Cached {
                token: Rc::new(stored.token.clone()),
                usable_end,
                refresh_due: refresh::due(stored, self.settings.refresh_margin, jitter),
                fetched_at: stored.fetched_at,
            });
            if entry
                .failure
                .as_ref()
                .is_some_and(|f| f.failed_at <= stored.fetched_at)
            {
                entry.failure = None;
            }
            self.has_succeeded = true;
        }
        self.serve_waiters(id, now);
    }

    fn serve_waiters(&mut self, id: EntryId, now: Now) {
        let Some(token) = self.token(id, now) else {
            return;
        };
        for request in self.release_waiters(id) {
            self.outputs
                .push_back(Output::Resume(request, Ok(Rc::clone(&token))));
        }
    }

    fn reject_waiters(&mut self, id: EntryId, failure: &Failure, now: Now) {
        for request in self.release_waiters(id) {
            let denial = self.deny(id, failure.class, failure.code, &failure.reason, now);
            self.outputs.push_back(Output::Resume(request, Err(denial)));
        }
    }

    fn release_waiters(&mut self, id: EntryId) -> Vec<RequestId> {
        let Some(entry) = self.entries.get_mut(id) else {
            return Vec::new();
        };
        let requests: Vec<_> = entry
            .waiters
            .drain(..)
            .map(|waiter| waiter.request)
            .collect();
        for request in &requests {
            self.waiting.remove(request);
        }
        requests
    }

    fn let_go_late_waiters(&mut self, id: EntryId, now: Now) {
        loop {
            let Some(entry) = self.entries.get_mut(id) else {
                return;
            };
            let is_late = |waiter: &mut Waiter| now.monotonic >= waiter.deadline;
            let Some(waiter) = entry.waiters.pop_front_if(is_late) else {
                return;
            };
            self.waiting.remove(&waiter.request);
            let (code, reason) = match &entry.failure {
                Some(failure) => (failure.code, failure.reason.clone()),
                None => (Code::Timeout, "its answer is still awaited".to_owned()),
            };
            let reason = format!("no token within {:?}: {reason}", self.settings.timeout);
            let denial = self.deny(id, Class::Transient, code, &reason, now);
            self.outputs
                .push_back(Output::Resume(waiter.request, Err(denial)));
        }
    }

    fn deny(&mut self, id: EntryId, class: Class, code: Code, reason: &str, now: Now) -> Denial {
        let audience = self.entries.get(id).map(|entry| entry.audience.clone());
        let audience = audience.as_ref().map(Audience::as_str).unwrap_or_default();
        let message = format!(
            "no ID token for audience {audience:?} from {}: {reason}",
            self.server
        );
        let denial = Denial {
            class,
            code,
            message,
        };
        self.note_denial(&denial, now);
        denial
    }

    fn too_many(&mut self, target: &Target, now: Now) -> Denial {
        let audience = match target {
            Target::Literal(index) => self.entries.literal(*index).map(|e| e.audience.clone()),
            Target::Derived(audience) => Some(audience.clone()),
        };
        let audience = audience.as_ref().map(Audience::as_str).unwrap_or_default();
        let denial = Denial {
            class: Class::Transient,
            code: Code::TooManyWaiting,
            message: format!(
                "no ID token for audience {audience:?} from {}: {} requests wait already (max_waiting_requests is {})",
                self.server,
                self.waiting.len(),
                self.settings.max_waiting_requests
            ),
        };
        self.note_denial(&denial, now);
        denial
    }
}
