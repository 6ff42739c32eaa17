//! Leases, and what one virtual machine's fetch means to the others.

use super::*;
use crate::authenticator::Event;
use crate::config::Config;
use crate::error::{Class, Code};
use crate::http::CalloutError;

#[test]
fn a_late_holder_s_failure_says_nothing_about_the_fetch_of_who_took_over() {
    let store = MemoryStore::default();
    let (mut late, mut next) = (vm(1), vm(2));
    let answer = fetch(&mut late, &store, at(Duration::ZERO));
    let over = at(CALLOUT_TIMEOUT + LEASE_SLACK);
    fetch(&mut next, &store, over);
    let taken_over = record(&next, &store, over);
    late.handle_response(answer, Err(CalloutError::Unreachable), &store, over);
    assert!(taken_over.lease.is_some() && taken_over.failure.is_none());
    assert_eq!(record(&next, &store, over), taken_over);
}

#[test]
fn a_late_holder_s_token_serves_all_the_same() {
    for is_given_up in [false, true] {
        let store = MemoryStore::default();
        let (mut late, mut next) = (vm(1), vm(2));
        let answer = fetch(&mut late, &store, at(Duration::ZERO));
        let over = at(CALLOUT_TIMEOUT + LEASE_SLACK);
        fetch(&mut next, &store, over);
        if is_given_up {
            late.handle_timeout(&store, over);
        }
        late.handle_response(answer, Ok(token(3600)), &store, over);
        next.handle_timeout(&store, over);
        assert_eq!((late.tokens(over.unix).0, late.in_flight), (1, 0));
        assert!(record(&next, &store, over).token.is_some());
    }
}

#[test]
fn who_was_given_up_fails_once() {
    let (store, mut vm) = (MemoryStore::default(), vm(1));
    let answer = fetch(&mut vm, &store, at(Duration::ZERO));
    let over = at(CALLOUT_TIMEOUT + LEASE_SLACK);
    vm.handle_timeout(&store, over);
    vm.handle_response(answer, Err(CalloutError::Unreachable), &store, over);
    let failed = std::iter::from_fn(|| vm.poll_output())
        .filter(|output| matches!(output, Output::Event(Event::FetchFailed { .. })));
    assert_eq!(failed.count(), 1);
}

#[test]
fn an_answer_that_never_comes_is_forgotten() {
    let (store, mut vm) = (MemoryStore::default(), vm(1));
    fetch(&mut vm, &store, at(Duration::ZERO));
    vm.handle_cancel(RequestId(1));
    let over = CALLOUT_TIMEOUT + LEASE_SLACK;
    let remembered = [
        (Duration::ZERO, 1),
        (Duration::from_secs(59), 1),
        (Duration::from_secs(60), 0),
    ];
    for (later, flights) in remembered {
        vm.handle_timeout(&store, at(over + later));
        let given_up = vm.flights.values().filter(|flight| flight.given_up);
        assert_eq!(given_up.count(), flights, "{later:?} later");
    }
}

#[test]
fn what_has_succeeded_for_one_has_succeeded_for_all() {
    for has_succeeded in [false, true] {
        let (store, now) = (MemoryStore::default(), at(Duration::ZERO));
        if has_succeeded {
            let mut other = vm(2);
            let target = Target::Derived(Wanted::IdToken(
                Audience::parse("https://b.run.app").unwrap(),
            ));
            let answer = fetch_for(&mut other, &target, &store, now);
            other.handle_response(
                answer,
                Ok(token_for("https://b.run.app", 3600)),
                &store,
                now,
            );
        }
        let mut vm = vm(1);
        let answer = fetch(&mut vm, &store, now);
        let not_found = Response {
            status: 404,
            ..token(3600)
        };
        vm.handle_response(answer, Ok(not_found), &store, now);
        let failure = record(&vm, &store, now).failure.unwrap();
        // A metadata server that has never worked may be about to.
        assert_eq!(failure.class == Class::Permanent, has_succeeded);
    }
}

#[test]
fn who_cannot_wait_for_another_s_fetch_makes_one_beside_it_and_shares_its_token() {
    let (store, now) = (MemoryStore::default(), at(Duration::ZERO));
    let (mut holder, mut beside) = (vm(1), vm(2));
    beside.set_joins_fetches(false);
    let first = fetch(&mut holder, &store, now);
    let held = record(&holder, &store, now).lease;
    let second = fetch(&mut beside, &store, now);
    assert_eq!(record(&holder, &store, now).lease, held);
    beside.handle_response(second, Ok(token(3600)), &store, now);
    let shared = record(&holder, &store, now);
    assert_eq!(shared.lease, held);
    assert!(shared.token.is_some());
    holder.handle_response(first, Ok(token(3600)), &store, now);
    assert_eq!(record(&holder, &store, now).lease, None);
}

#[test]
fn a_refresh_of_another_s_is_waited_for_even_by_who_joins_no_fetch() {
    let store = MemoryStore::default();
    let (mut holder, mut beside) = (vm(1), vm(2));
    beside.set_joins_fetches(false);
    for vm in [&mut holder, &mut beside] {
        vm.handle_request(
            RequestId(1),
            &Target::Literal(0),
            &store,
            at(Duration::ZERO),
        );
        if let [first] = callouts(vm)[..] {
            vm.handle_response(first, Ok(token(3600)), &store, at(Duration::ZERO));
        }
    }
    let due = at(Duration::from_secs(3300));
    for (vm, refreshes) in [(&mut holder, 1), (&mut beside, 0)] {
        vm.handle_timeout(&store, due);
        assert_eq!(callouts(vm).len(), refreshes);
    }
}

/// Of a federation, whose access token takes two callouts: for a subject token, and to STS.
fn federated() -> Authenticator {
    let file = serde_json::json!({
        "type": "external_account", "audience": "pool", "subject_token_type": "jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"url": "https://subject.example.com/"},
        "service_account_impersonation_url":
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@p.iam.gserviceaccount.com:generateAccessToken",
    });
    let config = serde_json::json!({
        "credentials": {
            "type": "federation", "config": file,
            "cluster": "sts", "subject_cluster": "subject", "iam_cluster": "iam",
        },
        "audiences": [{"cluster": "x", "audience": "https://a.run.app"}],
    });
    vm_with(&Config::from_value(config).unwrap().credentials, 1)
}

/// Answers one callout after the other, and says whom they asked: `before` happens before each answer.
fn answered(vm: &mut Authenticator, store: &MemoryStore, before: impl Fn()) -> Vec<String> {
    let mut asked = Vec::new();
    while let Some(output) = vm.poll_output() {
        let Output::Callout(callout, request) = output else {
            continue;
        };
        before();
        let body = match &*request.authority {
            "subject.example.com" => b"the-subject-token".to_vec(),
            "sts.googleapis.com" => br#"{"access_token":"ya29.x","expires_in":3600}"#.to_vec(),
            _ => serde_json::to_vec(&serde_json::json!({
                "token": String::from_utf8(token(3600).body).unwrap(),
            }))
            .unwrap(),
        };
        asked.push(request.authority.to_string());
        assert!(asked.len() < 10, "{asked:?}");
        let answer = Response {
            body,
            ..token(3600)
        };
        vm.handle_response(callout, Ok(answer), store, at(Duration::ZERO));
    }
    asked
}

#[test]
fn an_exchange_whose_record_a_neighbour_garbles_between_its_legs_goes_on() {
    let (store, mut vm) = (MemoryStore::default(), federated());
    let now = at(Duration::ZERO);
    vm.handle_request(RequestId(1), &Target::Literal(0), &store, now);
    let asked = answered(&mut vm, &store, || garble(&store));
    let once = [
        "subject.example.com",
        "sts.googleapis.com",
        "iamcredentials.googleapis.com",
    ];
    assert_eq!(asked, once);
    assert!(vm.tokens(now.unix).0 > 0);
}

#[test]
fn each_leg_has_as_much_time_as_the_first() {
    let (store, mut vm) = (MemoryStore::default(), federated());
    let subject = fetch(&mut vm, &store, at(Duration::ZERO));
    let until = CALLOUT_TIMEOUT + LEASE_SLACK;
    let later = Duration::from_secs(3);
    let answer = Response {
        body: b"the-subject-token".to_vec(),
        ..token(3600)
    };
    vm.handle_response(subject, Ok(answer), &store, at(later));
    let bearer = vm.entries.bearer().unwrap();
    let Some((Slot::Ours(record), _)) = vm.read(bearer, &store, at(later)) else {
        panic!("there is no record");
    };
    assert_eq!(record.lease.unwrap().until, at(later + until).monotonic);
}

#[test]
fn who_is_given_up_between_two_legs_goes_no_further() {
    let (store, mut vm) = (MemoryStore::default(), federated());
    let subject = fetch(&mut vm, &store, at(Duration::ZERO));
    let over = at(CALLOUT_TIMEOUT + LEASE_SLACK);
    vm.handle_timeout(&store, over);
    let under_way = (callouts(&mut vm).len(), vm.in_flight);
    let answer = Response {
        body: b"the-subject-token".to_vec(),
        ..token(3600)
    };
    vm.handle_response(subject, Ok(answer), &store, over);
    assert_eq!(callouts(&mut vm), []);
    assert_eq!((under_way.0, vm.in_flight), (vm.in_flight, under_way.1));
}

#[test]
fn a_holder_s_failure_ends_its_lease_and_is_known_to_all() {
    let store = MemoryStore::default();
    let mut holder = vm(1);
    let answer = fetch(&mut holder, &store, at(Duration::ZERO));
    let now = at(Duration::from_secs(1));
    holder.handle_response(answer, Err(CalloutError::Unreachable), &store, now);
    let record = record(&holder, &store, now);
    assert_eq!(record.lease, None);
    let failure = record.failure.unwrap();
    assert_eq!(failure.code, Code::CalloutUnreachable);
}

#[test]
fn that_a_server_does_not_look_like_google_s_is_said_once() {
    let (store, mut vm) = (MemoryStore::default(), vm(1));
    let now = at(Duration::ZERO);
    let mut remarks = 0;
    for audience in ["https://a.run.app", "https://b.run.app"] {
        let wanted = Wanted::IdToken(Audience::parse(audience).unwrap());
        let answer = fetch_for(&mut vm, &Target::Derived(wanted), &store, now);
        vm.handle_response(answer, Ok(token_for(audience, 3600)), &store, now);
        let outputs = std::iter::from_fn(|| vm.poll_output());
        remarks += outputs
            .filter(|output| matches!(output, Output::Event(Event::Remark(_))))
            .count();
    }
    assert_eq!(remarks, 1);
}

/// Answers a minute apart that never come, and when the next attempt follows the last one.
fn retry_after_many_failures(somebody_waits: bool) -> Duration {
    let (store, mut vm) = (MemoryStore::default(), vm(1));
    let mut retry = Duration::ZERO;
    for minute in 0..10 {
        let now = at(Duration::from_secs(60 * minute));
        let answer = fetch(&mut vm, &store, now);
        if !somebody_waits {
            vm.handle_cancel(RequestId(1));
        }
        vm.handle_response(answer, Err(CalloutError::Unreachable), &store, now);
        vm.handle_cancel(RequestId(1));
        while let Some(output) = vm.poll_output() {
            if let Output::Event(Event::FetchFailed { retry_in, .. }) = output {
                retry = retry_in;
            }
        }
    }
    retry
}

#[test]
fn an_ill_server_is_tried_each_second_only_while_somebody_waits() {
    let second = Duration::from_secs(1);
    assert!(retry_after_many_failures(true) <= second);
    assert!(retry_after_many_failures(false) > second);
}

#[test]
fn another_s_token_ends_the_trouble_that_came_before_it() {
    let store = MemoryStore::default();
    let (mut failed, mut other) = (vm(1), vm(2));
    let answer = fetch(&mut failed, &store, at(Duration::ZERO));
    failed.handle_response(
        answer,
        Err(CalloutError::Unreachable),
        &store,
        at(Duration::ZERO),
    );
    let later = at(Duration::from_secs(60));
    let answer = fetch(&mut other, &store, later);
    other.handle_response(answer, Ok(token(3600)), &store, later);
    let id = failed.entries.literal_id(0).unwrap();
    let is_ill = |vm: &Authenticator| vm.entries.get(id).unwrap().failure.is_some();
    assert!(is_ill(&failed));
    failed.handle_request(RequestId(2), &Target::Literal(0), &store, later);
    assert!(!is_ill(&failed));
}
