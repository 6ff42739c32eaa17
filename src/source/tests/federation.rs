//! `federation`.

use super::*;

pub(crate) fn file() -> Value {
    json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/provider",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {
            "url": "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=x",
            "headers": {"Metadata": "True"},
            "format": {"type": "json", "subject_token_field_name": "access_token"},
        },
        "service_account_impersonation_url": format!(
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"
        ),
    })
}

fn federation(file: Value) -> Source {
    source(json!({
        "type": "federation", "config": file, "cluster": "sts", "subject_cluster": "subject", "iam_cluster": "iam",
    }))
}

fn subject() -> Answer {
    answer(
        200,
        r#"{"access_token": "subject+token/1", "expires_in": "3599"}"#,
    )
}

#[test]
fn the_subject_token_is_asked_for_as_the_file_says() {
    let source = federation(file());
    let (wanted, _) = source.bearer().unwrap();
    let (request, _) = call(source.begin(&order(wanted)));
    insta::assert_snapshot!(wire(&request), @r#"
    GET http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=x through "subject"
    metadata: True
    "#);
}

#[test]
fn it_is_exchanged_for_the_bearer_and_that_for_an_id_token() {
    let source = federation(file());
    let (of_bearer, _) = source.bearer().unwrap();
    let (_, leg) = call(source.begin(&order(of_bearer)));
    let (request, leg) = call(source.proceed(&leg, subject(), &order(of_bearer)));
    insta::assert_snapshot!(wire(&request).replace('&', "\n&"), @r#"
    POST https://sts.googleapis.com/v1/token through "sts"
    content-type: application/x-www-form-urlencoded
    grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange
    &audience=%2F%2Fiam.googleapis.com%2Fprojects%2F1%2Flocations%2Fglobal%2FworkloadIdentityPools%2Fpool%2Fproviders%2Fprovider
    &scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fiam
    &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token
    &subject_token=subject%2Btoken%2F1
    &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt
    "#);
    let good = r#"{"access_token":"ya29.sts","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":3600}"#;
    let bearer = done(source.proceed(&leg, answer(200, good), &order(of_bearer))).unwrap();
    let wanted = id_token();
    let with_bearer = Order {
        bearer: Some(&bearer),
        ..order(&wanted)
    };
    let (request, _) = call(source.begin(&with_bearer));
    insta::assert_snapshot!(wire(&request), @r#"
    POST https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/caller@project.iam.gserviceaccount.com:generateIdToken through "iam"
    authorization: Bearer ya29.sts
    content-type: application/json
    {"audience":"https://profiles.example.com/?a=b&c","delegates":[],"includeEmail":true}
    "#);
}

#[test]
fn a_subject_token_can_be_the_whole_answer() {
    let mut file = file();
    file["credential_source"]["format"] = Value::Null;
    let source = federation(file);
    let (wanted, _) = source.bearer().unwrap();
    let (_, leg) = call(source.begin(&order(wanted)));
    let (request, _) = call(source.proceed(&leg, answer(200, "a.b.c\n"), &order(wanted)));
    assert!(wire(&request).contains("&subject_token=a.b.c&"));
}

#[test]
fn without_an_account_there_are_access_tokens_with_their_scopes_and_no_id_tokens() {
    let mut file = file();
    file["service_account_impersonation_url"] = Value::Null;
    let credentials =
        json!({"type": "federation", "config": file, "cluster": "sts", "subject_cluster": "s"});
    let error = config(credentials.clone()).source(&|_| None).unwrap_err();
    assert!(error.to_string().contains("no account"), "{error}");
    let config = json!({"credentials": credentials, "audiences": [{"cluster": "x", "scopes": ["https://s/a"]}]});
    let source = Config::from_value(config)
        .unwrap()
        .source(&|_| None)
        .unwrap();
    let wanted = access_token();
    assert!(source.bearer().is_none() && !source.needs_bearer(&wanted));
    let server = source.server();
    assert_eq!(
        server,
        r#"the token service sts.googleapis.com (cluster "sts")"#
    );
    let (_, leg) = call(source.begin(&order(&wanted)));
    let (request, _) = call(source.proceed(&leg, subject(), &order(&wanted)));
    assert!(wire(&request).contains("&scope=https%3A%2F%2Fs%2Fa%20https%3A%2F%2Fs%2Fb&"));
}

#[test]
fn a_program_brings_the_subject_token_whatever_the_file_says_of_its_source() {
    for credential_source in [Value::Null, json!({"file": "/var/run/token"})] {
        let mut file = file();
        file["credential_source"] = credential_source;
        let source = source(json!({
            "type": "federation", "config": file, "subject_token": "program",
        }));
        let (wanted, _) = source.bearer().unwrap();
        let (request, leg) = call(source.begin(&order(wanted)));
        assert_eq!(request.scheme, Scheme::Program);
        let (request, _) = call(source.proceed(&leg, answer(200, "a.b.c"), &order(wanted)));
        assert!(wire(&request).contains("&subject_token=a.b.c&"));
        let nothing = Answer::Response(Err(CalloutError::NotGiven));
        insta::allow_duplicates! {
            insta::assert_snapshot!(told(source.proceed(&leg, nothing, &order(wanted))), @"callout_unavailable (may pass): subject token: the program gave none");
        }
    }
}

#[test]
fn only_a_program_can_be_asked_for_the_subject_token() {
    let credentials = json!({"type": "federation", "config": file(), "subject_token": "program"});
    let asked = |host| {
        config(credentials.clone())
            .for_host(host)
            .unwrap_err()
            .to_string()
    };
    for host in [Host::Envoy, Host::Wasi] {
        assert!(
            asked(host).contains("credentials.subject_token: is for JavaScript"),
            "{host:?}"
        );
    }
    assert!(!asked(Host::JavaScript).contains("subject_token"));
}

#[test]
fn each_failure_names_its_leg() {
    let source = federation(file());
    let (wanted, _) = source.bearer().unwrap();
    let (_, first) = call(source.begin(&order(wanted)));
    let (_, second) = call(source.proceed(&first, subject(), &order(wanted)));
    let told = |leg: &Leg, answer| told(source.proceed(leg, answer, &order(wanted)));
    let found = [
        told(&first, answer(404, "no identity here")),
        told(&first, answer(500, "")),
        told(&first, answer(200, "")),
        told(&first, answer(200, "<html>")),
        told(&first, answer(200, r#"{"token": "x"}"#)),
        told(&first, answer(200, r#"{"access_token": ""}"#)),
        told(&first, lost()),
        told(
            &second,
            answer(
                400,
                r#"{"error":"invalid_grant","error_description":"The audience in ID Token [x] does not match the expected audience. subject+token/1"}"#,
            ),
        ),
        told(
            &second,
            answer(
                400,
                r#"{"error":"invalid_target","error_description":"The target service indicated by the \"audience\" parameters is invalid."}"#,
            ),
        ),
        told(&second, answer(503, "")),
        told(&second, answer(200, r#"{"access_token":"x"}"#)),
        told(&second, lost()),
    ];
    insta::assert_snapshot!(found.join("\n"), @r#"
    not_found (needs a person): subject token: 404
    server_error (may pass): subject token: 500
    malformed_answer (needs a person): subject token: an answer that is not a JSON object
    malformed_answer (needs a person): subject token: an answer that is not a JSON object
    malformed_answer (needs a person): subject token: an answer without "access_token"
    malformed_answer (needs a person): subject token: an empty answer
    callout_unreachable (may pass): subject token: connection refused or reset
    refused (needs a person): sts: 400 invalid_grant: The audience in ID Token [x] does not match the expected audience. [cut] (see that the provider takes this subject token: its issuer, its audience, its attribute condition, and this machine's clock)
    refused (needs a person): sts: 400 invalid_target: The target service indicated by the "audience" parameters is invalid.
    server_error (may pass): sts: 503
    malformed_answer (needs a person): sts: an answer without "expires_in"
    callout_unreachable (may pass): sts: connection refused or reset
    "#);
}

#[test]
fn another_pool_or_another_way_to_it_is_another_credential() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut file = file();
        change(&mut file);
        federation(file).identity()
    };
    let here = with(&|_| {});
    assert_eq!(here, with(&|_| {}));
    let changes: [&dyn Fn(&mut Value); 6] = [
        &|it| it["audience"] = "other".into(),
        &|it| it["subject_token_type"] = "other".into(),
        &|it| it["token_url"] = "https://sts.example.com/v1/token".into(),
        &|it| it["credential_source"]["url"] = "https://x.example.com/".into(),
        &|it| it["credential_source"]["headers"]["Metadata"] = "Other".into(),
        &|it| it["credential_source"]["format"]["subject_token_field_name"] = "other".into(),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        assert_ne!(here, with(change), "{index}");
    }
}

#[test]
fn a_credential_for_the_subject_token_s_server_is_a_secret_in_sight() {
    let in_sight = |headers: Value| {
        let mut file = file();
        file["credential_source"]["headers"] = headers;
        let credentials = json!({
            "type": "federation", "config": file, "cluster": "sts", "subject_cluster": "s", "iam_cluster": "iam",
        });
        config(credentials).credentials.secrets_in_sight()
    };
    assert_eq!(in_sight(json!({"Metadata": "True"})), [""; 0]);
    for name in [
        "Authorization",
        "X-Api-Key",
        "Client-Secret",
        "X-Vault-Token",
    ] {
        let found = in_sight(json!({"Metadata": "True", (name): "s3cr3t"}));
        assert_eq!(found, ["credentials.config"], "{name}");
    }
}
