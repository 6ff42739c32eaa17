//! Authorities (`:authority`, `Host`): untrusted text from clients, and the patterns that rules
//! hold against it.
//!
//! What is no plain DNS name, with or without a port, matches no rule: user information, brackets,
//! `%`, commas. Two parsers that read such a text differently are how a token ends up elsewhere.

use std::fmt;

use super::pattern::Pattern;

/// RFC 1035, section 2.3.4, without the dot at the end.
const MAX_HOST_BYTES: usize = 253;

/// RFC 1035, section 2.3.4.
const MAX_LABEL_BYTES: usize = 63;

/// A request's authority: lower case, without a port 80 or 443, without a dot at the end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    text: String,
    host: usize,
}

impl Authority {
    /// Normalises what a client sent; `None` if no rule can mean it.
    pub fn parse(text: impl Into<String>) -> Option<Self> {
        let mut text = text.into();
        text.make_ascii_lowercase();
        let (mut host, port) = match text.split_once(':') {
            Some((host, port)) => (host.len(), Some(parse_port(port)?)),
            None => (text.len(), None),
        };
        if matches!(port, Some(80 | 443)) {
            text.truncate(host);
        }
        if text.get(..host)?.ends_with('.') {
            host -= 1;
            text.remove(host);
        }
        is_host(text.get(..host)?).then_some(Self { text, host })
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn host(&self) -> &str {
        self.text.get(..self.host).unwrap_or_default()
    }

    /// The port with its colon; empty if it is one of the usual ones.
    fn port(&self) -> &str {
        self.text.get(self.host..).unwrap_or_default()
    }
}

/// An authority in which `*` stands for one or more characters of `[a-z0-9.-]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AuthorityPattern {
    /// As it was written.
    text: Box<str>,
    host: Pattern,
    /// With its colon; empty for the usual ones.
    port: Box<str>,
}

/// Why a text is no authority's pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityPatternError {
    /// Nothing is written.
    #[error(
        "is empty; write a host, such as \"profiles.example.com\" or \"*.a.run.app\", or leave the field out"
    )]
    Empty,
    /// A URL where only its host belongs.
    #[error("{found:?} is a URL; write only its host, {host:?}")]
    Url {
        /// The whole text.
        found: String,
        /// The part that is an authority.
        host: String,
    },
    /// Something behind the host.
    #[error("{found:?} has a path in it; write \"authority: {host}\" and \"path: {path}\"")]
    Path {
        /// The whole text.
        found: String,
        /// What stands before the slash.
        host: String,
        /// The slash and what follows.
        path: String,
    },
    /// A port that is none.
    #[error(
        "{found:?} has the port {port:?}; write a number from 1 to 65535, or leave it out for 80 and 443"
    )]
    Port {
        /// The whole text.
        found: String,
        /// What follows the colon.
        port: String,
    },
    /// What no DNS name looks like.
    #[error(
        "{0:?} is no host; write labels of letters, digits and \"-\" (not at a label's ends), joined by dots, \
         with \"*\" for one or more such characters or dots"
    )]
    Host(String),
}

impl AuthorityPattern {
    /// Takes a host, with or without stars, and its port if it is not 80 or 443.
    pub fn parse(text: &str) -> Result<Self, AuthorityPatternError> {
        if text.is_empty() {
            return Err(AuthorityPatternError::Empty);
        }
        if let Some((_, rest)) = text.split_once("://") {
            let host = rest
                .split(['/', '?', '#'])
                .next()
                .unwrap_or_default()
                .to_owned();
            return Err(AuthorityPatternError::Url {
                found: text.to_owned(),
                host,
            });
        }
        if let Some((host, path)) = text.split_once('/') {
            let (host, path) = (host.to_owned(), format!("/{path}"));
            return Err(AuthorityPatternError::Path {
                found: text.to_owned(),
                host,
                path,
            });
        }
        if let Some((_, port)) = text
            .split_once(':')
            .filter(|(host, _)| !host.starts_with('['))
        {
            parse_port(port).ok_or_else(|| AuthorityPatternError::Port {
                found: text.to_owned(),
                port: port.to_owned(),
            })?;
        }
        // A star stands for a letter at least; what is a valid authority with one is a valid pattern.
        let filled = Authority::parse(text.replace('*', "a"))
            .ok_or_else(|| AuthorityPatternError::Host(text.to_owned()))?;
        let host = text.split(':').next().unwrap_or_default();
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        Ok(Self {
            text: text.into(),
            host: Pattern::parse(&host),
            port: filled.port().into(),
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The normalised authority, if there is no star in it.
    pub fn exact(&self) -> Option<String> {
        self.host.exact().map(|host| format!("{host}{}", self.port))
    }

    /// Whether the request goes to such an authority.
    pub fn matches(&self, authority: &Authority) -> bool {
        *self.port == *authority.port() && self.host.matches(authority.host(), 1)
    }

    /// The same, whatever the ports are.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn matches_host(&self, authority: &Authority) -> bool {
        self.host.matches(authority.host(), 1)
    }

    /// What each matching host ends with, as far as a client can't choose it: whole labels behind
    /// the last star. In `*run.app` that is `app`, since `evilrun.app` matches too.
    pub fn literal_labels(&self) -> &str {
        let suffix = self.host.literal_suffix();
        if self.host.exact().is_some() {
            return suffix;
        }
        suffix
            .split_once('.')
            .map(|(_, labels)| labels)
            .unwrap_or_default()
    }
}

impl fmt::Display for AuthorityPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Decimal digits without a zero in front: `0443` is 443 to some and no port to others.
fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Lower case is expected.
fn is_host(text: &str) -> bool {
    text.len() <= MAX_HOST_BYTES && text.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
