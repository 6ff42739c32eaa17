//! What metadata servers, token services, IAM and subject token servers may answer: any answer ends in a token that is what was asked for, or in
//! an error that gives nothing away.

#![no_main]

#[path = "../../tests/simulation/kinds.rs"]
#[allow(dead_code, reason = "the simulation takes more of it")]
mod kinds;

use std::time::Duration;

use arbitrary::Arbitrary;
use fastrand::Rng;
use invoker::audience::Audience;
use invoker::http::{CalloutError, Response};
use invoker::source::{Answer, Order, Source, Standing, Step};
use invoker::time::{Monotonic, Now, UnixTime};
use invoker::token::Token;
use invoker::wanted::{Scopes, Wanted};
use invoker_fuzz::{belongs_in_a_header, callout_error, jwt};
use kinds::Kind;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

const AUDIENCE: &str = "https://profiles.example.com";
/// What a server may well put into an answer that is an error, and nobody may read.
const SECRET: &str = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJodHRwczovL3Byb2ZpbGVzLmV4YW1wbGUuY29tIn0.c2VjcmV0LXNlY3JldC1zZWNyZXQ";

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    kind: u8,
    wants_id_token: bool,
    has_succeeded: bool,
    unix: u32,
    answers: Vec<Given<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Given<'a> {
    Response {
        status: Status,
        headers: Vec<(Name<'a>, &'a str)>,
        body: Body<'a>,
    },
    Failure(u8),
    Signature(Option<&'a [u8]>),
}

#[derive(Arbitrary, Debug)]
enum Status {
    Ok,
    Other(u16),
}

#[derive(Arbitrary, Debug)]
enum Name<'a> {
    ContentType,
    MetadataFlavor,
    RetryAfter,
    Other(&'a str),
}

#[derive(Arbitrary, Debug)]
enum Body<'a> {
    Pieces(Vec<Piece<'a>>),
    /// An error as Google's token services write it, or as its APIs do.
    Complaint {
        is_of_an_api: bool,
        word: &'a str,
        message: Vec<Piece<'a>>,
    },
    /// A token, in the form of one of the servers.
    Token {
        form: u8,
        is_for_us: bool,
        seconds: u32,
    },
}

#[derive(Arbitrary, Debug)]
enum Piece<'a> {
    Text(&'a str),
    Secret,
    Jwt(&'a str),
    Bytes(&'a [u8]),
}

fuzz_target!(init: kinds::prepare(), |input: Input<'_>| {
    let kind = Kind::draw(&mut Rng::with_seed(input.kind.into()));
    let source = Source::new(&kind.credentials(), &|_| None).expect("the credentials are good");
    let wanted = if input.wants_id_token {
        Wanted::IdToken(Audience::parse(AUDIENCE).expect("it is one"))
    } else {
        Wanted::AccessToken(
            Scopes::new(["https://www.googleapis.com/auth/cloud-platform"]).expect("it is one"),
        )
    };
    let now = Now {
        monotonic: Monotonic::from_millis(1_000_000),
        unix: UnixTime::from_secs(input.unix.into()),
    };
    let bearer = Token::access_token(
        "ya29.the-bearer-that-nobody-may-read",
        now.unix + Duration::from_secs(3600),
    )
    .expect("it is one");
    let order = Order {
        wanted: &wanted,
        bearer: source.needs_bearer(&wanted).then_some(&bearer),
        timeout: Duration::from_secs(4),
        standing: Standing {
            age: Duration::from_secs(60),
            has_succeeded: input.has_succeeded,
            bearer_age: Some(Duration::from_secs(1)),
        },
        now,
    };
    let mut answers = input.answers.into_iter();
    let mut step = source.begin(&order);
    // No exchange has more legs.
    for _ in 0..8 {
        step = match step {
            Step::Done(Ok(granted)) => {
                let token = granted.token;
                assert!(
                    belongs_in_a_header(token.authorization()),
                    "{:?}",
                    token.authorization()
                );
                if let (Wanted::IdToken(_), Ok(claims)) = (&wanted, token.claims()) {
                    assert_eq!(
                        claims.get("aud").and_then(|aud| aud.as_str()),
                        Some(AUDIENCE)
                    );
                }
                return;
            }
            Step::Done(Err(error)) => {
                for secret in [SECRET, bearer.secret()] {
                    assert!(
                        !error.reason.contains(secret),
                        "an error tells a secret: {}",
                        error.reason
                    );
                }
                assert!(
                    !error.reason.contains(char::is_control),
                    "{:?}",
                    error.reason
                );
                assert!(
                    error.reason.len() < 4096,
                    "an error of {} bytes",
                    error.reason.len()
                );
                return;
            }
            Step::Call(request, leg) => {
                let is_clean = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
                assert!(
                    is_clean(&request.authority) && is_clean(&request.path),
                    "{request:?}"
                );
                let Some(answer) = answers.next() else { return };
                source.proceed(&leg, Answer::Response(response(answer)), &order)
            }
            Step::Sign(_, leg) => {
                let Some(answer) = answers.next() else { return };
                let signature = match answer {
                    Given::Signature(Some(bytes)) => Ok(bytes.to_vec()),
                    _ => Err(invoker::source::key::SignError),
                };
                source.proceed(&leg, Answer::Signature(signature), &order)
            }
            Step::Local(..) => unreachable!("a proxy's credentials have no such source"),
        };
    }
    panic!("the exchange has no end: {step:?}");
});

fn response(given: Given<'_>) -> Result<Response, CalloutError> {
    match given {
        Given::Response {
            status,
            headers,
            body,
        } => Ok(Response {
            status: match status {
                Status::Ok => 200,
                Status::Other(status) => status,
            },
            headers: headers
                .into_iter()
                .map(|(name, value)| (header(name), value.to_owned()))
                .collect(),
            body: of_a_body(body),
        }),
        Given::Failure(which) => Err(callout_error(which)),
        Given::Signature(_) => Err(CalloutError::Timeout),
    }
}

fn header(name: Name<'_>) -> String {
    match name {
        Name::ContentType => "content-type",
        Name::MetadataFlavor => "metadata-flavor",
        Name::RetryAfter => "retry-after",
        Name::Other(name) => name,
    }
    .to_owned()
}

fn of_a_body(body: Body<'_>) -> Vec<u8> {
    match body {
        Body::Pieces(pieces) => pieces.into_iter().flat_map(bytes).collect(),
        Body::Complaint {
            is_of_an_api,
            word,
            message,
        } => {
            let message: Vec<u8> = message.into_iter().flat_map(bytes).collect();
            let message = String::from_utf8_lossy(&message);
            let complaint = if is_of_an_api {
                json!({"error": {"status": word, "message": message}})
            } else {
                json!({"error": word, "error_description": message})
            };
            complaint.to_string().into_bytes()
        }
        Body::Token {
            form,
            is_for_us,
            seconds,
        } => {
            let audience = if is_for_us {
                AUDIENCE
            } else {
                "https://profiles.example.com.evil"
            };
            let token = jwt(&json!({"aud": audience, "exp": seconds}).to_string());
            match form % 4 {
                0 => token,
                1 => json!({"id_token": token}).to_string(),
                2 => json!({"token": token}).to_string(),
                _ => {
                    json!({"access_token": "ya29.a", "accessToken": "ya29.a", "expires_in": seconds,
                    "expireTime": "2026-11-28T00:00:00Z", "token_type": "Bearer"})
                    .to_string()
                }
            }
            .into_bytes()
        }
    }
}

fn bytes(piece: Piece<'_>) -> Vec<u8> {
    match piece {
        Piece::Text(text) => text.as_bytes().to_vec(),
        // A blank before it: what it is joined to would be another text.
        Piece::Secret => format!(" {SECRET} ").into_bytes(),
        Piece::Jwt(claims) => jwt(claims).into_bytes(),
        Piece::Bytes(bytes) => bytes.to_vec(),
    }
}
