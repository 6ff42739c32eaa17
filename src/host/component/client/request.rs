//! One request of another component's, on its way out.

use super::bindings::wasi::http::client;
use super::bindings::wasi::http::types::{ErrorCode, Fields, Request, Response, Scheme};
use super::bindings::wit_future;
use super::clock;
use super::instance::{self, Instance};
use crate::authenticator::RequestId;
use crate::credential_headers::Headers;
use crate::error::{Code, Denial};
use crate::host::component::configuration::Misconfigured;
use crate::host::url_head::UrlHead;
use crate::invoker::Verdict;

/// Authorizes it, and sends it on.
pub(super) async fn send(request: Request) -> Result<Response, ErrorCode> {
    let authority = request.get_authority().filter(|it| !it.is_empty());
    let authority = authority.ok_or(ErrorCode::HttpRequestUriInvalid)?;
    // Where a request names no scheme the host would choose one, in the clear perhaps.
    let scheme = request.get_scheme().unwrap_or(Scheme::Https);
    let path = request.get_path_with_query();
    let mut head = UrlHead {
        is_secure: matches!(scheme, Scheme::Https),
        authority: &authority,
        path: path.as_deref().unwrap_or("/"),
        headers: Written::from(request.get_headers().clone()),
    };
    authorize(&mut head).await?;
    let Written {
        fields, is_changed, ..
    } = head.headers;
    let onward = match is_changed {
        true => with_headers(request, fields)?,
        false => request,
    };
    let set = onward.set_scheme(Some(&scheme));
    set.map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    client::send(onward).await
}

type Head<'a> = UrlHead<'a, Written>;

/// Writes into the headers what the request needs, as soon as it is there.
async fn authorize(head: &mut Head<'_>) -> Result<(), ErrorCode> {
    let pending = instance::with(|instance| begin(instance, head));
    // A refresh can be due, or have begun, also where there is a token.
    instance::step();
    if let Some(request) = pending?? {
        let found = instance::wait(request).await?;
        instance::with(
            |instance| match instance.invoker.finish(request, found, head) {
                Some(denial) => Err(denied(instance, &denial)),
                None => Ok(()),
            },
        )??;
    }
    match head.headers.has_refused {
        true => Err(told(format!("invoker: {}", Code::RefusedHeader.as_str()))),
        false => Ok(()),
    }
}

/// The request's number, if it has to wait.
fn begin(instance: &mut Instance, head: &mut Head<'_>) -> Result<Option<RequestId>, ErrorCode> {
    let request = instance.next_request();
    let (store, now) = (&instance.store, clock::now());
    match instance.invoker.authorize(request, head, store, now) {
        Verdict::Continue => Ok(None),
        Verdict::Pause => Ok(Some(request)),
        Verdict::Reject(denial) => Err(denied(instance, &denial)),
    }
}

/// The same request with other headers: whoever made it may not change those. Its body is handed on, and not read.
fn with_headers(request: Request, headers: Fields) -> Result<Request, ErrorCode> {
    let (method, path) = (request.get_method(), request.get_path_with_query());
    let authority = request.get_authority();
    let options = request.get_options().map(|options| options.clone());
    let (result, handled) = wit_future::new(|| Ok(()));
    let (contents, trailers) = Request::consume_body(request, handled);
    let (onward, transmitted) = Request::new(headers, Some(contents), trailers, options);
    wit_bindgen::spawn_local(async move {
        // Where that fails, nobody waits for it.
        let _ = result.write(transmitted.await).await;
    });
    let set = onward
        .set_method(&method)
        .and_then(|()| onward.set_authority(authority.as_deref()))
        .and_then(|()| onward.set_path_with_query(path.as_deref()));
    set.map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    Ok(onward)
}

/// The headers of a request, a copy that can be changed.
struct Written {
    fields: Fields,
    is_changed: bool,
    /// Whether the host refused to change a header: the request must not go on then.
    has_refused: bool,
}

impl From<Fields> for Written {
    fn from(fields: Fields) -> Self {
        Self {
            fields,
            is_changed: false,
            has_refused: false,
        }
    }
}

impl Headers for Written {
    fn value(&self, name: &str) -> Option<String> {
        let values = self.fields.get(name);
        String::from_utf8(values.into_iter().next()?).ok()
    }

    fn set(&mut self, name: &str, value: &str) {
        let values = [value.as_bytes().to_vec()];
        self.is_changed = true;
        self.has_refused |= self.fields.set(name, &values).is_err();
    }

    fn remove(&mut self, name: &str) {
        if self.fields.has(name) {
            self.is_changed = true;
            self.has_refused |= self.fields.delete(name).is_err();
        }
    }
}

fn denied(instance: &Instance, denial: &Denial) -> ErrorCode {
    told(instance.invoker.body(denial))
}

fn told(text: String) -> ErrorCode {
    ErrorCode::InternalError(Some(text))
}

impl From<Misconfigured> for ErrorCode {
    /// The problems are in the log.
    fn from(_: Misconfigured) -> Self {
        Self::ConfigurationError
    }
}
