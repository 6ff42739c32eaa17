//! The annotation of Envoy's own `gcp_authn` filter, when it holds no plain `url`: since Envoy 1.40 it
//! can ask for other kinds of tokens, and then it comes as the message's bytes.
//!
//! Field numbers: `envoy.extensions.filters.http.gcp_authn.v3.Audience`, as the descriptor in Envoy
//! 1.40.0 has them: `{ string url = 1; AccessToken access_token = 2; BoundJwt bound_jwt = 3;
//! BoundAccessToken bound_access_token = 4; IAMAccessToken iam_access_token = 5; }`.

use crate::protobuf::{Fields, Payload};
use crate::wanted::{Scopes, Wanted};

/// What an access token gets whose annotation names no scope: what the metadata server's own default is
/// everywhere but on machines that somebody restricted.
const DEFAULT_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

const ACCESS_TOKEN: u64 = 2;
const SCOPES: u64 = 1;

/// What the message asks for, or what is wrong with it.
pub(super) fn wanted(message: &[u8]) -> Result<Wanted, String> {
    let fields =
        fields(message).ok_or("can't be read; set filter_metadata.invoker on the cluster")?;
    match fields.as_slice() {
        [] | [(1, _)] => Err("holds no url; write one, or set filter_metadata.invoker on the cluster".to_owned()),
        [(ACCESS_TOKEN, access_token)] => access(access_token),
        _ => Err(
            "asks for a bound token or one of another account, which Invoker can't get; write a url or an \
             access_token, or set filter_metadata.invoker on the cluster"
                .to_owned(),
        ),
    }
}

/// `AccessToken { repeated string scopes = 1; }`
fn access(message: &[u8]) -> Result<Wanted, String> {
    let problem = "has scopes that can't be read";
    let fields = fields(message).ok_or(problem)?;
    let scopes = fields
        .into_iter()
        .filter(|(number, _)| *number == SCOPES)
        .map(|(_, scope)| str::from_utf8(scope).map_err(|_| problem.to_owned()))
        .collect::<Result<Vec<_>, _>>()?;
    let scopes = if scopes.is_empty() {
        Scopes::new([DEFAULT_SCOPE])
    } else {
        Scopes::new(scopes)
    };
    let scopes = scopes.map_err(|error| format!("has scopes that won't do: {error}"))?;
    Ok(scopes.into())
}

/// The fields of a message that has only texts and messages.
fn fields(message: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let content = |field| match field {
        Some((number, Payload::Bytes(bytes))) => Some((number, bytes)),
        _ => None,
    };
    Fields::of(message).map(content).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        bytes.extend_from_slice(content);
        bytes
    }

    #[test]
    fn an_access_token_s_scopes_are_read() {
        let scopes = [field(1, b"https://s/a"), field(1, b"https://s/b")].concat();
        let found = wanted(&field(2, &scopes)).unwrap();
        assert_eq!(
            found,
            Scopes::new(["https://s/a", "https://s/b"]).unwrap().into()
        );
        let default = wanted(&field(2, b"")).unwrap();
        assert_eq!(default.as_str(), DEFAULT_SCOPE);
    }

    #[test]
    fn other_kinds_and_nonsense_are_errors() {
        for message in [
            field(3, &field(1, b"https://a.b")),
            field(4, b""),
            field(5, b""),
            field(1, b""),
            field(2, &field(1, b"a b")),
            field(2, &field(1, b"\xff")),
            b"\xff\xff".to_vec(),
            b"\x08\x01".to_vec(),
            vec![0xff; 11],
        ] {
            assert!(wanted(&message).is_err(), "{message:?}");
        }
    }
}
