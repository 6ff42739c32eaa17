//! What the fuzz targets share.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use invoker::http::CalloutError;

/// A JWT with these claims, and a signature that nobody made.
pub fn jwt(claims: &str) -> String {
    format!(
        "eyJhbGciOiJSUzI1NiJ9.{}.c2lnbmF0dXJl",
        URL_SAFE_NO_PAD.encode(claims)
    )
}

/// Whether nothing in it could end the header, or begin another.
pub fn belongs_in_a_header(value: &str) -> bool {
    value
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

/// Why a proxy's callout has no answer.
pub fn callout_error(which: u8) -> CalloutError {
    let errors = [
        CalloutError::Timeout,
        CalloutError::Unreachable,
        CalloutError::Unavailable,
        CalloutError::UnknownCluster,
        CalloutError::TooLarge,
    ];
    errors[usize::from(which) % errors.len()]
}
