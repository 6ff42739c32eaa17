//! AWS Signature Version 4, as far as a `GetCallerIdentity` needs it: no body, and the root's path.
//!
//! Written out, since AWS's own crate brings some twenty others for it ("Create a signed AWS API request",
//! IAM User Guide). The tests hold it against AWS's published vectors and against google-auth.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{percent_decode_str, utf8_percent_encode};
use rsa::sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::source::DATA;
use crate::time::UnixTime;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Security credentials of an AWS account.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Secret,
    /// Beside those that do not last.
    pub(super) session_token: Option<Secret>,
}

/// A request without a body, to the root of a host.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'static str,
    pub(super) host: &'a str,
    pub(super) query: &'a str,
    /// Names in lower case; those that the signature needs are added.
    pub(super) headers: BTreeMap<&'static str, String>,
}

/// What the signature is good for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) now: UnixTime,
}

impl Request<'_> {
    /// All its headers, with `Authorization`.
    pub(super) fn signed(self, keys: &Keys, scope: Scope<'_>) -> BTreeMap<&'static str, String> {
        let time = time(scope.now);
        let date = time.get(..8).unwrap_or_default();
        let mut headers = self.headers;
        headers.insert("host", self.host.to_owned());
        headers.insert("x-amz-date", time.clone());
        if let Some(token) = &keys.session_token {
            headers.insert("x-amz-security-token", token.expose().to_owned());
        }
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{}\n", value.trim()))
            .collect();
        let names = headers.keys().copied().collect::<Vec<_>>().join(";");
        let request = [
            self.method,
            "/",
            &canonical_query(self.query),
            &lines,
            &names,
            &hex(&Sha256::digest(b"")),
        ]
        .join("\n");
        let within = [date, scope.region, scope.service, "aws4_request"];
        let text = [
            ALGORITHM,
            &time,
            &within.join("/"),
            &hex(&Sha256::digest(request)),
        ]
        .join("\n");
        let secret = Zeroizing::new(format!("AWS4{}", keys.secret_access_key.expose()));
        let start = Zeroizing::new(secret.as_bytes().to_vec());
        let key = within
            .into_iter()
            .fold(start, |key, part| Zeroizing::new(hmac(&key, part)));
        let authorization = format!(
            "{ALGORITHM} Credential={}/{}, SignedHeaders={names}, Signature={}",
            keys.access_key_id,
            within.join("/"),
            hex(&hmac(&key, &text))
        );
        headers.insert("Authorization", authorization);
        headers
    }
}

/// `20150830T123600Z`.
fn time(now: UnixTime) -> String {
    let now = SystemTime::UNIX_EPOCH + now.since(UnixTime::from_secs(0));
    let text = humantime::format_rfc3339_seconds(now.max(UNIX_EPOCH)).to_string();
    text.replace(['-', ':'], "")
}

/// Sorted, and encoded as AWS does it, whatever way it was written.
fn canonical_query(query: &str) -> String {
    let again = |text: &str| {
        let plain: Vec<u8> = percent_decode_str(text).collect();
        percent_encoding::percent_encode(&plain, DATA).to_string()
    };
    let mut pairs: Vec<_> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (again(name), again(value)))
        .collect();
    pairs.sort();
    let pairs: Vec<_> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    // A key of any length will do, so that there is no other outcome.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// For a text that becomes a value in a form or a URL, as Python's `quote` has it.
pub(super) fn quote(text: &str) -> String {
    const SAFE: &percent_encoding::AsciiSet = &DATA.remove(b'/');
    utf8_percent_encode(text, SAFE).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(keys: &Keys, request: Request<'_>, scope: Scope<'_>) -> String {
        let headers = request.signed(keys, scope);
        headers.get("Authorization").unwrap().clone()
    }

    fn of_the_suite(method: &'static str, query: &str, token: Option<&str>) -> String {
        let keys = Keys {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: token.map(Secret::new),
        };
        let request = Request {
            method,
            host: "example.amazonaws.com",
            query,
            headers: BTreeMap::new(),
        };
        let scope = Scope {
            region: "us-east-1",
            service: "service",
            now: UnixTime::from_rfc3339("2015-08-30T12:36:00Z").unwrap(),
        };
        let found = signature(&keys, request, scope);
        let start = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=";
        found.strip_prefix(start).unwrap().to_owned()
    }

    /// The Signature Version 4 test suite: get-vanilla, post-vanilla, post-vanilla-query,
    /// get-vanilla-query-order-key-case, post-sts-header-before.
    #[test]
    fn it_is_that_of_aws_s_published_vectors() {
        let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        for (found, signature) in [
            (
                of_the_suite("GET", "", None),
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                of_the_suite("POST", "", None),
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                of_the_suite("POST", "Param1=value1", None),
                "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
            ),
            (
                of_the_suite("GET", "Param2=value2&Param1=value1", None),
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
        ] {
            assert_eq!(found, format!("host;x-amz-date, Signature={signature}"));
        }
        assert_eq!(
            of_the_suite("POST", "", Some(token)),
            "host;x-amz-date;x-amz-security-token, \
             Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"
        );
    }

    #[test]
    fn a_query_is_encoded_anew_and_sorted() {
        for (written, canonical) in [
            ("", ""),
            ("b=2&a=1", "a=1&b=2"),
            ("a=x%2fy&a=b+c&d", "a=b%2Bc&a=x%2Fy&d="),
            ("a=%7E~", "a=~~"),
        ] {
            assert_eq!(canonical_query(written), canonical, "{written}");
        }
    }
}
