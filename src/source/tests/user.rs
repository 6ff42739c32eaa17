//! A person's login below an impersonation, and other files that programs read.

use super::*;
use crate::config::Credentials;

const REFRESH_TOKEN: &str = "1//refresh-s3cret";

pub(super) fn file(refresh_token: &str) -> Value {
    json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url":
            format!("https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"),
        "delegates": ["projects/-/serviceAccounts/hop@project.iam.gserviceaccount.com"],
        "source_credentials": {
            "type": "authorized_user", "client_id": "gcloud.apps", "client_secret": "d-s3cret",
            "refresh_token": refresh_token,
        },
    })
}

fn read(file: &Value) -> Source {
    let credentials = Credentials::from_file(&file.to_string()).unwrap();
    Source::new(&credentials, &|_| None).unwrap()
}

#[test]
fn a_login_is_exchanged_for_the_bearer_that_iam_is_asked_with() {
    let source = read(&file(REFRESH_TOKEN));
    assert_eq!(source.account(), Some(ACCOUNT));
    let (wanted, _) = source.bearer().unwrap();
    let (request, leg) = call(source.begin(&order(wanted)));
    assert_eq!(
        wire(&request),
        "POST https://oauth2.googleapis.com/token through \"\"\n\
         content-type: application/x-www-form-urlencoded\n\
         grant_type=refresh_token&client_id=gcloud.apps&client_secret=d-s3cret&refresh_token=1%2F%2Frefresh-s3cret"
    );
    let granted = answer(200, r#"{"access_token":"ya29.login","expires_in":3599}"#);
    let token = done(source.proceed(&leg, granted, &order(wanted))).unwrap();
    assert_eq!(token.expires_at(), NOW + Duration::from_secs(3599));
    let audience = id_token();
    let asked = Order {
        bearer: Some(&token),
        ..order(&audience)
    };
    let (request, _) = call(source.begin(&asked));
    let text = wire(&request);
    assert!(
        text.contains(&format!("{ACCOUNT}:generateIdToken")),
        "{text}"
    );
    assert!(text.contains("authorization: Bearer ya29.login"), "{text}");
    assert!(text.contains("projects/-/serviceAccounts/hop@"), "{text}");
}

#[test]
fn a_login_that_has_ended_says_what_to_do_and_shows_no_secret() {
    let source = read(&file(REFRESH_TOKEN));
    let (wanted, _) = source.bearer().unwrap();
    let (_, leg) = call(source.begin(&order(wanted)));
    let body = json!({"error": "invalid_grant", "error_description": format!("Bad {REFRESH_TOKEN} of d-s3cret")});
    let failed = told(source.proceed(&leg, answer(400, &body.to_string()), &order(wanted)));
    assert_eq!(
        failed,
        "refused (needs a person): login: 400 invalid_grant: Bad [cut] of [cut] (the login has ended: do `gcloud auth \
         application-default login --impersonate-service-account=EMAIL` again)"
    );
    let shown = format!("{source:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn another_login_is_another_credential() {
    let (one, other) = (read(&file("1//one")), read(&file("1//other")));
    assert_ne!(one.identity(), other.identity());
    assert_ne!(one.bearer().unwrap().1, other.bearer().unwrap().1);
    assert!(!one.identity().contains("1//one"));
}

#[test]
fn a_subject_token_s_file_is_a_callout_without_a_server() {
    let source = read(&json!({
        "type": "external_account", "audience": "//iam/p", "subject_token_type": "urn:x",
        "token_url": "https://sts.googleapis.com/v1/token",
        "service_account_impersonation_url":
            format!("https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"),
        "credential_source": {"file": "/var/run/a token", "format": {"type": "json", "subject_token_field_name": "t"}},
    }));
    let (wanted, _) = source.bearer().unwrap();
    let (request, leg) = call(source.begin(&order(wanted)));
    assert_eq!(wire(&request), "GET file:///var/run/a token through \"\"");
    let (request, _) = call(source.proceed(&leg, answer(200, r#"{"t":"mine"}"#), &order(wanted)));
    assert!(wire(&request).contains("subject_token=mine&"));
}
