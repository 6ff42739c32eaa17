use super::*;
use crate::config::Host;
use crate::host::url_head::UrlHead;
use crate::store::MemoryStore;
use serde_json::json;

/// Where nobody looks at what is written.
struct Unread;

impl Headers for Unread {
    fn value(&self, _: &str) -> Option<String> {
        None
    }

    fn set(&mut self, _: &str, _: &str) {}

    fn remove(&mut self, _: &str) {}
}

fn head(authority: &str, is_secure: bool) -> UrlHead<'_, Unread> {
    UrlHead {
        is_secure,
        authority,
        path: "/",
        headers: Unread,
    }
}

fn now() -> Now {
    Now {
        monotonic: Monotonic::from_millis(0),
        unix: UnixTime::from_secs(1_790_000_000),
    }
}

fn invoker(changes: &serde_json::Value) -> Invoker {
    let mut config = json!({
        "credentials": {"type": "metadata"},
        "audiences": [{"authority": "*.a.run.app", "audience": "https://{authority}"}],
    });
    for (field, value) in changes.as_object().unwrap() {
        config[field] = value.clone();
    }
    let config = Config::from_value(config).and_then(|it| it.for_host(Host::JavaScript));
    let config = config.unwrap();
    let source = config.source(&|_| None).unwrap();
    Invoker::new(config, source, 1, now().monotonic, Duration::ZERO)
}

fn begin(invoker: &mut Invoker, authority: &'static str, is_in_the_clear: bool) -> Plan {
    invoker.begin(&mut head(authority, !is_in_the_clear), now)
}

#[test]
fn a_request_in_the_clear_gets_no_token_and_is_not_sent_on_without_one_either() {
    for failure_mode in ["deny", "allow"] {
        let mut invoker = invoker(&json!({"failure_mode": failure_mode}));
        assert!(matches!(
            begin(&mut invoker, "x.a.run.app", false),
            Plan::Attach(_)
        ));
        let Plan::Deny(denial) = begin(&mut invoker, "x.a.run.app", true) else {
            panic!("it went on");
        };
        assert_eq!((denial.code, denial.status()), (Code::InsecureUrl, 500));
        insta::allow_duplicates! {
            insta::assert_snapshot!(invoker.body(&denial), @r#"invoker: insecure_url: no token: audiences[0] covers a URL that begins with "http://", and its token would be read on the way; write "https://", or set allow_insecure: true"#);
        }
        assert_eq!(invoker.take_counts().denied, 1);
    }
}

#[test]
fn a_request_in_the_clear_that_no_rule_covers_or_where_it_is_allowed_goes_on() {
    let mut closed = invoker(&json!({}));
    let plan = begin(&mut closed, "a.example.com", true);
    assert!(matches!(plan, Plan::Continue(Passed::NoRule)));
    let mut open = invoker(&json!({"allow_insecure": true}));
    assert!(matches!(
        begin(&mut open, "x.a.run.app", true),
        Plan::Attach(_)
    ));
}

#[test]
fn a_token_that_a_program_asks_for_is_the_one_that_a_rule_names() {
    let audience = "https://profiles.a.run.app";
    let rule = json!({"authority": "profiles.a.run.app", "audience": audience});
    let mut invoker = invoker(&json!({"audiences": [rule], "prefetch": false}));
    let store = MemoryStore::default();
    let wanted: Wanted = crate::audience::Audience::parse(audience).unwrap().into();
    let answer = invoker.request_token(RequestId(1), wanted, &store, now());
    assert!(matches!(answer, Answer::Pending));
    let Plan::Attach(attachment) = begin(&mut invoker, "profiles.a.run.app", false) else {
        panic!("no rule covers it");
    };
    let mut head = head("profiles.a.run.app", true);
    invoker.handle_request(RequestId(2), attachment, &mut head, &store, now());
    let callouts = std::iter::from_fn(|| invoker.poll_output())
        .filter(|output| matches!(output, Output::Callout(..)));
    assert_eq!(callouts.count(), 1);
}

#[test]
fn without_an_account_nobody_gets_an_access_token_for_an_id_token() {
    let config = json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
    });
    let credentials = json!({"type": "federation", "config": config, "subject_token": "program"});
    let mut invoker = invoker(&json!({"credentials": credentials, "audiences": []}));
    let wanted = crate::audience::Audience::parse("https://a.run.app")
        .unwrap()
        .into();
    let answer = invoker.request_token(RequestId(1), wanted, &MemoryStore::default(), now());
    let Answer::Denied(denial) = answer else {
        panic!("{answer:?}");
    };
    assert!(denial.message.contains("names no account"), "{denial:?}");
    assert!(invoker.poll_output().is_none());
}
