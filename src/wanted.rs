//! What a request needs: an ID token for one audience, or an access token with some scopes.
//!
//! The two never stand for each other: the kind is part of every key under which a token is kept.

use std::fmt;
use std::sync::Arc;

use crate::audience::Audience;

/// As much as an audience may have; with more, no server would take the request.
pub const MAX_SCOPES_BYTES: usize = 2048;

/// A kind of token, and what it is good for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wanted {
    /// For a service that checks who calls.
    IdToken(Audience),
    /// For Google's own APIs.
    AccessToken(Scopes),
}

/// What an access token is good for, as it was written: at least one scope. Clones share one allocation.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scopes(Arc<str>);

/// Why a list is no list of scopes, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopesError {
    /// No scope at all.
    #[error(
        "names no scope; write at least one, such as \"https://www.googleapis.com/auth/cloud-platform\""
    )]
    Empty,
    /// A scope that is none.
    #[error(
        "{0:?} is no scope; write each without blank space, quotes, commas and control characters"
    )]
    Character(String),
    /// Together longer than [`MAX_SCOPES_BYTES`].
    #[error("has {0} bytes; scopes have at most {MAX_SCOPES_BYTES} together")]
    TooLong(usize),
}

impl Wanted {
    /// The audience, if it is an ID token.
    pub fn audience(&self) -> Option<&Audience> {
        match self {
            Self::IdToken(audience) => Some(audience),
            Self::AccessToken(_) => None,
        }
    }

    /// The audience, or the scopes in a row.
    pub fn as_str(&self) -> &str {
        match self {
            Self::IdToken(audience) => audience.as_str(),
            Self::AccessToken(scopes) => scopes.as_str(),
        }
    }

    /// The name of what [`Self::as_str`] says, in a line of the log.
    pub fn field(&self) -> &'static str {
        match self {
            Self::IdToken(_) => "aud",
            Self::AccessToken(_) => "scopes",
        }
    }
}

impl From<Audience> for Wanted {
    fn from(audience: Audience) -> Self {
        Self::IdToken(audience)
    }
}

impl From<Scopes> for Wanted {
    fn from(scopes: Scopes) -> Self {
        Self::AccessToken(scopes)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdToken(audience) => write!(formatter, "ID token for audience {audience:?}"),
            Self::AccessToken(scopes) => write!(formatter, "access token for scopes {scopes:?}"),
        }
    }
}

impl Scopes {
    /// Takes scopes in their order.
    ///
    /// # Errors
    ///
    /// There is none, or one of them is no scope-token (RFC 6749, 3.3), or has a comma, which the
    /// metadata server takes for the end of a scope.
    pub fn new(scopes: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, ScopesError> {
        let mut joined = String::new();
        for scope in scopes {
            let scope = scope.as_ref();
            let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\,".contains(&byte);
            if scope.is_empty() || !scope.bytes().all(is_plain) {
                return Err(ScopesError::Character(scope.to_owned()));
            }
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(scope);
        }
        match joined.len() {
            0 => Err(ScopesError::Empty),
            length if length > MAX_SCOPES_BYTES => Err(ScopesError::TooLong(length)),
            _ => Ok(Self(joined.into())),
        }
    }

    /// All of them with a space in between, as OAuth has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Each by itself.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ')
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_stay_in_their_order_and_as_they_are() {
        let scopes = Scopes::new(["https://b/auth", "a"]).unwrap();
        assert_eq!(scopes.as_str(), "https://b/auth a");
        assert_eq!(scopes.iter().collect::<Vec<_>>(), ["https://b/auth", "a"]);
    }

    #[test]
    fn what_is_no_scope_is_an_error() {
        assert_eq!(Scopes::new([""; 0]), Err(ScopesError::Empty));
        for scope in ["", "a b", "a,b", "a\nb", "é", "\"a\"", "a\\"] {
            let error = Scopes::new(["ok", scope]).unwrap_err();
            assert_eq!(error, ScopesError::Character(scope.to_owned()));
        }
        let long = "a".repeat(1024);
        assert_eq!(Scopes::new([&long, &long]), Err(ScopesError::TooLong(2049)));
    }

    #[test]
    fn the_two_kinds_are_never_the_same() {
        let audience = Audience::custom("openid").unwrap();
        let scopes = Scopes::new(["openid"]).unwrap();
        assert_ne!(Wanted::from(audience), Wanted::from(scopes));
    }
}
