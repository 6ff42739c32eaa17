//! One callout of the core's, and the task that carries it.

use super::bindings::wasi::http::client;
use super::bindings::wasi::http::types::{
    ErrorCode, Fields, Method, Request as Message, RequestOptions, Response as Answer, Scheme,
};
use super::bindings::{wit_future, wit_stream};
use super::{clock, instance};
use crate::authenticator::CalloutId;
use crate::http::{CalloutError, MAX_RESPONSE_BYTES, Request, Response};
use crate::source::metadata;
use crate::time::Monotonic;
use crate::url;

/// What is read of an answer at a time.
const CHUNK_BYTES: usize = 16 * 1024;

pub(super) type Outcome = Result<Response, CalloutError>;

pub(super) struct Callout {
    pub(super) id: CalloutId,
    pub(super) request: Request,
    pub(super) deadline: Monotonic,
}

/// Sends it, and hands in what came of it.
pub(super) async fn carry(callout: Callout) {
    let mut carried = Carried(Some(callout));
    let Some(callout) = &carried.0 else {
        return;
    };
    let id = callout.id;
    let outcome = clock::before(callout.deadline, send(&callout.request)).await;
    let outcome = outcome.unwrap_or(Err(CalloutError::Timeout));
    carried.0 = None;
    let _ = instance::with(|instance| instance.answer(id, outcome));
    instance::step();
}

/// Dropped with a callout, its task was cancelled.
struct Carried(Option<Callout>);

impl Drop for Carried {
    fn drop(&mut self) {
        if let Some(callout) = self.0.take() {
            let _ = instance::with(|instance| instance.give_back(callout));
        }
    }
}

async fn send(request: &Request) -> Outcome {
    let message = message(request).map_err(|()| CalloutError::Unavailable)?;
    let answer = client::send(message).await;
    read(answer.map_err(|error| meaning(&error))?).await
}

fn message(request: &Request) -> Result<Message, ()> {
    let headers = request.headers.iter();
    let headers: Vec<_> = headers
        .map(|(name, value)| (name.to_string(), value.clone().into_bytes()))
        .collect();
    let headers = Fields::from_list(&headers).map_err(|_| ())?;
    let options = RequestOptions::new();
    // What a host can't time out by itself, the deadline does.
    let timeout = u64::try_from(request.timeout.as_nanos()).ok();
    let _ = options.set_connect_timeout(timeout);
    let _ = options.set_first_byte_timeout(timeout);
    let contents = (!request.body.is_empty()).then(|| {
        let (mut to, contents) = wit_stream::new();
        let body = request.body.clone();
        wit_bindgen::spawn_local(async move {
            // Where that fails, so does the request.
            to.write_all(body).await;
        });
        contents
    });
    // None follow: that is what is said of a future whose writer is dropped.
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (message, _) = Message::new(headers, contents, trailers, Some(options));
    let method = match request.method {
        "POST" => Method::Post,
        _ => Method::Get,
    };
    let scheme = match request.scheme {
        url::Scheme::Https => Scheme::Https,
        _ => Scheme::Http,
    };
    let metadata_host = instance::with(|instance| instance.metadata_host.clone());
    let authority = match metadata_host {
        Ok(Some(host)) if request.authority == metadata::AUTHORITY => host,
        _ => request.authority.to_string(),
    };
    message.set_method(&method)?;
    message.set_scheme(Some(&scheme))?;
    message.set_authority(Some(&authority))?;
    message.set_path_with_query(Some(&request.path))?;
    Ok(message)
}

async fn read(answer: Answer) -> Outcome {
    let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
    let headers = answer.get_headers().copy_all().into_iter();
    let mut response = Response {
        status: answer.get_status_code(),
        headers: headers.map(|(name, value)| (name, text(value))).collect(),
        body: Vec::new(),
    };
    let (_, result) = wit_future::new(|| Ok(()));
    let (mut contents, trailers) = Answer::consume_body(answer, result);
    loop {
        let (status, bytes) = contents.read(Vec::with_capacity(CHUNK_BYTES)).await;
        response.body.extend(bytes);
        if response.body.len() > MAX_RESPONSE_BYTES {
            return Err(CalloutError::TooLarge);
        }
        if !matches!(status, wit_bindgen::StreamResult::Complete(_)) {
            break;
        }
    }
    match trailers.await {
        Ok(_) => Ok(response),
        Err(error) => Err(meaning(&error)),
    }
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
