//! Tokens that are fetched although no request waits for them.

use std::cell::Cell;

use super::*;
use crate::authenticator::Answer;
use crate::store::{Mismatch, SharedStore, Version};

/// When a token that ends after an hour, and has come at once, is certainly due: 30 s before its end it is
/// not attached any more, and 300 s before that it is refreshed.
const DUE: Duration = Duration::from_secs(3270);

fn with_a_token(target: &Target) -> (MemoryStore, Authenticator) {
    let (store, mut vm) = (MemoryStore::default(), vm(1));
    let now = at(Duration::ZERO);
    let answer = fetch_for(&mut vm, target, &store, now);
    vm.handle_response(answer, Ok(token(3600)), &store, now);
    callouts(&mut vm);
    (store, vm)
}

/// The only callout that is made now.
fn refresh(vm: &mut Authenticator, store: &MemoryStore, now: Now) -> CalloutId {
    vm.handle_timeout(store, now);
    match callouts(vm)[..] {
        [refresh] => refresh,
        ref other => panic!("{other:?}"),
    }
}

fn end(vm: &Authenticator, now: Now) -> Option<UnixTime> {
    vm.tokens(now.unix).1
}

#[test]
fn a_tick_is_asked_for_when_the_refresh_is_due() {
    let (store, mut vm) = with_a_token(&Target::Literal(0));
    let wish = vm.poll_timeout(at(Duration::ZERO)).unwrap();
    let jitter = Duration::from_secs(30);
    assert!(
        wish > at(DUE - jitter - Duration::from_secs(1)).monotonic,
        "{wish:?}"
    );
    assert!(wish <= at(DUE).monotonic, "{wish:?}");
    vm.handle_timeout(&store, at(DUE - jitter - Duration::from_secs(1)));
    assert_eq!(callouts(&mut vm), []);
    refresh(&mut vm, &store, at(DUE));
    let answered_by = at(DUE + CALLOUT_TIMEOUT + LEASE_SLACK).monotonic;
    assert_eq!(vm.poll_timeout(at(DUE)), Some(answered_by));
}

/// A store that counts how often it is read.
#[derive(Default)]
struct Counted {
    inner: MemoryStore,
    reads: Cell<usize>,
}

impl SharedStore for Counted {
    fn get(&self, key: &str) -> Option<(Vec<u8>, Version)> {
        self.reads.update(|reads| reads + 1);
        self.inner.get(key)
    }

    fn compare_and_swap(&self, key: &str, value: &[u8], expected: Version) -> Result<(), Mismatch> {
        self.inner.compare_and_swap(key, value, expected)
    }

    fn insert(&self, key: &str, value: &[u8]) -> Result<(), Mismatch> {
        self.inner.insert(key, value)
    }
}

#[test]
fn requests_beside_a_refresh_are_served_from_this_vm_s_memory() {
    let (inner, mut vm) = with_a_token(&Target::Literal(0));
    let store = Counted {
        inner,
        ..Counted::default()
    };
    let reads = |vm: &mut Authenticator, now: Now| {
        store.reads.set(0);
        let answer = vm.handle_request(RequestId(2), &Target::Literal(0), &store, now);
        assert!(matches!(answer, Answer::Token(_)), "{answer:?}");
        store.reads.take()
    };
    assert!(
        vm.cached(&Target::Literal(0), at(Duration::from_secs(60)).unix)
            .is_some()
    );
    assert!(vm.cached(&Target::Literal(0), at(DUE).unix).is_none());
    assert!(reads(&mut vm, at(DUE)) > 0);
    let refresh = callouts(&mut vm)[0];
    assert_eq!(reads(&mut vm, at(DUE)), 0);
    let failed = Response {
        status: 500,
        ..token(0)
    };
    vm.handle_response(refresh, Ok(failed), &store, at(DUE));
    assert_eq!(reads(&mut vm, at(DUE)), 0);
    assert!(reads(&mut vm, at(DUE + Duration::from_millis(100))) > 0);
}

#[test]
fn a_token_is_attached_until_its_usable_end() {
    let (store, mut vm) = with_a_token(&Target::Literal(0));
    let end = at(Duration::from_secs(3570));
    assert_eq!(vm.tokens(end.unix - Duration::from_secs(1)).0, 1);
    assert_eq!(vm.tokens(end.unix).0, 0);
    let answer = vm.handle_request(RequestId(2), &Target::Literal(0), &store, end);
    assert!(matches!(answer, Answer::Pending), "{answer:?}");
}

#[test]
fn the_token_that_ends_last_is_attached() {
    for (exp, kept) in [(3700, 3700), (3500, 3600)] {
        let (store, mut vm) = with_a_token(&Target::Literal(0));
        assert_eq!(
            vm.tokens(at(DUE).unix),
            (1, Some(UnixTime::from_secs(1_003_570)))
        );
        let answer = refresh(&mut vm, &store, at(DUE));
        vm.handle_response(answer, Ok(token(exp)), &store, at(DUE));
        let mut other = super::vm(2);
        other.handle_request(RequestId(1), &Target::Literal(0), &store, at(DUE));
        let kept = UnixTime::from_secs(1_000_000 + kept - 30);
        assert_eq!(end(&vm, at(DUE)), Some(kept));
        assert_eq!(end(&other, at(DUE)), Some(kept));
    }
}

#[test]
fn a_server_whose_tokens_end_sooner_than_the_one_at_hand_is_not_asked_again_at_once() {
    for is_garbled in [false, true] {
        let (store, mut vm) = with_a_token(&Target::Literal(0));
        let answer = refresh(&mut vm, &store, at(DUE));
        if is_garbled {
            garble(&store);
        }
        vm.handle_response(answer, Ok(token(3500)), &store, at(DUE));
        for later in (0..100).map(|second| DUE + Duration::from_secs(second)) {
            vm.handle_timeout(&store, at(later));
            assert_eq!(callouts(&mut vm), [], "at {later:?}");
        }
    }
}

#[test]
fn a_derived_audience_s_token_is_refreshed_once_after_it_was_used() {
    for (uses, refreshes) in [(0, 0), (1, 1), (2, 1)] {
        let wanted = Wanted::IdToken(Audience::parse("https://a.run.app").unwrap());
        let target = Target::Derived(wanted);
        let (store, mut vm) = with_a_token(&target);
        // Whoever waited for the first one has used it.
        let answer = refresh(&mut vm, &store, at(DUE));
        vm.handle_response(answer, Ok(token(7200)), &store, at(DUE));
        let between = at(DUE + Duration::from_secs(60));
        for _ in 0..uses {
            assert!(vm.cached(&target, between.unix).is_some());
        }
        vm.handle_timeout(&store, at(DUE + Duration::from_secs(3600)));
        assert_eq!(callouts(&mut vm).len(), refreshes, "after {uses} uses");
    }
}
