//! Where the metadata server is.

use std::env::{self, VarError};
use std::fmt;

use hyper::http::uri::Authority;

use crate::source::metadata::{AUTHORITY, METADATA_HOST};

const HTTP_PORT: u16 = 80;

/// A metadata server's address. It is always asked over plain HTTP, as all its clients do: it is in the
/// machine itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataServer {
    /// As it was written.
    authority: String,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    is_usual: bool,
}

/// What is written in [`METADATA_HOST`] leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{METADATA_HOST}: {0:?} is no host[:port]; write it as in \"127.0.0.1:8080\"")]
pub struct AddressError(String);

impl MetadataServer {
    /// Where the environment says, else the name that every machine on Google Cloud knows.
    ///
    /// # Errors
    ///
    /// What the environment says is no address.
    pub fn from_environment() -> Result<Self, AddressError> {
        match env::var(METADATA_HOST) {
            Ok(text) if !text.is_empty() => Self::parse(&text),
            Err(VarError::NotUnicode(text)) => Err(AddressError(text.display().to_string())),
            _ => Ok(Self {
                is_usual: true,
                ..Self::parse(AUTHORITY)?
            }),
        }
    }

    /// Whether nobody said anything else.
    pub fn is_usual(&self) -> bool {
        self.is_usual
    }

    fn parse(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.to_owned());
        let authority: Authority = text.parse().map_err(|_| wrong())?;
        let bracketed = authority.host();
        // What follows the host is a port or nothing; what stands before it would be a password.
        let port = match text.strip_prefix(bracketed) {
            Some("") => HTTP_PORT,
            Some(_) => authority.port_u16().ok_or_else(wrong)?,
            None => return Err(wrong()),
        };
        let host = bracketed.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            authority: text.to_owned(),
            host: host.to_owned(),
            port,
            is_usual: false,
        })
    }
}

impl fmt::Display for MetadataServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_perhaps_a_port() {
        for (text, host, port) in [
            ("169.254.169.254", "169.254.169.254", 80),
            ("127.0.0.1:8080", "127.0.0.1", 8080),
            ("metadata.local:81", "metadata.local", 81),
            ("[::1]:8080", "::1", 8080),
            ("[::1]", "::1", 80),
        ] {
            let server = MetadataServer::parse(text).unwrap();
            assert_eq!((server.host.as_str(), server.port), (host, port), "{text}");
            assert_eq!(server.to_string(), format!("http://{text}"));
        }
    }

    #[test]
    fn anything_else_is_an_error_that_says_what_to_write() {
        for text in [
            "http://127.0.0.1:8080",
            "127.0.0.1:8080/",
            "127.0.0.1:99999",
            "127.0.0.1:",
            ":8080",
            "user:password@127.0.0.1",
            "two words",
        ] {
            assert!(MetadataServer::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            MetadataServer::parse("http://x").unwrap_err().to_string(),
            r#"GCE_METADATA_HOST: "http://x" is no host[:port]; write it as in "127.0.0.1:8080""#
        );
    }
}
