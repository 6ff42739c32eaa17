//! Answers with an ID token for the audience in the header `x-audience`, as the interface gives it.

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package invoker:teller;
            world teller { import invoker:identity/id-tokens@0.1.0; }
        ",
        path: "../../../../wit/identity",
        generate_all,
    });
}

use bindings::invoker::identity::id_tokens;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{wit_future, wit_stream};

struct Teller;

impl wasip3::exports::http::handler::Guest for Teller {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let audience = request
            .get_headers()
            .get("x-audience")
            .pop()
            .unwrap_or_default();
        let audience = String::from_utf8(audience).expect("headers are text");
        let (status, text) = match id_tokens::get(audience).await {
            Ok(token) => (200, token),
            Err(error) => {
                let kind = if error.is_temporary {
                    "temporary"
                } else {
                    "permanent"
                };
                (599, format!("{} ({kind}): {}", error.code, error.message))
            }
        };
        let (mut to, contents) = wit_stream::new();
        wasip3::wit_bindgen::spawn_local(async move {
            to.write_all(text.into_bytes()).await;
        });
        let (_, trailers) = wit_future::new(|| Ok(None));
        let (response, _) = Response::new(Fields::new(), Some(contents), trailers);
        response.set_status_code(status).expect("it is one");
        Ok(response)
    }
}

wasip3::http::service::export!(Teller);
