//! `impersonation`, with the metadata server as its source.

use super::*;
use crate::error::Code;

fn with_delegates(delegates: &[&str]) -> Source {
    source(json!({
        "type": "impersonation", "service_account": ACCOUNT, "delegates": delegates, "cluster": "iam",
        "source": {"type": "metadata", "cluster": "metadata"},
    }))
}

/// The request and the leg for what is wanted, once the bearer is there.
fn ask<'a>(source: &Source, wanted: &'a Wanted, bearer: &'a Token) -> (Request, Leg, Order<'a>) {
    let order = Order {
        bearer: Some(bearer),
        ..order(wanted)
    };
    let (request, leg) = call(source.begin(&order));
    (request, leg, order)
}

#[test]
fn the_bearer_is_an_access_token_of_the_source() {
    let source = with_delegates(&[]);
    let (wanted, identity) = source.bearer().unwrap();
    assert_eq!(identity, "metadata\nmetadata\ndefault");
    let (request, leg) = call(source.begin(&order(wanted)));
    insta::assert_snapshot!(wire(&request), @r#"
    GET http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fiam through "metadata"
    metadata-flavor: Google
    "#);
    let failed = told(source.proceed(&leg, answer(500, ""), &order(wanted)));
    assert_eq!(
        failed,
        "server_error (may pass): metadata server: status 500"
    );
    assert!(source.needs_bearer(&id_token()) && source.needs_bearer(&access_token()));
}

#[test]
fn iam_is_asked_for_an_id_token_with_email_through_the_delegates_in_order() {
    let source = with_delegates(&["b@p.iam.gserviceaccount.com", "a@p.iam.gserviceaccount.com"]);
    let (wanted, bearer) = (id_token(), bearer());
    let (request, leg, order) = ask(&source, &wanted, &bearer);
    insta::assert_snapshot!(wire(&request), @r#"
    POST https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/caller@project.iam.gserviceaccount.com:generateIdToken through "iam"
    authorization: Bearer ya29.bearer
    content-type: application/json
    {"audience":"https://profiles.example.com/?a=b&c","delegates":["projects/-/serviceAccounts/b@p.iam.gserviceaccount.com","projects/-/serviceAccounts/a@p.iam.gserviceaccount.com"],"includeEmail":true}
    "#);
    let good = json!({"token": jwt(AUDIENCE)}).to_string();
    let token = done(source.proceed(&leg, answer(200, &good), &order)).unwrap();
    assert_eq!(token.email(), Some(ACCOUNT));
}

#[test]
fn with_scopes_iam_is_asked_for_an_access_token() {
    let source = with_delegates(&[]);
    let (wanted, bearer) = (access_token(), bearer());
    let (request, leg, order) = ask(&source, &wanted, &bearer);
    insta::assert_snapshot!(wire(&request), @r#"
    POST https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/caller@project.iam.gserviceaccount.com:generateAccessToken through "iam"
    authorization: Bearer ya29.bearer
    content-type: application/json
    {"delegates":[],"lifetime":"3600s","scope":["https://s/a","https://s/b"]}
    "#);
    let good = r#"{"accessToken":"ya29.y","expireTime":"2026-09-21T15:13:20Z"}"#;
    let token = done(source.proceed(&leg, answer(200, good), &order)).unwrap();
    assert_eq!(token.secret(), "ya29.y");
    assert_eq!(token.expires_at(), UnixTime::from_secs(1_790_003_600));
    let bad = r#"{"accessToken":"ya29.y","expireTime":"soon"}"#;
    let failed = told(source.proceed(&leg, answer(200, bad), &order));
    assert!(failed.starts_with("malformed_answer (needs a person): generateAccessToken: "));
}

#[test]
fn each_failure_says_what_to_do() {
    let denied = r#"{"error":{"code":403,"message":"Permission 'iam.serviceAccounts.getOpenIdToken' denied on resource (or it may not exist).","status":"PERMISSION_DENIED"}}"#;
    let disabled = r#"{"error":{"code":403,"message":"IAM Service Account Credentials API has not been used in project 1 before or it is disabled.","status":"PERMISSION_DENIED"}}"#;
    let disabled_again = r#"{"error":{"message":"The API is disabled."}}"#;
    let (wanted, bearer) = (id_token(), bearer());
    let alone = with_delegates(&[]);
    let chain = with_delegates(&["hop@p.iam.gserviceaccount.com"]);
    let told = |source: &Source, answer| {
        let (_, leg, order) = ask(source, &wanted, &bearer);
        told(source.proceed(&leg, answer, &order))
    };
    let found = [
        told(&alone, answer(403, denied)),
        told(&chain, answer(403, denied)),
        told(&alone, answer(403, disabled)),
        told(&alone, answer(403, disabled_again)),
        told(
            &alone,
            answer(
                404,
                r#"{"error":{"status":"NOT_FOUND","message":"Not found"}}"#,
            ),
        ),
        told(
            &alone,
            answer(
                400,
                r#"{"error":{"status":"INVALID_ARGUMENT","message":"bad audience"}}"#,
            ),
        ),
        told(&alone, answer(503, "")),
        told(&alone, answer(200, "{}")),
        told(&alone, lost()),
    ];
    insta::assert_snapshot!(found.join("\n"), @r#"
    refused (needs a person): generateIdToken: 403 PERMISSION_DENIED: Permission 'iam.serviceAccounts.getOpenIdToken' denied on resource (or it may not exist). (grant the caller roles/iam.serviceAccountOpenIdTokenCreator on caller@project.iam.gserviceaccount.com)
    refused (needs a person): generateIdToken: 403 PERMISSION_DENIED: Permission 'iam.serviceAccounts.getOpenIdToken' denied on resource (or it may not exist). (grant the caller roles/iam.serviceAccountTokenCreator on hop@p.iam.gserviceaccount.com, each delegate the same on the next one, and the last one roles/iam.serviceAccountOpenIdTokenCreator on caller@project.iam.gserviceaccount.com)
    refused (needs a person): generateIdToken: 403 PERMISSION_DENIED: IAM Service Account Credentials API has not been used in project 1 before or it is disabled. (enable iamcredentials.googleapis.com in the caller's project)
    refused (needs a person): generateIdToken: 403: The API is disabled. (enable iamcredentials.googleapis.com in the caller's project)
    not_found (needs a person): generateIdToken: 404 NOT_FOUND: Not found (there is no service account caller@project.iam.gserviceaccount.com, or a delegate is missing)
    refused (needs a person): generateIdToken: 400 INVALID_ARGUMENT: bad audience
    server_error (may pass): generateIdToken: 503
    malformed_answer (needs a person): generateIdToken: an answer without "token"
    callout_unreachable (may pass): generateIdToken: connection refused or reset
    "#);
}

#[test]
fn a_bearer_that_is_refused_may_have_been_revoked_unless_it_is_fresh() {
    let (source, wanted, bearer) = (with_delegates(&[]), id_token(), bearer());
    let refused = |age| {
        let (_, leg, mut order) = ask(&source, &wanted, &bearer);
        order.standing.bearer_age = Some(Duration::from_secs(age));
        let body = r#"{"error":{"status":"UNAUTHENTICATED","message":"Request had invalid authentication credentials."}}"#;
        done(source.proceed(&leg, answer(401, body), &order)).unwrap_err()
    };
    let (old, fresh) = (refused(600), refused(1));
    assert!(old.is_bearer_refused && fresh.is_bearer_refused);
    assert_eq!((old.class, old.code), (Class::Transient, Code::Refused));
    assert_eq!((fresh.class, fresh.code), (Class::Permanent, Code::Refused));
}

#[test]
fn another_account_or_another_way_to_it_is_another_credential() {
    let here = with_delegates(&[]).identity();
    assert_ne!(
        here,
        with_delegates(&["hop@p.iam.gserviceaccount.com"]).identity()
    );
    let other = |account: &str, cluster: &str, source_account: &str| {
        let source =
            json!({"type": "metadata", "cluster": "metadata", "service_account": source_account});
        super::source(json!({
            "type": "impersonation", "service_account": account, "cluster": cluster, "source": source,
        }))
        .identity()
    };
    assert_eq!(here, other(ACCOUNT, "iam", "default"));
    assert_ne!(
        here,
        other("other@p.iam.gserviceaccount.com", "iam", "default")
    );
    assert_ne!(here, other(ACCOUNT, "other", "default"));
    assert_ne!(here, other(ACCOUNT, "iam", "a@b"));
}

#[test]
fn a_federation_that_impersonates_another_account_by_itself_is_no_source() {
    let of_source = |service_account: &str| {
        let federation = json!({
            "type": "federation", "config": super::federation::file(), "cluster": "sts", "subject_cluster": "s",
        });
        let credentials = json!({
            "type": "impersonation", "service_account": service_account, "cluster": "iam", "source": federation,
        });
        config(credentials).source(&|_| None)
    };
    assert!(of_source(ACCOUNT).is_ok());
    let error = of_source("other@p.iam.gserviceaccount.com").unwrap_err();
    insta::assert_snapshot!(error, @"credentials.source.config: impersonates caller@project.iam.gserviceaccount.com itself, and credentials.service_account is other@p.iam.gserviceaccount.com; take service_account_impersonation_url out of it, and name that account among credentials.delegates if it is to stand in between");
}
