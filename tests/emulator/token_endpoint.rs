//! `/token`: assertions of service accounts and refresh tokens of people.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    account::{CLOUD_PLATFORM, JWT_BEARER, KeyHolder, LOGIN, SEARCH, assert_refused},
    process::{Answer, DEADLINE, Emulator, now},
};

#[test]
fn an_assertion_with_a_target_audience_becomes_an_id_token_of_the_account() {
    let emulator = KeyHolder::start();
    let answer = emulator.exchange_changed(json!({}));
    assert_eq!(answer.status, 200, "{answer:?}");
    let claims = emulator.verify(answer.json()["id_token"].as_str().unwrap());
    assert_eq!(claims["aud"], "https://profiles.example.com");
    assert_eq!(claims["email"], LOGIN);
    assert_eq!(claims["email_verified"], true);
    assert_eq!(claims["azp"], LOGIN);
    assert_eq!(claims["iss"], "https://accounts.google.com");
}

#[test]
fn an_assertion_with_a_scope_becomes_an_access_token() {
    let emulator = KeyHolder::start();
    let scope = json!({ "target_audience": null, "scope": CLOUD_PLATFORM });
    let answer = emulator.exchange_changed(scope);
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = answer.json();
    assert!(
        token["access_token"]
            .as_str()
            .is_some_and(|token| token.starts_with("ya29."))
    );
    assert_eq!(token["token_type"], "Bearer");
    assert!((3590..=3600).contains(&token["expires_in"].as_i64().unwrap()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[test]
fn an_assertion_may_be_for_googles_own_address_and_needs_no_sub() {
    let emulator = KeyHolder::start();
    let google = "https://oauth2.googleapis.com/token";
    for changes in [json!({ "aud": google }), json!({ "sub": null })] {
        assert_eq!(emulator.exchange_changed(changes).status, 200);
    }
}

#[test]
fn an_assertion_may_be_for_the_name_that_the_emulator_is_called_by() {
    let emulator = KeyHolder::start();
    let claims = emulator.claims(json!({ "aud": "http://google.internal:8080/token" }));
    let assertion = emulator.sign(&claims);
    let status = |host: &str| {
        let body = format!(
            "grant_type={}&assertion={assertion}",
            JWT_BEARER.replace(':', "%3A")
        );
        let mut stream = TcpStream::connect(emulator.url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(
            stream,
            "POST /token HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status("google.internal:8080"), "200");
    assert_eq!(status("other.internal:8080"), "400");
}

#[test]
fn an_assertion_for_another_server_is_refused() {
    let emulator = KeyHolder::start();
    for audience in [
        json!("https://sts.googleapis.com/v1/token"),
        json!(emulator.url),
        json!(["https://oauth2.googleapis.com/token"]),
        Value::Null,
    ] {
        let answer = emulator.exchange_changed(json!({ "aud": audience }));
        assert_refused(&answer, 400, "invalid_grant", "Failed audience check");
    }
}

#[test]
fn an_assertion_is_an_hour_long_at_most_not_over_and_not_from_the_future() {
    let emulator = KeyHolder::start();
    let now = now();
    for (iat, exp) in [
        (json!(now), json!(now + 3601)),
        (json!(now - 3600), json!(now - 1)),
        (json!(now + 60), json!(now + 600)),
        (Value::Null, json!(now + 600)),
        (json!(now), Value::Null),
        (json!(now.to_string()), json!((now + 600).to_string())),
    ] {
        let answer = emulator.exchange_changed(json!({ "iat": iat, "exp": exp }));
        assert_refused(
            &answer,
            400,
            "invalid_grant",
            "short-lived token (60 minutes)",
        );
    }
    let whole_hour = json!({ "iat": now, "exp": now + 3600 });
    assert_eq!(emulator.exchange_changed(whole_hour).status, 200);
}

#[test]
fn an_assertion_of_an_unknown_account_is_refused() {
    let emulator = KeyHolder::start();
    for issuer in [json!("nobody@shop-42.iam.gserviceaccount.com"), Value::Null] {
        let answer = emulator.exchange_changed(json!({ "iss": issuer, "sub": issuer }));
        assert_refused(
            &answer,
            400,
            "invalid_grant",
            "Invalid grant: account not found",
        );
    }
}

#[test]
fn nobody_signs_for_another_account() {
    let emulator = KeyHolder::start();
    let answer = emulator.exchange_changed(json!({ "iss": SEARCH, "sub": SEARCH }));
    assert_refused(&answer, 400, "invalid_grant", "Invalid JWT Signature.");
    let answer = emulator.exchange_changed(json!({ "sub": SEARCH }));
    assert_refused(&answer, 401, "unauthorized_client", "unauthorized");
}

#[test]
fn a_signature_that_does_not_fit_is_refused() {
    let emulator = KeyHolder::start();
    let another = KeyHolder::start();
    let claims = emulator.claims(json!({}));
    let good = emulator.sign(&claims);
    let (signed, _) = good.rsplit_once('.').unwrap();
    let other = emulator.sign(&emulator.claims(json!({ "target_audience": "x" })));
    let (_, others_signature) = other.rsplit_once('.').unwrap();
    let header = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid });
    for assertion in [
        format!("{signed}.{others_signature}"),
        format!("{signed}."),
        another.sign(&claims),
        another.sign_with(&header("RS256", emulator.key_id()), &claims),
        emulator.sign_with(&header("RS256", "another"), &claims),
        emulator.sign_with(&header("HS256", emulator.key_id()), &claims),
        emulator.sign_with(&header("none", emulator.key_id()), &claims),
    ] {
        let answer = emulator.exchange(&assertion);
        assert_refused(&answer, 400, "invalid_grant", "Invalid JWT Signature.");
    }
    assert_eq!(emulator.exchange(&good).status, 200);
}

#[test]
fn a_signature_of_any_of_the_accounts_keys_is_good_where_none_is_named() {
    let emulator = KeyHolder::start();
    let assertion = emulator.sign_with(&json!({ "alg": "RS256" }), &emulator.claims(json!({})));
    assert_eq!(emulator.exchange(&assertion).status, 200);
}

#[test]
fn what_is_no_jwt_is_refused() {
    let emulator = KeyHolder::start();
    for text in ["x", "a.b.c", "e30.e30", "e30.W10.AAAA", "....."] {
        let answer = emulator.exchange(text);
        assert_refused(&answer, 400, "invalid_grant", "Invalid JWT");
    }
}

#[test]
fn an_assertion_must_ask_for_an_audience_or_for_scopes() {
    let emulator = KeyHolder::start();
    for (audience, scope) in [
        (Value::Null, Value::Null),
        (json!(""), Value::Null),
        (Value::Null, json!("everything")),
        (Value::Null, json!(" ")),
    ] {
        let changes = json!({ "target_audience": audience, "scope": scope });
        let answer = emulator.exchange_changed(changes);
        assert_refused(&answer, 400, "invalid_scope", "ID token audience");
    }
}

#[test]
fn a_form_that_lacks_something_is_refused() {
    let emulator = KeyHolder::start();
    let post = |fields: &[(&str, &str)]| emulator.post_form("/token", fields);
    assert_refused(&post(&[]), 400, "invalid_request", "grant_type");
    let answer = post(&[("grant_type", JWT_BEARER)]);
    assert_refused(&answer, 400, "invalid_request", "assertion");
    let answer = post(&[("grant_type", "password")]);
    assert_refused(&answer, 400, "unsupported_grant_type", "password");
    let assertion = emulator.sign(&emulator.claims(json!({})));
    let body = json!({ "grant_type": JWT_BEARER, "assertion": assertion }).to_string();
    let answer = emulator.post("/token", ("application/json", &body), None);
    assert_refused(&answer, 400, "invalid_request", "form");
    assert_eq!(emulator.get("/token").status, 405);
}

#[test]
fn a_key_that_is_revoked_signs_no_more() {
    let emulator = KeyHolder::start();
    let path = format!("/keys/{}", emulator.key_id());
    emulator.control(&format!("{path}/disable"));
    let refused = || {
        let answer = emulator.exchange_changed(json!({}));
        assert_refused(&answer, 400, "invalid_grant", "Invalid JWT Signature.");
    };
    refused();
    let keys = || emulator.get_with("/_emulator/keys", &[]).json();
    let shown = json!([{ "id": emulator.key_id(), "account": LOGIN, "disabled": true }]);
    assert_eq!(keys(), shown);
    emulator.control(&format!("{path}/enable"));
    assert_eq!(emulator.exchange_changed(json!({})).status, 200);
    assert_eq!(emulator.delete(&format!("/_emulator{path}")), 204);
    refused();
    assert_eq!(keys(), json!([]));
    assert_eq!(emulator.delete(&format!("/_emulator{path}")), 404);
}

#[test]
fn a_given_key_file_signs_after_a_restart_too() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("key.json");
    let first = KeyHolder::start();
    fs::write(&path, first.file.to_string()).unwrap();
    let second = Emulator::start_with(&["--account-key", path.to_str().unwrap()]);
    let google = json!({ "aud": "https://oauth2.googleapis.com/token" });
    let assertion = first.sign(&first.claims(google));
    let fields = [("grant_type", JWT_BEARER), ("assertion", &assertion)];
    assert_eq!(second.post_form("/token", &fields).status, 200);
}

fn user_file(path: &Path) -> Value {
    let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    file["source_credentials"].clone()
}

#[test]
fn a_refresh_token_becomes_an_access_token_for_the_client_it_belongs_to() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("user.json");
    let option = [
        "--write-impersonated-service-account",
        path.to_str().unwrap(),
    ];
    let emulator = Emulator::start_with(&option);
    let user = user_file(&path);
    let refresh = |changed: &str, value: &str| -> Answer {
        let field = |name: &'static str| {
            let text = user[name].as_str().unwrap();
            (name, if name == changed { value } else { text })
        };
        let fields = ["client_id", "client_secret", "refresh_token"].map(field);
        let mut all = vec![("grant_type", "refresh_token")];
        all.extend(fields);
        emulator.post_form("/token", &all)
    };
    let token = refresh("", "").json();
    assert!(token["access_token"].is_string(), "{token}");
    assert_eq!(token["token_type"], "Bearer");
    for (field, value, status, code) in [
        ("client_id", "x", 401, "invalid_client"),
        ("client_secret", "x", 401, "invalid_client"),
        ("refresh_token", "x", 400, "invalid_grant"),
        ("refresh_token", "", 400, "invalid_request"),
    ] {
        assert_refused(&refresh(field, value), status, code, "");
    }
}
