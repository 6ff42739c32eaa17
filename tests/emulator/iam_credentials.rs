//! `:generateIdToken` and `:generateAccessToken`: who may have which account's tokens.

use serde_json::{Value, json};

use crate::{
    account::{CLOUD_PLATFORM, KeyHolder, LOGIN, SEARCH},
    process::{Answer, Emulator, TOKEN, now},
};

const MIDDLE: &str = "middle@shop-42.iam.gserviceaccount.com";
const TARGET: &str = "target@shop-42.iam.gserviceaccount.com";

fn path(account: &str, method: &str) -> String {
    format!("/v1/projects/-/serviceAccounts/{account}:{method}")
}

fn generate_id_token(emulator: &Emulator, account: &str, body: &Value, bearer: &str) -> Answer {
    emulator.post_json(&path(account, "generateIdToken"), body, bearer)
}

/// The machine's own access token.
fn machines_token(emulator: &Emulator, scopes: &str) -> String {
    let answer = emulator.get(&format!("{TOKEN}?scopes={scopes}"));
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

#[track_caller]
fn assert_refused(answer: &Answer, code: u16, status: &str, text: &str) {
    assert_eq!(answer.status, code, "{answer:?}");
    let error = &answer.json()["error"];
    assert_eq!(
        (&error["code"], &error["status"]),
        (&json!(code), &json!(status))
    );
    assert!(error["message"].as_str().unwrap().contains(text), "{error}");
}

fn start(grants: &[&str]) -> Emulator {
    let mut arguments = vec!["--service-account", LOGIN, "--service-account", SEARCH];
    for grant in grants {
        arguments.extend(["--grant", grant]);
    }
    Emulator::start_with(&arguments)
}

#[test]
fn the_machine_gets_another_accounts_id_token() {
    let emulator = start(&[]);
    let bearer = machines_token(&emulator, "https://www.googleapis.com/auth/iam");
    let body = json!({ "audience": "https://a&b", "includeEmail": true });
    let answer = generate_id_token(&emulator, SEARCH, &body, &bearer);
    assert_eq!(answer.status, 200, "{answer:?}");
    let claims = emulator.verify(answer.json()["token"].as_str().unwrap());
    assert_eq!(claims["aud"], "https://a&b");
    assert_eq!(
        (&claims["email"], &claims["email_verified"]),
        (&json!(SEARCH), &json!(true))
    );
    assert_eq!(claims["azp"], claims["sub"]);
}

#[test]
fn only_who_asks_for_the_email_gets_it() {
    let emulator = start(&[]);
    let bearer = machines_token(&emulator, "");
    for body in [
        json!({ "audience": "x" }),
        json!({ "audience": "x", "includeEmail": false }),
    ] {
        let answer = generate_id_token(&emulator, SEARCH, &body, &bearer);
        let claims = emulator.verify(answer.json()["token"].as_str().unwrap());
        assert!(claims.get("email").is_none() && claims.get("email_verified").is_none());
    }
}

#[test]
fn an_access_token_of_another_account_is_that_accounts() {
    let emulator = start(&[&format!("{LOGIN}={MIDDLE}"), &format!("{MIDDLE}={TARGET}")]);
    let body = json!({ "scope": [CLOUD_PLATFORM], "lifetime": "600s" });
    let bearer = machines_token(&emulator, "");
    let answer = emulator.post_json(&path(MIDDLE, "generateAccessToken"), &body, &bearer);
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = answer.json();
    let expires = humantime::parse_rfc3339(token["expireTime"].as_str().unwrap()).unwrap();
    let expires = expires
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!(
        (i64::try_from(expires).unwrap() - now() - 600).abs() <= 5,
        "{token}"
    );
    let middles = token["accessToken"].as_str().unwrap();
    let body = json!({ "audience": "x" });
    assert_eq!(
        generate_id_token(&emulator, TARGET, &body, middles).status,
        200
    );
    assert_eq!(
        generate_id_token(&emulator, TARGET, &body, &bearer).status,
        403
    );
}

#[test]
fn a_caller_needs_a_credential_that_is_good() {
    let emulator = start(&[]);
    let body = json!({ "audience": "x" });
    for bearer in ["", "ya29.made-up", &emulator.id_token("x")] {
        let answer = generate_id_token(&emulator, SEARCH, &body, bearer);
        assert_refused(
            &answer,
            401,
            "UNAUTHENTICATED",
            "invalid authentication credentials",
        );
    }
    let content = ("application/json", "{}");
    let answer = emulator.post(&path(SEARCH, "generateIdToken"), content, None);
    assert_refused(
        &answer,
        401,
        "UNAUTHENTICATED",
        "missing required authentication",
    );
    let userinfo = "https://www.googleapis.com/auth/userinfo.email";
    let answer = generate_id_token(
        &emulator,
        SEARCH,
        &body,
        &machines_token(&emulator, userinfo),
    );
    assert_refused(
        &answer,
        403,
        "PERMISSION_DENIED",
        "insufficient authentication scopes",
    );
}

#[test]
fn an_access_token_that_is_over_or_revoked_is_refused() {
    let emulator = start(&[]);
    let body = json!({ "audience": "x" });
    let fault =
        emulator.fault(json!({ "endpoint": "metadataToken", "token": { "lifetime": "-10s" } }));
    let over = machines_token(&emulator, "");
    assert_eq!(
        generate_id_token(&emulator, SEARCH, &body, &over).status,
        401
    );
    emulator.delete(&format!("/_emulator/faults/{fault}"));
    let good = machines_token(&emulator, "");
    assert_eq!(
        generate_id_token(&emulator, SEARCH, &body, &good).status,
        200
    );
    assert_eq!(emulator.delete("/_emulator/access-tokens"), 204);
    assert_eq!(
        generate_id_token(&emulator, SEARCH, &body, &good).status,
        401
    );
    let next = machines_token(&emulator, "");
    assert_eq!(
        generate_id_token(&emulator, SEARCH, &body, &next).status,
        200
    );
}

#[test]
fn a_jwt_that_the_account_signed_itself_is_a_credential() {
    let emulator = KeyHolder::start();
    let generate = |changes: Value| {
        let mut all = json!({ "aud": null, "target_audience": null, "scope": CLOUD_PLATFORM });
        let fields = all.as_object_mut().unwrap();
        fields.extend(changes.as_object().unwrap().clone());
        let bearer = emulator.sign(&emulator.claims(all));
        generate_id_token(&emulator, SEARCH, &json!({ "audience": "x" }), &bearer).status
    };
    let iam = "https://www.googleapis.com/auth/iam";
    assert_eq!(generate(json!({})), 200);
    assert_eq!(generate(json!({ "scope": iam })), 200);
    assert_eq!(generate(json!({ "scope": null })), 403);
    assert_eq!(generate(json!({ "sub": SEARCH })), 401);
    assert_eq!(generate(json!({ "iss": SEARCH, "sub": SEARCH })), 401);
    assert_eq!(generate(json!({ "exp": now() - 1 })), 401);
    assert_eq!(generate(json!({ "iat": now() + 60 })), 401);
    emulator.control(&format!("/keys/{}/disable", emulator.key_id()));
    assert_eq!(generate(json!({})), 401);
}

#[test]
fn a_caller_without_the_role_is_denied() {
    let emulator = start(&[&format!("{SEARCH}={TARGET}")]);
    let bearer = machines_token(&emulator, "");
    let answer = generate_id_token(&emulator, TARGET, &json!({ "audience": "x" }), &bearer);
    let message =
        "Permission 'iam.serviceAccounts.getOpenIdToken' denied on resource (or it may not exist).";
    assert_refused(&answer, 403, "PERMISSION_DENIED", message);
    let body = json!({ "scope": [CLOUD_PLATFORM] });
    let answer = emulator.post_json(&path(TARGET, "generateAccessToken"), &body, &bearer);
    let message = "Permission 'iam.serviceAccounts.getAccessToken' denied";
    assert_refused(&answer, 403, "PERMISSION_DENIED", message);
}

#[test]
fn delegates_lead_to_the_target_in_their_order_alone() {
    let grants = [
        format!("{LOGIN}={SEARCH}"),
        format!("{SEARCH}={MIDDLE}"),
        format!("{MIDDLE}={TARGET}"),
    ];
    let emulator = start(&grants.each_ref().map(String::as_str));
    let bearer = machines_token(&emulator, "");
    let through = |delegates: &[&str]| {
        let body = json!({ "audience": "x", "delegates": delegates });
        generate_id_token(&emulator, TARGET, &body, &bearer)
    };
    assert_eq!(through(&[SEARCH, MIDDLE]).status, 200);
    let full = format!("projects/-/serviceAccounts/{SEARCH}");
    assert_eq!(through(&[&full, MIDDLE]).status, 200);
    let answer = through(&[MIDDLE, SEARCH]);
    assert_refused(
        &answer,
        403,
        "PERMISSION_DENIED",
        "iam.serviceAccounts.implicitDelegation",
    );
    assert_eq!(through(&[MIDDLE]).status, 403);
    assert_eq!(through(&[]).status, 403);
    let answer = through(&[SEARCH]);
    assert_refused(
        &answer,
        403,
        "PERMISSION_DENIED",
        "iam.serviceAccounts.getOpenIdToken",
    );
    let answer = through(&["nobody@x.org", MIDDLE]);
    assert_refused(&answer, 404, "NOT_FOUND", "nobody@x.org");
}

#[test]
fn an_account_that_does_not_exist_is_not_found() {
    let emulator = start(&[]);
    let bearer = machines_token(&emulator, "");
    let body = json!({ "audience": "x" });
    let answer = generate_id_token(&emulator, "nobody@x.org", &body, &bearer);
    assert_refused(&answer, 404, "NOT_FOUND", "nobody@x.org");
    let other_method = emulator.post_json(&path(LOGIN, "signJwt"), &json!({}), &bearer);
    assert_eq!(other_method.status, 404);
}

#[test]
fn an_email_may_be_encoded_in_the_path() {
    let emulator = start(&[]);
    let bearer = machines_token(&emulator, "");
    let body = json!({ "audience": "x" });
    let encoded = LOGIN.replace('@', "%40");
    assert_eq!(
        generate_id_token(&emulator, &encoded, &body, &bearer).status,
        200
    );
}

#[test]
fn what_makes_no_sense_is_an_invalid_argument() {
    let emulator = start(&[]);
    let bearer = machines_token(&emulator, "");
    let all_of = |scope: Value, lifetime: &str| json!({ "scope": scope, "lifetime": lifetime });
    for (method, body) in [
        ("generateIdToken", json!({})),
        ("generateIdToken", json!({ "audience": "" })),
        ("generateIdToken", json!({ "audience": 1 })),
        (
            "generateIdToken",
            json!({ "audience": "x", "include_email_too": true }),
        ),
        ("generateIdToken", json!([])),
        ("generateAccessToken", json!({})),
        ("generateAccessToken", json!({ "scope": [] })),
        ("generateAccessToken", json!({ "scope": ["everything"] })),
        (
            "generateAccessToken",
            all_of(json!([CLOUD_PLATFORM]), "3601s"),
        ),
        ("generateAccessToken", all_of(json!([CLOUD_PLATFORM]), "0s")),
        ("generateAccessToken", all_of(json!([CLOUD_PLATFORM]), "1h")),
    ] {
        let answer = emulator.post_json(&path(LOGIN, method), &body, &bearer);
        assert_refused(&answer, 400, "INVALID_ARGUMENT", "");
    }
    let content = ("application/json", "{");
    let answer = emulator.post(&path(LOGIN, "generateIdToken"), content, Some(&bearer));
    assert_refused(&answer, 400, "INVALID_ARGUMENT", "Invalid JSON payload");
}
