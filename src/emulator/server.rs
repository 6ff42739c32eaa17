//! The way of a call: recorded, struck by a fault or not, then answered.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, Request, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::net::TcpStream;

use super::{
    account::Accounts,
    account_keys::AccountKeys,
    certificates,
    clock::Clock,
    control,
    endpoint::Endpoint,
    faults::{Fault, Faults, Target, TokenChange},
    iam_credentials,
    keys::SigningKey,
    metadata,
    parameters::Parameters,
    policy::Policy,
    posted::Posted,
    recorder::Recorder,
    sts,
    subject::{self, Workload},
    token_endpoint,
    tokens::Mint,
    user::User,
};
use crate::host::native::TokenBroker;

/// What is emulated: one machine with its accounts, and the issuer of their tokens.
#[derive(Debug)]
pub(super) struct Machine {
    /// Where it listens.
    pub(super) address: SocketAddr,
    pub(super) accounts: Accounts,
    /// What accounts sign assertions with.
    pub(super) account_keys: AccountKeys,
    pub(super) user: User,
    pub(super) workload: Workload,
    pub(super) policy: Policy,
    pub(super) key: SigningKey,
    /// The key's X.509 certificate, as PEM.
    pub(super) certificate: String,
    pub(super) clock: Arc<Clock>,
    pub(super) mint: Mint,
    pub(super) faults: Faults,
    pub(super) recorder: Recorder,
    /// Instead of `mint`, for the metadata server.
    pub(super) real: Option<TokenBroker>,
}

impl Machine {
    /// Where a path of the emulator is reached from this machine.
    pub(super) fn url(&self, path: &str) -> String {
        let mut address = self.address;
        // It listens everywhere, but nobody can call "everywhere".
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        format!("http://{address}{path}")
    }
}

/// What the handlers of emulated endpoints get besides their path.
#[derive(Debug, Clone, Default)]
pub(super) struct Call {
    pub(super) endpoint: Option<Endpoint>,
    pub(super) query: Arc<Parameters>,
    pub(super) posted: Arc<Posted>,
    pub(super) token_change: Arc<TokenChange>,
}

/// Put into a response that must not be sent: the connection ends instead.
#[derive(Debug, Clone)]
struct Unanswered;

/// All endpoints. One that belongs to another of Google's servers is a module with `routes()` of its
/// own, merged into `emulated`: there it is recorded and can be struck by faults like the rest.
pub(super) fn router(machine: &Arc<Machine>) -> Router {
    if machine.real.is_some() {
        // Nothing that fails on purpose, and nothing that notes who asked for what.
        return Router::new()
            .merge(metadata::routes())
            .fallback(metadata::not_found)
            .layer(middleware::from_fn(answer_with_real_tokens))
            .with_state(Arc::clone(machine));
    }
    let emulated = Router::new()
        .merge(metadata::routes())
        .merge(certificates::routes())
        .merge(token_endpoint::routes())
        .merge(sts::routes())
        .merge(subject::routes())
        .merge(iam_credentials::routes())
        .fallback(metadata::not_found)
        .layer(middleware::from_fn_with_state(Arc::clone(machine), answer));
    emulated
        .merge(control::routes())
        .with_state(Arc::clone(machine))
}

/// Serves one connection to its end. What goes wrong on it concerns its client alone.
pub(super) async fn serve(router: Router, stream: TcpStream) {
    // Answers are small, and somebody waits for each.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |request| {
        let answer = hyper::service::Service::call(&service, request);
        async move {
            let response = answer.await.map_err(io::Error::other)?;
            match response.extensions().get::<Unanswered>() {
                Some(Unanswered) => Err(io::Error::other("closed by a fault")),
                None => Ok(response),
            }
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service);
    let _ = connection.await;
}

async fn answer(State(machine): State<Arc<Machine>>, request: Request, next: Next) -> Response {
    let (mut request, body) = request.into_parts();
    let path = request.uri.path().to_owned();
    let endpoint = Endpoint::of(&path);
    let (posted, body) = if endpoint.is_some_and(Endpoint::takes_body) {
        (Posted::read(&request.headers, body).await, Body::empty())
    } else {
        (Posted::default(), body)
    };
    let query = Parameters::parse(request.uri.query().unwrap_or_default());
    let target_audience = posted.target_audience();
    let audience = query.value("audience").or(posted.audience());
    let target = Target {
        path: &path,
        endpoint,
        audience: audience.or(target_audience.as_deref()),
    };
    let view = posted.view(endpoint);
    let call = machine.recorder.arrived(&request, &target, view);
    let fault = machine.faults.strike(&target);
    if let Some(fault) = &fault {
        hold(fault).await;
        if fault.close {
            return with_mark(StatusCode::INTERNAL_SERVER_ERROR.into_response());
        }
    }
    let token_change = fault
        .as_ref()
        .map(|fault| Arc::clone(&fault.token))
        .unwrap_or_default();
    request.extensions.insert(Call {
        endpoint,
        query: Arc::new(query),
        posted: Arc::new(posted),
        token_change,
    });

    let replacement = fault.as_deref().and_then(replacement);
    let mut response = match replacement.or_else(|| metadata::refusal(&request)) {
        Some(response) => response,
        None => next.run(Request::from_parts(request, body)).await,
    };
    if metadata::owns(&path) {
        metadata::sign_headers(response.headers_mut());
    }
    if let Some(fault) = &fault {
        fault.headers.apply(response.headers_mut());
    }
    machine.recorder.answered(call, response.status());
    response
}

async fn answer_with_real_tokens(request: Request, next: Next) -> Response {
    let (mut request, body) = request.into_parts();
    let is_metadata = metadata::owns(request.uri.path());
    let query = Parameters::parse(request.uri.query().unwrap_or_default());
    request.extensions.insert(Call {
        query: Arc::new(query),
        ..Call::default()
    });
    let mut response = match metadata::refusal(&request) {
        Some(response) => response,
        None => next.run(Request::from_parts(request, body)).await,
    };
    if is_metadata {
        metadata::sign_headers(response.headers_mut());
    }
    response
}

async fn hold(fault: &Fault) {
    if fault.hang {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(fault.delay).await;
}

/// The answer that a fault puts in the place of the real one.
fn replacement(fault: &Fault) -> Option<Response> {
    if !fault.replaces_answer() {
        return None;
    }
    let body = match (&fault.body, fault.body_size) {
        (Some(text), _) => Body::from(text.clone()),
        (None, Some(size)) => Body::from(vec![b'x'; size]),
        (None, None) => Body::empty(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = fault.status.unwrap_or(StatusCode::OK);
    let html = HeaderValue::from_static("text/html");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    Some(response)
}

fn with_mark(mut response: Response) -> Response {
    response.extensions_mut().insert(Unanswered);
    response
}

impl<S: Sync> FromRequestParts<S> for Call {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(request.extensions.get().cloned().unwrap_or_default())
    }
}
