//! Fetches under way: from the lease that was won to the record that says how it ended.

use std::time::Duration;

use super::advance::Demand;
use super::bearer::Bearer;
use super::entries::EntryId;
use super::event::{Event, Success};
use super::{Authenticator, CalloutId, Output, SignatureId, backoff};
use crate::error::{Code, FetchError};
use crate::http::{CalloutError, Response};
#[cfg(not(target_family = "wasm"))]
use crate::secret::Secret;
use crate::source::key::SignError;
use crate::source::{Answer, Leg, Order, Standing, Step};
use crate::store::{Lease, PeerId, Record, SharedStore, Slot, StoredToken};
use crate::time::{Monotonic, Now};
use crate::token::Token;
use crate::wanted::Wanted;

/// A lease outlives its callout by this much, so that the holder is heard before it is replaced.
pub(super) const LEASE_SLACK: Duration = Duration::from_secs(1);

/// An answer this late is not awaited any more; hosts time out their callouts long before.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// Enough to get past neighbours that are themselves done after one swap each.
const MAX_SWAPS: usize = 64;

/// One exchange: the step that is under way, and what it is for.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    entry: EntryId,
    lease: Held,
    leg: Leg,
    bearer: Option<Bearer>,
    started: Monotonic,
    pub(super) until: Monotonic,
    /// Its time is up; its answer may still bring a token, but no failure.
    pub(super) given_up: bool,
}

/// A lease of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) id: u64,
    /// Whether the record holds it; a derived audience whose slot is taken flies without.
    pub(super) is_shared: bool,
}

impl Authenticator {
    /// The answer to a callout, or why there is none. Also for one that could not be dispatched.
    pub fn handle_response(
        &mut self,
        callout: CalloutId,
        answer: Result<Response, CalloutError>,
        store: &dyn SharedStore,
        now: Now,
    ) {
        self.proceed(callout.0, Answer::Response(answer), store, now);
    }

    /// A signature, or why there is none.
    pub fn handle_signature(
        &mut self,
        signature: SignatureId,
        answer: Result<Vec<u8>, SignError>,
        store: &dyn SharedStore,
        now: Now,
    ) {
        self.proceed(signature.0, Answer::Signature(answer), store, now);
    }

    /// A subject token, or why there is none.
    #[cfg(not(target_family = "wasm"))]
    pub fn handle_subject(
        &mut self,
        callout: CalloutId,
        answer: Result<Secret, FetchError>,
        store: &dyn SharedStore,
        now: Now,
    ) {
        self.proceed(callout.0, Answer::Subject(answer), store, now);
    }

    /// When a lease that is taken or renewed now runs out.
    pub(super) fn lease_until(&self, now: Monotonic) -> Monotonic {
        now + self.settings.timing.callout_timeout + LEASE_SLACK
    }

    /// Starts the exchange for which the lease was won.
    pub(super) fn take_off(
        &mut self,
        id: EntryId,
        lease: Held,
        bearer: Option<Bearer>,
        store: &dyn SharedStore,
        now: Now,
    ) {
        let flight = Flight {
            entry: id,
            lease,
            leg: Leg::Start,
            bearer,
            started: now.monotonic,
            until: self.lease_until(now.monotonic),
            given_up: false,
        };
        let Some(entry) = self.entries.get(id) else {
            return;
        };
        let order = self.order(&flight, &entry.wanted, self.has_succeeded, now);
        let step = self.source.begin(&order);
        self.in_flight += 1;
        self.go_on(flight, step, store, now);
    }

    fn proceed(&mut self, step: u64, answer: Answer, store: &dyn SharedStore, now: Now) {
        let Some(flight) = self.flights.remove(&step) else {
            return;
        };
        let Some(entry) = self.entries.get(flight.entry) else {
            return;
        };
        let has_succeeded = self.has_succeeded || store.get(&self.success_key).is_some();
        let order = self.order(&flight, &entry.wanted, has_succeeded, now);
        let step = self.source.proceed(&flight.leg, answer, &order);
        match step {
            Step::Done(_) => self.go_on(flight, step, store, now),
            // Whoever took over goes on with it.
            _ if flight.given_up => {}
            _ => match self.renewed(flight, store, now) {
                Ok(flight) => self.go_on(flight, step, store, now),
                Err(id) => {
                    self.land(id);
                    self.advance(id, Demand::None, store, now);
                    self.start_queued(store, now);
                }
            },
        }
        self.advance_dependents(store, now);
    }

    fn order<'a>(
        &self,
        flight: &'a Flight,
        wanted: &'a Wanted,
        has_succeeded: bool,
        now: Now,
    ) -> Order<'a> {
        let bearer = flight.bearer.as_ref();
        Order {
            wanted,
            bearer: bearer.map(|bearer| &*bearer.token),
            timeout: self.settings.timing.callout_timeout,
            standing: Standing {
                age: now.monotonic.since(self.started),
                has_succeeded,
                bearer_age: bearer.map(|bearer| now.monotonic.since(bearer.fetched_at)),
            },
            now,
        }
    }

    /// The next leg has as much time as the first one had. Not, if somebody took over meanwhile.
    fn renewed(
        &self,
        mut flight: Flight,
        store: &dyn SharedStore,
        now: Now,
    ) -> Result<Flight, EntryId> {
        flight.until = self.lease_until(now.monotonic);
        if !flight.lease.is_shared {
            return Ok(flight);
        }
        let is_renewed = self.swap_record(flight.entry, store, now, |record| {
            let has_settled = record.has_settled_since(flight.started);
            match &mut record.lease {
                Some(lease) if lease.id == flight.lease.id => lease.until = flight.until,
                lease @ None if !has_settled => {
                    // A neighbour garbled the record: an exchange that began anew each time would never end.
                    *lease = Some(Lease {
                        id: flight.lease.id,
                        until: flight.until,
                        waiters: Vec::new(),
                    });
                }
                _ => return None,
            }
            Some(Vec::new())
        });
        is_renewed.map(|_| flight.clone()).ok_or(flight.entry)
    }

    /// Gives up the callouts whose lease ran out, as if they had timed out.
    pub(super) fn give_up_flights(&mut self, store: &dyn SharedStore, now: Now) {
        self.flights.retain(|_, flight| {
            !flight.given_up || now.monotonic.since(flight.until) < FORGET_AFTER
        });
        let late: Vec<_> = self
            .flights
            .iter_mut()
            .filter(|(_, flight)| !flight.given_up && now.monotonic >= flight.until)
            .map(|(_, flight)| {
                flight.given_up = true;
                flight.clone()
            })
            .collect();
        for flight in late {
            self.land(flight.entry);
            let error =
                FetchError::transient(Code::CalloutTimeout, "no answer within callout_timeout");
            self.fail(&flight, error, store, now);
        }
    }

    fn go_on(&mut self, flight: Flight, step: Step, store: &dyn SharedStore, now: Now) {
        let id = flight.entry;
        match step {
            Step::Call(request, leg) => {
                let step = self.board(flight, leg);
                let callout = Output::Callout(CalloutId(step), request);
                self.outputs.push_back(callout);
            }
            Step::Sign(input, leg) => {
                let step = self.board(flight, leg);
                let sign = Output::Sign(SignatureId(step), input);
                self.outputs.push_back(sign);
            }
            #[cfg(not(target_family = "wasm"))]
            Step::Local(subject, leg) => {
                let step = self.board(flight, leg);
                let get = Output::Subject(CalloutId(step), subject);
                self.outputs.push_back(get);
            }
            Step::Done(result) => {
                if !flight.given_up {
                    self.land(id);
                }
                match result {
                    Ok(granted) => {
                        self.remark(granted.remark);
                        self.succeed(&flight, granted.token, store, now);
                    }
                    // Whoever took over says how it went.
                    Err(_) if flight.given_up => {}
                    Err(error) => self.fail(&flight, error, store, now),
                }
            }
        }
    }

    /// Numbers the step that a flight is at.
    fn board(&mut self, mut flight: Flight, leg: Leg) -> u64 {
        let step = self.next_step;
        self.next_step += 1;
        flight.leg = leg;
        if let Some(entry) = self.entries.get_mut(flight.entry) {
            entry.flight = Some(step);
            entry.look_at = None;
        }
        self.flights.insert(step, flight);
        step
    }

    fn remark(&mut self, remark: Option<&'static str>) {
        if let Some(remark) = remark
            && !self.has_remarked
        {
            self.has_remarked = true;
            self.outputs.push_back(Output::Event(Event::Remark(remark)));
        }
    }

    /// Gives the place in flight to the next one that waits for it.
    fn land(&mut self, id: EntryId) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(entry) = self.entries.get_mut(id) {
            entry.flight = None;
        }
    }

    fn succeed(&mut self, flight: &Flight, token: Token, store: &dyn SharedStore, now: Now) {
        if !self.has_succeeded {
            // Somebody else may have said so already.
            let _ = store.insert(&self.success_key, b"1");
        }
        let Some(entry) = self.entries.get_mut(flight.entry) else {
            return;
        };
        let had_token = entry.cached.is_some();
        let had_failure = entry.failure.take().is_some();
        let stored = StoredToken {
            token,
            fetched_at: now.monotonic,
            fetched_unix: now.unix,
        };
        let event = Event::Fetched {
            wanted: entry.wanted.clone(),
            success: match (had_failure, had_token) {
                (true, _) => Success::Recovered,
                (false, true) => Success::Refreshed,
                (false, false) => Success::First,
            },
            email: stored.token.email().map(str::to_owned),
            expires_at: stored.token.expires_at(),
            took: now.monotonic.since(flight.started),
        };
        self.outputs.push_back(Output::Event(event));
        let waiters = self.swap_record(flight.entry, store, now, |record| {
            let waiters = end_lease(record, flight.lease.id);
            match &mut record.token {
                Some(there) if there.token.usable_end() > stored.token.usable_end() => {
                    // The longer one stays; that the server was asked is for all to know.
                    there.fetched_at = stored.fetched_at;
                    there.fetched_unix = stored.fetched_unix;
                }
                _ => {
                    record.token = Some(stored.clone());
                    record.failure = None;
                }
            }
            Some(waiters)
        });
        self.adopt(flight.entry, &stored, now);
        self.wake(waiters.unwrap_or_default());
        self.start_queued(store, now);
    }

    fn fail(&mut self, flight: &Flight, error: FetchError, store: &dyn SharedStore, now: Now) {
        let id = flight.entry;
        if let (true, Some(bearer)) = (error.is_bearer_refused, &flight.bearer) {
            self.drop_bearer(&bearer.token, store, now);
        }
        let is_bearer = self.entries.bearer() == Some(id);
        self.has_bearer_settled |= is_bearer;
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let failure = backoff::failure(error, entry.failure.as_ref(), now.monotonic, &mut self.rng);
        entry.failure = Some(failure.clone());
        let next = backoff::next_attempt(&failure, !entry.waiters.is_empty());
        let event = Event::FetchFailed {
            wanted: entry.wanted.clone(),
            code: failure.code,
            reason: match is_bearer {
                // Its legs say which server it was.
                true => failure.reason.clone(),
                false => format!("{}: {}", self.server, failure.reason),
            },
            retry_in: next.since(now.monotonic),
            has_token: entry.usable(now.unix).is_some(),
            took: now.monotonic.since(flight.started),
        };
        self.outputs.push_back(Output::Event(event));
        if flight.lease.is_shared {
            let waiters = self.swap_record(id, store, now, |record| {
                let is_ours = record.lease.as_ref()?.id == flight.lease.id;
                is_ours.then(|| {
                    record.failure = Some(failure.clone());
                    end_lease(record, flight.lease.id)
                })
            });
            self.wake(waiters.unwrap_or_default());
        }
        self.advance(id, Demand::None, store, now);
        self.start_queued(store, now);
    }

    /// Reads, changes and swaps until it holds; `None` if it did not. `change` answers `None` to leave the
    /// record alone.
    pub(super) fn swap_record(
        &self,
        id: EntryId,
        store: &dyn SharedStore,
        now: Now,
        change: impl Fn(&mut Record) -> Option<Vec<PeerId>>,
    ) -> Option<Vec<PeerId>> {
        for _ in 0..MAX_SWAPS {
            let (slot, version) = self.read(id, store, now)?;
            let mut record = match slot {
                Slot::Ours(record) => record,
                Slot::Replaceable => Record::default(),
                Slot::Taken => return None,
            };
            let waiters = change(&mut record)?;
            if self.write(id, &record, version, store) {
                return Some(waiters);
            }
        }
        None
    }

    fn wake(&mut self, waiters: Vec<PeerId>) {
        let others = waiters.into_iter().filter(|peer| Some(*peer) != self.peer);
        self.outputs.extend(others.map(Output::Wake));
    }

    fn start_queued(&mut self, store: &dyn SharedStore, now: Now) {
        while self.in_flight < super::MAX_IN_FLIGHT {
            let Some(id) = self.queued.pop_front() else {
                return;
            };
            self.advance(id, Demand::None, store, now);
        }
    }
}

/// Takes our lease out of the record, if it is still ours, and says who waited for it.
fn end_lease(record: &mut Record, lease: u64) -> Vec<PeerId> {
    record
        .lease
        .take_if(|held| held.id == lease)
        .map(|lease| lease.waiters)
        .unwrap_or_default()
}
