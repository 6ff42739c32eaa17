//! JWTs that accounts sign themselves, taken apart. Whether one holds is for `account_keys` (the
//! signature) and [`Assertion::in_time`].

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

/// The longest life that Google accepts: 3600 seconds ("Using OAuth 2.0 for Server to Server
/// Applications").
const LONGEST_LIFE: i64 = 3600;

/// A JWT whose three parts could be read; nothing of it is proven yet.
pub(super) struct Assertion<'a> {
    /// What the signature is of.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl<'a> Assertion<'a> {
    /// Takes a JWT in its compact form apart.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Self {
            signed,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
            header: segment(header)?,
            claims: segment(claims)?,
        })
    }

    /// Whether it claims to be signed as Google asks for.
    pub(super) fn is_rs256(&self) -> bool {
        self.header.get("alg").and_then(Value::as_str) == Some("RS256")
    }

    /// The ID of the key that signed it, if the header names one.
    pub(super) fn kid(&self) -> Option<&str> {
        self.header.get("kid").and_then(Value::as_str)
    }

    /// A claim that is a text.
    pub(super) fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }

    /// Whether `sub`, if it is there, is the issuer.
    pub(super) fn is_about_issuer(&self) -> bool {
        !self.claims.contains_key("sub") || self.text("sub") == self.text("iss")
    }

    /// Whether `iat` and `exp` are numbers that Google accepts at this time (seconds since the
    /// Unix epoch): not over, at most an hour long, and not issued in the future.
    pub(super) fn in_time(&self, now: i64) -> bool {
        let time = |claim: &str| self.claims.get(claim).and_then(Value::as_i64);
        time("iat").zip(time("exp")).is_some_and(|(iat, exp)| {
            iat <= now && exp > now && exp.saturating_sub(iat) <= LONGEST_LIFE
        })
    }

    /// What may be shown of it.
    pub(super) fn view(&self) -> Value {
        json!({ "header": self.header, "claims": self.claims })
    }
}

/// A text in which a JWT, if it ends in one, can be read but no longer used.
pub(super) fn without_signature(text: &str) -> String {
    match text.rsplit_once('.') {
        Some((signed, signature)) if signed.contains('.') && signed.contains("eyJ") => {
            let shown = if signature.is_empty() {
                ""
            } else {
                "[signature]"
            };
            format!("{signed}.{shown}")
        }
        _ => text.to_owned(),
    }
}

fn segment(text: &str) -> Option<Map<String, Value>> {
    let decoded = URL_SAFE_NO_PAD.decode(text).ok()?;
    serde_json::from_slice(&decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &Value) -> String {
        let segment = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "alg": "RS256", "kid": "k" });
        format!("{}.{}.AAAA", segment(&header), segment(claims))
    }

    #[test]
    fn an_assertion_lives_an_hour_at_most_and_begins_no_later_than_now() {
        let holds = |iat: i64, exp: i64| {
            let text = jwt(&json!({ "iat": iat, "exp": exp }));
            Assertion::parse(&text).unwrap().in_time(1000)
        };
        assert!(holds(1000, 4600));
        assert!(holds(990, 1001));
        assert!(!holds(1000, 4601), "too long");
        assert!(!holds(1001, 4600), "from the future");
        assert!(!holds(990, 1000), "over");
        assert!(!holds(i64::MIN, i64::MAX), "absurd");
    }

    #[test]
    fn times_that_are_no_numbers_are_not_in_time() {
        for claims in [json!({}), json!({ "iat": "990", "exp": "1200" })] {
            assert!(!Assertion::parse(&jwt(&claims)).unwrap().in_time(1000));
        }
    }

    #[test]
    fn a_jwt_is_shown_without_its_signature_and_other_texts_as_they_are() {
        let text = jwt(&json!({}));
        let shown = without_signature(&format!("Bearer {text}"));
        assert!(!shown.contains("AAAA") && shown.ends_with(".[signature]"));
        for text in ["Bearer ya29.abc", "python/3.14.1 x/2.0", "a.b.c"] {
            assert_eq!(without_signature(text), text);
        }
    }
}
