//! The requests that wait in this VM: served, rejected, or let go when their time is up.

use std::rc::Rc;
use std::time::Duration;

use super::entries::EntryId;
use super::entry::Waiter;
use super::{Authenticator, Event, Output, RequestId};
use crate::audience::Audience;
use crate::error::{Class, Code, Denial};
use crate::rules::Target;
use crate::store::Failure;
use crate::time::Now;

/// Between two lines about denied requests.
const DENIED_LINE_EVERY: Duration = Duration::from_secs(1);

impl Authenticator {
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
            let denial = self.deny(id, failure.class, failure.code, &failure.reason, now);
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

    pub(super) fn deny(
        &mut self,
        id: EntryId,
        class: Class,
        code: Code,
        reason: &str,
        now: Now,
    ) -> Denial {
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

    pub(super) fn too_many(&mut self, target: &Target, now: Now) -> Denial {
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
