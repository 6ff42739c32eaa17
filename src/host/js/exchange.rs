//! Answers to callouts, from JavaScript's values.

use crate::http::{CalloutError, MAX_RESPONSE_BYTES, Response};

/// `headers` are names and values in turn.
pub(super) fn response(
    status: u16,
    headers: Vec<String>,
    body: Vec<u8>,
) -> Result<Response, CalloutError> {
    if body.len() > MAX_RESPONSE_BYTES {
        return Err(CalloutError::TooLarge);
    }
    let mut texts = headers.into_iter();
    let mut headers = Vec::new();
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        headers.push((name, value));
    }
    Ok(Response {
        status,
        headers,
        body,
    })
}

pub(super) fn error(reason: &str) -> CalloutError {
    match reason {
        "timeout" => CalloutError::Timeout,
        "too_large" => CalloutError::TooLarge,
        "not_given" => CalloutError::NotGiven,
        _ => CalloutError::Unreachable,
    }
}
