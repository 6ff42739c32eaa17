//! `/v1/token` and `/subject`: workloads outside of Google Cloud.

use serde_json::json;

use crate::{
    account::{LOGIN, assert_refused, subject_exchange},
    process::{Answer, Emulator},
};

/// What comes for a form that is right but for one field; an empty value is as none.
fn exchange(emulator: &Emulator, changed: &str, value: &str) -> Answer {
    let change = |(name, right)| (name, if name == changed { value } else { right });
    emulator.post_form("/v1/token", &subject_exchange("my-identity").map(change))
}

#[test]
fn a_subject_token_becomes_a_federated_access_token() {
    let emulator = Emulator::start_with(&["--service-account", LOGIN]);
    let answer = exchange(&emulator, "", "");
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = answer.json();
    assert_eq!(token["token_type"], "Bearer");
    let access_token_type = "urn:ietf:params:oauth:token-type:access_token";
    assert_eq!(token["issued_token_type"], access_token_type);
    assert!((3590..=3600).contains(&token["expires_in"].as_i64().unwrap()));
    let generate = format!("/v1/projects/-/serviceAccounts/{LOGIN}:generateIdToken");
    let bearer = token["access_token"].as_str().unwrap();
    let answer = emulator.post_json(&generate, &json!({ "audience": "x" }), bearer);
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn an_exchange_that_is_wrong_is_refused_as_by_google() {
    let emulator = Emulator::start();
    for (field, value, code, text) in [
        ("grant_type", "", "invalid_request", "grant_type"),
        (
            "grant_type",
            "refresh_token",
            "unsupported_grant_type",
            "refresh_token",
        ),
        ("audience", "", "invalid_request", "audience"),
        (
            "audience",
            "https://profiles.example.com",
            "invalid_target",
            "\"audience\"",
        ),
        ("scope", "", "invalid_request", "scope"),
        ("scope", "everything", "invalid_scope", "everything"),
        (
            "requested_token_type",
            "",
            "invalid_request",
            "requested_token_type",
        ),
        (
            "requested_token_type",
            "urn:ietf:params:oauth:token-type:id_token",
            "invalid_request",
            "requested_token_type",
        ),
        (
            "subject_token_type",
            "",
            "invalid_request",
            "subject_token_type",
        ),
        (
            "subject_token_type",
            "jwt",
            "invalid_request",
            "subject_token_type",
        ),
        ("subject_token", "", "invalid_request", "subject_token"),
    ] {
        assert_refused(&exchange(&emulator, field, value), 400, code, text);
    }
    let answer = emulator.post("/v1/token", ("application/json", "{}"), None);
    assert_refused(&answer, 400, "invalid_request", "form");
}

#[test]
fn a_chosen_subject_token_is_the_only_one_that_is_taken() {
    let emulator = Emulator::start_with(&["--subject-token", "hush"]);
    let refused = exchange(&emulator, "", "");
    assert_refused(&refused, 400, "invalid_grant", "rejected");
    assert_eq!(exchange(&emulator, "subject_token", "hush").status, 200);
    let given = emulator.get_with("/subject", &[("Metadata", "true")]).body;
    assert_eq!(given, "hush");
}

#[test]
fn the_subject_token_is_given_as_text_and_as_json() {
    let emulator = Emulator::start();
    let text = emulator.get_with("/subject", &[("Metadata", "true")]);
    let json = emulator.get_with("/subject.json", &[("Metadata", "true")]);
    assert_eq!((text.status, json.status), (200, 200));
    assert_eq!(json.json(), json!({ "access_token": text.body }));
    assert_eq!(exchange(&emulator, "subject_token", &text.body).status, 200);
}

#[test]
fn the_subject_token_is_refused_without_the_header() {
    let emulator = Emulator::start();
    for path in ["/subject", "/subject.json"] {
        for headers in [
            &[][..],
            &[("Metadata", "yes")],
            &[("Metadata-Flavor", "Google")],
        ] {
            let answer = emulator.get_with(path, headers);
            assert_refused(&answer, 400, "invalid_request", "metadata header");
        }
    }
}
