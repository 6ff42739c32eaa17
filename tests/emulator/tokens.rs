//! The tokens: who issued them, for whom, how long.

use crate::process::{Emulator, IDENTITY, TOKEN, claims, now};

#[test]
fn a_token_has_googles_claims_and_a_signature_of_the_published_key() {
    let emulator =
        Emulator::start_with(&["--service-account", "login@shop-42.iam.gserviceaccount.com"]);
    let before = now();
    let answer = emulator.get(&format!(
        "{IDENTITY}?audience=https://profiles.example.com&format=full"
    ));
    assert_eq!(answer.header("content-type"), Some("text/html"));
    let claims = emulator.verify(&answer.body);
    assert_eq!(claims["iss"], "https://accounts.google.com");
    assert_eq!(claims["aud"], "https://profiles.example.com");
    assert_eq!(claims["email"], "login@shop-42.iam.gserviceaccount.com");
    assert_eq!(claims["email_verified"], true);
    assert_eq!(claims["sub"], claims["azp"]);
    assert_eq!(claims["sub"].as_str().unwrap().len(), 21);
    let issued = claims["iat"].as_i64().unwrap();
    assert!((before..=now()).contains(&issued), "{claims}");
    assert_eq!(claims["exp"].as_i64().unwrap() - issued, 3600);
}

#[test]
fn only_the_full_format_holds_the_email() {
    let emulator = Emulator::start();
    for query in ["audience=x", "audience=x&format=standard"] {
        let claims = emulator.verify(&emulator.get(&format!("{IDENTITY}?{query}")).body);
        assert!(
            claims.get("email").is_none() && claims.get("email_verified").is_none(),
            "{claims}"
        );
    }
}

#[test]
fn an_audience_survives_byte_for_byte_when_it_is_encoded_once() {
    let emulator = Emulator::start();
    for (sent, audience) in [
        (
            "https%3A%2F%2Fa.run.app%2F%3Fx%3D1%26y%3D2%23z",
            "https://a.run.app/?x=1&y=2#z",
        ),
        ("a%2Bb+c%20d", "a+b c d"),
        ("100%25%2541", "100%%41"),
        ("https://a.run.app/", "https://a.run.app/"),
        ("HTTPS://A.run.app", "HTTPS://A.run.app"),
        ("gr%C3%BC%C3%9Fe", "grüße"),
    ] {
        let token = emulator
            .get(&format!("{IDENTITY}?audience={sent}&format=full"))
            .body;
        assert_eq!(claims(&token)["aud"], audience, "sent as {sent}");
    }
}

#[test]
fn an_audience_that_was_not_encoded_is_cut_as_on_the_real_server() {
    let emulator = Emulator::start();
    let token = emulator
        .get(&format!(
            "{IDENTITY}?format=full&audience=https://a/?x=1&y=2"
        ))
        .body;
    assert_eq!(claims(&token)["aud"], "https://a/?x=1");
}

#[test]
fn tokens_live_as_long_as_the_option_says() {
    let emulator = Emulator::start_with(&["--token-lifetime", "90s"]);
    let claims = claims(&emulator.id_token("x"));
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        90
    );
    assert_eq!(emulator.get(TOKEN).json()["expires_in"], 90);
}

#[test]
fn an_access_token_is_a_bearer_that_ends_in_an_hour_and_comes_again() {
    let emulator = Emulator::start();
    let first = emulator.get(&format!(
        "{TOKEN}?scopes=https://www.googleapis.com/auth/iam"
    ));
    assert_eq!(first.header("content-type"), Some("application/json"));
    let token = first.json();
    assert_eq!(token["token_type"], "Bearer");
    assert!(
        (3590..=3600).contains(&token["expires_in"].as_i64().unwrap()),
        "{token}"
    );
    let again = emulator
        .get(&format!(
            "{TOKEN}?scopes=https://www.googleapis.com/auth/iam"
        ))
        .json();
    assert_eq!(again["access_token"], token["access_token"]);
    assert_ne!(
        emulator.get(TOKEN).json()["access_token"],
        token["access_token"]
    );
}

#[test]
fn each_account_gets_tokens_of_its_own_and_the_first_is_the_default() {
    let emulator = Emulator::start_with(&[
        "--service-account",
        "a@x.org",
        "--service-account",
        "b@x.org",
    ]);
    let email = |name: &str| {
        let path = format!("/computeMetadata/v1/instance/service-accounts/{name}/identity");
        claims(&emulator.get(&format!("{path}?audience=x&format=full")).body)["email"].clone()
    };
    assert_eq!(email("default"), "a@x.org");
    assert_eq!(email("a@x.org"), "a@x.org");
    assert_eq!(email("b@x.org"), "b@x.org");
    assert_eq!(email("b%40x.org"), "b@x.org");
}

#[test]
fn the_certificate_has_the_id_of_the_key_that_tokens_name() {
    let emulator = Emulator::start();
    let certificates = emulator.get_with("/oauth2/v1/certs", &[]).json();
    let keys = emulator.get_with("/oauth2/v3/certs", &[]).json();
    let kid = keys["keys"][0]["kid"].as_str().unwrap();
    let pem = certificates[kid].as_str().unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n"), "{pem}");
    assert_eq!(certificates.as_object().unwrap().len(), 1);
}
