//! Headers on their way through.

use wasip2::http::types::Fields;

use crate::credential_headers::Headers;

/// What is for one connection alone (RFC 9110, 7.6.1), and what the host writes itself.
const FOR_ONE_HOP: [&str; 10] = [
    "connection",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A copy for the next hop. What the host refuses to have written is left out: it writes that by itself.
pub(super) fn forwarded(from: &Fields) -> Fields {
    let connection = from.get("connection");
    let connection: Vec<_> = connection
        .iter()
        .map(|it| String::from_utf8_lossy(it))
        .collect();
    let listed = |name: &str| {
        let mut names = connection.iter().flat_map(|value| value.split(','));
        names.any(|listed| listed.trim().eq_ignore_ascii_case(name))
    };
    let to = Fields::new();
    for (name, value) in from.entries() {
        let is_for_one_hop = FOR_ONE_HOP.iter().any(|it| it.eq_ignore_ascii_case(&name));
        if !is_for_one_hop && !listed(&name) {
            let _ = to.append(&name, &value);
        }
    }
    to
}

/// The headers of a request on its way out.
pub(super) struct Written<'a> {
    pub(super) fields: &'a Fields,
    /// Whether the host refused to change a header: the request must not go on then.
    pub(super) has_refused: bool,
}

impl Headers for Written<'_> {
    fn value(&self, name: &str) -> Option<String> {
        let values = self.fields.get(name);
        String::from_utf8(values.into_iter().next()?).ok()
    }

    fn set(&mut self, name: &str, value: &str) {
        let values = [value.as_bytes().to_vec()];
        self.has_refused |= self.fields.set(name, &values).is_err();
    }

    fn remove(&mut self, name: &str) {
        self.has_refused |= self.fields.delete(name).is_err();
    }
}
