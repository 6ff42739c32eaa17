use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;
use ExistingCredential::{Alongside, Forward, Keep, Replace};

/// Headers that note what was done to them.
#[derive(Default)]
struct Request {
    headers: BTreeMap<String, String>,
    calls: RefCell<Vec<String>>,
}

impl Request {
    fn with(headers: &[(&str, &str)]) -> Self {
        let headers = headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        Self {
            headers,
            ..Self::default()
        }
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        self.headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect()
    }

    fn calls(&self) -> Vec<String> {
        self.calls.borrow().clone()
    }
}

impl Headers for Request {
    fn value(&self, name: &str) -> Option<String> {
        self.calls.borrow_mut().push(format!("value {name}"));
        self.headers.get(name).cloned()
    }

    fn set(&mut self, name: &str, value: &str) {
        self.calls.borrow_mut().push(format!("set {name}"));
        self.headers.insert(name.to_owned(), value.to_owned());
    }

    fn remove(&mut self, name: &str) {
        self.calls.borrow_mut().push(format!("remove {name}"));
        self.headers.remove(name);
    }
}

fn policy(names: &[&str], existing: ExistingCredential) -> HeaderPolicy {
    let names = names
        .iter()
        .map(|name| HeaderName::parse(name).unwrap())
        .collect();
    HeaderPolicy::new(names, existing).unwrap()
}

fn authorized(policy: &HeaderPolicy, headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut request = Request::with(headers);
    policy.authorize(&mut request, "Bearer ours", None);
    request.headers.into_iter().collect()
}

fn allowed(policy: &HeaderPolicy, headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut request = Request::with(headers);
    policy.allow_without_token(&mut request);
    request.headers.into_iter().collect()
}

fn pairs(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect()
}

const XFA: &str = "x-forwarded-authorization";
const XSA: &str = SERVERLESS_AUTHORIZATION;

#[test]
fn replace_is_one_write_and_no_look() {
    let mut request = Request::with(&[("authorization", "Bearer caller")]);
    let policy = policy(&["authorization"], Replace);
    assert!(!policy.keeps(&request));
    policy.authorize(&mut request, "Bearer ours", None);
    assert_eq!(request.calls(), ["set authorization"]);
    assert_eq!(request.headers(), [("authorization", "Bearer ours")]);
}

#[test]
fn every_header_of_a_list_gets_the_token() {
    let policy = policy(&[XSA, "Authorization"], Replace);
    assert_eq!(
        authorized(&policy, &[("authorization", "Bearer caller")]),
        pairs(&[("authorization", "Bearer ours"), (XSA, "Bearer ours")])
    );
    assert_eq!(
        allowed(
            &policy,
            &[("authorization", "Bearer caller"), (XSA, "forged")]
        ),
        []
    );
}

#[test]
fn keep_leaves_a_callers_credential_and_the_whole_request() {
    let policy = policy(&[XSA, "authorization"], Keep);
    let request = Request::with(&[("authorization", "Bearer caller")]);
    assert!(policy.keeps(&request));
    assert!(!policy.keeps(&Request::with(&[])));
    // An empty header is no credential: a token is written over it.
    assert!(!policy.keeps(&Request::with(&[("authorization", " ")])));
    assert_eq!(
        authorized(&policy, &[("authorization", "")]),
        pairs(&[("authorization", "Bearer ours"), (XSA, "Bearer ours")])
    );
    assert_eq!(
        allowed(&policy, &[("other", "x")]),
        pairs(&[("other", "x")])
    );
}

#[test]
fn forward_moves_the_callers_credential() {
    let policy = policy(&["authorization"], Forward);
    let request = [
        ("authorization", "Bearer caller"),
        (XFA, "forged"),
        (XSA, "forged"),
    ];
    assert_eq!(
        authorized(&policy, &request),
        pairs(&[("authorization", "Bearer ours"), (XFA, "Bearer caller")])
    );
    assert_eq!(allowed(&policy, &request), pairs(&[(XFA, "Bearer caller")]));
}

#[test]
fn forward_removes_what_a_client_put_where_the_callers_credential_would_go() {
    for caller in [
        &[(XFA, "forged"), (XSA, "forged")][..],
        &[("authorization", ""), (XFA, "forged")],
    ] {
        let policy = policy(&["authorization"], Forward);
        assert_eq!(
            authorized(&policy, caller),
            pairs(&[("authorization", "Bearer ours")])
        );
        assert_eq!(allowed(&policy, caller), []);
    }
}

#[test]
fn forward_moves_from_the_header_that_the_rule_writes() {
    let policy = policy(&[XSA], Forward);
    let request = [("authorization", "Bearer user"), (XSA, "Bearer caller")];
    assert_eq!(
        authorized(&policy, &request),
        pairs(&[
            ("authorization", "Bearer user"),
            ("x-forwarded-x-serverless-authorization", "Bearer caller"),
            (XSA, "Bearer ours"),
        ])
    );
    assert_eq!(
        allowed(&policy, &request),
        pairs(&[
            ("authorization", "Bearer user"),
            ("x-forwarded-x-serverless-authorization", "Bearer caller"),
        ])
    );
}

#[test]
fn alongside_puts_ours_beside_a_callers_authorization() {
    let policy = policy(&["authorization"], Alongside);
    let request = [
        ("authorization", "Bearer user"),
        (XFA, "forged"),
        (XSA, "forged"),
    ];
    assert_eq!(
        authorized(&policy, &request),
        pairs(&[("authorization", "Bearer user"), (XSA, "Bearer ours")])
    );
    assert_eq!(
        allowed(&policy, &request),
        pairs(&[("authorization", "Bearer user")])
    );
}

#[test]
fn alongside_puts_ours_into_authorization_and_nowhere_else_without_a_callers() {
    let policy = policy(&["authorization"], Alongside);
    let request = [("authorization", " "), (XFA, "forged"), (XSA, "forged")];
    assert_eq!(
        authorized(&policy, &request),
        pairs(&[("authorization", "Bearer ours")])
    );
    assert_eq!(allowed(&policy, &[(XFA, "forged"), (XSA, "forged")]), []);
}

#[test]
fn a_second_attempt_over_the_same_headers_does_not_take_our_token_for_the_callers() {
    for caller in [&[][..], &[("authorization", "Bearer caller")]] {
        for existing in [Replace, Forward, Alongside] {
            let policy = policy(&["authorization"], existing);
            let mut request = Request::with(caller);
            policy.authorize(&mut request, "Bearer ours", None);
            let first = request.headers.clone();
            policy.authorize(&mut request, "Bearer ours", None);
            assert_eq!(request.headers, first, "{existing}");
        }
    }
}

#[test]
fn an_internal_redirect_loses_our_own_values_whatever_matches_now() {
    let default = policy(&["authorization"], Alongside);
    let iap = policy(&["proxy-authorization"], Replace);
    let written = WrittenHeaders::of([&default, &iap]);
    let names: Vec<&str> = written.names().iter().map(HeaderName::as_str).collect();
    assert_eq!(names, ["authorization", "proxy-authorization", XSA]);
    for matched in [None, Some(&default), Some(&iap)] {
        let mut request = Request::with(&[
            (ORIGINAL_URL, "http://first/"),
            ("authorization", "Bearer ours"),
            ("proxy-authorization", "Bearer ours"),
            (XSA, "Bearer ours"),
            ("other", "x"),
        ]);
        written.remove_after_redirect(matched, &mut request);
        assert_eq!(
            request.headers(),
            [("other", "x"), (ORIGINAL_URL, "http://first/")]
        );
    }
}

#[test]
fn a_request_that_was_not_redirected_keeps_its_headers() {
    let written = WrittenHeaders::of([&policy(&["authorization"], Replace)]);
    let mut request = Request::with(&[("authorization", "Bearer caller")]);
    written.remove_after_redirect(None, &mut request);
    assert_eq!(request.headers(), [("authorization", "Bearer caller")]);
}

#[test]
fn a_hit_that_overwrites_everything_anyway_does_not_look_for_a_redirect() {
    let default = policy(&["authorization"], Replace);
    let iap = policy(&["proxy-authorization"], Replace);
    let mut request = Request::default();
    WrittenHeaders::of([&default, &default]).remove_after_redirect(Some(&default), &mut request);
    assert_eq!(request.calls(), Vec::<String>::new());
    WrittenHeaders::of([&default, &iap]).remove_after_redirect(Some(&default), &mut request);
    assert_eq!(request.calls(), [format!("value {ORIGINAL_URL}")]);
}

#[test]
fn headers_of_others_are_refused() {
    for name in [
        ":authority",
        "connection",
        "Keep-Alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "proxy-connection",
        "proxy-authenticate",
        "Host",
        "content-type",
        "Content-Length",
        "cookie",
        "x-envoy-original-url",
        "X-Envoy-Anything",
    ] {
        let error = HeaderName::parse(name).unwrap_err();
        assert!(
            matches!(error, HeaderNameError::Reserved { .. }),
            "{name}: {error}"
        );
    }
    for name in ["author ization", "authorization:", "aütorisation", "a\r\nb"] {
        assert_eq!(
            HeaderName::parse(name),
            Err(HeaderNameError::Characters(name.to_owned()))
        );
    }
    for name in [
        "Authorization",
        "proxy-authorization",
        XSA,
        "x-goog-iap-jwt",
        "x_y",
    ] {
        assert_eq!(
            HeaderName::parse(name).unwrap().as_str(),
            name.to_ascii_lowercase()
        );
    }
}

#[test]
fn headers_that_get_into_each_others_way_are_refused() {
    let new = |names: &[&str], existing| {
        let names = names
            .iter()
            .map(|name| HeaderName::parse(name).unwrap())
            .collect();
        HeaderPolicy::new(names, existing).unwrap_err()
    };
    assert_eq!(new(&[], Replace), HeaderPolicyError::Empty);
    assert!(matches!(
        new(&["a", "b", "A"], Replace),
        HeaderPolicyError::Twice(_)
    ));
    assert_eq!(new(&["a"], Alongside), HeaderPolicyError::Alongside);
    assert_eq!(
        new(&["authorization", XSA], Alongside),
        HeaderPolicyError::Alongside
    );
    assert!(matches!(
        new(&["authorization", XFA], Forward),
        HeaderPolicyError::Forwarded(_)
    ));
}

#[test]
fn a_token_that_a_refresh_replaced_between_two_attempts_is_not_the_callers() {
    for caller in [&[][..], &[("authorization", "Bearer caller")]] {
        for existing in [Replace, Forward, Alongside] {
            let policy = policy(&["authorization"], existing);
            let mut expected = Request::with(caller);
            policy.authorize(&mut expected, "Bearer second", None);
            let mut request = Request::with(caller);
            policy.authorize(&mut request, "Bearer first", None);
            policy.authorize(&mut request, "Bearer second", Some("Bearer first"));
            assert_eq!(request.headers, expected.headers, "{existing}");
        }
    }
}
