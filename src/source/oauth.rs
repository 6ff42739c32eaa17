//! What the OAuth servers answer: a JSON object, or an error that a person can act on.
//!
//! Two forms of errors exist: OAuth's own (`{"error": "invalid_grant", "error_description": …}`, RFC 6749)
//! from the token endpoint and STS, and that of Google's APIs (`{"error": {"code", "message", "status"}}`)
//! from IAM. What a server says is quoted, with everything cut out that could be a credential: servers
//! have been seen to repeat what they were sent.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{Code, FetchError};
use crate::http::Response;
use crate::time::{Now, UnixTime};
use crate::token::{Token, printable};

/// OAuth's words for trouble that passes.
const PASSING: [&str; 3] = [
    "internal_failure",
    "server_error",
    "temporarily_unavailable",
];

/// Longer pieces than this are no words: what is cut out.
const LONGEST_WORD: usize = 32;
const LONGEST_MIXED_WORD: usize = 20;

/// What a server said, so far as it is known how to read it.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    /// `invalid_grant`, `PERMISSION_DENIED`.
    pub(super) word: String,
    /// A sentence.
    pub(super) message: String,
}

/// The object of a good answer. `explain` adds to a refusal what to do about it.
pub(super) fn object(
    response: &Response,
    secrets: &[&str],
    explain: impl FnOnce(u16, &Complaint) -> Option<String>,
) -> Result<Map<String, Value>, FetchError> {
    if response.status != 200 {
        return Err(refusal(response, secrets, explain));
    }
    serde_json::from_slice(&response.body)
        .map_err(|_| malformed("an answer that is not a JSON object"))
}

/// A text that must be there.
pub(super) fn text<'a>(answer: &'a Map<String, Value>, field: &str) -> Result<&'a str, FetchError> {
    let text = answer.get(field).and_then(Value::as_str);
    text.ok_or_else(|| malformed(format!("an answer without {field:?}")))
}

/// `{access_token, expires_in, …}`, as of now.
pub(super) fn access_token(answer: &Map<String, Value>, now: Now) -> Result<Token, FetchError> {
    let lifetime = answer.get("expires_in").and_then(seconds);
    let lifetime = lifetime.ok_or_else(|| malformed("an answer without \"expires_in\""))?;
    let secret = text(answer, "access_token")?;
    token(Token::access_token(secret, now.unix + lifetime))
}

/// `{accessToken, expireTime}`.
pub(super) fn generated_access_token(answer: &Map<String, Value>) -> Result<Token, FetchError> {
    let end = UnixTime::from_rfc3339(text(answer, "expireTime")?)
        .ok_or_else(|| malformed("an answer whose \"expireTime\" is no time"))?;
    token(Token::access_token(text(answer, "accessToken")?, end))
}

/// A token that was parsed, or why it could not be.
pub(super) fn token(parsed: Result<Token, crate::token::TokenError>) -> Result<Token, FetchError> {
    parsed.map_err(|error| malformed(error.to_string()))
}

pub(super) fn malformed(reason: impl Into<String>) -> FetchError {
    FetchError::permanent(Code::MalformedAnswer, reason)
}

/// What a server said, fit for a log: without the secrets that it was sent, and without anything that looks
/// like one.
pub(super) fn quoted(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, CUT);
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(start) = rest.find(of_a_secret) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c| !of_a_secret(c)).unwrap_or(from.len());
        let (run, behind) = from.split_at(end);
        clean.push_str(before);
        clean.push_str(if is_secret(run) { CUT } else { run });
        rest = behind;
    }
    clean.push_str(rest);
    printable(clean.trim())
}

/// Seconds only; the other form, a date, needs a clock that agrees with the server's.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.header("retry-after")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

const CUT: &str = "[cut]";

fn of_a_secret(character: char) -> bool {
    character.is_ascii_alphanumeric() || "+/=_-.~".contains(character)
}

/// A JWT, one of Google's access tokens, or a long piece of base64 or hexadecimal.
fn is_secret(run: &str) -> bool {
    let long = |piece: &str| {
        let has = |kind: fn(&u8) -> bool| piece.as_bytes().iter().any(kind);
        let is_mixed =
            has(u8::is_ascii_digit) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
        piece.len() > LONGEST_WORD || (is_mixed && piece.len() > LONGEST_MIXED_WORD)
    };
    run.contains("eyJ") || run.contains("ya29.") || run.split(['.', '/']).any(long)
}

fn refusal(
    response: &Response,
    secrets: &[&str],
    explain: impl FnOnce(u16, &Complaint) -> Option<String>,
) -> FetchError {
    let status = response.status;
    if let Some(error) = envoys_own(response) {
        return error;
    }
    let complaint = complaint(&response.body, secrets);
    let mut reason = status.to_string();
    if !complaint.word.is_empty() {
        reason = format!("{reason} {}", complaint.word);
    }
    if !complaint.message.is_empty() {
        reason = format!("{reason}: {}", complaint.message);
    }
    if let Some(advice) = explain(status, &complaint) {
        reason = format!("{reason} ({advice})");
    }
    if matches!(status, 408 | 429 | 500..) || PASSING.contains(&complaint.word.as_str()) {
        FetchError {
            retry_after: retry_after(response),
            ..FetchError::transient(Code::ServerError, reason)
        }
    } else if status == 404 {
        FetchError::permanent(Code::NotFound, reason)
    } else {
        FetchError::permanent(Code::Refused, reason)
    }
}

/// Envoy itself answers so when a callout times out or can't connect, and says why: a certificate that it
/// does not trust, for one.
pub(super) fn envoys_own(response: &Response) -> Option<FetchError> {
    let body = str::from_utf8(&response.body).ok()?;
    match response.status {
        504 if body == "upstream request timeout" => Some(FetchError::transient(
            Code::CalloutTimeout,
            "no answer within callout_timeout",
        )),
        503 if body.starts_with("upstream connect error") => Some(FetchError::transient(
            Code::CalloutUnreachable,
            format!("connection refused or reset: {}", quoted(body, &[])),
        )),
        _ => None,
    }
}

fn complaint(body: &[u8], secrets: &[&str]) -> Complaint {
    let Ok(Value::Object(answer)) = serde_json::from_slice(body) else {
        return Complaint::default();
    };
    let text = |value: Option<&Value>| {
        let text = value.and_then(Value::as_str).unwrap_or_default();
        quoted(text, secrets)
    };
    match answer.get("error") {
        Some(Value::Object(error)) => Complaint {
            word: text(error.get("status")),
            message: text(error.get("message")),
        },
        word => Complaint {
            word: text(word),
            message: text(answer.get("error_description")),
        },
    }
}

/// A number of seconds, which some servers write as a text.
fn seconds(value: &Value) -> Option<Duration> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    Duration::try_from_secs_f64(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;

    fn response(status: u16, body: &str) -> Response {
        Response {
            status,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
        }
    }

    fn refused(status: u16, body: &str) -> FetchError {
        object(&response(status, body), &["s3cret"], |_, _| None).unwrap_err()
    }

    #[test]
    fn both_forms_of_errors_are_quoted() {
        let error = refused(
            400,
            r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#,
        );
        assert_eq!(error.reason, "400 invalid_grant: Invalid JWT Signature.");
        assert_eq!((error.class, error.code), (Class::Permanent, Code::Refused));
        let error = refused(
            403,
            r#"{"error":{"code":403,"message":"Permission 'iam.serviceAccounts.getOpenIdToken' denied","status":"PERMISSION_DENIED"}}"#,
        );
        assert_eq!(
            error.reason,
            "403 PERMISSION_DENIED: Permission 'iam.serviceAccounts.getOpenIdToken' denied"
        );
        assert_eq!(refused(400, "<html>").reason, "400");
    }

    #[test]
    fn what_may_pass_is_transient() {
        for (status, body) in [
            (408, ""),
            (429, ""),
            (500, ""),
            (503, "{}"),
            (400, r#"{"error":"internal_failure"}"#),
            (400, r#"{"error":"server_error"}"#),
            (403, r#"{"error":"temporarily_unavailable"}"#),
        ] {
            let error = refused(status, body);
            assert_eq!(
                (error.class, error.code),
                (Class::Transient, Code::ServerError),
                "{status} {body}"
            );
        }
        let mut busy = response(429, "");
        busy.headers.push(("Retry-After".into(), "7".into()));
        let error = object(&busy, &[], |_, _| None).unwrap_err();
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn envoy_s_own_answers_are_told_from_a_server_s() {
        let timeout = refused(504, "upstream request timeout");
        assert_eq!(timeout.code, Code::CalloutTimeout);
        let tls = "upstream connect error or disconnect/reset before headers. reset reason: remote connection \
                   failure, transport failure reason: TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end";
        let unreachable = refused(503, tls);
        assert_eq!(unreachable.code, Code::CalloutUnreachable);
        assert!(
            unreachable.reason.contains("CERTIFICATE_VERIFY_FAILED"),
            "{unreachable}"
        );
    }

    #[test]
    fn nothing_that_could_be_a_secret_is_quoted() {
        for (said, left) in [
            ("token s3cret is bad", "token [cut] is bad"),
            ("jwt eyJhbGciOi.eyJp.c2ln!", "jwt [cut]!"),
            ("ya29.a0AbC", "[cut]"),
            ("key QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo1 x", "key [cut] x"),
            ("0123456789abcdef0123456789abcdef01234567", "[cut]"),
            ("0123456789abcdef0123456789abcdef0", "[cut]"),
            (
                "0123456789abcdef0123456789abcdef",
                "0123456789abcdef0123456789abcdef",
            ),
            ("QUJDREVGR0hJSktMTU5Pq", "[cut]"),
            ("QUJDREVGR0hJSktMTU5P", "QUJDREVGR0hJSktMTU5P"),
            (
                "for caller@project.iam.gserviceaccount.com of //iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/my-pool/providers/my-provider",
                "for caller@project.iam.gserviceaccount.com of //iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/my-pool/providers/my-provider",
            ),
            (
                "scope https://www.googleapis.com/auth/cloud-platform",
                "scope https://www.googleapis.com/auth/cloud-platform",
            ),
        ] {
            assert_eq!(quoted(said, &["s3cret"]), left);
        }
    }

    #[test]
    fn an_access_token_needs_its_end() {
        let now = Now {
            monotonic: crate::time::Monotonic::from_millis(0),
            unix: UnixTime::from_secs(1000),
        };
        let parse = |body: &str| {
            let answer = object(&response(200, body), &[], |_, _| None)?;
            access_token(&answer, now)
        };
        let token = parse(r#"{"access_token":"a","expires_in":3599,"token_type":"Bearer"}"#);
        assert_eq!(token.unwrap().expires_at(), UnixTime::from_secs(4599));
        assert!(parse(r#"{"access_token":"a","expires_in":"60"}"#).is_ok());
        for body in [
            r#"{"access_token":"a"}"#,
            r#"{"access_token":"a","expires_in":-1}"#,
            r#"{"access_token":"a b","expires_in":1}"#,
            r#"{"expires_in":1}"#,
            "[]",
            "",
        ] {
            assert_eq!(parse(body).unwrap_err().code, Code::MalformedAnswer);
        }
    }
}
