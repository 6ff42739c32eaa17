//! The audience of a token: who is meant to accept it (`aud` in the JWT).
//!
//! An audience is sent, stored and compared byte for byte as it was written. Receivers compare it
//! that way too, so anything helpful done here (lower case, a slash at the end) would break them.

use std::fmt;
use std::sync::Arc;

/// More than any URL that a receiver uses; a bound on what a template or an annotation can make.
pub const MAX_AUDIENCE_BYTES: usize = 2048;

/// OAuth client IDs end so; IAP's audiences are such IDs.
const CLIENT_ID_SUFFIX: &str = ".apps.googleusercontent.com";

/// A valid audience. Clones share one allocation.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Audience(Arc<str>);

/// Why a text is no audience, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AudienceError {
    /// Nothing is written.
    #[error(
        "is empty; write the receiving service's URL, such as \"https://profiles-abc-uc.a.run.app\""
    )]
    Empty,
    /// The text is longer than [`MAX_AUDIENCE_BYTES`].
    #[error("has {0} bytes; an audience has at most {MAX_AUDIENCE_BYTES}")]
    TooLong(usize),
    /// There is a control character in it, a line break for one.
    #[error("{0:?} holds a control character; write the audience on one line, without tabs")]
    ControlCharacter(String),
    /// A host as it stands, without `https://`.
    #[error("{0:?} has no scheme; write \"https://{0}\"")]
    NoScheme(String),
    /// A scheme that is not `http` or `https`, or one in capitals.
    #[error("{found:?} begins with \"{scheme}://\"; write \"{instead}\"")]
    Scheme {
        /// The whole text.
        found: String,
        /// What stands before `://`.
        scheme: String,
        /// The same text with a scheme that is allowed.
        instead: String,
    },
    /// `https://` and then no host.
    #[error("{0:?} has no host; write \"https://\" and the receiving service's host")]
    NoHost(String),
    /// A character that no host has.
    #[error("{found:?} has {character:?} in its host; a host has letters, digits, \".\" and \"-\"")]
    Host {
        /// The whole text.
        found: String,
        /// The first character that is wrong.
        character: char,
    },
    /// Curly brackets: a template where none is allowed, or text from a client.
    #[error("{0:?} holds a curly bracket; only a rule's `audience` can be a template")]
    Bracket(String),
    /// Neither a URL nor a client ID.
    #[error(
        "{0:?} is neither a URL nor a client ID that ends in \"{CLIENT_ID_SUFFIX}\"; \
         write \"https://…\", or call it `custom_audience` if the receiver knows it by this name"
    )]
    Unknown(String),
}

impl AudienceError {
    /// Why something that is no URL was probably written, as a remedy. A template counts as a host.
    pub(crate) fn without_scheme(text: &str) -> Self {
        let found = text.to_owned();
        if let Some((scheme, rest)) = text.split_once("://") {
            let lower = scheme.to_ascii_lowercase();
            let known = if lower == "http" { "http" } else { "https" };
            let instead = format!("{known}://{rest}");
            return Self::Scheme {
                found,
                scheme: scheme.to_owned(),
                instead,
            };
        }
        let plain = text.replace(['{', '}'], "");
        let host = plain.split(['/', '?', '#', ':']).next().unwrap_or_default();
        let looks_like_a_host = (host.contains('.') && !host.starts_with('.'))
            || host.eq_ignore_ascii_case("localhost")
            || text.starts_with('{');
        if looks_like_a_host && check_host(text, &plain).is_ok() {
            Self::NoScheme(found)
        } else {
            Self::Unknown(found)
        }
    }
}

impl Audience {
    /// An `http://` or `https://` URL (whatever follows the host is free), or an OAuth client ID.
    pub fn parse(text: &str) -> Result<Self, AudienceError> {
        check_characters(text)?;
        if text.contains(['{', '}']) {
            return Err(AudienceError::Bracket(text.to_owned()));
        }
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        match rest {
            Some(rest) => check_host(text, rest)?,
            None if is_client_id(text) => {}
            None => return Err(AudienceError::without_scheme(text)),
        }
        Ok(Self(text.into()))
    }

    /// Any text: Cloud Run's custom audiences, and what Envoy's `gcp_authn` takes.
    pub fn custom(text: &str) -> Result<Self, AudienceError> {
        check_characters(text)?;
        Ok(Self(text.into()))
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Audience {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

fn check_characters(text: &str) -> Result<(), AudienceError> {
    if text.is_empty() {
        return Err(AudienceError::Empty);
    }
    if text.len() > MAX_AUDIENCE_BYTES {
        return Err(AudienceError::TooLong(text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(AudienceError::ControlCharacter(text.to_owned()));
    }
    Ok(())
}

/// `rest` is what follows the scheme; the host ends at the port, path, query or fragment.
fn check_host(text: &str, rest: &str) -> Result<(), AudienceError> {
    let host = match rest.strip_prefix('[') {
        // An IPv6 address: its colons do not end it.
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => rest.split(['/', '?', '#', ':']).next().unwrap_or_default(),
    };
    if host.is_empty() {
        return Err(AudienceError::NoHost(text.to_owned()));
    }
    let of_a_host =
        |character: &char| character.is_ascii_alphanumeric() || ".-_:".contains(*character);
    match host.chars().find(|character| !of_a_host(character)) {
        Some(character) => Err(AudienceError::Host {
            found: text.to_owned(),
            character,
        }),
        None => Ok(()),
    }
}

fn is_client_id(text: &str) -> bool {
    text.strip_suffix(CLIENT_ID_SUFFIX).is_some_and(|name| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        Audience::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn urls_and_client_ids_are_taken_byte_for_byte() {
        for text in [
            "https://profiles-abc-uc.a.run.app",
            "https://profiles-abc-uc.a.run.app/",
            "https://Profiles.Example.com:8443/a b?c=d&e#f",
            "http://localhost:8080",
            "http://[::1]:8080/x",
            "my-iap-client-id.apps.googleusercontent.com",
        ] {
            assert_eq!(Audience::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_custom_audience_is_free_text() {
        assert_eq!(
            Audience::custom("profiles, {as} they are")
                .unwrap()
                .as_str(),
            "profiles, {as} they are"
        );
        assert_eq!(Audience::custom("").unwrap_err(), AudienceError::Empty);
        assert!(matches!(
            Audience::custom("a\r\nb"),
            Err(AudienceError::ControlCharacter(_))
        ));
        assert_eq!(
            Audience::custom(&"a".repeat(2049)).unwrap_err(),
            AudienceError::TooLong(2049)
        );
        assert!(Audience::custom(&"a".repeat(2048)).is_ok());
    }

    #[test]
    fn what_is_wrong_names_what_to_write_instead() {
        assert_eq!(
            problem("profiles.run.app"),
            r#""profiles.run.app" has no scheme; write "https://profiles.run.app""#
        );
        assert_eq!(
            problem("profiles.run.app:443/x"),
            r#""profiles.run.app:443/x" has no scheme; write "https://profiles.run.app:443/x""#
        );
        assert_eq!(
            problem("HTTPS://profiles.run.app"),
            r#""HTTPS://profiles.run.app" begins with "HTTPS://"; write "https://profiles.run.app""#
        );
        assert_eq!(
            problem("grpc://profiles.run.app"),
            r#""grpc://profiles.run.app" begins with "grpc://"; write "https://profiles.run.app""#
        );
        assert_eq!(
            problem("https:///path"),
            r#""https:///path" has no host; write "https://" and the receiving service's host"#
        );
        assert_eq!(
            problem("https://pro files.run.app"),
            r#""https://pro files.run.app" has ' ' in its host; a host has letters, digits, "." and "-""#
        );
        assert_eq!(
            problem("https://x.run.app/{user}"),
            r#""https://x.run.app/{user}" holds a curly bracket; only a rule's `audience` can be a template"#
        );
        assert!(problem("profiles").contains("call it `custom_audience`"));
        assert!(problem(".apps.googleusercontent.com").contains("is neither a URL"));
        assert!(problem("https://a.run.app\n").contains("control character"));
    }
}
