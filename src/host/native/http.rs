//! One HTTP exchange: one connection, one request, one answer.
//!
//! No redirect is followed and no proxy is asked, whatever the environment says: either would carry
//! a credential to somebody whom the core does not know. Nothing is kept open, since calls are
//! minutes apart.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read as _};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use super::MetadataServer;
use super::stream::Stream;
use crate::http::{CalloutError, MAX_RESPONSE_BYTES, Request, Response};
use crate::source::metadata;
use crate::url::Scheme;

/// What became of a callout.
#[derive(Debug)]
pub(super) struct Exchange {
    /// For the core.
    pub(super) answer: Result<Response, CalloutError>,
    /// The server, as a URL.
    pub(super) asked: String,
    /// For a person; nothing of the answer but its status.
    pub(super) in_words: String,
}

/// Sends a request, and reads the answer to its end, within the request's own timeout.
pub(super) async fn exchange(request: &Request, server: &MetadataServer) -> Exchange {
    let exchanged = tokio::time::timeout(request.timeout, send(request, server)).await;
    let answer = exchanged.unwrap_or(Err(Trouble::Timeout));
    Exchange {
        asked: match request.authority.as_str() {
            metadata::AUTHORITY => server.to_string(),
            "" => request.path.clone(),
            authority => format!("{}://{authority}", request.scheme.as_str()),
        },
        in_words: match &answer {
            Ok(response) => format!("it answered with status {}", response.status),
            Err(Trouble::Timeout) => format!("no answer within {:?}", request.timeout),
            Err(trouble) => in_words(trouble),
        },
        answer: answer.map_err(|trouble| trouble.for_the_core()),
    }
}

async fn send(request: &Request, server: &MetadataServer) -> Result<Response, Trouble> {
    match request.scheme {
        Scheme::File => return file(&request.path).await,
        Scheme::Program => return Err(Trouble::NoProgram),
        Scheme::Http | Scheme::Https => {}
    }
    let message = message(request)?;
    let stream = Stream::connect(request, server).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with this function, also when that is dropped because the time is up.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let (head, body) = sender.send_request(message).await?.into_parts();
    let body = Limited::new(body, MAX_RESPONSE_BYTES);
    let body = body.collect().await.map_err(Trouble::body)?;
    Ok(Response {
        status: head.status.as_u16(),
        headers: names_and_values(&head.headers),
        body: body.to_bytes().into(),
    })
}

/// Read anew each time: whoever writes subject tokens into files replaces them before they end.
async fn file(path: &str) -> Result<Response, Trouble> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let mut body = Vec::new();
        let limit = MAX_RESPONSE_BYTES as u64 + 1;
        File::open(path)?.take(limit).read_to_end(&mut body)?;
        Ok(body)
    });
    let body = read
        .await
        .unwrap_or_else(|lost| Err(io::Error::other(lost)));
    let body = body.map_err(Trouble::File)?;
    if body.len() > MAX_RESPONSE_BYTES {
        return Err(Trouble::TooLarge);
    }
    Ok(Response {
        status: 200,
        headers: Vec::new(),
        body,
    })
}

/// `Host` is the name that the core gives, wherever the server really is: the real one refuses others.
fn message(request: &Request) -> Result<hyper::Request<Full<Bytes>>, Trouble> {
    let mut message = hyper::Request::builder()
        .method(request.method)
        .uri(&request.path)
        .header(HOST, &request.authority);
    for (name, value) in &request.headers {
        message = message.header(name.as_ref(), value);
    }
    let body = Full::new(Bytes::from(request.body.clone()));
    message.body(body).map_err(Trouble::Message)
}

fn names_and_values(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())))
        .collect()
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("the time is up")]
    Timeout,
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("cannot read the file")]
    File(#[source] io::Error),
    #[error("no HTTP answer")]
    Exchange(#[from] hyper::Error),
    #[error("the answer broke off")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    #[error("an answer of more than {MAX_RESPONSE_BYTES} bytes")]
    TooLarge,
    #[error("the request can't be written")]
    Message(#[source] hyper::http::Error),
    #[error("no TLS with this server")]
    Tls(#[source] io::Error),
    #[error("{0:?} is no host and port")]
    Authority(String),
    #[error("there is no program around this one that could be asked")]
    NoProgram,
    #[error("no root certificates are known here; SSL_CERT_FILE can name some")]
    NoRoots,
}

impl Trouble {
    fn body(error: Box<dyn Error + Send + Sync>) -> Self {
        if error.is::<LengthLimitError>() {
            Self::TooLarge
        } else {
            Self::Body(error)
        }
    }

    fn for_the_core(&self) -> CalloutError {
        match self {
            Self::Timeout => CalloutError::Timeout,
            Self::Connect(_) | Self::Tls(_) | Self::Exchange(_) | Self::Body(_) => {
                CalloutError::Unreachable
            }
            Self::File(_) => CalloutError::Unreadable,
            Self::NoProgram => CalloutError::NotGiven,
            Self::TooLarge => CalloutError::TooLarge,
            Self::Message(_) | Self::Authority(_) | Self::NoRoots => CalloutError::Unavailable,
        }
    }
}

/// The whole chain: the last link is what a person can look up.
fn in_words(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
