//! What one VM knows about one token that is wanted: the first level of the cache, and who waits.

use std::collections::VecDeque;
use std::rc::Rc;

use super::RequestId;
use crate::store::{Failure, RecordKey};
use crate::time::{Monotonic, Now, UnixTime};
use crate::token::Token;
use crate::wanted::Wanted;

/// One audience, or one set of scopes.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) wanted: Wanted,
    pub(super) key: RecordKey,
    pub(super) cached: Option<Cached>,
    /// How the last fetch failed, as far as this VM knows.
    pub(super) failure: Option<Failure>,
    /// In order of arrival, and so of their deadlines.
    pub(super) waiters: VecDeque<Waiter>,
    /// The step of ours that is under way.
    pub(super) flight: Option<u64>,
    /// Whether it can't be fetched before the bearer is there.
    pub(super) awaits_bearer: bool,
    /// When to look at the record again; `None` while nothing is wanted from it.
    pub(super) look_at: Option<Monotonic>,
    /// Whether somebody keeps it fresh when no request waits.
    pub(super) keep: Keep,
    /// For the eviction of the least recently used.
    pub(super) last_used: u64,
}

/// A usable token, as long as it is.
#[derive(Debug)]
pub(super) struct Cached {
    pub(super) token: Rc<Token>,
    pub(super) usable_end: UnixTime,
    pub(super) refresh_due: UnixTime,
    pub(super) fetched_at: Monotonic,
}

/// A request that waits for a token.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) request: RequestId,
    pub(super) deadline: Monotonic,
}

/// Which audiences have a token fetched for them without a request; the later one asks for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keep {
    /// Idle: nothing is fetched until a request asks.
    Idle,
    /// Used since its last token came: that token is refreshed once more.
    Used,
    /// Always: the configuration spells it out, and it was asked for or is prefetched.
    Fresh,
}

impl Entry {
    pub(super) fn new(wanted: Wanted, key: RecordKey, keep: Keep) -> Self {
        Self {
            wanted,
            key,
            cached: None,
            failure: None,
            waiters: VecDeque::new(),
            flight: None,
            awaits_bearer: false,
            look_at: None,
            keep,
            last_used: 0,
        }
    }

    /// The token, while it may be attached.
    pub(super) fn usable(&self, now: UnixTime) -> Option<&Cached> {
        self.cached
            .as_ref()
            .filter(|cached| now < cached.usable_end)
    }

    /// When a token should come even though no request waits for it.
    pub(super) fn wants_token_at(&self, now: UnixTime) -> Option<UnixTime> {
        let refresh_due = self.usable(now).map(|cached| cached.refresh_due);
        match self.keep {
            Keep::Fresh => Some(refresh_due.unwrap_or(now)),
            Keep::Used => refresh_due,
            Keep::Idle => None,
        }
    }

    /// Whether it should come now.
    pub(super) fn wants_token(&self, now: UnixTime) -> bool {
        self.wants_token_at(now).is_some_and(|at| now >= at)
    }

    /// Whether the record should be read now.
    pub(super) fn is_due(&self, now: Now) -> bool {
        let is_due = self
            .look_at
            .map_or(self.wants_token(now.unix), |at| now.monotonic >= at);
        is_due && self.flight.is_none()
    }

    /// Whether somebody waits whose time is up.
    pub(super) fn has_late_waiter(&self, now: Monotonic) -> bool {
        self.waiters
            .front()
            .is_some_and(|waiter| now >= waiter.deadline)
    }

    /// Whether one more request changes nothing: there is a token and no refresh to start. Without a
    /// token the record is read each time: a wake-up can be lost, another VM's late answer can come
    /// before ours, and what a new request finds serves the waiting ones too.
    pub(super) fn is_settled(&self, now: Now) -> bool {
        self.usable(now.unix).is_some()
            && (self.flight.is_some()
                || !self.wants_token(now.unix)
                || self.look_at.is_some_and(|at| now.monotonic < at))
    }

    /// Whether nothing would be lost with it but a token that nobody used of late.
    pub(super) fn is_evictable(&self) -> bool {
        self.waiters.is_empty() && self.flight.is_none()
    }
}
