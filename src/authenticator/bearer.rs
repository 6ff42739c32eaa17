//! The access token that several audiences need, where IAM is asked for each (impersonation).
//!
//! It is an entry like any other, with a record and a lease of its own, but for who waits for it: not
//! requests, but the entries that can't be fetched without it. Such an entry takes no lease until the
//! bearer is there, so that the only callout in flight is the one that helps.

use std::rc::Rc;
use std::time::Duration;

use super::Authenticator;
use super::advance::Demand;
use super::entries::EntryId;
use crate::store::{Failure, SharedStore};
use crate::time::{Monotonic, Now};
use crate::token::Token;

/// Another VM's fetch of the bearer wakes this one; should that be lost, it looks by itself this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Whether an entry can be fetched now.
#[derive(Debug)]
pub(super) enum Readiness {
    /// With this bearer, or without one if it needs none.
    Ready(Option<Bearer>),
    /// When the bearer has come; look again then at the latest.
    Awaited(Monotonic),
    /// The bearer can't be had, which needs a person; look again then.
    Refused(Failure, Monotonic),
}

/// The bearer of one flight.
#[derive(Clone, Debug)]
pub(super) struct Bearer {
    pub(super) token: Rc<Token>,
    pub(super) fetched_at: Monotonic,
}

impl Authenticator {
    /// Gets the bearer under way, if the entry needs it and it is not there. `somebody_waits` for the
    /// entry.
    pub(super) fn readiness(
        &mut self,
        id: EntryId,
        somebody_waits: bool,
        store: &dyn SharedStore,
        now: Now,
    ) -> Readiness {
        let Some(bearer_id) = self.needed_bearer(id) else {
            return Readiness::Ready(None);
        };
        let keep = self.entries.get(id).map(|entry| entry.keep);
        let is_settled = self.entries.get_mut(bearer_id).is_some_and(|bearer| {
            // It is kept fresh as long as anything that needs it is.
            bearer.keep = bearer.keep.max(keep.unwrap_or(bearer.keep));
            bearer.is_settled(now)
        });
        if let Some(entry) = self.entries.get_mut(id) {
            entry.awaits_bearer = true;
        }
        let demand = match somebody_waits {
            true => Demand::Waits,
            false => Demand::Wants,
        };
        let failure = match is_settled {
            true => None,
            false => self.advance(bearer_id, demand, store, now),
        };
        if let Some(bearer) = self.bearer(bearer_id, now) {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.awaits_bearer = false;
            }
            return Readiness::Ready(Some(bearer));
        }
        let soon = now.monotonic + LOOK_AGAIN;
        let next = self
            .entries
            .get(bearer_id)
            .and_then(|bearer| bearer.look_at);
        let again = match next {
            Some(next) if somebody_waits => next.min(soon),
            Some(next) => next.max(soon),
            None => soon,
        };
        match failure {
            Some(failure) => Readiness::Refused(failure, again),
            None => Readiness::Awaited(again),
        }
    }

    /// What waited for the bearer goes on, or fails with it. To be called at the end of whatever may have
    /// brought the bearer or its failure.
    pub(super) fn advance_dependents(&mut self, store: &dyn SharedStore, now: Now) {
        while std::mem::take(&mut self.has_bearer_settled) {
            for id in self.entries.ids_where(|entry| entry.awaits_bearer) {
                self.advance(id, Demand::None, store, now);
            }
        }
    }

    /// The failure that keeps an entry waiting: its own, or the bearer's.
    pub(super) fn failure_of(&self, id: EntryId) -> Option<&Failure> {
        let entry = self.entries.get(id)?;
        match self.entries.bearer() {
            Some(bearer) if entry.awaits_bearer => self.entries.get(bearer)?.failure.as_ref(),
            _ => entry.failure.as_ref(),
        }
    }

    /// A server would not take this bearer: the next attempt fetches a new one, unless there is one already.
    pub(super) fn drop_bearer(&mut self, refused: &Token, store: &dyn SharedStore, now: Now) {
        let Some(id) = self.entries.bearer() else {
            return;
        };
        if let Some(bearer) = self.entries.get_mut(id) {
            bearer
                .cached
                .take_if(|cached| cached.token.secret() == refused.secret());
        }
        self.swap_record(id, store, now, |record| {
            let is_refused = record.token.as_ref()?.token.secret() == refused.secret();
            is_refused.then(|| {
                record.token = None;
                Vec::new()
            })
        });
    }

    fn needed_bearer(&self, id: EntryId) -> Option<EntryId> {
        let bearer = self.entries.bearer().filter(|bearer| *bearer != id)?;
        let wanted = &self.entries.get(id)?.wanted;
        self.source.needs_bearer(wanted).then_some(bearer)
    }

    fn bearer(&self, id: EntryId, now: Now) -> Option<Bearer> {
        let cached = self.entries.get(id)?.usable(now.unix)?;
        Some(Bearer {
            token: Rc::clone(&cached.token),
            fetched_at: cached.fetched_at,
        })
    }
}
