//! Tokens: parsed once, where they come in, so that what is cached can be attached without a look.
//!
//! The signature is the receiver's business. What is checked here is what would make us send
//! nonsense: an error page, another audience's token, a dead one, bytes that don't belong in a
//! header.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::audience::Audience;
use crate::time::UnixTime;

/// A larger token is an error: proxies refuse header values of this size.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// A token is not attached in the last moments of its life, since the receiver's clock and the
/// way there take some of it. gRPC A83 has the same figure.
pub const EXPIRY_SLACK: Duration = Duration::from_secs(30);

const SCHEME: &str = "Bearer ";

/// A token, as it is attached. `Debug` and `Display` never show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    kind: Kind,
    authorization: Box<str>,
    expires_at: UnixTime,
    email: Option<Box<str>>,
    replaced: Option<Box<str>>,
}

/// Kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Google-signed JWT for one audience.
    IdToken,
    /// Opaque; who gave it said when it ends.
    AccessToken,
}

impl Token {
    /// Parses a JWT that some server gave for `audience`.
    ///
    /// # Errors
    ///
    /// What keeps it from being that; the message never quotes it.
    pub fn id_token(jwt: &str, audience: &Audience) -> Result<Self, TokenError> {
        if jwt.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong(jwt.len()));
        }
        let claims: Claims =
            serde_json::from_slice(&payload(jwt)?).map_err(|_| TokenError::Claims)?;
        let expires_at = claims.exp.ok_or(TokenError::NoExpiry)?;
        match claims.aud {
            Some(aud) if aud == audience.as_str() => {}
            Some(aud) => return Err(TokenError::WrongAudience(printable(&aud))),
            None => return Err(TokenError::NoAudience),
        }
        Ok(Self {
            kind: Kind::IdToken,
            authorization: format!("{SCHEME}{jwt}").into(),
            expires_at: UnixTime::from_secs(expires_at.0),
            email: claims.email.map(|email| printable(&email).into()),
            replaced: None,
        })
    }

    /// Takes an access token, whose inside is its server's business.
    ///
    /// # Errors
    ///
    /// It does not belong in a header; the message never quotes it.
    pub fn access_token(secret: &str, expires_at: UnixTime) -> Result<Self, TokenError> {
        if secret.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong(secret.len()));
        }
        // RFC 6750's b68token has fewer; what Google gives has dots and more.
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Characters);
        }
        Ok(Self {
            kind: Kind::AccessToken,
            authorization: format!("{SCHEME}{secret}").into(),
            expires_at,
            email: None,
            replaced: None,
        })
    }

    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The same token, which remembers the one that it takes the place of: a request can still carry
    /// that one.
    pub fn replacing(mut self, previous: Option<&Self>) -> Self {
        let previous = previous.filter(|previous| previous.authorization != self.authorization);
        self.replaced = previous.map(|previous| previous.authorization.clone());
        self
    }

    /// The header's value of the token before this one.
    pub fn replaced(&self) -> Option<&str> {
        self.replaced.as_deref()
    }

    /// The header's value: `Bearer …`.
    pub fn authorization(&self) -> &str {
        &self.authorization
    }

    /// The token itself.
    pub fn secret(&self) -> &str {
        self.authorization.strip_prefix(SCHEME).unwrap_or_default()
    }

    /// An ID token's own `exp`; of an access token, what its server said.
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// The last moment at which it is attached: [`EXPIRY_SLACK`] before it expires.
    pub fn usable_end(&self) -> UnixTime {
        self.expires_at - EXPIRY_SLACK
    }

    /// Whether it may still be attached.
    pub fn is_usable(&self, now: UnixTime) -> bool {
        now < self.usable_end()
    }

    /// All that an ID token says, for people to read.
    ///
    /// # Errors
    ///
    /// None for an ID token: its payload was read before. An access token says nothing.
    pub fn claims(&self) -> Result<Map<String, Value>, TokenError> {
        serde_json::from_slice(&payload(self.secret())?).map_err(|_| TokenError::Claims)
    }

    /// Whom it names, if it says so.
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("authorization", &"[censored]")
            .field("expires_at", &self.expires_at)
            .field("email", &self.email)
            .finish()
    }
}

/// Why something is not a usable token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("a token of {0} bytes; at most 8192 are taken")]
    TooLong(usize),
    /// An access token with blank space, a line break or worse in it, or none at all.
    #[error("the access token is empty, or has characters that don't belong in a header")]
    Characters,
    /// Not three base64url segments.
    #[error("the answer is not a JWT")]
    NotJwt,
    /// The payload is not an object with claims.
    #[error("the JWT's payload is not a JSON object with the claims of an ID token")]
    Claims,
    /// A token without an end would be sent for ever.
    #[error("the token has no \"exp\"")]
    NoExpiry,
    /// A token for nobody.
    #[error("the token has no \"aud\"")]
    NoAudience,
    /// A token for somebody else.
    #[error("the token's \"aud\" is {0:?}, which is not the audience that was asked for")]
    WrongAudience(String),
}

#[derive(Deserialize)]
struct Claims {
    exp: Option<Seconds>,
    aud: Option<String>,
    email: Option<String>,
}

/// A JWT's NumericDate (RFC 7519): seconds, which may have a fraction.
struct Seconds(u64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        if number.is_finite() && number >= 0.0 {
            // A fraction is dropped: the token ends no later for it.
            Ok(Self(number as u64))
        } else {
            Err(serde::de::Error::custom("not a time"))
        }
    }
}

/// The decoded second segment of three. No segment may be empty: a token that nobody signed is
/// not one that Google gave.
fn payload(jwt: &str) -> Result<Vec<u8>, TokenError> {
    let mut segments = jwt.split('.');
    let (Some(header), Some(payload), Some(signature), None) = (
        segments.next(),
        segments.next(),
        segments.next(),
        segments.next(),
    ) else {
        return Err(TokenError::NotJwt);
    };
    if !is_base64url(header) || !is_base64url(signature) {
        return Err(TokenError::NotJwt);
    }
    match URL_SAFE_NO_PAD.decode(payload) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(TokenError::NotJwt),
    }
}

fn is_base64url(segment: &str) -> bool {
    !segment.is_empty()
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Someone else's text, made fit for one log line.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .take(256)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audience() -> Audience {
        Audience::parse("https://profiles.example.com").unwrap()
    }

    fn jwt(claims: &str) -> String {
        format!(
            "eyJhbGciOiJSUzI1NiJ9.{}.c2ln",
            URL_SAFE_NO_PAD.encode(claims)
        )
    }

    fn parse(claims: &str) -> Result<Token, TokenError> {
        Token::id_token(&jwt(claims), &audience())
    }

    #[test]
    fn a_good_token_is_usable_until_30_seconds_before_its_exp() {
        let token =
            parse(r#"{"aud":"https://profiles.example.com","exp":1000,"email":"a@b"}"#).unwrap();
        assert!(token.is_usable(UnixTime::from_millis(969_999)));
        assert!(!token.is_usable(UnixTime::from_secs(970)));
        assert_eq!(token.email(), Some("a@b"));
        assert_eq!(token.authorization(), format!("Bearer {}", token.secret()));
    }

    #[test]
    fn what_is_not_a_token_for_the_audience_is_an_error() {
        assert_eq!(
            parse(r#"{"aud":"https://profiles.example.com"}"#),
            Err(TokenError::NoExpiry)
        );
        assert_eq!(parse(r#"{"exp":1000}"#), Err(TokenError::NoAudience));
        assert_eq!(
            parse(r#"{"aud":"https://profiles.example.com/","exp":1000}"#),
            Err(TokenError::WrongAudience(
                "https://profiles.example.com/".into()
            ))
        );
        for claims in [
            r#"{"aud":"x","exp":"soon"}"#,
            r#"{"aud":"x","exp":-1}"#,
            "[]",
            "x",
        ] {
            assert_eq!(parse(claims), Err(TokenError::Claims), "{claims}");
        }
        for text in [
            "",
            "<html>",
            "a.b",
            "a.b.c.d",
            "..",
            "a..c",
            "e30.e30.",
            "e30.e30.a b",
        ] {
            assert_eq!(
                Token::id_token(text, &audience()),
                Err(TokenError::NotJwt),
                "{text}"
            );
        }
    }

    #[test]
    fn bytes_that_do_not_belong_in_a_header_are_an_error() {
        let good = jwt(r#"{"aud":"https://profiles.example.com","exp":1000}"#);
        for tail in ["\r\nx-evil: 1", "\n", " ", "\0", "é"] {
            let result = Token::id_token(&format!("{good}{tail}"), &audience());
            assert_eq!(result, Err(TokenError::NotJwt), "{tail:?}");
        }
    }

    #[test]
    fn a_token_too_long_for_a_header_is_an_error() {
        let long = format!(
            "{}{}",
            jwt(r#"{"aud":"x","exp":1}"#),
            "A".repeat(MAX_TOKEN_BYTES)
        );
        assert!(matches!(
            Token::id_token(&long, &audience()),
            Err(TokenError::TooLong(_))
        ));
    }

    #[test]
    fn the_longest_token_is_taken() {
        let claims = r#"{"aud":"https://profiles.example.com","exp":1000}"#;
        let missing = MAX_TOKEN_BYTES - jwt(claims).len();
        let longest = format!("{}{}", jwt(claims), "A".repeat(missing));
        assert_eq!(longest.len(), 8192);
        assert!(Token::id_token(&longest, &audience()).is_ok());
        assert!(Token::access_token(&longest, UnixTime::from_secs(1000)).is_ok());
    }

    #[test]
    fn a_signature_has_all_of_base64url() {
        let good = jwt(r#"{"aud":"https://profiles.example.com","exp":1000}"#);
        assert!(Token::id_token(&format!("{good}aZ09-_"), &audience()).is_ok());
        for other in ["+", "/", "="] {
            let result = Token::id_token(&format!("{good}{other}"), &audience());
            assert_eq!(result, Err(TokenError::NotJwt), "{other}");
        }
    }

    #[test]
    fn a_token_remembers_the_one_before_it_unless_that_is_the_same() {
        let end = UnixTime::from_secs(1000);
        let token = |secret| Token::access_token(secret, end).unwrap();
        assert_eq!(token("new").replacing(None).replaced(), None);
        let new = token("new").replacing(Some(&token("old")));
        assert_eq!(new.replaced(), Some("Bearer old"));
        assert_eq!(token("new").replacing(Some(&new)).replaced(), None);
    }

    #[test]
    fn an_id_token_s_claims_can_be_read() {
        let claims = r#"{"aud":"https://profiles.example.com","exp":1000,"sub":"1"}"#;
        let read = Value::Object(parse(claims).unwrap().claims().unwrap());
        assert_eq!(read, serde_json::from_str::<Value>(claims).unwrap());
        let opaque = Token::access_token("ya29.a", UnixTime::from_secs(1000)).unwrap();
        assert!(opaque.claims().is_err());
    }

    #[test]
    fn debug_shows_no_token() {
        let token = parse(r#"{"aud":"https://profiles.example.com","exp":1000}"#).unwrap();
        let shown = format!("{token:?}");
        assert!(
            shown.contains("[censored]") && !shown.contains("eyJ"),
            "{shown}"
        );
    }

    #[test]
    fn an_access_token_is_opaque_but_fit_for_a_header() {
        let end = UnixTime::from_secs(1000);
        let token = Token::access_token("ya29.a0/x+y~z==", end).unwrap();
        assert_eq!(token.authorization(), "Bearer ya29.a0/x+y~z==");
        assert_eq!(token.usable_end(), UnixTime::from_secs(970));
        assert!(!format!("{token:?}").contains("ya29"));
        for secret in ["", "a b", "a\r\nx-evil: 1", "a\n", "é", "\0"] {
            let error = Token::access_token(secret, end).unwrap_err();
            assert_eq!(error, TokenError::Characters, "{secret:?}");
        }
        let long = "a".repeat(MAX_TOKEN_BYTES + 1);
        assert_eq!(
            Token::access_token(&long, end),
            Err(TokenError::TooLong(MAX_TOKEN_BYTES + 1))
        );
    }
}
