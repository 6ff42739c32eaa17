//! Which headers a token may be written to.

use std::fmt;

use super::SERVERLESS_AUTHORIZATION;

/// The name of a header that may carry a token, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderName(Box<str>);

/// Why a token may not be written to a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderNameError {
    /// No name at all.
    #[error("is empty; write a header's name, such as \"authorization\"")]
    Empty,
    /// A character that no header's name has.
    #[error(
        "{0:?} is not a header's name; write letters, digits and \"-\", such as \"authorization\""
    )]
    Characters(String),
    /// A header that the proxy or the protocol uses itself.
    #[error(
        "{name:?} is not allowed, since {reason}; \
         write \"authorization\", \"proxy-authorization\", \"{SERVERLESS_AUTHORIZATION}\" or a header of your own"
    )]
    Reserved {
        /// The name, in lower case.
        name: String,
        /// Whose header it is.
        reason: &'static str,
    },
}

/// RFC 9110, section 7.6.1, and RFC 2616, section 13.5.1; `proxy-authorization` is left out, since
/// IAP reads it.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

impl HeaderName {
    /// Takes a name in any case.
    pub fn parse(text: &str) -> Result<Self, HeaderNameError> {
        if text.is_empty() {
            return Err(HeaderNameError::Empty);
        }
        let name = text.to_ascii_lowercase();
        let reason = if name.starts_with(':') {
            "a pseudo-header belongs to HTTP/2"
        } else if !name.chars().all(is_token) {
            return Err(HeaderNameError::Characters(text.to_owned()));
        } else if HOP_BY_HOP.contains(&name.as_str()) {
            "it is about one connection only"
        } else if name == "host" {
            "it chooses the receiving service"
        } else if name.starts_with("content-") {
            "it describes the body"
        } else if name == "cookie" {
            "it holds the user's session"
        } else if name.starts_with("x-envoy-") {
            "it belongs to Envoy"
        } else {
            return Ok(Self(name.into()));
        };
        Err(HeaderNameError::Reserved { name, reason })
    }

    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn serverless_authorization() -> Self {
        Self(SERVERLESS_AUTHORIZATION.into())
    }
}

impl Default for HeaderName {
    /// `authorization`.
    fn default() -> Self {
        Self(super::AUTHORIZATION.into())
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}
