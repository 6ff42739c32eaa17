//! The requests that wait in this VM: served, rejected, or let go when their time is up.

use std::rc::Rc;
use std::time::Duration;

use super::entries::{EntryId, MAX_DERIVED};
use super::entry::Waiter;
use super::{Authenticator, Event, Output, RequestId};
use crate::error::{Class, Code, Denial};
use crate::store::Failure;
use crate::time::Now;
use crate::wanted::Wanted;

/// Between two lines about requests that were denied for the same reason.
const DENIED_LINE_EVERY: Duration = Duration::from_secs(1);

impl Authenticator {
    /// Counts a denial that was decided elsewhere, for the rate-limited line.
    pub fn note_denial(&mut self, denial: &Denial, now: Now) {
        let denied = self.denied.entry(denial.code).or_default();
        denied.count += 1;
        let is_quiet = denied
            .last_line
            .is_some_and(|last| now.monotonic.since(last) < DENIED_LINE_EVERY);
        if !is_quiet {
            denied.last_line = Some(now.monotonic);
            let count = std::mem::take(&mut denied.count);
            let event = Event::Denied {
                denial: denial.clone(),
                count,
            };
            self.outputs.push_back(Output::Event(event));
        }
    }

    pub(super) fn serve_waiters(&mut self, id: EntryId, now: Now) {
        let Some(token) = self.token(id, now) else {
            return;
        };
        for request in self.release_waiters(id) {
            self.outputs
                .push_back(Output::Resume(request, Ok(Rc::clone(&token))));
        }
    }

    pub(super) fn reject_waiters(&mut self, id: EntryId, failure: &Failure, now: Now) {
        for request in self.release_waiters(id) {
            let denial = self.rejection(id, failure, now);
            self.outputs.push_back(Output::Resume(request, Err(denial)));
        }
    }

    pub(super) fn release_waiters(&mut self, id: EntryId) -> Vec<RequestId> {
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

    pub(super) fn let_go_late_waiters(&mut self, id: EntryId, now: Now) {
        loop {
            let Some(entry) = self.entries.get_mut(id) else {
                return;
            };
            let is_late = |waiter: &mut Waiter| now.monotonic >= waiter.deadline;
            let Some(waiter) = entry.waiters.pop_front_if(is_late) else {
                return;
            };
            self.waiting.remove(&waiter.request);
            let wanted = entry.wanted.clone();
            let (code, reason) = match self.failure_of(id) {
                Some(failure) => (failure.code, failure.reason.clone()),
                None => (Code::Timeout, "its answer is still awaited".to_owned()),
            };
            let timeout = self.settings.timing.timeout;
            let reason = format!("no token within {timeout:?}: {reason}");
            let denial = self.deny(Some(&wanted), Class::Transient, code, &reason, now);
            self.outputs
                .push_back(Output::Resume(waiter.request, Err(denial)));
        }
    }

    /// What a failure that needs a person means for a request.
    pub(super) fn rejection(&mut self, id: EntryId, failure: &Failure, now: Now) -> Denial {
        let wanted = self.entries.get(id).map(|entry| entry.wanted.clone());
        self.deny(
            wanted.as_ref(),
            failure.class,
            failure.code,
            &failure.reason,
            now,
        )
    }

    pub(super) fn too_many_waiting(&mut self, wanted: Option<&Wanted>, now: Now) -> Denial {
        let reason = format!(
            "as many requests wait already as may (max_waiting_requests is {})",
            self.settings.max_waiting_requests
        );
        self.deny(wanted, Class::Transient, Code::TooManyWaiting, &reason, now)
    }

    pub(super) fn too_many_audiences(&mut self, wanted: Option<&Wanted>, now: Now) -> Denial {
        let reason = format!("tokens for {MAX_DERIVED} other audiences are on their way already");
        self.deny(wanted, Class::Transient, Code::TooManyWaiting, &reason, now)
    }

    pub(super) fn deny(
        &mut self,
        wanted: Option<&Wanted>,
        class: Class,
        code: Code,
        reason: &str,
        now: Now,
    ) -> Denial {
        let what = wanted.map_or_else(|| "token".to_owned(), ToString::to_string);
        let message = format!("no {what} from {}: {reason}", self.server);
        let denial = Denial {
            class,
            code,
            message,
        };
        self.note_denial(&denial, now);
        denial
    }
}
