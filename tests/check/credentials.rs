//! Credential files: what is in them, where they come from, and the clusters of each kind.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use serde_json::{Value, json};

static KEY: LazyLock<String> = LazyLock::new(|| pem(2048));

fn pem(bits: usize) -> String {
    let key = rsa::PrivateKey::new(&mut getrandom::SysRng, bits).unwrap();
    key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string()
}

fn key_file() -> Value {
    json!({
        "type": "service_account", "client_email": "caller@p.iam.gserviceaccount.com", "private_key": *KEY,
        "private_key_id": "1", "token_uri": "https://oauth2.googleapis.com/token",
    })
}

fn external_account() -> Value {
    json!({
        "type": "external_account", "audience": "//iam.googleapis.com/projects/1/x", "subject_token_type": "jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"url": "https://subject.example.com/token"},
        "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b:generateAccessToken",
    })
}

fn written(name: &str, content: &Value) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content.to_string()).unwrap();
    path
}

fn configuration(credentials: Value) -> Value {
    json!({"credentials": credentials, "audiences": [{"cluster": "*", "audience": "https://a.example.com"}]})
}

/// What the command prints about a configuration with these credentials, the variable set to that.
fn check(name: &str, credentials: Value, variable: Option<&str>) -> String {
    let path = written(name, &configuration(credentials));
    run(&path, None, variable)
}

fn run(path: &Path, bootstrap: Option<&Path>, variable: Option<&str>) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_invoker"));
    command
        .arg("check")
        .arg(path)
        .env_remove("INVOKER_CREDENTIALS");
    if let Some(bootstrap) = bootstrap {
        command.arg("--bootstrap").arg(bootstrap);
    }
    if let Some(value) = variable {
        command.env("INVOKER_CREDENTIALS", value);
    }
    let output = command.output().unwrap();
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!printed.contains(KEY.lines().nth(3).unwrap()), "{printed}");
    let printed = printed.replace(path.to_str().unwrap(), "x.json");
    match bootstrap {
        Some(bootstrap) => printed.replace(bootstrap.to_str().unwrap(), "envoy.json"),
        None => printed,
    }
}

fn from_environment(kind: &str, field: &str) -> Value {
    json!({
        "type": kind, field: {"env": "INVOKER_CREDENTIALS"}, "cluster": "c",
    })
}

#[test]
fn a_key_in_the_environment_is_checked_where_it_is_set() {
    let credentials = || from_environment("service_account_key", "key");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut file = key_file();
        change(&mut file);
        check("key.json", credentials(), Some(&file.to_string()))
    };
    let short = pem(1024);
    let found = [
        check("key.json", credentials(), None),
        with(&|_| {}),
        check(
            "key.json",
            credentials(),
            Some(&STANDARD.encode(key_file().to_string())),
        ),
        with(&|it| {
            it["private_key"] =
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----".into()
        }),
        with(&|it| it["private_key"] = "-----BEGIN RSA PRIVATE KEY-----".into()),
        with(&|it| it["private_key"] = short.as_str().into()),
        with(&|it| it["private_key"] = Value::Null),
        with(&|it| it["token_uri"] = "http://oauth2.googleapis.com/token".into()),
        with(&|it| it["client_email"] = "caller".into()),
        with(&|it| it["type"] = "external_account".into()),
        with(&|it| it["type"] = "authorized_user".into()),
        check("key.json", credentials(), Some("no JSON")),
        check(
            "key.json",
            credentials(),
            Some("{\"private_key\": \"s3cret\""),
        ),
    ];
    insta::assert_snapshot!(found.concat(), @r#"
    warning: x.json: credentials.key: is in the environment variable INVOKER_CREDENTIALS, which is not set here: it was not checked
    x.json: ok (0 errors, 1 warning)
    x.json: ok (0 errors, 0 warnings)
    x.json: ok (0 errors, 0 warnings)
    error: x.json: credentials.key: the environment variable INVOKER_CREDENTIALS: private_key is no PEM private key ("-----BEGIN PRIVATE KEY-----"); take the file as `gcloud iam service-accounts keys create` wrote it
    x.json: not ok (1 error, 0 warnings)
    error: x.json: credentials.key: the environment variable INVOKER_CREDENTIALS: private_key is a PKCS#1 key, where PKCS#8 is expected; convert it: openssl pkcs8 -topk8 -nocrypt
    x.json: not ok (1 error, 0 warnings)
    error: x.json: credentials.key: the environment variable INVOKER_CREDENTIALS: private_key has 1024 bits, and RS256 asks for 2048 or more; make a new key
    x.json: not ok (1 error, 0 warnings)
    error: x.json: credentials.key: the environment variable INVOKER_CREDENTIALS: private_key is missing
    x.json: not ok (1 error, 0 warnings)
    error: x.json: credentials.key: the environment variable INVOKER_CREDENTIALS: token_uri begins with "http://", and a credential would go there in the clear; write "https://"
    x.json: not ok (1 error, 0 warnings)
    error: x.json: credentials.key: the environment variable INVOKER_CREDENTIALS: client_email is no email
    x.json: not ok (1 error, 0 warnings)
    error: x.json: credentials.key: the environment variable INVOKER_CREDENTIALS: type found "external_account", expected "service_account": credentials.type for it is "federation"
    x.json: not ok (1 error, 0 warnings)
    error: x.json: credentials.key: the environment variable INVOKER_CREDENTIALS: type found "authorized_user", expected "service_account": that is a person's own login, which can't make ID tokens; make a service account and use impersonation, federation or its key
    x.json: not ok (1 error, 0 warnings)
    error: x.json: credentials.key: the environment variable INVOKER_CREDENTIALS is neither JSON nor its base64
    x.json: not ok (1 error, 0 warnings)
    error: x.json: credentials.key: the environment variable INVOKER_CREDENTIALS is not JSON (line 1, column 24)
    x.json: not ok (1 error, 0 warnings)
    "#);
}

#[test]
fn an_external_account_that_a_proxy_can_t_use_says_what_to_do() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut file = external_account();
        change(&mut file);
        let credentials = json!({
            "type": "federation", "config": file, "cluster": "s", "subject_cluster": "t", "iam_cluster": "i",
        });
        check("federation.json", credentials, None)
    };
    let source = |source: Value| with(&|it| it["credential_source"] = source.clone());
    let found = [
        with(&|_| {}),
        source(json!({"file": "/var/run/token"})),
        source(json!({"executable": {"command": "x"}})),
        source(json!({"environment_id": "aws1", "url": "http://169.254.169.254/x"})),
        source(json!({"certificate": {}})),
        source(json!({"url": "http://subject.example.com"})),
        source(
            json!({"url": "https://s.example.com", "headers": {"Authorization": "Bearer s3cret"}}),
        ),
        source(json!({"url": "https://s.example.com", "format": {"type": "json"}})),
        with(&|it| it["token_url"] = "sts".into()),
        with(&|it| {
            it["service_account_impersonation_url"] =
                "https://iamcredentials.googleapis.com/".into()
        }),
        with(&|it| {
            drop(
                it.as_object_mut()
                    .unwrap()
                    .remove("service_account_impersonation_url"),
            )
        }),
    ];
    assert!(!found.concat().contains("s3cret"));
    insta::assert_snapshot!(found.concat(), @r#"
    x.json: ok (0 errors, 0 warnings)
    error: x.json: credentials.config.credential_source.file: has a file, and a proxy reads none; run `invoker emulate --credentials FILE` beside the proxy, which can, and write type: metadata
    x.json: not ok (1 error, 0 warnings)
    error: x.json: credentials.config.credential_source.executable: starts a program, and a proxy starts none; run `invoker emulate --credentials FILE` beside the proxy, which can, and write type: metadata
    x.json: not ok (1 error, 0 warnings)
    error: x.json: credentials.config.credential_source.environment_id: is AWS's, whose requests are signed by rules that a proxy does not know; run `invoker emulate --credentials FILE` beside the proxy, which can, and write type: metadata
    x.json: not ok (1 error, 0 warnings)
    error: x.json: credentials.config.credential_source.certificate: is a certificate, which works only with TLS that Invoker doesn't make; take a source with a url or a file, another kind of credentials, or impersonation
    x.json: not ok (1 error, 0 warnings)
    error: x.json: credentials.config.credential_source.url: begins with "http://", and a credential would go there in the clear; write "https://"
    x.json: not ok (1 error, 0 warnings)
    warning: x.json: credentials.config: holds a secret, which everybody sees in Envoy's config_dump; write {env: NAME}, and name it in vm_config.environment_variables.host_env_keys
    x.json: ok (0 errors, 1 warning)
    error: x.json: credentials.config.credential_source.format.subject_token_field_name: is missing; the token is in a field of the JSON
    x.json: not ok (1 error, 0 warnings)
    error: x.json: credentials.config.token_url: is no URL; write it as in "https://oauth2.googleapis.com/token"
    x.json: not ok (1 error, 0 warnings)
    error: x.json: credentials.config.service_account_impersonation_url: does not end with an account's email and ":generateAccessToken", as gcloud writes it
    x.json: not ok (1 error, 0 warnings)
    error: x.json: credentials.config: names no account (service_account_impersonation_url), and without one there are only access tokens, no ID tokens; make the file with `gcloud iam workload-identity-pools create-cred-config --service-account=EMAIL`
    x.json: not ok (1 error, 0 warnings)
    "#);
}

#[test]
fn each_kind_needs_its_clusters() {
    let found = [
        json!({"type": "service_account_key", "key": {"env": "X"}}),
        json!({"type": "federation", "config": {"env": "X"}}),
        json!({"type": "impersonation", "service_account": "a@b", "source": {"type": "metadata"}}),
        json!({"type": "impersonation", "service_account": "a@b", "source": {"type": "federation", "config": {"env": "X"}}}),
        json!({"type": "impersonation", "service_account": "a@b", "source": {"type": "impersonation"}}),
    ]
    .map(|credentials| check("clusters.json", credentials, None));
    insta::assert_snapshot!(found.concat(), @r#"
    error: x.json: credentials.cluster: is missing; write the name of the Envoy cluster that leads to the key's token_uri (oauth2.googleapis.com:443; for a key of another universe domain its iamcredentials)
    x.json: not ok (1 error, 0 warnings)
    error: x.json: credentials.cluster: is missing; write the name of the Envoy cluster that leads to the token service (sts.googleapis.com:443)
    error: x.json: credentials.subject_cluster: is missing; write the name of the Envoy cluster that leads to credential_source.url, where the subject token comes from
    error: x.json: credentials.iam_cluster: is missing; write the name of the Envoy cluster that leads to IAM (iamcredentials.googleapis.com:443)
    x.json: not ok (3 errors, 0 warnings)
    error: x.json: credentials.cluster: is missing; write the name of the Envoy cluster that leads to IAM (iamcredentials.googleapis.com:443)
    error: x.json: credentials.source.cluster: is missing; write the name of the Envoy cluster that leads to the metadata server (metadata.google.internal:80)
    x.json: not ok (2 errors, 0 warnings)
    error: x.json: credentials.cluster: is missing; write the name of the Envoy cluster that leads to IAM (iamcredentials.googleapis.com:443)
    error: x.json: credentials.source.cluster: is missing; write the name of the Envoy cluster that leads to the token service (sts.googleapis.com:443)
    error: x.json: credentials.source.subject_cluster: is missing; write the name of the Envoy cluster that leads to credential_source.url, where the subject token comes from
    x.json: not ok (3 errors, 0 warnings)
    error: x.json: credentials.source.type: unknown value "impersonation", expected one of "metadata", "service_account_key", "federation"
    x.json: not ok (1 error, 0 warnings)
    "#);
}

/// A bootstrap with one plugin of this configuration, clusters that lead elsewhere, and these variables.
fn bootstrap(credentials: &Value, clusters: &[Value], variables: Value) -> Value {
    json!({"static_resources": {
        "clusters": clusters,
        "listeners": [{"filter_chains": [{"filters": [{"typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "http_filters": [{"name": "invoker", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "failure_policy": "FAIL_RELOAD",
                    "vm_config": {"environment_variables": variables},
                    "configuration": {
                        "@type": "type.googleapis.com/google.protobuf.Struct",
                        "value": configuration(credentials.clone()),
                    },
                },
            }}],
        }}]}]}],
    }})
}

fn cluster(name: &str, is_tls: bool) -> Value {
    let tls = json!({"name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    }});
    let socket = json!({"socket_address": {"address": "oauth2.googleapis.com", "port_value": 443}});
    json!({
        "name": name,
        "load_assignment": {"endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket}}]}]},
        "transport_socket": if is_tls { tls } else { Value::Null },
    })
}

#[test]
fn a_bootstrap_brings_the_clusters_and_the_variable() {
    let credentials = from_environment("service_account_key", "key");
    let check = |name: &str, clusters: &[Value], variables: Value| {
        let file = written(&format!("{name}.json"), &configuration(credentials.clone()));
        let bootstrap = bootstrap(&credentials, clusters, variables);
        let bootstrap = written(&format!("{name}.envoy.json"), &bootstrap);
        let printed = run(&file, Some(&bootstrap), Some(&key_file().to_string()));
        let plugin = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[0].typed_config.config";
        printed.replace(plugin, "PLUGIN")
    };
    let host = || json!({"host_env_keys": ["INVOKER_CREDENTIALS"]});
    let value = || json!({"key_values": {"INVOKER_CREDENTIALS": key_file().to_string()}});
    let found = [
        check("good", &[cluster("c", true)], host()),
        check("no_cluster", &[cluster("other", true)], host()),
        check("no_tls", &[cluster("c", false)], host()),
        check("no_variable", &[cluster("c", true)], Value::Null),
        check("in_sight", &[cluster("c", true)], value()),
    ];
    insta::assert_snapshot!(found.concat(), @r#"
    warning: envoy.json: static_resources.listeners[0].filter_chains[0].filters[0].typed_config: has its routes from elsewhere, so that they can't be checked: no redirect policy, mirror, or match on a header that Invoker writes may be among them
    x.json: ok (0 errors, 1 warning)
    error: envoy.json: PLUGIN.configuration.value.credentials.cluster: there is no cluster "c"; there are "other"
    warning: envoy.json: static_resources.listeners[0].filter_chains[0].filters[0].typed_config: has its routes from elsewhere, so that they can't be checked: no redirect policy, mirror, or match on a header that Invoker writes may be among them
    x.json: not ok (1 error, 1 warning)
    error: envoy.json: static_resources.clusters[0]: cluster "c" would send credentials to the key's token_uri (oauth2.googleapis.com:443; for a key of another universe domain its iamcredentials) without TLS (it leads to oauth2.googleapis.com); give it a transport_socket with an UpstreamTlsContext (only loopback may go without)
    warning: envoy.json: static_resources.listeners[0].filter_chains[0].filters[0].typed_config: has its routes from elsewhere, so that they can't be checked: no redirect policy, mirror, or match on a header that Invoker writes may be among them
    x.json: not ok (1 error, 1 warning)
    error: envoy.json: PLUGIN.configuration.value.credentials.key: is in the environment variable INVOKER_CREDENTIALS, which the module won't see; name it in vm_config.environment_variables.host_env_keys
    warning: envoy.json: static_resources.listeners[0].filter_chains[0].filters[0].typed_config: has its routes from elsewhere, so that they can't be checked: no redirect policy, mirror, or match on a header that Invoker writes may be among them
    x.json: not ok (1 error, 1 warning)
    warning: envoy.json: PLUGIN.configuration.value.credentials.key: is in the environment variable INVOKER_CREDENTIALS, whose value stands in key_values, where everybody sees it in Envoy's config_dump; set it for Envoy itself, and name it in host_env_keys
    warning: envoy.json: static_resources.listeners[0].filter_chains[0].filters[0].typed_config: has its routes from elsewhere, so that they can't be checked: no redirect policy, mirror, or match on a header that Invoker writes may be among them
    x.json: ok (0 errors, 2 warnings)
    "#);
}
