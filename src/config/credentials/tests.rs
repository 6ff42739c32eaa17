//! What credential files and the fields around them may say, and the words where they say something else.

use serde_json::json;

use super::federation::{Asker, external_account};
use super::file::Fields;
use super::impersonation::MAX_DELEGATES;
use super::*;
use crate::config::Config;
use crate::source::federation::Subject;
use crate::source::tests::key_file::key_file;
use crate::source::tests::{ACCOUNT, federation};

fn config(credentials: &Value) -> Result<Config, String> {
    let config = json!({
        "credentials": credentials,
        "audiences": [{"cluster": "x", "audience": "https://x.example.com"}],
    });
    Config::from_value(config).map_err(|errors| errors.to_string())
}

fn configured(credentials: &Value) -> Result<Credentials, String> {
    config(credentials).map(|config| config.credentials)
}

fn external_account_file(source: Value) -> Value {
    let mut file = federation::file();
    file["credential_source"] = source;
    file
}

/// How somebody reads a file with this source, if nothing in it is wrong.
#[cfg(not(target_family = "wasm"))]
fn read_as(asker: Asker, source: &Value) -> Option<Subject> {
    let file = external_account_file(source.clone());
    let mut problems = Problems::default();
    let read = external_account(&Fields(file.as_object()?), &mut problems, asker);
    let is_right = problems.into_result().is_ok();
    assert_eq!(read.is_some(), is_right, "{asker:?}: {source}");
    read.map(|file| file.subject)
}

fn impersonation(source: Value) -> Value {
    json!({"type": "impersonation", "service_account": ACCOUNT, "cluster": "iam", "source": source})
}

#[test]
fn each_variable_is_told_with_the_field_that_names_it() {
    let key = json!({"type": "service_account_key", "key": {"env": "KEY"}});
    let federation = json!({"type": "federation", "config": {"env": "CONFIG"}});
    for (credentials, path, name) in [
        (key.clone(), "credentials.key", "KEY"),
        (federation, "credentials.config", "CONFIG"),
        (impersonation(key), "credentials.source.key", "KEY"),
    ] {
        let credentials = configured(&credentials).unwrap();
        assert_eq!(
            credentials.environment_variables(),
            [(path.to_owned(), name)]
        );
    }
    let without = configured(&json!({"type": "metadata"})).unwrap();
    assert!(without.environment_variables().is_empty());
}

#[test]
fn what_names_no_variable_says_so() {
    let found = [
        json!({"env": ""}),
        json!({"env": "A=B"}),
        json!({"env": "A\0B"}),
        json!({"env": ["A"]}),
        json!({"env": "A", "file": "/key.json"}),
    ]
    .map(|key| configured(&json!({"type": "service_account_key", "key": key})).unwrap_err());
    insta::assert_snapshot!(found.join("\n"), @r"
    credentials.key.env: is no environment variable's name
    credentials.key.env: is no environment variable's name
    credentials.key.env: is no environment variable's name
    credentials.key.env: is no environment variable's name
    credentials.key: has other fields beside `env`; leave them out
    ");
}

#[test]
fn a_file_of_another_type_says_where_it_belongs() {
    let found = [
        ("key", "external_account"),
        ("config", "service_account"),
        ("config", "impersonated_service_account"),
        ("config", "authorized_user"),
        ("config", "external_account_authorized_user"),
        ("config", "s3cret"),
    ]
    .map(|(field, kind)| {
        let credentials = match field {
            "key" => json!({"type": "service_account_key", "key": {"type": kind}}),
            _ => json!({"type": "federation", "config": {"type": kind}}),
        };
        let problems = configured(&credentials).unwrap_err();
        problems.lines().next().unwrap().to_owned()
    });
    insta::assert_snapshot!(found.join("\n"), @r#"
    credentials.key.type: found "external_account", expected "service_account": credentials.type for it is "federation"
    credentials.config.type: found "service_account", expected "external_account": credentials.type for it is "service_account_key"
    credentials.config.type: found "impersonated_service_account", expected "external_account": write credentials.type "impersonation" with the account and a source; a person's own login does not belong into a proxy
    credentials.config.type: found "authorized_user", expected "external_account": that is a person's own login, which can't make ID tokens; make a service account and use impersonation, federation or its key
    credentials.config.type: found "external_account_authorized_user", expected "external_account": that is a person's own login; use federation
    credentials.config.type: found another type, expected "external_account"
    "#);
}

#[test]
fn a_variable_without_a_file_is_told_by_its_name() {
    let told = |text: Option<&str>| {
        let key = json!({"type": "service_account_key", "key": {"env": "KEY"}});
        let source = config(&key).unwrap().source(&|_| text.map(str::to_owned));
        source.unwrap_err().to_string()
    };
    let found = [
        None,
        Some(" "),
        Some("s3cret"),
        Some(r#"{"type": "service_account", "private_key": ""}"#),
    ]
    .map(told);
    insta::assert_snapshot!(found.join("\n"), @r"
    credentials.key: the environment variable KEY is not set, or empty; in Envoy it has to be named in vm_config.environment_variables.host_env_keys
    credentials.key: the environment variable KEY is not set, or empty; in Envoy it has to be named in vm_config.environment_variables.host_env_keys
    credentials.key: the environment variable KEY is neither JSON nor its base64
    credentials.key: the environment variable KEY: client_email is missing
    credentials.key: the environment variable KEY: token_uri is missing
    credentials.key: the environment variable KEY: private_key is empty
    ");
}

#[test]
fn an_account_is_a_name_at_one_domain() {
    let account = |email: &str| configured(&json!({"type": "metadata", "service_account": email}));
    assert!(account(ACCOUNT).is_ok());
    for wrong in ["@b", "a@", "a@b@c", "a b@c"] {
        let problem = account(wrong).unwrap_err();
        assert!(problem.contains("is no service account"), "{problem}");
    }
}

#[test]
fn a_program_that_brings_the_subject_token_is_told_with_the_field_that_says_so() {
    let file = external_account_file(json!({}));
    let federation = json!({"type": "federation", "config": file, "subject_token": "program"});
    for (credentials, path) in [
        (federation.clone(), Some("credentials.subject_token")),
        (
            impersonation(federation),
            Some("credentials.source.subject_token"),
        ),
        (json!({"type": "metadata"}), None),
    ] {
        let asks = configured(&credentials).unwrap().asks_program();
        assert_eq!(asks.as_deref(), path);
    }
}

#[test]
fn an_impersonation_goes_to_an_account_through_a_few_others() {
    let through = |delegates: Vec<&str>| {
        let mut credentials = impersonation(json!({"type": "metadata"}));
        credentials["delegates"] = json!(delegates);
        configured(&credentials).map(drop)
    };
    assert_eq!(through(vec![ACCOUNT; MAX_DELEGATES]), Ok(()));
    let mut nobody = impersonation(json!({"type": "metadata"}));
    nobody["service_account"] = json!("caller");
    let found = [
        through(vec![ACCOUNT; MAX_DELEGATES + 1]).unwrap_err(),
        through(vec![ACCOUNT, "hop"]).unwrap_err(),
        configured(&nobody).unwrap_err(),
    ];
    insta::assert_snapshot!(found.join("\n"), @r#"
    credentials.delegates: holds more than 16 accounts
    credentials.delegates[1]: "hop" is no service account; write its email, such as "caller@my-project.iam.gserviceaccount.com"
    credentials.service_account: "caller" is no service account; write its email, such as "caller@my-project.iam.gserviceaccount.com"
    "#);
}

#[test]
fn a_header_for_the_subjects_server_is_one() {
    let with_headers = |headers: Value| {
        let source = json!({"url": "https://subject.example.com/", "headers": headers});
        configured(&json!({"type": "federation", "config": external_account_file(source)}))
    };
    assert!(with_headers(json!({"X-a_b.1": "a b!", "empty": ""})).is_ok());
    let refused = [
        json!({"": "s3cret"}),
        json!({"a b": "s3cret"}),
        json!({"a": "s3cret\r\nb: c"}),
        json!({"a": ["s3cret"]}),
    ];
    for headers in refused {
        assert_eq!(
            with_headers(headers.clone()).unwrap_err(),
            "credentials.config.credential_source.headers: holds a name or a value that is no header's",
            "{headers}"
        );
    }
}

#[test]
fn a_subject_token_is_text_unless_the_file_says_json() {
    let with_format = |format: Value| {
        let source = json!({"url": "https://subject.example.com/", "format": format});
        configured(&json!({"type": "federation", "config": external_account_file(source)}))
    };
    for format in [
        Value::Null,
        json!({}),
        json!({"type": "text"}),
        json!({"type": "json", "subject_token_field_name": "id_token"}),
    ] {
        assert!(with_format(format.clone()).is_ok(), "{format}");
    }
    let found = [
        json!("text"),
        json!({"type": "xml"}),
        json!({"type": "json"}),
        json!({"type": "json", "subject_token_field_name": ""}),
    ]
    .map(|format| with_format(format).unwrap_err());
    insta::assert_snapshot!(found.join("\n"), @r#"
    credentials.config.credential_source.format: found a string, expected an object
    credentials.config.credential_source.format.type: is neither "text" nor "json"
    credentials.config.credential_source.format.subject_token_field_name: is missing; the token is in a field of the JSON
    credentials.config.credential_source.format.subject_token_field_name: is missing; the token is in a field of the JSON
    "#);
}

#[test]
fn the_account_of_a_federation_stands_at_the_end_of_its_url() {
    for end in [
        "caller:generateAccessToken",
        "a@b:generateIdToken",
        ":generateAccessToken",
    ] {
        let mut file = external_account_file(json!({"url": "https://subject.example.com/"}));
        file["service_account_impersonation_url"] =
            format!("https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{end}")
                .into();
        let credentials = json!({"type": "federation", "config": file});
        assert_eq!(
            configured(&credentials).unwrap_err(),
            "credentials.config.service_account_impersonation_url: does not end with an account's email and \
             \":generateAccessToken\", as gcloud writes it",
            "{end}"
        );
    }
}

#[test]
fn each_kind_names_the_clusters_that_it_calls() {
    let file = external_account_file(json!({"url": "https://subject.example.com/"}));
    let source = json!({
        "type": "federation", "config": file, "cluster": "sts", "subject_cluster": "subject",
    });
    let mut federation = source.clone();
    federation["iam_cluster"] = json!("iam");
    let mut without_account = federation.clone();
    without_account["config"]["service_account_impersonation_url"] = Value::Null;
    let mut by_program = federation.clone();
    by_program["subject_token"] = json!("program");
    let key = json!({"type": "service_account_key", "key": key_file(), "cluster": "oauth2"});
    let told = [
        json!({"type": "metadata", "cluster": "metadata"}),
        impersonation(key),
        impersonation(source),
        federation,
        without_account,
        by_program,
    ]
    .map(|credentials| {
        let credentials = configured(&credentials).unwrap();
        let fields = credentials.clusters().into_iter().map(|field| {
            let scheme = match field.is_plain {
                Some(true) => "http",
                Some(false) => "https",
                None => "either",
            };
            let need = if field.is_required {
                "required"
            } else {
                "optional"
            };
            format!(
                "{} = {} ({scheme}, {need})",
                field.path,
                field.name.unwrap()
            )
        });
        let fields: Vec<_> = fields.collect();
        assert!(
            credentials
                .clone()
                .without_clusters()
                .clusters()
                .iter()
                .all(|field| field.name.is_none())
        );
        fields.join(", ")
    });
    insta::assert_snapshot!(told.join("\n"), @r"
    credentials.cluster = metadata (http, required)
    credentials.cluster = iam (https, required), credentials.source.cluster = oauth2 (https, required)
    credentials.cluster = iam (https, required), credentials.source.cluster = sts (https, required), credentials.source.subject_cluster = subject (either, required)
    credentials.cluster = sts (https, required), credentials.subject_cluster = subject (either, required), credentials.iam_cluster = iam (https, required)
    credentials.cluster = sts (https, required), credentials.subject_cluster = subject (either, required), credentials.iam_cluster = iam (https, optional)
    credentials.cluster = sts (https, required), credentials.subject_cluster = subject (either, optional), credentials.iam_cluster = iam (https, required)
    ");
}

#[cfg(not(target_family = "wasm"))]
#[test]
fn only_a_process_of_the_machine_starts_programs_and_asks_aws() {
    let aws = json!({
        "environment_id": "aws1",
        "regional_cred_verification_url":
            "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
    });
    for source in [aws, json!({"executable": {"command": "get"}})] {
        assert!(matches!(
            read_as(Asker::Process, &source),
            Some(Subject::Local(_))
        ));
        assert!(read_as(Asker::Proxy, &source).is_none());
    }
}

#[cfg(not(target_family = "wasm"))]
#[test]
fn a_process_reads_files_but_makes_no_tls_of_its_own() {
    let file = json!({"file": "/var/run/token"});
    assert!(read_as(Asker::Process, &file).is_some());
    assert!(read_as(Asker::Proxy, &file).is_none());
    let certificate = json!({"url": "https://subject.example.com/", "certificate": {}});
    assert!(read_as(Asker::Process, &certificate).is_none());
    assert!(read_as(Asker::Proxy, &certificate).is_none());
}
