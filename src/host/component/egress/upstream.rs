//! Where a request goes on to, and how.

use wasip2::http::types::Scheme;

use crate::url;

/// The address that a request names.
pub(super) struct Upstream {
    pub(super) authority: String,
    pub(super) is_secure: bool,
}

impl Upstream {
    /// TLS, but to loopback. With `allow_insecure` also in the clear to a port that is named and is not 443: how the request
    /// came in says nothing of how it goes on.
    pub(super) fn of(authority: String, allow_insecure: bool) -> Self {
        let port = authority.rsplit_once(':').map(|(_, port)| port);
        let has_own_port = port.is_some_and(|port| port != "443" && !port.ends_with(']'));
        let is_in_the_clear = url::is_loopback(&authority) || (allow_insecure && has_own_port);
        Self {
            authority,
            is_secure: !is_in_the_clear,
        }
    }

    pub(super) fn scheme(&self) -> Scheme {
        match self.is_secure {
            true => Scheme::Https,
            false => Scheme::Http,
        }
    }
}
