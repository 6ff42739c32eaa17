//! The token that is printed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{Emulator, IDENTITY, now};
use crate::run::{invoker, nobody};

const PROFILES: &str = "https://profiles.example.com";

#[test]
fn the_token_stands_alone_on_standard_output_and_a_receiver_accepts_it() {
    let emulator = Emulator::start();
    let printed = invoker(emulator.host(), &["token", PROFILES]).success();
    let token = printed.strip_suffix('\n').unwrap();
    let claims = emulator.verify(token);
    assert_eq!(claims["aud"], PROFILES);
    assert_eq!(claims["email_verified"], true);
    assert!(claims["exp"].as_i64().unwrap() > now() + 3000);
}

#[test]
fn one_token_costs_one_call_as_googles_clients_make_it() {
    let emulator = Emulator::start();
    invoker(emulator.host(), &["token", PROFILES]).success();
    let calls = emulator.identity_calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    let call = &calls[0];
    assert_eq!(
        (&call["method"], &call["status"]),
        (&json!("GET"), &json!(200))
    );
    assert_eq!(call["headers"]["metadata-flavor"], "Google");
    assert_eq!(call["headers"]["host"], "metadata.google.internal");
    assert!(call["query"].as_str().unwrap().contains("format=full"));
}

#[test]
fn decode_prints_the_claims_and_no_token() {
    let emulator = Emulator::start();
    let printed = invoker(emulator.host(), &["token", PROFILES, "--decode"]).success();
    assert!(!printed.contains("eyJ"), "{printed}");
    let claims: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(claims["aud"], PROFILES);
    assert_eq!(claims["iss"], "https://accounts.google.com");
    assert!(printed.lines().count() > 3, "for people: {printed}");
}

#[test]
fn an_audience_arrives_byte_for_byte() {
    let emulator = Emulator::start();
    let awkward = "https://x.example.com/a b?c=d&e=é#f+%2F";
    let printed = invoker(emulator.host(), &["token", awkward]).success();
    assert_eq!(emulator.verify(printed.trim_end())["aud"], awkward);
}

#[test]
fn a_custom_audience_is_taken_as_it_is_when_asked_for() {
    let emulator = Emulator::start();
    let printed = invoker(emulator.host(), &["token", "--custom", "profiles"]).success();
    assert_eq!(emulator.verify(printed.trim_end())["aud"], "profiles");
    let message = invoker(emulator.host(), &["token", "profiles"]).failure();
    assert!(message.contains("--custom"), "{message}");
}

#[test]
fn an_audience_without_a_scheme_is_told_what_to_write_and_nobody_is_asked() {
    let emulator = Emulator::start();
    let message = invoker(emulator.host(), &["token", "profiles.run.app"]).failure();
    assert_eq!(
        message,
        "invoker: AUDIENCE: \"profiles.run.app\" has no scheme; write \"https://profiles.run.app\"\n"
    );
    assert_eq!(emulator.identity_calls(), [] as [Value; 0]);
}

#[test]
fn trouble_that_passes_within_the_timeout_is_not_noticed() {
    let emulator = Emulator::start();
    for trouble in [
        json!({ "path": IDENTITY, "status": 503, "times": 1 }),
        json!({ "path": IDENTITY, "status": 404, "times": 1 }),
        json!({ "path": IDENTITY, "close": true, "times": 1 }),
        json!({ "path": IDENTITY, "token": { "lifetime": "-5s" }, "times": 1 }),
    ] {
        emulator.fault(trouble);
    }
    invoker(emulator.host(), &["token", PROFILES, "--timeout", "20s"]).success();
    assert_eq!(emulator.identity_calls().len(), 5);
}

#[test]
fn a_call_that_hangs_is_made_again_within_the_timeout() {
    let emulator = Emulator::start();
    emulator.fault(json!({ "path": IDENTITY, "hang": true, "times": 1 }));
    let start = Instant::now();
    invoker(emulator.host(), &["token", PROFILES, "--timeout", "5s"]).success();
    assert!(
        start.elapsed() >= Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn an_address_that_is_none_is_told_how_to_write_it() {
    let host = format!("http://{}", nobody());
    let message = invoker(&host, &["token", PROFILES]).failure();
    assert!(
        message.starts_with("invoker: GCE_METADATA_HOST: \"http://127.0.0.1:")
            && message.contains("host[:port]"),
        "{message}"
    );
}

#[test]
fn a_credential_file_s_type_decides_where_the_token_comes_from() {
    for option in [
        "--write-key",
        "--write-external-account",
        "--write-impersonated-service-account",
    ] {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("credential.json");
        let file = file.to_str().unwrap();
        let google = Emulator::start_with(&[option, file]);
        let arguments = ["token", PROFILES, "--credentials", file];
        let printed = invoker(&nobody(), &arguments).success();
        assert_eq!(
            google.verify(printed.trim_end())["aud"],
            PROFILES,
            "{option}"
        );
    }
}

#[test]
fn an_access_token_is_printed_for_scopes() {
    let google = Emulator::start();
    let scopes = ["https://s.example.com/a", "https://s.example.com/b"];
    let arguments = ["token", "--scope", scopes[0], "--scope", scopes[1]];
    let printed = invoker(google.host(), &arguments).success();
    assert!(printed.trim_end().starts_with("ya29."), "{printed}");
    assert_eq!(google.identity_calls(), [] as [Value; 0]);
}

#[test]
fn an_access_token_comes_from_each_kind_of_credential_file() {
    for option in [
        "--write-key",
        "--write-external-account",
        "--write-impersonated-service-account",
    ] {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("credential.json");
        let file = file.to_str().unwrap();
        let _google = Emulator::start_with(&[option, file]);
        let scope = "https://www.googleapis.com/auth/cloud-platform";
        let arguments = ["token", "--scope", scope, "--credentials", file];
        let printed = invoker(&nobody(), &arguments).success();
        assert!(printed.starts_with("ya29."), "{option}: {printed}");
    }
}

#[test]
fn a_scope_that_is_none_is_told_so_and_nobody_is_asked() {
    let message = invoker(&nobody(), &["token", "--scope", "a b"]).failure();
    assert!(
        message.starts_with("invoker: --scope: \"a b\" is no scope"),
        "{message}"
    );
}
