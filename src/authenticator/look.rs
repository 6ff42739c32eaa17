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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    const NOW: Monotonic = Monotonic::from_millis(100_000);

    fn view<'a>() -> View<'a> {
        View {
            somebody_waits: true,
            wanted: true,
            fetched_at: None,
            lease: None,
            failure: None,
            peer: Some(PeerId(1)),
            now: NOW,
        }
    }

    fn lease(until: Monotonic, waiters: &[u32]) -> Lease {
        Lease {
            id: 1,
            until,
            waiters: waiters.iter().copied().map(PeerId).collect(),
        }
    }

    fn failure(class: Class, not_before: Monotonic) -> Failure {
        Failure {
            class,
            code: Code::Refused,
            reason: String::new(),
            attempts: 1,
            failed_at: NOW,
            not_before,
            retry_after: NOW,
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn without_a_wish_nothing_happens() {
        assert_eq!(
            look(&View {
                wanted: false,
                somebody_waits: false,
                ..view()
            }),
            Move::Rest
        );
    }

    #[test]
    fn the_first_one_fetches_and_the_next_ones_join() {
        assert_eq!(look(&view()), Move::Fetch(vec![]));
        let held = lease(NOW + seconds(5), &[7]);
        let joined = lease(NOW + seconds(5), &[7, 1]);
        let again = NOW + LOOK_AGAIN;
        assert_eq!(
            look(&View {
                lease: Some(&held),
                ..view()
            }),
            Move::Join(joined.clone(), again)
        );
        assert_eq!(
            look(&View {
                lease: Some(&joined),
                ..view()
            }),
            Move::Wait(again)
        );
        let unreachable = View {
            lease: Some(&held),
            peer: None,
            ..view()
        };
        assert_eq!(look(&unreachable), Move::Wait(again));
    }

    #[test]
    fn a_refresh_leaves_another_vm_s_lease_alone_until_it_ends() {
        let held = lease(NOW + seconds(5), &[]);
        let refresh = View {
            somebody_waits: false,
            lease: Some(&held),
            ..view()
        };
        assert_eq!(look(&refresh), Move::Wait(held.until));
    }

    #[test]
    fn a_lease_that_ran_out_is_taken_over_with_its_waiters() {
        let dead = lease(NOW, &[7, 8]);
        assert_eq!(
            look(&View {
                lease: Some(&dead),
                ..view()
            }),
            Move::Fetch(vec![PeerId(7), PeerId(8)])
        );
    }

    #[test]
    fn what_needs_a_person_fails_the_waiting_at_once_until_the_next_attempt() {
        let failure = failure(Class::Permanent, NOW + seconds(5));
        let waiting = View {
            failure: Some(&failure),
            ..view()
        };
        assert_eq!(
            look(&waiting),
            Move::Reject(failure.clone(), failure.not_before)
        );
        let idle = View {
            failure: Some(&failure),
            somebody_waits: false,
            ..view()
        };
        assert_eq!(look(&idle), Move::Wait(failure.not_before));
        let later = View {
            failure: Some(&failure),
            now: failure.not_before,
            ..view()
        };
        assert_eq!(look(&later), Move::Fetch(vec![]));
    }

    #[test]
    fn what_may_pass_is_waited_for() {
        let failure = failure(Class::Transient, NOW + seconds(20));
        let waiting = View {
            failure: Some(&failure),
            ..view()
        };
        assert_eq!(look(&waiting), Move::Wait(NOW + seconds(1)));
    }

    #[test]
    fn a_success_is_followed_by_a_pause() {
        let fresh = View {
            fetched_at: Some(NOW),
            ..view()
        };
        assert_eq!(look(&fresh), Move::Wait(NOW + seconds(1)));
        assert_eq!(
            look(&View {
                somebody_waits: false,
                ..fresh
            }),
            Move::Wait(NOW + seconds(5))
        );
    }
}
