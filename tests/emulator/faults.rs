//! Each kind of fault, as a client feels it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{Emulator, IDENTITY, TOKEN, claims, now};

fn is_well(emulator: &Emulator) -> bool {
    emulator.get(&format!("{IDENTITY}?audience=x")).status == 200
}

#[test]
fn a_status_replaces_the_answer_and_keeps_the_servers_headers() {
    let emulator = Emulator::start();
    emulator.fault(json!({
        "path": IDENTITY, "status": 429, "headers": { "Retry-After": "7" }, "body": "slow down",
    }));
    let answer = emulator.get(&format!("{IDENTITY}?audience=x"));
    assert_eq!((answer.status, answer.body.as_str()), (429, "slow down"));
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert_eq!(answer.header("metadata-flavor"), Some("Google"));
    assert_eq!(emulator.get(TOKEN).status, 200, "another path is well");
}

#[test]
fn a_status_alone_has_an_empty_body() {
    let emulator = Emulator::start();
    for status in [204, 404, 500] {
        emulator.fault(json!({ "path": IDENTITY, "status": status }));
        let answer = emulator.get(&format!("{IDENTITY}?audience=x"));
        assert_eq!((answer.status, answer.body.as_str()), (status, ""));
    }
}

#[test]
fn a_redirect_leads_where_the_fault_says() {
    let emulator = Emulator::start();
    let headers = json!({ "Location": "http://example.com/" });
    emulator.fault(json!({ "path": IDENTITY, "status": 302, "headers": headers }));
    let answer = emulator.get(&format!("{IDENTITY}?audience=x"));
    assert_eq!(
        (answer.status, answer.header("location")),
        (302, Some("http://example.com/"))
    );
}

#[test]
fn a_header_can_be_left_out_of_an_answer_that_is_otherwise_right() {
    let emulator = Emulator::start();
    emulator
        .fault(json!({ "path": IDENTITY, "headers": { "Metadata-Flavor": null, "X-Mark": "1" } }));
    let answer = emulator.get(&format!("{IDENTITY}?audience=x"));
    assert_eq!(
        (answer.header("metadata-flavor"), answer.header("x-mark")),
        (None, Some("1"))
    );
    emulator.verify(&answer.body);
}

#[test]
fn an_error_page_or_nothing_can_come_with_200() {
    let emulator = Emulator::start();
    for page in ["<html>oops</html>", ""] {
        emulator.fault(json!({ "path": IDENTITY, "body": page }));
        let answer = emulator.get(&format!("{IDENTITY}?audience=x"));
        assert_eq!((answer.status, answer.body.as_str()), (200, page));
    }
}

#[test]
fn a_body_can_be_as_large_as_64_mib() {
    let emulator = Emulator::start();
    emulator.fault(json!({ "path": IDENTITY, "body_size": 64 << 20 }));
    assert_eq!(emulator.get(IDENTITY).body.len(), 64 << 20);
    let refused =
        emulator.post_fault(&json!({ "path": "/", "body_size": (64 << 20) + 1 }).to_string());
    assert_eq!(refused.status, 400);
}

#[test]
fn a_delay_comes_before_the_right_answer() {
    let emulator = Emulator::start();
    emulator.fault(json!({ "path": IDENTITY, "delay": "300ms" }));
    let start = Instant::now();
    assert!(is_well(&emulator));
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_call_that_hangs_gets_no_answer_and_others_do() {
    let emulator = Emulator::start();
    emulator.fault(json!({ "path": IDENTITY, "hang": true }));
    let hung = emulator.try_get(IDENTITY, &[], Duration::from_millis(300));
    assert!(matches!(hung, Err(ureq::Error::Timeout(_))), "{hung:?}");
    assert_eq!(emulator.get(TOKEN).status, 200);
}

#[test]
fn a_closed_connection_carried_no_answer() {
    let emulator = Emulator::start();
    emulator.fault(json!({ "path": IDENTITY, "close": true, "times": 1 }));
    let path = format!("{IDENTITY}?audience=x");
    let start = Instant::now();
    let closed = emulator.try_get(
        &path,
        &[("Metadata-Flavor", "Google")],
        Duration::from_secs(20),
    );
    assert!(
        matches!(closed, Err(ureq::Error::Io(_) | ureq::Error::Protocol(_))),
        "{closed:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(10), "it hung before");
    assert!(is_well(&emulator), "the fault was for one call");
}

#[test]
fn a_fault_applies_as_often_as_it_says() {
    let emulator = Emulator::start();
    emulator.fault(json!({ "path": IDENTITY, "status": 503, "times": 2 }));
    assert_eq!([(); 3].map(|()| is_well(&emulator)), [false, false, true]);
}

#[test]
fn a_fault_can_be_for_one_audience() {
    let emulator = Emulator::start();
    emulator.fault(json!({ "path": IDENTITY, "audience": "https://a&b", "status": 503 }));
    assert_eq!(
        emulator
            .get(&format!("{IDENTITY}?audience=https://a%26b"))
            .status,
        503
    );
    assert_eq!(
        emulator
            .get(&format!("{IDENTITY}?audience=https://a"))
            .status,
        200
    );
}

#[test]
fn a_star_at_the_end_of_a_path_means_everything_below() {
    let emulator = Emulator::start();
    emulator.fault(json!({ "path": "/computeMetadata/*", "status": 503 }));
    assert_eq!(emulator.get(TOKEN).status, 503);
    assert_eq!(emulator.get_with("/oauth2/v3/certs", &[]).status, 200);
    emulator.fault(json!({ "path": "*", "status": 500 }));
    assert_eq!(emulator.get_with("/oauth2/v3/certs", &[]).status, 500);
}

#[test]
fn the_newest_matching_fault_wins_and_lifting_it_uncovers_the_older() {
    let emulator = Emulator::start();
    let status = || emulator.get(&format!("{IDENTITY}?audience=x")).status;
    emulator.fault(json!({ "path": IDENTITY, "status": 500 }));
    let newer = emulator.fault(json!({ "path": IDENTITY, "status": 503 }));
    assert_eq!(status(), 503);
    assert_eq!(emulator.delete(&format!("/_emulator/faults/{newer}")), 204);
    assert_eq!(status(), 500);
    assert_eq!(emulator.delete(&format!("/_emulator/faults/{newer}")), 404);
    assert_eq!(emulator.delete("/_emulator/faults"), 204);
    assert_eq!(status(), 200);
}

#[test]
fn the_list_shows_each_fault_with_the_calls_it_was_applied_to() {
    let emulator = Emulator::start();
    let id = emulator.fault(json!({ "path": IDENTITY, "status": 503, "times": 1 }));
    let list = || emulator.get_with("/_emulator/faults", &[]).json();
    let expected = |calls: u64| json!([{ "id": id, "path": IDENTITY, "status": 503, "times": 1, "calls": calls }]);
    assert_eq!(list(), expected(0));
    emulator.get(IDENTITY);
    emulator.get(IDENTITY);
    assert_eq!(list(), expected(1));
}

#[test]
fn a_token_can_be_short_lived_or_over_already() {
    let emulator = Emulator::start();
    for lifetime in [90, -10] {
        emulator
            .fault(json!({ "path": IDENTITY, "token": { "lifetime": format!("{lifetime}s") } }));
        let claims = emulator.verify(&emulator.id_token("x"));
        let (issued, expires) = (
            claims["iat"].as_i64().unwrap(),
            claims["exp"].as_i64().unwrap(),
        );
        assert!((expires - now() - lifetime).abs() <= 5, "{claims}");
        assert!(issued < expires && issued <= now(), "{claims}");
    }
    emulator.fault(json!({ "path": TOKEN, "token": { "lifetime": "45s" } }));
    assert_eq!(emulator.get(TOKEN).json()["expires_in"], 45);
}

#[test]
fn a_token_can_be_for_another_audience_or_lack_claims() {
    let emulator = Emulator::start();
    let token = json!({ "aud": "https://evil.example", "omit": ["exp", "email"] });
    emulator.fault(json!({ "path": IDENTITY, "token": token }));
    let claims = emulator.verify(&emulator.id_token("x"));
    assert_eq!(claims["aud"], "https://evil.example");
    assert_eq!((claims.get("exp"), claims.get("email")), (None, None));
    assert_eq!(claims["iss"], "https://accounts.google.com");
}

#[test]
fn the_same_token_can_come_again_and_again() {
    let emulator = Emulator::start();
    emulator.fault(json!({ "path": IDENTITY, "token": { "same": true } }));
    let first = emulator.id_token("x");
    let issued = claims(&first)["iat"].as_i64().unwrap();
    while now() == issued {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(emulator.id_token("x"), first);
    assert_eq!(
        claims(&emulator.id_token("y"))["aud"],
        "y",
        "another audience has its own"
    );
    emulator.delete("/_emulator/faults");
    assert_ne!(
        emulator.id_token("x"),
        first,
        "without the fault a token is minted anew"
    );
}

#[test]
fn a_token_can_drag_a_header_along() {
    let emulator = Emulator::start();
    let suffix = "\r\nX-Evil: 1";
    emulator.fault(json!({ "path": IDENTITY, "token": { "suffix": suffix } }));
    let body = emulator.get(&format!("{IDENTITY}?audience=x")).body;
    emulator.verify(body.strip_suffix(suffix).unwrap());
}

#[test]
fn a_fault_that_makes_no_sense_is_refused_with_the_reason() {
    let emulator = Emulator::start();
    for (fault, reason) in [
        (json!({}), "missing field `path`"),
        (
            json!({ "path": "identity" }),
            "path: \"identity\" does not begin with /",
        ),
        (
            json!({ "path": "/a*b" }),
            "path: \"/a*b\" has a * before its end",
        ),
        (
            json!({ "path": "/?audience=x" }),
            "use audience to choose calls by audience",
        ),
        (
            json!({ "path": "/", "stauts": 500 }),
            "unknown field `stauts`",
        ),
        (
            json!({ "path": "/", "status": 99 }),
            "status: 99 is not a status from 200 to 599",
        ),
        (
            json!({ "path": "/", "delay": "soon" }),
            "delay: \"soon\" is no duration",
        ),
        (
            json!({ "path": "/", "times": 0 }),
            "times: 0 would never apply",
        ),
        (
            json!({ "path": "/", "hang": true, "close": true }),
            "hang and close contradict",
        ),
        (
            json!({ "path": "/", "hang": true, "status": 500 }),
            "has no answer to change",
        ),
        (
            json!({ "path": "/", "body": "x", "body_size": 1 }),
            "body and body_size contradict",
        ),
        (
            json!({ "path": "/", "status": 500, "token": { "same": true } }),
            "no token to change",
        ),
        (
            json!({ "path": "/", "token": { "lifetime": "x" } }),
            "token.lifetime: \"x\" is no duration",
        ),
        (
            json!({ "path": "/", "headers": { "a b": "x" } }),
            "\"a b\" is no header's name",
        ),
        (
            json!({ "path": "/", "headers": { "Content-Length": "1" } }),
            "set body or body_size",
        ),
        (Value::Null, "invalid type: null"),
    ] {
        let answer = emulator.post_fault(&fault.to_string());
        let message = answer.json()["error"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 400, "{fault}");
        assert!(message.contains(reason), "{fault}: {message}");
    }
    assert_eq!(
        emulator.get_with("/_emulator/faults", &[]).json(),
        json!([])
    );
}

#[test]
fn faults_never_lock_out_those_who_set_them() {
    let emulator = Emulator::start();
    emulator.fault(json!({ "path": "/*", "close": true }));
    assert_eq!(emulator.delete("/_emulator/faults"), 204);
    assert!(is_well(&emulator));
}
