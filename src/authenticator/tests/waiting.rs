//! Who waits, until when, and who hears of it.

use super::*;
use crate::authenticator::{Answer, Event};
use crate::error::{Class, Code, Denial};
use crate::store::PeerId;

/// The requests that go on now, each with whether it has a token.
fn resumed(vm: &mut Authenticator) -> Vec<(RequestId, bool)> {
    let outputs = std::iter::from_fn(|| vm.poll_output());
    outputs
        .filter_map(|output| match output {
            Output::Resume(request, result) => Some((request, result.is_ok())),
            _ => None,
        })
        .collect()
}

#[test]
fn who_leaves_takes_nobody_along() {
    let (store, mut vm) = (MemoryStore::default(), vm(1));
    let now = at(Duration::ZERO);
    let answer = fetch(&mut vm, &store, now);
    for request in [2, 3] {
        vm.handle_request(RequestId(request), &Target::Literal(0), &store, now);
    }
    vm.handle_cancel(RequestId(2));
    vm.handle_response(answer, Ok(token(3600)), &store, now);
    assert_eq!(
        resumed(&mut vm),
        [(RequestId(1), true), (RequestId(3), true)]
    );
}

#[test]
fn who_waits_for_another_s_fetch_is_woken_when_it_ends() {
    let (store, mut holder, mut waiting) = (MemoryStore::default(), vm(1), vm(2));
    holder.set_peer(Some(PeerId(1)));
    waiting.set_peer(Some(PeerId(2)));
    let now = at(Duration::ZERO);
    let answer = fetch(&mut holder, &store, now);
    let joined = waiting.handle_request(RequestId(7), &Target::Literal(0), &store, now);
    assert!(matches!(joined, Answer::Pending));
    assert!(waiting.poll_output().is_none());
    holder.handle_response(answer, Ok(token(3600)), &store, now);
    let outputs: Vec<_> = std::iter::from_fn(|| holder.poll_output()).collect();
    let woken = outputs.iter().filter_map(|output| match output {
        Output::Wake(peer) => Some(*peer),
        _ => None,
    });
    assert_eq!(woken.collect::<Vec<_>>(), [PeerId(2)]);
    waiting.handle_wake(&store, now);
    assert_eq!(resumed(&mut waiting), [(RequestId(7), true)]);
}

#[test]
fn a_request_is_let_go_earlier_by_what_the_tick_may_be_late() {
    let (store, mut vm) = (MemoryStore::default(), vm(1));
    vm.settings.timing.timeout = Duration::from_secs(3);
    vm.settings.lateness = Duration::from_millis(200);
    let now = at(Duration::ZERO);
    fetch(&mut vm, &store, now);
    let until = Duration::from_millis(2800);
    assert_eq!(vm.poll_timeout(now), Some(at(until).monotonic));
    vm.handle_timeout(&store, at(until - Duration::from_millis(1)));
    assert_eq!(resumed(&mut vm), []);
    vm.handle_timeout(&store, at(until));
    assert_eq!(resumed(&mut vm), [(RequestId(1), false)]);
}

#[test]
fn of_many_denials_for_one_reason_one_a_second_is_told_with_their_number() {
    let mut vm = vm(1);
    let mut told = |code, millis| {
        let denial = Denial {
            class: Class::Permanent,
            code,
            message: String::new(),
        };
        vm.note_denial(&denial, at(Duration::from_millis(millis)));
        match vm.poll_output() {
            Some(Output::Event(Event::Denied { count, .. })) => Some(count),
            None => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told(Code::Refused, 0), Some(1));
    assert_eq!(told(Code::Refused, 0), None);
    assert_eq!(told(Code::Refused, 999), None);
    assert_eq!(told(Code::NotFound, 999), Some(1));
    assert_eq!(told(Code::Refused, 1000), Some(3));
    assert_eq!(told(Code::Refused, 3000), Some(1));
}
