use super::invoker;

fn explained(file: &str, cluster: &str, authority: &str, more: &[&str]) -> String {
    let arguments = [
        "explain",
        file,
        "--cluster",
        cluster,
        "--authority",
        authority,
    ];
    invoker(&[&arguments[..], more].concat())
}

#[test]
fn a_request_that_gets_a_token_is_explained() {
    insta::assert_snapshot!(explained("listener.invoker.yaml", "search", "search.localhost", &[]), @r#"
    rule      audiences[1] (cluster "search")
    audience  https://search.demo.run.app
    header    authorization: Bearer ID_TOKEN
    caller    its own authorization is overwritten (existing_credential: replace)
    failure   after 5s at the latest 503 if it may pass, 500 if not, with the reason (failure_mode: deny)
    callout   GET http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity?audience=https%3A%2F%2Fsearch.demo.run.app&format=full
              through cluster "metadata", at most 4s
    fetched   as soon as it is configured, and again before it ends
    exit 0
    "#);
}

#[test]
fn a_derived_audience_and_a_bypass_are_explained() {
    insta::assert_snapshot!(explained("hurts.yaml", "outbound|80||a.a.run.app", "A.a.run.app:80", &[]), @r#"
    rule      audiences[1] (cluster "outbound|*", authority "*.a.run.app")
    audience  https://a.a.run.app (derived: https://{authority})
    header    authorization: Bearer ID_TOKEN
    caller    its own authorization is overwritten (existing_credential: replace)
    failure   after 5s at the latest 503 if it may pass, 500 if not, with the reason (failure_mode: deny)
    callout   GET http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity?audience=https%3A%2F%2Fa.a.run.app&format=full
              through cluster "metadata", at most 4s
    fetched   when a request first needs it, and again before it ends while it is in use
    exit 0
    "#);
    insta::assert_snapshot!(explained("explain.yaml", "x", "health.example.com", &[]), @r#"
    rule      audiences[4] (authority "health.example.com")
    bypass    the request goes on as it is, without a token
    note      audience_from_metadata is on: what the route or the cluster carries goes first
    exit 0
    "#);
}

#[test]
fn a_request_that_is_left_alone_is_told_why_rule_by_rule() {
    insta::assert_snapshot!(explained("explain.yaml", "search", "user@x.a.run.app", &["--path", "/resizer"]), @r#"
    rule      none matches: the request goes on as it is, without a token
      [0]     cluster "search" is not "profiles"
      [1]     authority "user@x.a.run.app" is no plain host name
      [2]     authority "user@x.a.run.app" is no plain host name
      [3]     authority "user@x.a.run.app" is no plain host name
      [4]     authority "user@x.a.run.app" is no plain host name
      [5]     authority "user@x.a.run.app" is no plain host name
    note      audience_from_metadata is on: what the route or the cluster carries goes first
    exit 0
    "#);
    insta::assert_snapshot!(explained("explain.yaml", "PassthroughCluster", "x.a.run.app", &["--path", "/"]), @r#"
    rule      none matches: the request goes on as it is, without a token
      [0]     cluster "PassthroughCluster" is not "profiles"
      [1]     it names no cluster, and then PassthroughCluster never matches
      [2]     it names no cluster, and then PassthroughCluster never matches
      [3]     it names no cluster, and then PassthroughCluster never matches
      [4]     it names no cluster, and then PassthroughCluster never matches
      [5]     it names no cluster, and then PassthroughCluster never matches
    note      audience_from_metadata is on: what the route or the cluster carries goes first
    exit 0
    "#);
    insta::assert_snapshot!(explained("explain.yaml", "search", "functions.example.com", &[]), @r#"
    rule      none matches: the request goes on as it is, without a token
      [0]     cluster "search" is not "profiles"
      [1]     authority "functions.example.com" is not "*.a.run.app"
      [2]     it asks for path "/resize"; give one with --path
      [3]     its audience takes a segment of the path; give one with --path
      [4]     authority "functions.example.com" is not "health.example.com"
      [5]     authority "functions.example.com" is not "*.iap.example.com"
    note      audience_from_metadata is on: what the route or the cluster carries goes first
    exit 0
    "#);
}

#[test]
fn every_way_to_treat_a_callers_credential_is_explained() {
    insta::assert_snapshot!(explained("explain.yaml", "profiles", "x", &[]), @r#"
    rule      audiences[0] (cluster "profiles")
    audience  https://profiles.run.app/?a=b&c
    header    authorization: Bearer ID_TOKEN
    caller    its own authorization moves to x-forwarded-authorization (existing_credential: forward)
    failure   after 2s at the latest it goes on without a token (failure_mode: allow)
    callout   GET http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/login@demo.iam.gserviceaccount.com/identity?audience=https%3A%2F%2Fprofiles.run.app%2F%3Fa%3Db%26c&format=full
              through cluster "metadata", at most 1.6s
    fetched   when a request first needs it, and again before it ends while it is in use
    note      audience_from_metadata is on: what the route or the cluster carries goes first
    exit 0
    "#);
    insta::assert_snapshot!(explained("explain.yaml", "x", "a.iap.example.com", &["--json"]), @r#"
    {
      "decision": "attach",
      "rule": 5,
      "matches": "authority \"*.iap.example.com\"",
      "audience": "my-iap-client-id.apps.googleusercontent.com",
      "headers": [
        "proxy-authorization"
      ],
      "existing_credential": "forward",
      "failure_mode": "allow",
      "error_details": "body",
      "timeout_seconds": 2.0,
      "prefetched": false,
      "callouts": [
        {
          "method": "GET",
          "scheme": "http",
          "authority": "metadata.google.internal",
          "path": "/computeMetadata/v1/instance/service-accounts/login@demo.iam.gserviceaccount.com/identity?audience=my-iap-client-id.apps.googleusercontent.com&format=full",
          "cluster": "metadata",
          "headers": [
            "metadata-flavor"
          ],
          "timeout_seconds": 1.6
        }
      ],
      "audience_from_metadata": true
    }
    exit 0
    "#);
}

#[test]
fn a_bad_configuration_is_not_explained() {
    insta::assert_snapshot!(explained("bad.yaml", "x", "y", &[]), @r#"
    invoker: bad.yaml is not valid:
    credentials.service_account: "login" is no service account; write "default" or its email, such as "login@my-project.iam.gserviceaccount.com"
    header: "cookie" is not allowed, since it holds the user's session; write "authorization", "proxy-authorization", "x-serverless-authorization" or a header of your own
    audiences[0].audience: "profiles.run.app" has no scheme; write "https://profiles.run.app"
    audiences[1].audience: "https://{authority}" needs an `authority` that ends in at least two literal labels, such as "*.a.run.app"; "*.app" lets a client choose the audience
    timeout: "10m" is out of range; write 100ms to 5m
    exit 1
    "#);
}
