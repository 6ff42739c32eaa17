//! What a VM does next about one audience, given what the shared record says.
//!
//! A pure function, so that every VM that reads the same record at the same time decides alike; the
//! compare-and-swap that follows settles who was first.

use std::time::Duration;

use super::{backoff, refresh};
use crate::error::Class;
use crate::store::{Failure, Lease, PeerId};
use crate::time::Monotonic;

/// A wake-up can be lost (its VM's queue was taken over by a newer one), so whoever waits for another
/// VM's fetch looks by itself this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What matters of the record and of this VM.
#[derive(Debug)]
pub(super) struct View<'a> {
    /// A request waits and there is no usable token.
    pub(super) somebody_waits: bool,
    /// A token is wanted: for a request, for a refresh, or for the first one to come.
    pub(super) wanted: bool,
    /// When the last token came.
    pub(super) fetched_at: Option<Monotonic>,
    pub(super) lease: Option<&'a Lease>,
    pub(super) failure: Option<&'a Failure>,
    /// Where this VM can be woken.
    pub(super) peer: Option<PeerId>,
    pub(super) now: Monotonic,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Nothing.
    Rest,
    /// Look again then.
    Wait(Monotonic),
    /// Fail the waiting requests, and look again then.
    Reject(Failure, Monotonic),
    /// Put this VM among those that the lease's holder wakes, and look again then.
    Join(Lease, Monotonic),
    /// Take the lease, with the waiters of the one that ran out.
    Fetch(Vec<PeerId>),
}

pub(super) fn look(view: &View<'_>) -> Move {
    if !view.wanted {
        return Move::Rest;
    }
    if let Some(lease) = view.lease.filter(|lease| lease.is_live(view.now)) {
        return wait_for(lease, view);
    }
    let after_success = view
        .fetched_at
        .map(|at| refresh::not_before(at, view.somebody_waits));
    let after_failure = view
        .failure
        .map(|f| backoff::next_attempt(f, view.somebody_waits));
    let next = after_success.max(after_failure);
    match (next, view.failure) {
        (Some(next), Some(failure))
            if view.now < next && view.somebody_waits && failure.class == Class::Permanent =>
        {
            Move::Reject(failure.clone(), next)
        }
        (Some(next), _) if view.now < next => Move::Wait(next),
        _ => Move::Fetch(
            view.lease
                .map(|lease| lease.waiters.clone())
                .unwrap_or_default(),
        ),
    }
}

fn wait_for(lease: &Lease, view: &View<'_>) -> Move {
    if !view.somebody_waits {
        return Move::Wait(lease.until);
    }
    let until = lease.until.min(view.now + LOOK_AGAIN);
    match view.peer {
        Some(peer) if !lease.waiters.contains(&peer) => {
            let mut lease = lease.clone();
            lease.waiters.push(peer);
            Move::Join(lease, until)
        }
        _ => Move::Wait(until),
    }
}
