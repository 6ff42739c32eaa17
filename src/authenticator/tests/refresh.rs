//! Tokens that are fetched although no request waits for them.

use super::*;

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
        assert_eq!(
            end(&vm, at(DUE)),
            Some(UnixTime::from_secs(1_000_000 + kept - 30))
        );
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
