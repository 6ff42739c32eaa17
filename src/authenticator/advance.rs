//! From what the shared record says to what is done about it: read, decide, swap, and again if
//! somebody else was first.

use std::rc::Rc;
use std::time::Duration;

use super::bearer::Readiness;
use super::entries::EntryId;
use super::entry::{Cached, Keep};
use super::flight::Held;
use super::look::{Move, View, look};
use super::{Authenticator, MAX_IN_FLIGHT, refresh};
use crate::store::{Failure, Lease, Record, SharedStore, Slot, StoredToken, Version};
use crate::time::Now;

/// A record that changes under every swap is left for a moment: somebody makes progress with it.
const MAX_SWAPS: usize = 8;
const AFTER_LOST_SWAPS: Duration = Duration::from_millis(100);

/// Who asks for an entry's token just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// Nobody but those who wait here already.
    None,
    /// An entry whose bearer this is, for a refresh.
    Wants,
    /// A request that is about to wait, or an entry whose bearer this is and for which one waits.
    Waits,
}

impl Authenticator {
    /// Does what the shared record asks for, and what `demand` does beside the entry's own wishes. Returns the
    /// failure with which the waiting requests were rejected, if they were.
    pub(super) fn advance(
        &mut self,
        id: EntryId,
        demand: Demand,
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
            entry.awaits_bearer = false;
            let has_token = entry.usable(now.unix).is_some();
            let somebody_waits =
                !has_token && (demand == Demand::Waits || !entry.waiters.is_empty());
            if record.failure.is_some() {
                entry.failure.clone_from(&record.failure);
            }
            // Its holder keeps its lease, and what it writes; ours is in no record then.
            let is_beside = somebody_waits
                && !self.settings.joins_fetches
                && (record.lease.take_if(|lease| lease.is_live(now.monotonic))).is_some();
            let is_shared = is_shared && !is_beside;
            let next = look(&View {
                somebody_waits,
                wanted: somebody_waits
                    || (demand == Demand::Wants && !has_token)
                    || entry.wants_token(now.unix),
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
                    entry.look_at = Some(now.monotonic + self.settings.timing.callout_timeout);
                    if !self.queued.contains(&id) {
                        self.queued.push_back(id);
                    }
                    return None;
                }
                Move::Fetch(waiters) => {
                    let bearer = match self.readiness(id, somebody_waits, store, now) {
                        Readiness::Ready(bearer) => bearer,
                        Readiness::Awaited(until) => {
                            self.entries.get_mut(id)?.look_at = Some(until);
                            return None;
                        }
                        Readiness::Refused(failure, until) => {
                            self.entries.get_mut(id)?.look_at = Some(until);
                            self.reject_waiters(id, &failure, now);
                            return Some(failure);
                        }
                    };
                    let lease = self.rng.u64(..);
                    let until = self.lease_until(now.monotonic);
                    record.lease = Some(Lease {
                        id: lease,
                        until,
                        waiters,
                    });
                    if !is_shared || self.write(id, &record, version, store) {
                        let lease = Held {
                            id: lease,
                            is_shared,
                        };
                        self.take_off(id, lease, bearer, store, now);
                        return None;
                    }
                }
            }
        }
        self.entries.get_mut(id)?.look_at = Some(now.monotonic + AFTER_LOST_SWAPS);
        None
    }

    /// What lies under the entry's key, and the version to swap it by (`None`: nothing lies there).
    pub(super) fn read(
        &self,
        id: EntryId,
        store: &dyn SharedStore,
        now: Now,
    ) -> Option<(Slot, Option<Version>)> {
        let entry = self.entries.get(id)?;
        Some(match store.get(&entry.key.name) {
            Some((bytes, version)) => (
                Record::read(&bytes, &entry.key, &entry.wanted, now),
                Some(version),
            ),
            None => (Slot::Ours(Record::default()), None),
        })
    }

    pub(super) fn write(
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
    pub(super) fn adopt(&mut self, id: EntryId, stored: &StoredToken, now: Now) {
        let (jitter, margin) = (self.rng.f64(), self.settings.timing.refresh_margin);
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
            let previous = entry.cached.as_ref().map(|cached| &*cached.token);
            entry.cached = Some(Cached {
                token: Rc::new(stored.token.clone().replacing(previous)),
                usable_end,
                refresh_due: refresh::due(usable_end, stored.fetched_unix, margin, jitter),
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
            self.has_bearer_settled |= self.entries.bearer() == Some(id);
        } else if let Some(cached) = &mut entry.cached
            && now.unix < cached.usable_end
            && stored.fetched_at > cached.fetched_at
        {
            // A server whose tokens end earlier than one that is here (its clock or ours was set) was asked
            // all the same: not again at once.
            cached.fetched_at = stored.fetched_at;
            let asked = stored.fetched_unix;
            cached.refresh_due = refresh::due(cached.usable_end, asked, margin, jitter);
        }
        self.serve_waiters(id, now);
    }
}
