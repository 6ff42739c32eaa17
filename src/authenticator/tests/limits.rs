//! How much is under way at most.

use super::*;
use crate::authenticator::{Answer, MAX_IN_FLIGHT};
use crate::store::{Mismatch, SharedStore, Version};

#[test]
fn so_many_callouts_are_in_flight_and_the_next_ones_follow_one_by_one() {
    let wanted = (0..MAX_IN_FLIGHT + 2).map(|n| Audience::parse(&format!("https://{n}.run.app")));
    let targets: Vec<_> = wanted
        .map(|audience| Target::Derived(Wanted::IdToken(audience.unwrap())))
        .collect();
    let (store, mut vm) = (MemoryStore::default(), vm(1));
    vm.settings.max_waiting_requests = 1000;
    let now = at(Duration::ZERO);
    // Twice, so that those that wait for a place are asked for again.
    for request in 0..2 {
        for target in &targets {
            vm.handle_request(RequestId(request), target, &store, now);
        }
    }
    let first = callouts(&mut vm);
    assert_eq!(first.len(), MAX_IN_FLIGHT);
    assert!(vm.poll_timeout(now).is_some_and(|at| at > now.monotonic));
    let refused = || Response {
        status: 403,
        ..token(0)
    };
    for (answered, next) in first.into_iter().zip([1, 1, 0]) {
        vm.handle_response(answered, Ok(refused()), &store, now);
        assert_eq!(callouts(&mut vm).len(), next);
    }
}

/// Where somebody else is first each time.
struct Contended;

impl SharedStore for Contended {
    fn get(&self, _: &str) -> Option<(Vec<u8>, Version)> {
        None
    }

    fn compare_and_swap(&self, _: &str, _: &[u8], _: Version) -> Result<(), Mismatch> {
        Err(Mismatch)
    }

    fn insert(&self, _: &str, _: &[u8]) -> Result<(), Mismatch> {
        Err(Mismatch)
    }
}

#[test]
fn a_record_that_others_change_all_the_time_is_tried_again_a_moment_later() {
    let (mut vm, now) = (vm(1), at(Duration::ZERO));
    let answer = vm.handle_request(RequestId(1), &Target::Literal(0), &Contended, now);
    assert!(matches!(answer, Answer::Pending));
    assert_eq!(callouts(&mut vm), []);
    let again = at(Duration::from_millis(100));
    assert_eq!(vm.poll_timeout(now), Some(again.monotonic));
    vm.handle_timeout(&MemoryStore::default(), again);
    assert_eq!(callouts(&mut vm).len(), 1);
}
