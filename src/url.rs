//! The URLs of servers that Invoker asks for tokens: `https`, or a server so near that nobody else can
//! listen.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Where a request goes, taken apart as a request needs it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    text: String,
    scheme: Scheme,
    authority_end: usize,
}

/// How a server is reached. In Envoy the cluster decides; elsewhere this does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
    /// In a file, where the host has some.
    File,
    /// By the program around the host, where there is one that can be asked.
    Program,
}

/// How near a server must be to be asked in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearness {
    /// On this machine.
    Loopback,
    /// On this machine, or a metadata server in its own (Azure's is `http://169.254.169.254`).
    LinkLocal,
}

/// Why a text is not the URL of a server that may get a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No URL at all.
    #[error("is no URL; write it as in \"https://oauth2.googleapis.com/token\"")]
    Malformed,
    /// A password, or something that looks like one, in the authority.
    #[error("has user information in front of its host; leave it out")]
    UserInformation,
    /// A path that begins nowhere.
    #[error("is no absolute path; begin it with \"/\"")]
    NoPath,
    /// Plain HTTP to elsewhere.
    #[error(
        "begins with \"http://\", and a credential would go there in the clear; write \"https://\""
    )]
    Insecure,
}

impl Scheme {
    /// As it stands in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::File => "file",
            Self::Program => "program",
        }
    }
}

impl Url {
    /// Takes a URL with a host, and perhaps a port, a path and a query.
    ///
    /// # Errors
    ///
    /// It is none, or it is `http` and not near enough.
    pub fn parse(text: &str, nearness: Nearness) -> Result<Self, UrlError> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            _ => return Err(UrlError::Malformed),
        };
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
            return Err(UrlError::Malformed);
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(UrlError::UserInformation);
        }
        let host = host(authority).ok_or(UrlError::Malformed)?;
        if scheme == Scheme::Http && !is_near(host, nearness) {
            return Err(UrlError::Insecure);
        }
        Ok(Self {
            authority_end: text.len() - rest.len() + authority.len(),
            text: text.to_owned(),
            scheme,
        })
    }

    /// An absolute path.
    ///
    /// # Errors
    ///
    /// It is relative: to what, the file that names it does not say.
    pub fn file(path: &str) -> Result<Self, UrlError> {
        if !path.starts_with('/') || path.contains('\0') {
            return Err(UrlError::NoPath);
        }
        let scheme = Scheme::File;
        let start = format!("{}://", scheme.as_str());
        Ok(Self {
            text: format!("{start}{path}"),
            scheme,
            authority_end: start.len(),
        })
    }

    /// The program that the host is part of: it has a way of its own to what is asked for.
    pub fn program() -> Self {
        let scheme = Scheme::Program;
        let text = format!("{}://", scheme.as_str());
        Self {
            authority_end: text.len(),
            text,
            scheme,
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How it is reached.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host and port.
    pub fn authority(&self) -> &str {
        let start = self.scheme.as_str().len() + "://".len();
        self.text.get(start..self.authority_end).unwrap_or_default()
    }

    /// Path and query.
    pub fn path(&self) -> String {
        let path = self.text.get(self.authority_end..).unwrap_or_default();
        if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// AWS's metadata service over IPv6: a unique local address, which no router lets out of the machine's network.
const AWS_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Whether a request to this authority stays on the machine. `false` for what is no authority.
pub fn is_loopback(authority: &str) -> bool {
    host(authority).is_some_and(|host| is_near(host, Nearness::Loopback))
}

/// The host of an authority whose port, if there is one, is a number.
fn host(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (
                host,
                port.strip_prefix(':').or(port.is_empty().then_some("0"))?,
            )
        }
        None => authority.split_once(':').unwrap_or((authority, "0")),
    };
    let of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    port.parse::<u16>().ok()?;
    (!host.is_empty() && host.bytes().all(of_a_host)).then_some(host)
}

fn is_near(host: &str, nearness: Nearness) -> bool {
    let is_link_local = |address: IpAddr| match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address == AWS_METADATA,
    };
    match host.parse::<IpAddr>() {
        Ok(address) => {
            address.is_loopback() || (nearness == Nearness::LinkLocal && is_link_local(address))
        }
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Url, UrlError> {
        Url::parse(text, Nearness::Loopback)
    }

    #[test]
    fn a_url_is_taken_apart() {
        for (text, authority, path) in [
            (
                "https://oauth2.googleapis.com/token",
                "oauth2.googleapis.com",
                "/token",
            ),
            ("https://a.b:8443", "a.b:8443", "/"),
            ("https://a.b?x=1", "a.b", "/?x=1"),
            ("https://a.b/c?d=http://e@f", "a.b", "/c?d=http://e@f"),
            ("http://127.0.0.1:80/x", "127.0.0.1:80", "/x"),
            ("http://[::1]:80/x", "[::1]:80", "/x"),
            ("http://localhost/", "localhost", "/"),
        ] {
            let url = parse(text).unwrap();
            assert_eq!((url.authority(), url.path().as_str()), (authority, path));
            assert_eq!(url.as_str(), text);
        }
    }

    #[test]
    fn a_file_has_an_absolute_path() {
        assert_eq!(
            Url::file("/run/token").unwrap().as_str(),
            "file:///run/token"
        );
        for path in ["", "run/token", "run\0", "/run\0/token"] {
            assert_eq!(Url::file(path), Err(UrlError::NoPath), "{path:?}");
        }
    }

    #[test]
    fn only_near_servers_are_asked_in_the_clear() {
        for text in [
            "http://a.b/",
            "http://10.0.0.1/",
            "http://169.254.169.254/x",
            "http://127.0.0.1.evil.example/",
        ] {
            assert_eq!(parse(text), Err(UrlError::Insecure), "{text}");
        }
        assert!(Url::parse("http://169.254.169.254/x", Nearness::LinkLocal).is_ok());
        assert!(Url::parse("http://[fd00:ec2::254]/x", Nearness::LinkLocal).is_ok());
        assert!(Url::parse("http://[fd00:ec2::255]/x", Nearness::LinkLocal).is_err());
        assert!(Url::parse("http://10.0.0.1/x", Nearness::LinkLocal).is_err());
    }

    #[test]
    fn loopback_is_known_by_its_authority() {
        for authority in [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1:8080",
            "[::1]:80",
            "[::1]",
        ] {
            assert!(is_loopback(authority), "{authority}");
        }
        for authority in [
            "",
            "a.b",
            "127.0.0.1.a.b",
            "localhost.a.b",
            "u@localhost",
            "127.0.0.1:x",
        ] {
            assert!(!is_loopback(authority), "{authority}");
        }
    }

    #[test]
    fn anything_else_is_no_url() {
        for text in [
            "",
            "a.b",
            "ftp://a.b",
            "https://",
            "https:///x",
            "https://a b/",
            "https://a.b:x/",
            "https://a.b/\r\nx",
            "https://a.b/#x",
            "https://[a.b]/",
            "https://a:1:2/",
        ] {
            assert_eq!(parse(text), Err(UrlError::Malformed), "{text}");
        }
        assert_eq!(parse("https://u:p@a.b/"), Err(UrlError::UserInformation));
    }
}
