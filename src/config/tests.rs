use std::time::Duration;

use super::*;
use crate::rules::{Action, RuleAudience};

/// A valid configuration with some fields changed; `null` takes one out.
fn with(changes: serde_json::Value) -> serde_json::Value {
    let mut config = serde_json::json!({
        "credentials": {"type": "metadata", "cluster": "metadata"},
        "audiences": [{"cluster": "profiles", "audience": "https://profiles.run.app"}],
    });
    let object = config.as_object_mut().unwrap();
    for (field, value) in changes.as_object().unwrap() {
        match value {
            serde_json::Value::Null => object.remove(field),
            value => object.insert(field.clone(), value.clone()),
        };
    }
    config
}

fn problems(config: serde_json::Value) -> String {
    let from_value = Config::from_value(config.clone()).unwrap_err().to_string();
    let from_json = Config::from_json(&config.to_string())
        .unwrap_err()
        .to_string();
    assert_eq!(from_value, from_json);
    from_value
}

fn changed(changes: serde_json::Value) -> String {
    problems(with(changes))
}

fn rule(rule: serde_json::Value) -> String {
    changed(serde_json::json!({"audiences": [rule]}))
}

#[test]
fn the_designs_example_is_valid_and_says_what_it_says() {
    let config = Config::from_json(
        r#"{
          "credentials": {"type": "metadata", "cluster": "metadata", "service_account": "default"},
          "audiences": [
            {"cluster": "profiles", "audience": "https://profiles-abc-uc.a.run.app"},
            {"cluster": "outbound|80||*.a.run.app", "authority": "*.a.run.app", "audience": "https://{authority}"},
            {"authority": "europe-west1-demo.cloudfunctions.net", "path": "/resize",
             "audience": "https://europe-west1-demo.cloudfunctions.net/resize"},
            {"authority": "*.internal.example.com", "audience": "my-iap-client-id.apps.googleusercontent.com",
             "header": "proxy-authorization"},
            {"authority": "health.example.com", "bypass": true}
          ],
          "audience_from_metadata": false,
          "header": "authorization",
          "existing_credential": "replace",
          "failure_mode": "deny",
          "error_details": "body",
          "timeout": "5s",
          "callout_timeout": "4s",
          "max_waiting_requests": 1024,
          "refresh_margin": "5m",
          "prefetch": true,
          "allow_insecure": false
        }"#,
    )
    .unwrap()
    .for_host(Host::Envoy)
    .unwrap();
    let Credentials::Metadata(metadata) = &config.credentials else {
        panic!("{:?}", config.credentials)
    };
    assert_eq!(metadata.cluster.as_deref(), Some("metadata"));
    assert_eq!(metadata.service_account, "default");
    assert_eq!(config.rules.rules().len(), 5);
    let defaults = Config::from_value(with(serde_json::json!({}))).unwrap();
    assert_eq!(config.timing, defaults.timing);
    assert_eq!(config.headers, defaults.headers);
    assert_eq!(config.failure_mode, defaults.failure_mode);
    assert_eq!(config.error_details, defaults.error_details);
    assert_eq!(config.max_waiting_requests, defaults.max_waiting_requests);
    assert_eq!(config.prefetch, defaults.prefetch);
    assert_eq!(config.allow_insecure, defaults.allow_insecure);
}

#[test]
fn every_field_is_read() {
    let config = Config::from_value(serde_json::json!({
        "credentials": {"type": "metadata", "service_account": "login@demo.iam.gserviceaccount.com"},
        "audiences": [{"cluster": "*", "custom_audience": "as it is"}],
        "audience_from_metadata": true,
        "header": ["X-Serverless-Authorization", "authorization"],
        "existing_credential": "forward",
        "failure_mode": "allow",
        "error_details": "log",
        "timeout": "10s",
        "callout_timeout": "300ms",
        "max_waiting_requests": 7.0,
        "refresh_margin": "1m 30s",
        "prefetch": false,
        "allow_insecure": true,
    }))
    .unwrap();
    let Credentials::Metadata(metadata) = &config.credentials else {
        panic!("{:?}", config.credentials)
    };
    assert_eq!(metadata.cluster, None);
    assert_eq!(
        metadata.service_account,
        "login@demo.iam.gserviceaccount.com"
    );
    assert!(config.rules.honours_annotations());
    let Action::Attach {
        audience: RuleAudience::Literal(wanted),
        policy,
    } = &config.rules.rules()[0].action
    else {
        panic!("{:?}", config.rules)
    };
    assert_eq!(wanted.as_str(), "as it is");
    let names: Vec<&str> = policy.names().map(|name| name.as_str()).collect();
    assert_eq!(names, ["x-serverless-authorization", "authorization"]);
    assert_eq!(
        policy.existing(),
        crate::credential_headers::ExistingCredential::Forward
    );
    assert_eq!(config.failure_mode, FailureMode::Allow);
    assert_eq!(config.error_details, ErrorDetails::Log);
    assert_eq!(config.timing.timeout, Duration::from_secs(10));
    assert_eq!(config.timing.callout_timeout, Duration::from_millis(300));
    assert_eq!(config.timing.refresh_margin, Duration::from_secs(90));
    assert_eq!(config.max_waiting_requests, 7);
    assert!(!config.prefetch && config.allow_insecure);
}

#[test]
fn callouts_get_four_fifths_of_the_timeout_but_no_more_than_a_minute() {
    let callout = |timeout: &str| {
        let config = Config::from_value(with(serde_json::json!({"timeout": timeout}))).unwrap();
        config.timing.callout_timeout
    };
    assert_eq!(callout("5s"), Duration::from_secs(4));
    assert_eq!(callout("100ms"), Duration::from_millis(80));
    assert_eq!(callout("5m"), Duration::from_secs(60));
}

#[test]
fn a_callout_may_take_all_of_the_timeout() {
    let same = serde_json::json!({"timeout": "3s", "callout_timeout": "3s"});
    let timing = Config::from_value(with(same)).unwrap().timing;
    assert_eq!(timing.callout_timeout, timing.timeout);
}

#[test]
fn who_waits_for_another_time_waits_no_longer_for_a_callout() {
    let within = |timeout| Timing::of(Duration::from_secs(5)).within(Duration::from_secs(timeout));
    let timing = |it: Timing| (it.timeout.as_secs(), it.callout_timeout.as_secs());
    assert_eq!(timing(within(3)), (3, 3));
    assert_eq!(timing(within(9)), (9, 4));
}

#[test]
fn all_problems_are_told_at_once() {
    let found = problems(serde_json::json!({
        "credentials": {"type": "metadata", "service_account": "a/b"},
        "audiences": [
            {"cluster": "profiles", "audience": "https://profiles.run.app"},
            {"cluster": "", "authority": "https://x.run.app/", "path": "x", "audience": "{x}"},
            {"cluster": "search", "audience": "profiles.run.app"},
        ],
        "header": "cookie",
        "timeout": "5",
    }));
    insta::assert_snapshot!(found, @r#"
    credentials.service_account: "a/b" is no service account; write "default" or its email, such as "login@my-project.iam.gserviceaccount.com"
    header: "cookie" is not allowed, since it holds the user's session; write "authorization", "proxy-authorization", "x-serverless-authorization" or a header of your own
    audiences[1].cluster: is empty; write a cluster's name, "*" for all of them, or leave the field out
    audiences[1].authority: "https://x.run.app/" is a URL; write only its host, "x.run.app"
    audiences[1].path: "x" has no slash in front; write "/x"
    audiences[2].audience: "profiles.run.app" has no scheme; write "https://profiles.run.app"
    timeout: "5" is no duration; write a number and a unit, such as "5s", "300ms" or "1m"
    "#);
}

/// One line for each way to get the shape wrong.
#[test]
fn a_wrong_shape_names_its_path_what_was_found_and_what_is_allowed() {
    let found = [
        changed(serde_json::json!({"audience": []})),
        changed(serde_json::json!({"audiences": {"cluster": "profiles"}})),
        changed(serde_json::json!({"audiences": ["https://profiles.run.app"]})),
        changed(serde_json::json!({"timeout": 5})),
        changed(serde_json::json!({"failure_mode": "open"})),
        changed(serde_json::json!({"error_details": true})),
        changed(serde_json::json!({"existing_credential": "preserve"})),
        changed(serde_json::json!({"header": 1})),
        changed(serde_json::json!({"header": ["authorization", 1]})),
        changed(serde_json::json!({"max_waiting_requests": "many"})),
        changed(serde_json::json!({"prefetch": "yes"})),
        rule(serde_json::json!({"clusters": "profiles", "audience": "https://profiles.run.app"})),
        rule(serde_json::json!({"authority": null, "audience": "https://profiles.run.app"})),
        rule(serde_json::json!({"cluster": 5, "audience": "https://profiles.run.app"})),
        rule(serde_json::json!({"cluster": "profiles", "bypass": "yes"})),
        problems(serde_json::json!([])),
        problems(serde_json::json!("-----BEGIN PRIVATE KEY-----")),
    ];
    insta::assert_snapshot!(found.join("\n"), @r#"
    audience: unknown field `audience`, expected one of `credentials`, `audiences`, `audience_from_metadata`, `header`, `existing_credential`, `failure_mode`, `error_details`, `timeout`, `callout_timeout`, `max_waiting_requests`, `refresh_margin`, `prefetch`, `allow_insecure`
    audiences: found an object, expected a list
    audiences[0]: found string "https://profiles.run.app", expected a rule, such as {cluster: profiles, audience: "https://…"}
    timeout: found integer `5`, expected a duration with its unit, such as "5s"
    failure_mode: unknown value `open`, expected `deny` or `allow`
    error_details: found boolean `true`, expected a string
    existing_credential: unknown value `preserve`, expected one of `replace`, `keep`, `forward`, `alongside`
    header: found integer `1`, expected a header's name or a list of names
    header[1]: found integer `1`, expected a string
    max_waiting_requests: found string "many", expected a number
    prefetch: found string "yes", expected a boolean
    audiences[0].clusters: unknown field `clusters`, expected one of `cluster`, `authority`, `path`, `audience`, `custom_audience`, `scopes`, `bypass`, `header`
    audiences[0].authority: found null, expected a string
    audiences[0].cluster: found integer `5`, expected a string
    audiences[0].bypass: found string "yes", expected a boolean
    found a list, expected an object with `credentials` and `audiences`
    found a string, expected an object with `credentials` and `audiences`
    "#);
}

#[test]
fn each_wrong_value_says_what_to_write_instead() {
    let found = [
        changed(serde_json::json!({"timeout": "50ms"})),
        changed(serde_json::json!({"timeout": "6m"})),
        changed(serde_json::json!({"callout_timeout": "6s"})),
        changed(serde_json::json!({"timeout": "2m", "callout_timeout": "61s"})),
        changed(serde_json::json!({"callout_timeout": "1ms"})),
        changed(serde_json::json!({"refresh_margin": "2h"})),
        changed(serde_json::json!({"refresh_margin": "soon"})),
        changed(serde_json::json!({"max_waiting_requests": 0})),
        changed(serde_json::json!({"max_waiting_requests": 1.5})),
        changed(serde_json::json!({"max_waiting_requests": -1})),
        changed(serde_json::json!({"max_waiting_requests": 1e300})),
        changed(serde_json::json!({"header": []})),
        changed(serde_json::json!({"header": ""})),
        changed(serde_json::json!({"header": ["authorization", "Authorization"]})),
        changed(serde_json::json!({"header": ["authorization", "x-envoy-x"]})),
        changed(serde_json::json!({"header": "a b"})),
        changed(serde_json::json!({"header": "x-auth", "existing_credential": "alongside"})),
        changed(serde_json::json!({
            "header": ["authorization", "x-forwarded-authorization"], "existing_credential": "forward",
        })),
    ];
    insta::assert_snapshot!(found.join("\n"), @r#"
    timeout: "50ms" is out of range; write 100ms to 5m
    timeout: "6m" is out of range; write 100ms to 5m
    callout_timeout: 6s is longer than timeout (5s); no request would wait for it
    callout_timeout: "61s" is out of range; write 10ms to 1m
    callout_timeout: "1ms" is out of range; write 10ms to 1m
    refresh_margin: "2h" is out of range; write 0s to 1h
    refresh_margin: "soon" is no duration; write a number and a unit, such as "5s", "300ms" or "1m"
    max_waiting_requests: 0 is out of range; write a whole number from 1 to 1000000
    max_waiting_requests: 1.5 is out of range; write a whole number from 1 to 1000000
    max_waiting_requests: -1 is out of range; write a whole number from 1 to 1000000
    max_waiting_requests: 1e300 is out of range; write a whole number from 1 to 1000000
    header: names no header; write at least one, such as "authorization"
    header: is empty; write a header's name, such as "authorization"
    header: names "authorization" twice; once is enough
    header[1]: "x-envoy-x" is not allowed, since it belongs to Envoy; write "authorization", "proxy-authorization", "x-serverless-authorization" or a header of your own
    header: "a b" is not a header's name; write letters, digits and "-", such as "authorization"
    header: "existing_credential: alongside" works only with "header: authorization": it chooses between that header and "x-serverless-authorization" itself
    header: names "x-forwarded-authorization", into which "existing_credential: forward" moves the caller's own; leave it out
    "#);
}

#[test]
fn each_wrong_rule_says_what_to_write_instead() {
    let found = [
        rule(serde_json::json!({"cluster": "profiles"})),
        rule(serde_json::json!({"cluster": "profiles", "bypass": false})),
        rule(serde_json::json!({"cluster": "profiles", "audience": "https://a.b", "bypass": true})),
        rule(
            serde_json::json!({"cluster": "profiles", "audience": "https://a.b", "custom_audience": "a"}),
        ),
        rule(
            serde_json::json!({"cluster": "profiles", "scopes": ["https://s/a", "https://s/b c"]}),
        ),
        rule(serde_json::json!({"cluster": "profiles", "scopes": []})),
        rule(serde_json::json!({"cluster": "profiles", "scopes": "https://s/a"})),
        rule(
            serde_json::json!({"cluster": "profiles", "scopes": ["a"], "audience": "https://a.b"}),
        ),
        rule(serde_json::json!({"cluster": "profiles", "bypass": true, "header": "authorization"})),
        rule(serde_json::json!({"cluster": "profiles", "audience": ""})),
        rule(serde_json::json!({"cluster": "profiles", "audience": "https://"})),
        rule(serde_json::json!({"cluster": "profiles", "audience": "profiles"})),
        rule(serde_json::json!({"cluster": "profiles", "audience": "https://a.b\nx"})),
        rule(serde_json::json!({"cluster": "profiles", "audience": "https://{host}"})),
        rule(serde_json::json!({"cluster": "profiles", "audience": "https://{authority}"})),
        rule(serde_json::json!({"authority": "*", "audience": "https://{authority}"})),
        rule(
            serde_json::json!({"authority": "*.a.run.app", "audience": "https://{authority}/{path_segment}"}),
        ),
        rule(serde_json::json!({"authority": "*.a.run.app", "audience": "https://a.b/{authority"})),
        rule(serde_json::json!({"authority": "a_b", "audience": "https://a.b"})),
        rule(serde_json::json!({"authority": "a.b:x", "audience": "https://a.b"})),
        rule(serde_json::json!({"authority": "a.b/c", "audience": "https://a.b"})),
        rule(serde_json::json!({"path": "/a/*", "audience": "https://a.b"})),
        rule(serde_json::json!({"path": "/a?b", "audience": "https://a.b"})),
        rule(serde_json::json!({"cluster": " profiles", "audience": "https://a.b"})),
        rule(
            serde_json::json!({"cluster": "profiles", "audience": "https://a.b", "header": "host"}),
        ),
        changed(serde_json::json!({
            "existing_credential": "alongside",
            "audiences": [{"cluster": "a", "audience": "https://a.b", "header": "proxy-authorization"}],
        })),
    ];
    insta::assert_snapshot!(found.join("\n"), @r#"
    audiences[0]: says nothing; write `audience`, `custom_audience`, `scopes` or `bypass: true`
    audiences[0]: says nothing; write `audience`, `custom_audience`, `scopes` or `bypass: true`
    audiences[0]: has `audience` and `bypass`, which exclude each other; keep one
    audiences[0]: has `audience` and `custom_audience`, which exclude each other; keep one
    audiences[0].scopes: "https://s/b c" is no scope; write each without blank space, quotes, commas and control characters
    audiences[0].scopes: names no scope; write at least one, such as "https://www.googleapis.com/auth/cloud-platform"
    audiences[0].scopes: found string "https://s/a", expected a list
    audiences[0]: has `audience` and `scopes`, which exclude each other; keep one
    audiences[0].header: has no meaning beside `bypass: true`, which writes nothing; leave it out
    audiences[0].audience: is empty; write the receiving service's URL, such as "https://profiles-abc-uc.a.run.app"
    audiences[0].audience: "https://" has no host; write "https://" and the receiving service's host
    audiences[0].audience: "profiles" is neither a URL nor a client ID that ends in ".apps.googleusercontent.com"; write "https://…", or call it `custom_audience` if the receiver knows it by this name
    audiences[0].audience: "https://a.b\nx" holds a control character; write the audience on one line, without tabs
    audiences[0].audience: "https://{host}" has {host} in it; templates know {authority} and {path_segment}
    audiences[0].audience: "https://{authority}" needs an `authority` beside it, such as "*.a.run.app": else a client could choose any audience
    audiences[0].audience: "https://{authority}" needs an `authority` that ends in at least two literal labels, such as "*.a.run.app"; "*" lets a client choose the audience
    audiences[0].audience: "https://{authority}/{path_segment}" has {path_segment} elsewhere than behind a literal host; write "https://HOST/{path_segment}"
    audiences[0].audience: "https://a.b/{authority" has a curly bracket without its other half; write {authority} or {path_segment}
    audiences[0].authority: "a_b" is no host; write labels of letters, digits and "-" (not at a label's ends), joined by dots, with "*" for one or more such characters or dots
    audiences[0].authority: "a.b:x" has the port "x"; write a number from 1 to 65535, or leave it out for 80 and 443
    audiences[0].authority: "a.b/c" has a path in it; write "authority: a.b" and "path: /c"
    audiences[0].path: "/a/*" has a star in it; a path matches all that lies below it anyway: write "/a"
    audiences[0].path: "/a?b" has '?' in it; write a path without query, fragment and blank space
    audiences[0].cluster: " profiles" has a control character, or blank space at an end; no cluster is called so
    audiences[0].header: "host" is not allowed, since it chooses the receiving service; write "authorization", "proxy-authorization", "x-serverless-authorization" or a header of your own
    audiences[0].header: "existing_credential: alongside" works only with "header: authorization": it chooses between that header and "x-serverless-authorization" itself
    "#);
}

#[test]
fn wrong_credentials_say_what_to_write_and_quote_no_secret() {
    let credentials = |credentials| changed(serde_json::json!({"credentials": credentials}));
    let found = [
        changed(serde_json::json!({"credentials": null})),
        credentials(serde_json::json!("-----BEGIN PRIVATE KEY-----")),
        credentials(serde_json::json!({})),
        credentials(serde_json::json!({"type": "metadata_server"})),
        credentials(serde_json::json!({"type": ["metadata"]})),
        credentials(
            serde_json::json!({"type": "service_account_key", "private_key": "-----BEGIN PRIVATE KEY-----"}),
        ),
        credentials(serde_json::json!({"type": "impersonation"})),
        credentials(serde_json::json!({"type": "federation"})),
        credentials(
            serde_json::json!({"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----"}),
        ),
        credentials(
            serde_json::json!({"type": "metadata", "private_key": "-----BEGIN PRIVATE KEY-----"}),
        ),
        credentials(serde_json::json!({"type": "metadata", "cluster": ""})),
        credentials(serde_json::json!({"type": "metadata", "cluster": null})),
        credentials(serde_json::json!({"type": "metadata", "service_account": ""})),
        credentials(serde_json::json!({"type": "metadata", "service_account": "login"})),
        credentials(serde_json::json!({"type": "metadata", "service_account": "a@b%2fc"})),
        credentials(serde_json::json!({"type": "metadata", "service_account": "a@b/../c"})),
        credentials(serde_json::json!({"type": "metadata", "service_account": "a@b\r\n"})),
    ];
    assert!(!found.concat().contains("BEGIN PRIVATE KEY"));
    insta::assert_snapshot!(found.join("\n"), @r#"
    credentials: is missing; write where tokens come from, such as {type: metadata, cluster: metadata}
    credentials: found a string, expected an object such as {type: metadata, cluster: metadata}
    credentials.type: is missing; write one of "metadata", "service_account_key", "impersonation", "federation"
    credentials.type: unknown value "metadata_server", expected one of "metadata", "service_account_key", "impersonation", "federation"
    credentials.type: found a list, expected one of "metadata", "service_account_key", "impersonation", "federation"
    credentials.private_key: unknown field `private_key`, expected one of `type`, `key`, `cluster`
    credentials.service_account: is missing; write the email of the account whose tokens are wanted
    credentials.source: is missing; write where tokens come from, such as {type: metadata, cluster: metadata}
    credentials.config: is missing; write {env: NAME}, the environment variable with the JSON of type "external_account"
    credentials.type: "service_account" is what a key file says; the kind for it is "service_account_key"
    credentials.private_key: unknown field `private_key`, expected one of `type`, `cluster`, `service_account`
    credentials.cluster: "" is no cluster's name; write the name as it stands in Envoy's configuration
    credentials.cluster: found null, expected a string
    credentials.service_account: "" is no service account; write "default" or its email, such as "login@my-project.iam.gserviceaccount.com"
    credentials.service_account: "login" is no service account; write "default" or its email, such as "login@my-project.iam.gserviceaccount.com"
    credentials.service_account: "a@b%2fc" is no service account; write "default" or its email, such as "login@my-project.iam.gserviceaccount.com"
    credentials.service_account: "a@b/../c" is no service account; write "default" or its email, such as "login@my-project.iam.gserviceaccount.com"
    credentials.service_account: "a@b\r\n" is no service account; write "default" or its email, such as "login@my-project.iam.gserviceaccount.com"
    "#);
}

#[test]
fn what_is_no_json_says_where() {
    let found = [
        "",
        "credentials: {}",
        "{\"timeout\": \"5s\",}",
        "{\"timeout\": \"5s\"",
        "{} {}",
        "{\"timeout\": \"5s\", \"timeout\": \"6s\"}",
    ]
    .map(|text| Config::from_json(text).unwrap_err().to_string());
    insta::assert_snapshot!(found.join("\n"), @r"
    found nothing, expected an object with `credentials` and `audiences`
    found text that is not JSON, expected an object with `credentials` and `audiences`
    this is not JSON: trailing comma at line 1 column 18
    this is not JSON: EOF while parsing an object at line 1 column 16
    this is not JSON: trailing characters at line 1 column 4
    duplicate field `timeout` at line 1 column 27
    ");
}

#[test]
fn hosts_differ_in_what_they_require() {
    let for_host = |changes, host| {
        Config::from_value(with(changes))
            .unwrap()
            .for_host(host)
            .map_err(|errors| errors.to_string())
    };
    let without_cluster =
        serde_json::json!({"credentials": {"type": "metadata"}, "allow_insecure": true});
    assert!(for_host(serde_json::json!({}), Host::Envoy).is_ok());
    let mut elsewhere = without_cluster.clone();
    elsewhere["audiences"] =
        serde_json::json!([{"authority": "a.run.app", "audience": "https://a.run.app"}]);
    let mut without_rules = elsewhere.clone();
    without_rules["audiences"] = serde_json::Value::Null;
    for host in [Host::Wasi, Host::JavaScript] {
        assert!(for_host(elsewhere.clone(), host).is_ok());
    }
    assert!(for_host(without_rules.clone(), Host::JavaScript).is_ok());
    let no_rules = serde_json::json!({"audiences": [], "audience_from_metadata": false});
    let found = [
        for_host(without_cluster, Host::Envoy).unwrap_err(),
        for_host(
            serde_json::json!({"audience_from_metadata": true}),
            Host::Wasi,
        )
        .unwrap_err(),
        for_host(serde_json::json!({}), Host::JavaScript).unwrap_err(),
        for_host(without_rules, Host::Wasi).unwrap_err(),
        for_host(no_rules, Host::Envoy).unwrap_err(),
    ];
    insta::assert_snapshot!(found.join("\n"), @r#"
    credentials.cluster: is missing; write the name of the Envoy cluster that leads to the metadata server (metadata.google.internal:80)
    allow_insecure: is for WASI and JavaScript, where the request's URL says whether it is secure; in Envoy the cluster does, with its transport_socket: leave it out
    credentials.cluster: "metadata" names an Envoy cluster, and there is no Envoy here; leave it out
    audiences[0].cluster: "profiles" means Envoy's clusters, and there is no Envoy here; write `authority` with the host of the URL
    audience_from_metadata: is for Envoy, whose routes and clusters carry metadata; leave it out, and write a rule with `authority`
    credentials.cluster: "metadata" names an Envoy cluster, and there is no Envoy here; leave it out
    audiences[0].cluster: "profiles" means Envoy's clusters, and there is no Envoy here; write `authority` with the host of the URL
    audiences: holds no rule, so there is nothing to do; write one, such as {authority: "*.a.run.app", audience: "https://{authority}"}
    audiences: holds no rule, so there is nothing to do; write one, such as {cluster: profiles, audience: "https://profiles-abc-uc.a.run.app"}, or set audience_from_metadata: true
    "#);
}

#[test]
fn a_plugin_that_only_excepts_still_takes_out_what_another_one_put_in() {
    let written = |extra: &str| {
        let text = format!(
            r#"{{"credentials": {{"type": "metadata", "cluster": "m"}},
                "audiences": [{{"cluster": "*", "bypass": true}}] {extra}}}"#
        );
        let config = Config::from_json(&text).unwrap();
        let names = config.rules.headers_written().names();
        names.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(written(""), ["authorization"]);
    assert_eq!(
        written(r#", "header": "proxy-authorization""#),
        ["proxy-authorization"]
    );
}
