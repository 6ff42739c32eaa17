//! One callout of the core's: a request that is under way, whoever called when it began.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method,
    OutgoingRequest, RequestOptions, Scheme,
};
use wasip2::io::poll::Pollable;
use wasip2::io::streams::{InputStream, StreamError};

use super::{body, clock};
use crate::authenticator::CalloutId;
use crate::http::{CalloutError, MAX_RESPONSE_BYTES, Request, Response};
use crate::source::metadata;
use crate::time::Monotonic;
use crate::url;

pub(super) type Outcome = Result<Response, CalloutError>;

pub(super) struct Callout {
    pub(super) id: CalloutId,
    pub(super) deadline: Monotonic,
    state: State,
}

enum State {
    Sent(FutureIncomingResponse),
    Reading(Answer),
}

/// An answer whose body is still coming. The stream is dropped before its body.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    stream: InputStream,
    body: Vec<u8>,
    _source: IncomingBody,
    _response: IncomingResponse,
}

impl Callout {
    pub(super) fn send(
        id: CalloutId,
        request: &Request,
        metadata_host: Option<&str>,
    ) -> Result<Self, CalloutError> {
        let deadline = clock::now().monotonic + request.timeout;
        let state = State::Sent(send(request, metadata_host)?);
        Ok(Self {
            id,
            deadline,
            state,
        })
    }

    pub(super) fn subscribe(&self) -> Pollable {
        match &self.state {
            State::Sent(future) => future.subscribe(),
            State::Reading(answer) => answer.stream.subscribe(),
        }
    }

    /// Goes as far as it can without waiting; something, when it is over.
    pub(super) fn step(&mut self) -> Option<Outcome> {
        if clock::now().monotonic >= self.deadline {
            return Some(Err(CalloutError::Timeout));
        }
        if let State::Sent(future) = &self.state {
            let response = match future.get()? {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Some(Err(meaning(&error))),
                Err(()) => return Some(Err(CalloutError::Unreachable)),
            };
            match Answer::of(response) {
                Some(answer) => self.state = State::Reading(answer),
                None => return Some(Err(CalloutError::Unreachable)),
            }
        }
        match &mut self.state {
            State::Sent(_) => None,
            State::Reading(answer) => answer.read(),
        }
    }
}

impl Answer {
    fn of(response: IncomingResponse) -> Option<Self> {
        let source = response.consume().ok()?;
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        let headers = response.headers().entries().into_iter();
        Some(Self {
            status: response.status(),
            headers: headers.map(|(name, value)| (name, text(value))).collect(),
            stream: source.stream().ok()?,
            body: Vec::new(),
            _source: source,
            _response: response,
        })
    }

    fn read(&mut self) -> Option<Outcome> {
        loop {
            match self.stream.read(MAX_RESPONSE_BYTES as u64) {
                Ok(bytes) if bytes.is_empty() => return None,
                Ok(bytes) => self.body.extend(bytes),
                Err(StreamError::Closed) => {
                    return Some(Ok(Response {
                        status: self.status,
                        headers: std::mem::take(&mut self.headers),
                        body: std::mem::take(&mut self.body),
                    }));
                }
                Err(StreamError::LastOperationFailed(_)) => {
                    return Some(Err(CalloutError::Unreachable));
                }
            }
            if self.body.len() > MAX_RESPONSE_BYTES {
                return Some(Err(CalloutError::TooLarge));
            }
        }
    }
}

fn send(
    request: &Request,
    metadata_host: Option<&str>,
) -> Result<FutureIncomingResponse, CalloutError> {
    let unsendable = |()| CalloutError::Unavailable;
    let fields = Fields::new();
    for (name, value) in &request.headers {
        let appended = fields.append(name, value.as_bytes());
        appended.map_err(|_| CalloutError::Unavailable)?;
    }
    let message = OutgoingRequest::new(fields);
    let method = match request.method {
        "POST" => Method::Post,
        _ => Method::Get,
    };
    let scheme = match request.scheme {
        url::Scheme::Https => Scheme::Https,
        _ => Scheme::Http,
    };
    let authority = match metadata_host {
        Some(host) if request.authority == metadata::AUTHORITY => host,
        _ => &request.authority,
    };
    message.set_method(&method).map_err(unsendable)?;
    message.set_scheme(Some(&scheme)).map_err(unsendable)?;
    message.set_authority(Some(authority)).map_err(unsendable)?;
    message
        .set_path_with_query(Some(&request.path))
        .map_err(unsendable)?;
    let body = message.body().map_err(unsendable)?;
    // What a host can't time out by itself, the deadline does.
    let options = RequestOptions::new();
    let timeout = u64::try_from(request.timeout.as_nanos()).ok();
    let _ = options.set_connect_timeout(timeout);
    let _ = options.set_first_byte_timeout(timeout);
    let future = outgoing_handler::handle(message, Some(options)).map_err(|it| meaning(&it))?;
    body::write(body, &request.body).map_err(|()| CalloutError::Unreachable)?;
    Ok(future)
}

fn meaning(error: &ErrorCode) -> CalloutError {
    match error {
        ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout
        | ErrorCode::DnsTimeout => CalloutError::Timeout,
        ErrorCode::HttpRequestDenied | ErrorCode::HttpRequestUriInvalid => {
            CalloutError::Unavailable
        }
        _ => CalloutError::Unreachable,
    }
}
