//! Callouts: out to a cluster, and back to the core.

use super::abi::{self, Buffer, Map, Status};
use crate::http::{CalloutError, MAX_RESPONSE_BYTES, Request, Response};

/// Sends a request; the number under which its answer comes.
///
/// Envoy attributes it to the root context whichever context asks, so it outlives the request that
/// caused it.
pub(super) fn dispatch(request: &Request) -> Result<u32, CalloutError> {
    let mut headers = vec![
        (":method", request.method),
        (":authority", request.authority.as_str()),
        (":path", request.path.as_str()),
        (":scheme", request.scheme.as_str()),
    ];
    headers.extend(
        request
            .headers
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_str())),
    );
    abi::http_call(&request.cluster, &headers, &request.body, request.timeout).map_err(|status| {
        match status {
            Status::BAD_ARGUMENT => CalloutError::UnknownCluster,
            // No healthy endpoint, an open circuit breaker: Envoy answers at once, and never calls back.
            _ => CalloutError::Unavailable,
        }
    })
}

/// The answer that Envoy just delivered. Without headers there is none: the connection was reset.
pub(super) fn answer(headers: u32, body_size: usize) -> Result<Response, CalloutError> {
    if headers == 0 {
        return Err(CalloutError::Unreachable);
    }
    if body_size > MAX_RESPONSE_BYTES {
        return Err(CalloutError::TooLarge);
    }
    let headers = abi::headers(Map::CalloutResponse);
    let status = headers.iter().find(|(name, _)| name == ":status");
    let status = status.and_then(|(_, value)| value.parse().ok());
    let body = match body_size {
        0 => Vec::new(),
        size => abi::buffer(Buffer::CalloutResponseBody, size).unwrap_or_default(),
    };
    match status {
        Some(status) => Ok(Response {
            status,
            headers,
            body,
        }),
        None => Err(CalloutError::Unreachable),
    }
}
