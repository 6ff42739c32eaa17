//! Waiting until a token can be had.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{DEADLINE, Emulator, IDENTITY};
use crate::run::{end, invoker, nobody, start};

/// Starts `invoker wait` on an ill server, lifts the fault once the server was asked, and gives what the
/// command said on standard error until it succeeded.
fn ride_through(mut fault: Value) -> String {
    let emulator = Emulator::start();
    fault["path"] = json!(IDENTITY);
    emulator.fault(fault);
    let waiting = start(
        emulator.host(),
        &["wait", "https://profiles.example.com", "--timeout", "30s"],
    );
    let started = Instant::now();
    while emulator.identity_calls().is_empty() {
        assert!(started.elapsed() < DEADLINE, "nobody asked");
        std::thread::sleep(Duration::from_millis(5));
    }
    emulator.delete("/_emulator/faults");
    let ended = end(waiting);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("gets tokens for audience \"https://profiles.example.com\""),
        "{ended:?}"
    );
    assert!(!ended.stdout.contains("eyJ"), "{ended:?}");
    ended.stderr
}

#[test]
fn it_ends_at_once_when_all_is_well() {
    let emulator = Emulator::start();
    let said = invoker(emulator.host(), &["wait", "--timeout", "20s"]).success();
    let expected = "gets tokens for audience \"https://invoker.invalid\"\n";
    assert!(
        said.starts_with("invoker wait: ") && said.ends_with(expected),
        "{said}"
    );
    assert_eq!(emulator.identity_calls().len(), 1);
}

#[test]
fn it_rides_through_what_passes() {
    let said = ride_through(json!({ "status": 503 }));
    assert!(
        said.contains("not yet: ") && said.contains("status 503"),
        "{said}"
    );
    ride_through(json!({ "status": 404 }));
    ride_through(json!({ "close": true }));
}

#[test]
fn it_rides_through_a_server_that_hangs() {
    ride_through(json!({ "hang": true }));
}

#[test]
fn it_rides_through_what_a_person_mends_meanwhile() {
    let said = ride_through(json!({ "status": 403 }));
    assert!(said.contains("status 403; next attempt in 5.0 s"), "{said}");
}

#[test]
fn it_waits_for_a_server_that_is_not_up_yet() {
    let address = nobody();
    let waiting = start(&address, &["wait", "--timeout", "30s"]);
    let _emulator = Emulator::start_with(&["--listen", &address]);
    let ended = end(waiting);
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn at_the_deadline_it_fails_with_the_last_reason() {
    let emulator = Emulator::start();
    emulator.fault(json!({ "path": IDENTITY, "status": 403 }));
    emulator.fault(json!({ "path": IDENTITY, "status": 500, "times": 1 }));
    let start = Instant::now();
    let message = invoker(emulator.host(), &["wait", "--timeout", "2s"]).failure();
    assert!(start.elapsed() >= Duration::from_secs(2) && start.elapsed() < Duration::from_secs(10));
    insta::assert_snapshot!(message.replace(emulator.host(), "EMULATOR"), @r#"
    invoker wait: not yet: the metadata server (metadata.google.internal): status 500; next attempt in 0.1 s
    invoker wait: not yet: the metadata server (metadata.google.internal): status 403; next attempt in 5.0 s
    invoker: no ID token for audience "https://invoker.invalid" within 2s: the metadata server (metadata.google.internal): status 403
      asked: http://EMULATOR (from GCE_METADATA_HOST): it answered with status 403
      to do: see that the service account may be used here (on GKE: roles/iam.workloadIdentityUser), and that GCE_METADATA_HOST, if set, names a metadata server and no proxy
    "#);
    assert_eq!(emulator.identity_calls().len(), 2, "the core's pauses hold");
}

#[test]
fn at_the_deadline_a_first_answer_may_still_be_awaited() {
    let emulator = Emulator::start();
    emulator.fault(json!({ "path": IDENTITY, "hang": true }));
    let message = invoker(emulator.host(), &["wait", "--timeout", "1s"]).failure();
    assert!(message.contains("within 1s: "), "{message}");
    assert!(message.contains("GCE_METADATA_HOST"), "{message}");
}

#[test]
fn a_timeout_that_makes_no_sense_is_told_what_to_write() {
    for timeout in ["1ms", "soon", "500000000000y"] {
        let ended = invoker("127.0.0.1:9", &["wait", "--timeout", timeout]);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains("write 100ms to 1d"), "{ended:?}");
    }
}
