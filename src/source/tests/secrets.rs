//! Whatever goes wrong, and however much a server repeats of what it was sent: no key, assertion, subject
//! token, access token or ID token is in what people get to see.

use super::key_file::{key_file, pem};
use super::*;
use crate::authenticator::{Answer as Verdict, Authenticator, Output, RequestId, Settings};
use crate::config::Timing;
use crate::rules::Target;
use crate::store::MemoryStore;

const SUBJECT: &str = "the-subject-token";
const BEARER: &str = "the-access-token";

/// Plays a request through an authenticator whose servers answer as `reply` does, and notes everything
/// that can be seen: `Debug` of all there is, events and denials.
fn seen(credentials: Value, reply: impl Fn(&Request) -> (u16, String)) -> (String, Vec<String>) {
    let config = config(credentials);
    let mut seen = vec![format!("{config:?}")];
    let mut secrets = Vec::new();
    let source = config.source(&|_| None).unwrap();
    let settings = Settings {
        timing: Timing::default(),
        max_waiting_requests: 1,
        prefetch: false,
        lateness: Duration::ZERO,
        joins_fetches: true,
    };
    let literals = config.rules.literals();
    let started = Monotonic::from_millis(0);
    let mut authenticator = Authenticator::new(source, settings, literals, 1, started);
    let store = MemoryStore::default();
    let now = |millis| Now {
        monotonic: Monotonic::from_millis(millis),
        unix: NOW,
    };
    let answer = authenticator.handle_request(RequestId(1), &Target::Literal(0), &store, now(0));
    assert!(matches!(answer, Verdict::Pending), "{answer:?}");
    for millis in [0, 200, 10_000] {
        authenticator.handle_timeout(&store, now(millis));
        while let Some(output) = authenticator.poll_output() {
            seen.push(format!("{output:?} {authenticator:?}"));
            match output {
                Output::Callout(id, request) => {
                    secrets.push(String::from_utf8(request.body.clone()).unwrap());
                    let (status, body) = reply(&request);
                    let response = Response {
                        status,
                        headers: Vec::new(),
                        body: body.into_bytes(),
                    };
                    seen.push(format!("{response:?}"));
                    authenticator.handle_response(id, Ok(response), &store, now(millis));
                }
                Output::Sign(id, input) => {
                    let signature = input.sign();
                    authenticator.handle_signature(id, signature, &store, now(millis));
                }
                Output::Resume(_, result) => seen.push(format!("{result:?}")),
                Output::Event(event) => seen.push(format!("{event} {event:?}")),
                Output::Wake(_) | Output::Subject(..) => {}
            }
        }
    }
    (seen.join("\n"), secrets)
}

/// What no line may hold: the longest pieces of each secret.
fn assert_hidden(seen: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(!seen.contains(secret), "{secret} is in: {seen}");
    }
}

fn key_credentials() -> Value {
    json!({"type": "service_account_key", "cluster": "oauth2", "key": key_file()})
}

#[test]
fn neither_a_key_nor_an_assertion_nor_the_id_token_is_seen() {
    type Reply<'a> = &'a dyn Fn(&Request) -> (u16, String);
    let replies: [Reply<'_>; 3] = [
        &|_| {
            (
                200,
                json!({"id_token": jwt("https://x.example.com")}).to_string(),
            )
        },
        &|request| {
            let said = String::from_utf8(request.body.clone()).unwrap();
            (
                400,
                json!({"error": "invalid_grant", "error_description": said}).to_string(),
            )
        },
        &|request| (200, String::from_utf8(request.body.clone()).unwrap()),
    ];
    let pem = pem();
    let line = pem.lines().nth(5).unwrap();
    for reply in replies {
        let (seen, sent) = seen(key_credentials(), reply);
        assert!(!sent.is_empty());
        for body in &sent {
            let assertion = body.split_once("&assertion=").unwrap().1;
            for segment in assertion.split('.') {
                assert_hidden(&seen, &[segment]);
            }
        }
        assert_hidden(
            &seen,
            &[
                line,
                "BEGIN PRIVATE KEY",
                &jwt("https://x.example.com"),
                ".c2ln",
            ],
        );
    }
}

#[test]
fn neither_subject_nor_access_nor_id_token_is_seen() {
    let file = json!({
        "type": "external_account", "audience": "pool", "subject_token_type": "jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"url": "https://subject.example.com/", "headers": {"Authorization": "Bearer of-the-subject"}},
        "service_account_impersonation_url": format!("https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"),
    });
    let credentials = json!({
        "type": "federation", "config": file, "cluster": "sts", "subject_cluster": "subject", "iam_cluster": "iam",
    });
    let good = |request: &Request| match request.authority.as_str() {
        "subject.example.com" => (200, SUBJECT.to_owned()),
        "sts.googleapis.com" => (
            200,
            json!({"access_token": BEARER, "expires_in": 3600}).to_string(),
        ),
        _ => (
            200,
            json!({"token": jwt("https://x.example.com")}).to_string(),
        ),
    };
    let repeats = |request: &Request, authority: &str| {
        if request.authority == authority {
            let headers: Vec<_> = request
                .headers
                .iter()
                .map(|(_, value)| value.as_str())
                .collect();
            let body = String::from_utf8(request.body.clone()).unwrap();
            let said = format!("bad: {} {body}", headers.join(" "));
            (
                403,
                json!({"error": {"status": "DENIED", "message": said}, "error_description": said})
                    .to_string(),
            )
        } else {
            good(request)
        }
    };
    let none = "";
    for ill in [
        none,
        "subject.example.com",
        "sts.googleapis.com",
        "iamcredentials.googleapis.com",
    ] {
        let (seen, _) = seen(credentials.clone(), |request| repeats(request, ill));
        let id_token = jwt("https://x.example.com");
        assert_hidden(
            &seen,
            &[SUBJECT, BEARER, "of-the-subject", &id_token, ".c2ln"],
        );
        let is_told = seen.contains("first_token") && (ill == none || seen.contains("403"));
        assert!(
            is_told || ill == "subject.example.com" || ill == "sts.googleapis.com",
            "{seen}"
        );
    }
}

/// Where the texts in it are, as JSON pointers.
fn texts(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(path.to_owned()),
        Value::Array(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                texts(entry, &format!("{path}/{index}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                texts(field, &format!("{path}/{name}"), found);
            }
        }
        _ => {}
    }
}

/// The same once for each of its texts, with the key in place of it.
fn with_elsewhere(key: &str, value: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    texts(value, "", &mut found);
    let changed = |path: &String| {
        let mut changed = value.clone();
        *changed.pointer_mut(path).unwrap() = json!(key);
        changed
    };
    found.iter().map(changed).collect()
}

fn external_account(source: Value) -> Value {
    let mut file = federation::file();
    file["universe_domain"] = json!("googleapis.com");
    file["credential_source"] = source;
    file
}

#[test]
fn a_key_in_a_wrong_place_is_not_repeated() {
    let served = external_account(json!({
        "url": "https://subject.example.com/", "headers": {"X-Flavour": "plain"},
        "format": {"type": "json", "subject_token_field_name": "token"},
    }));
    let mut login = user::file("1//r");
    login["source_credentials"]["token_uri"] = json!("https://oauth2.googleapis.com/token");
    let federation = json!({
        "type": "federation", "cluster": "sts", "subject_cluster": "subject", "iam_cluster": "iam", "config": served,
    });
    let impersonation = |source: Value| {
        json!({
            "type": "impersonation", "cluster": "iam", "service_account": super::ACCOUNT,
            "delegates": ["hop@project.iam.gserviceaccount.com"], "source": source,
        })
    };
    let mut delegates_as_a_text = impersonation(json!({"type": "metadata", "cluster": "metadata"}));
    delegates_as_a_text["delegates"] = json!("hop");
    let configured = [
        json!({"type": "metadata", "cluster": "metadata", "service_account": "default"}),
        key_credentials(),
        federation.clone(),
        impersonation(key_credentials()),
        impersonation(federation),
        delegates_as_a_text,
    ];
    let files = [
        key_file(),
        served,
        external_account(json!({"file": "/run/token"})),
        external_account(
            json!({"executable": {"command": "/bin/give --token", "output_file": "/run/answer"}}),
        ),
        external_account(json!({
            "environment_id": "aws1", "region_url": "http://169.254.169.254/zone", "url": "http://169.254.169.254/keys",
            "regional_cred_verification_url":
                "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
        })),
        login,
    ];
    let pem = pem();
    let line = pem.lines().nth(5).unwrap();
    let on_one_line = pem.replace('\n', "");
    // The advice on a bad key has the header's words.
    for (key, hidden) in [
        (&pem, &[line, "BEGIN PRIVATE KEY"] as &[&str]),
        (&on_one_line, &[line]),
    ] {
        let configured = configured.iter().flat_map(|it| with_elsewhere(key, it));
        let of_configured = configured.map(|credentials| {
            let rules = json!([{"cluster": "x", "audience": "https://x.example.com"}]);
            let config = json!({"credentials": credentials, "audiences": rules});
            let read = Config::from_value(config).and_then(|it| Ok((it.source(&|_| None)?, it)));
            match read {
                Ok((source, config)) if key.contains('\n') => format!("{config:?} {source:?}"),
                // On one line it was taken for a name, and names are shown.
                Ok(_) => String::new(),
                Err(errors) => errors.to_string(),
            }
        });
        let files = files.iter().flat_map(|it| with_elsewhere(key, it));
        let of_files = files.map(|file| {
            let read = crate::config::Credentials::from_file(&file.to_string());
            read.err()
                .map_or_else(String::new, |errors| errors.to_string())
        });
        for told in of_configured.chain(of_files) {
            assert_hidden(&told, hidden);
        }
    }
}
