//! `service_account_key`.

use rsa::pkcs1v15::{Signature, VerifyingKey};
use rsa::sha2::Sha256;
use rsa::signature::Verifier as _;

use super::key_file::{KEY, key_file};
use super::*;
use crate::config::Credentials;
use crate::source::key::SigningInput;
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};

fn key() -> Source {
    source(json!({"type": "service_account_key", "cluster": "oauth2", "key": key_file()}))
}

fn of_other_universe() -> Source {
    let mut file = key_file();
    file["universe_domain"] = "other.example.com".into();
    source(json!({"type": "service_account_key", "cluster": "iam", "key": file}))
}

fn sign(step: Step) -> (SigningInput, Leg) {
    match step {
        Step::Sign(input, leg) => (input, leg),
        other => panic!("no signature: {other:?}"),
    }
}

fn segments(jwt: &[u8]) -> Vec<Value> {
    let segments = str::from_utf8(jwt).unwrap().split('.').take(2);
    segments
        .map(|it| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(it).unwrap()).unwrap())
        .collect()
}

/// The first request of an exchange, and where it stands then.
fn exchange(source: &Source, wanted: &Wanted) -> (Request, Leg) {
    let (input, leg) = sign(source.begin(&order(wanted)));
    let signature = Answer::Signature(input.sign());
    call(source.proceed(&leg, signature, &order(wanted)))
}

#[test]
fn an_assertion_says_who_asks_for_whom_and_is_ten_seconds_old() {
    let wanted = id_token();
    let (input, _) = sign(key().begin(&order(&wanted)));
    assert_eq!(
        segments(input.text()),
        [
            json!({"alg": "RS256", "typ": "JWT", "kid": "0123456789abcdef"}),
            json!({
                "iss": ACCOUNT, "sub": ACCOUNT, "aud": "https://oauth2.googleapis.com/token",
                "iat": NOW.as_secs() - 10, "exp": NOW.as_secs() - 10 + 3600, "target_audience": AUDIENCE,
            })
        ]
    );
    let verifier = VerifyingKey::<Sha256>::new(KEY.to_public_key());
    let signature = input.sign().unwrap();
    let signature = Signature::try_from(signature.as_slice()).unwrap();
    verifier.verify(input.text(), &signature).unwrap();
}

#[test]
fn it_is_exchanged_at_the_token_uri_for_an_id_token() {
    let (source, wanted) = (key(), id_token());
    let (request, leg) = exchange(&source, &wanted);
    let text = wire(&request);
    let (head, assertion) = text.split_once("&assertion=").unwrap();
    insta::assert_snapshot!(head, @r#"
    POST https://oauth2.googleapis.com/token through "oauth2"
    content-type: application/x-www-form-urlencoded
    grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer
    "#);
    assert_eq!(assertion.split('.').count(), 3);
    assert_eq!(
        segments(assertion.as_bytes())[1]["target_audience"],
        AUDIENCE
    );
    let good = json!({"id_token": jwt(AUDIENCE)}).to_string();
    let token = done(source.proceed(&leg, answer(200, &good), &order(&wanted))).unwrap();
    assert_eq!(token.email(), Some(ACCOUNT));
}

#[test]
fn with_scopes_it_is_exchanged_for_an_access_token() {
    let (source, wanted) = (key(), access_token());
    let (input, _) = sign(source.begin(&order(&wanted)));
    let claims = &segments(input.text())[1];
    assert_eq!(claims["scope"], "https://s/a https://s/b");
    assert_eq!(claims.get("target_audience"), None);
    let (_, leg) = exchange(&source, &wanted);
    let good = r#"{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}"#;
    let token = done(source.proceed(&leg, answer(200, good), &order(&wanted))).unwrap();
    assert_eq!(token.secret(), "ya29.x");
    assert_eq!(token.expires_at(), NOW + Duration::from_secs(3599));
}

#[test]
fn each_failure_says_what_to_do() {
    let (source, wanted) = (key(), id_token());
    let (_, leg) = exchange(&source, &wanted);
    let told = |answer| told(source.proceed(&leg, answer, &order(&wanted)));
    let invalid_grant = |description: &str| {
        let body = json!({"error": "invalid_grant", "error_description": description});
        answer(400, &body.to_string())
    };
    let found = [
        told(invalid_grant("Invalid JWT Signature.")),
        told(invalid_grant(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check \
             your iat and exp values in the JWT claim.",
        )),
        told(invalid_grant("Invalid grant: account not found")),
        told(invalid_grant("something new")),
        told(answer(401, r#"{"error":"invalid_client"}"#)),
        told(answer(500, r#"{"error":"internal_failure"}"#)),
        told(answer(429, "")),
        told(answer(200, "<html>")),
        told(answer(200, "{}")),
        told(answer(200, r#"{"id_token":"x"}"#)),
        told(answer(
            200,
            &json!({"id_token": jwt("https://other")}).to_string(),
        )),
        told(lost()),
    ];
    insta::assert_snapshot!(found.join("\n"), @r#"
    refused (needs a person): token endpoint: 400 invalid_grant: Invalid JWT Signature. (the key 0123456789abcdef of caller@project.iam.gserviceaccount.com is wrong, or was deleted: make a new one and replace it)
    refused (needs a person): token endpoint: 400 invalid_grant: Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim. (this machine's clock is off: it says 1790000000 s since 1970; set it)
    refused (needs a person): token endpoint: 400 invalid_grant: Invalid grant: account not found (caller@project.iam.gserviceaccount.com was deleted, or is written wrong)
    refused (needs a person): token endpoint: 400 invalid_grant: something new
    refused (needs a person): token endpoint: 401 invalid_client
    server_error (may pass): token endpoint: 500 internal_failure
    server_error (may pass): token endpoint: 429
    malformed_answer (needs a person): token endpoint: an answer that is not a JSON object
    malformed_answer (needs a person): token endpoint: an answer without "id_token"
    malformed_answer (needs a person): token endpoint: the answer is not a JWT
    malformed_answer (needs a person): token endpoint: the token's "aud" is "https://other", which is not the audience that was asked for
    callout_unreachable (may pass): token endpoint: connection refused or reset
    "#);
}

#[test]
fn a_key_of_another_universe_signs_a_bearer_and_asks_iam_with_it() {
    let (source, wanted) = (of_other_universe(), id_token());
    let (of_bearer, _) = source.bearer().unwrap();
    assert!(source.needs_bearer(&wanted) && !source.needs_bearer(&access_token()));
    let (input, leg) = sign(source.begin(&order(of_bearer)));
    assert_eq!(
        segments(input.text())[1],
        json!({
            "iss": ACCOUNT, "sub": ACCOUNT, "scope": "https://www.googleapis.com/auth/iam",
            "iat": NOW.as_secs() - 10, "exp": NOW.as_secs() - 10 + 3600,
        })
    );
    let signature = Answer::Signature(Ok(b"signature".to_vec()));
    let bearer = done(source.proceed(&leg, signature, &order(of_bearer))).unwrap();
    assert_eq!(
        bearer.secret().as_bytes(),
        [input.text(), b".c2lnbmF0dXJl"].concat()
    );
    let with_bearer = Order {
        bearer: Some(&bearer),
        ..order(&wanted)
    };
    let (request, _) = call(source.begin(&with_bearer));
    assert_eq!(
        (request.cluster.as_str(), request.authority.as_str()),
        ("iam", "iamcredentials.other.example.com")
    );
}

#[test]
fn another_key_or_another_way_to_it_is_another_credential() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut credentials =
            json!({"type": "service_account_key", "cluster": "oauth2", "key": key_file()});
        change(&mut credentials);
        source(credentials).identity()
    };
    let here = with(&|_| {});
    assert_eq!(here, with(&|_| {}));
    assert_ne!(here, with(&|it| it["cluster"] = "other".into()));
    for (field, value) in [
        ("client_email", "other@project.iam.gserviceaccount.com"),
        ("private_key_id", "1"),
        ("token_uri", "https://other.example.com/token"),
        ("universe_domain", "other.example.com"),
    ] {
        let other = with(&|it| it["key"][field] = value.into());
        assert_ne!(here, other, "{field}");
    }
    // Nothing but the key itself tells these apart: a wrong one must not find the right one's tokens.
    let key = rsa::PrivateKey::new(&mut getrandom::SysRng, 2048).unwrap();
    let pem = key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string();
    assert_ne!(
        here,
        with(&|it| it["key"]["private_key"] = pem.as_str().into())
    );
}

#[test]
fn a_universe_is_a_domain() {
    for (universe, is_good) in [
        (json!("apis.example.com"), true),
        (json!(""), true),
        (json!(null), true),
        (json!("example.com/path"), false),
        (json!("example.com:444"), false),
        (json!("exam ple.com"), false),
    ] {
        for mut file in [key_file(), federation::file()] {
            file["universe_domain"] = universe.clone();
            let read = Credentials::from_file(&file.to_string());
            let told = read.err().map(|errors| errors.to_string());
            let expected = (!is_good).then(|| "universe_domain: is no domain".to_owned());
            assert_eq!(told, expected, "{file}");
        }
    }
}

#[test]
fn only_envoys_own_answer_is_a_callout_that_timed_out() {
    let (source, wanted) = (key(), id_token());
    let (_, leg) = exchange(&source, &wanted);
    let failed = |body| told(source.proceed(&leg, answer(504, body), &order(&wanted)));
    assert_eq!(
        failed("upstream request timeout"),
        "callout_timeout (may pass): token endpoint: no answer within callout_timeout"
    );
    assert_eq!(
        failed("upstream request timeout of another"),
        "server_error (may pass): token endpoint: 504"
    );
}
