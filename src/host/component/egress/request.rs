//! One request, from its arrival to the end of its answer.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingRequest, IncomingResponse,
    OutgoingRequest, OutgoingResponse, ResponseOutparam,
};

use super::fields::{self, Written};
use super::instance::{self, Instance};
use super::pipe::Pipe;
use super::upstream::Upstream;
use super::{body, clock};
use crate::authenticator::RequestId;
use crate::error::{Code, Denial};
use crate::host::component::configuration::Misconfigured;
use crate::host::url_head::UrlHead;
use crate::invoker::Verdict;

/// What a request is answered with in place of its upstream's answer.
struct Refusal {
    status: u16,
    text: String,
}

pub(super) fn handle(request: &IncomingRequest, answer: ResponseOutparam) {
    match send(request) {
        Ok((response, upload)) => carry(response, upload, answer),
        Err(refusal) => refuse(&refusal, answer),
    }
}

/// Authorizes it, and sends it on; its body is still to follow.
fn send(request: &IncomingRequest) -> Result<(FutureIncomingResponse, Pipe), Refusal> {
    let incoming = request.headers();
    let authority = request.authority().or_else(|| {
        let host = incoming.get("host").into_iter().next()?;
        String::from_utf8(host).ok()
    });
    let authority = authority.filter(|it| !it.is_empty()).ok_or(Refusal {
        status: 400,
        text: "invoker: the request names no host".to_owned(),
    })?;
    let path = request.path_with_query().unwrap_or_else(|| "/".to_owned());
    let allow_insecure = instance::with(|instance| instance.allow_insecure)?;
    let upstream = Upstream::of(authority, allow_insecure);
    let headers = fields::forwarded(&incoming);
    authorize(&upstream, &path, &headers)?;
    forward(request, &upstream, &path, headers)
}

/// Writes into the headers what the request needs, as soon as it is there.
fn authorize(upstream: &Upstream, path: &str, headers: &Fields) -> Result<(), Refusal> {
    let mut head = UrlHead {
        is_secure: upstream.is_secure,
        authority: &upstream.authority,
        path,
        headers: Written {
            fields: headers,
            has_refused: false,
        },
    };
    if let Some(request) = instance::with(|instance| begin(instance, &mut head))?? {
        while instance::with(|instance| finish(instance, request, &mut head))?? {
            instance::wait(&[]);
        }
    }
    match head.headers.has_refused {
        true => Err(Refusal {
            status: 500,
            text: format!("invoker: {}", Code::RefusedHeader.as_str()),
        }),
        false => Ok(()),
    }
}

type Head<'a> = UrlHead<'a, Written<'a>>;

/// The request's number, if it has to wait.
fn begin(instance: &mut Instance, head: &mut Head<'_>) -> Result<Option<RequestId>, Refusal> {
    let request = instance.next_request();
    let (store, now) = (&instance.store, clock::now());
    let verdict = instance.invoker.authorize(request, head, store, now);
    instance.drain();
    match verdict {
        Verdict::Continue => Ok(None),
        Verdict::Pause => Ok(Some(request)),
        Verdict::Reject(denial) => Err(denied(instance, &denial)),
    }
}

/// Whether the request still has to wait.
fn finish(
    instance: &mut Instance,
    request: RequestId,
    head: &mut Head<'_>,
) -> Result<bool, Refusal> {
    let Some(result) = instance.take_result(request) else {
        return Ok(true);
    };
    match instance.invoker.finish(request, result, head) {
        Some(denial) => Err(denied(instance, &denial)),
        None => Ok(false),
    }
}

fn forward(
    request: &IncomingRequest,
    upstream: &Upstream,
    path: &str,
    headers: Fields,
) -> Result<(FutureIncomingResponse, Pipe), Refusal> {
    let unsendable = |()| Refusal {
        status: 400,
        text: "invoker: the request can't be sent on: its method, host or path is none".to_owned(),
    };
    let onward = OutgoingRequest::new(headers);
    onward.set_method(&request.method()).map_err(unsendable)?;
    onward
        .set_scheme(Some(&upstream.scheme()))
        .map_err(unsendable)?;
    onward
        .set_authority(Some(&upstream.authority))
        .map_err(unsendable)?;
    onward.set_path_with_query(Some(path)).map_err(unsendable)?;
    let to = onward.body().map_err(unsendable)?;
    let from = request.consume().map_err(unsendable)?;
    let response =
        outgoing_handler::handle(onward, None).map_err(|error| unreachable(upstream, &error))?;
    let upload = Pipe::new(from, to).ok_or(()).map_err(unsendable)?;
    Ok((response, upload))
}

/// Both bodies at once: the answer may begin, and end, while the request's is still coming.
fn carry(response: FutureIncomingResponse, mut upload: Pipe, answer: ResponseOutparam) {
    let came = loop {
        upload.step();
        if let Some(came) = response.get() {
            break came;
        }
        let pollables: Vec<_> = upload
            .subscribe()
            .into_iter()
            .chain([response.subscribe()])
            .collect();
        instance::wait(&pollables);
    };
    let begun = match came {
        Ok(Ok(response)) => begin_answer(&response, answer),
        Ok(Err(error)) => return refuse(&no_answer(&error), answer),
        Err(()) => return,
    };
    let Some(mut download) = begun else {
        return;
    };
    loop {
        download.step();
        upload.step();
        let Some(coming) = download.subscribe() else {
            return;
        };
        let pollables: Vec<_> = upload.subscribe().into_iter().chain([coming]).collect();
        instance::wait(&pollables);
    }
}

fn begin_answer(response: &IncomingResponse, answer: ResponseOutparam) -> Option<Pipe> {
    let onward = OutgoingResponse::new(fields::forwarded(&response.headers()));
    let _ = onward.set_status_code(response.status());
    let to = onward.body().ok()?;
    let from: IncomingBody = response.consume().ok()?;
    ResponseOutparam::set(answer, Ok(onward));
    Pipe::new(from, to)
}

fn refuse(refusal: &Refusal, answer: ResponseOutparam) {
    let headers = Fields::new();
    let _ = headers.append("content-type", b"text/plain");
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(refusal.status);
    let Ok(body) = response.body() else {
        return;
    };
    ResponseOutparam::set(answer, Ok(response));
    // Where that fails, whoever asked has left.
    let _ = body::write(body, refusal.text.as_bytes());
}

fn denied(instance: &Instance, denial: &Denial) -> Refusal {
    Refusal {
        status: denial.status(),
        text: instance.invoker.body(denial),
    }
}

impl From<Misconfigured> for Refusal {
    /// The problems are in the log; whoever calls may be a stranger.
    fn from(problem: Misconfigured) -> Self {
        Self {
            status: if problem.is_temporary { 503 } else { 500 },
            text: "invoker: the configuration can't be used; see the component's standard error"
                .to_owned(),
        }
    }
}

fn unreachable(upstream: &Upstream, error: &ErrorCode) -> Refusal {
    Refusal {
        status: 502,
        text: format!("invoker: {} can't be reached: {error}", upstream.authority),
    }
}

fn no_answer(error: &ErrorCode) -> Refusal {
    let is_late = matches!(
        error,
        ErrorCode::ConnectionTimeout
            | ErrorCode::HttpResponseTimeout
            | ErrorCode::ConnectionReadTimeout
    );
    Refusal {
        status: if is_late { 504 } else { 502 },
        text: format!("invoker: no answer from the upstream: {error}"),
    }
}
