//! Sends each request on to the host in its header `x-upstream`: an application that has nothing but an HTTP client.

use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use wasip3::{wit_future, wit_stream};

/// What says where to, and what is for one connection alone.
const DROPPED: [&str; 6] = [
    "connection",
    "host",
    "te",
    "transfer-encoding",
    "x-scheme",
    "x-upstream",
];

struct Forward;

impl wasip3::exports::http::handler::Guest for Forward {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        match client::send(onward(request)).await {
            Ok(response) => Ok(response),
            Err(error) => Ok(told(&error)),
        }
    }
}

fn onward(request: Request) -> Request {
    let headers = request.get_headers().clone();
    let text = |name: &str| {
        let value = headers.get(name).pop().map(String::from_utf8);
        value.map(|value| value.expect("headers are text"))
    };
    let authority = text("x-upstream");
    let scheme = match text("x-scheme").as_deref() {
        Some("http") => Some(Scheme::Http),
        Some("https") => Some(Scheme::Https),
        _ => None,
    };
    let mut entries = headers.copy_all();
    entries.retain(|(name, _)| !DROPPED.contains(&name.as_str()));
    let headers = Fields::from_list(&entries).expect("the rest is an application's");
    let (method, path) = (request.get_method(), request.get_path_with_query());
    let has_body = matches!(method, Method::Post | Method::Put);
    let (_, handled) = wit_future::new(|| Ok(()));
    let (contents, trailers) = Request::consume_body(request, handled);
    let (onward, _) = Request::new(headers, has_body.then_some(contents), trailers, None);
    onward.set_method(&method).expect("it came with it");
    onward.set_scheme(scheme.as_ref()).expect("HTTP's or none");
    onward
        .set_authority(authority.as_deref())
        .expect("it is one");
    onward
        .set_path_with_query(path.as_deref())
        .expect("it came with it");
    onward
}

/// What the client said, so that the test can read it.
fn told(error: &ErrorCode) -> Response {
    let (mut to, contents) = wit_stream::new();
    let text = format!("{error:?}");
    wasip3::wit_bindgen::spawn_local(async move {
        to.write_all(text.into_bytes()).await;
    });
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::new(), Some(contents), trailers);
    response.set_status_code(599).expect("it is one");
    response
}

wasip3::http::service::export!(Forward);
