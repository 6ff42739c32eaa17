//! What callouts a token would take, for people to read: the same requests, with stand-ins for what only
//! an answer could bring.

use std::time::Duration;

use super::{Answer, Direct, Leg, Order, Source, Standing, Step};
use crate::http::{Request, Response};
#[cfg(not(target_family = "wasm"))]
use crate::secret::Secret;
use crate::time::{Monotonic, Now, UnixTime};
use crate::token::Token;
use crate::wanted::Wanted;

const STAND_IN: &str = "stand-in";

impl Source {
    /// The callouts in their order. Their bodies and credentials are no real ones.
    pub fn outline(&self, wanted: &Wanted, timeout: Duration) -> Vec<Request> {
        let order = Order {
            wanted,
            bearer: None,
            timeout,
            standing: Standing {
                age: Duration::ZERO,
                has_succeeded: false,
                bearer_age: None,
            },
            now: Now {
                monotonic: Monotonic::from_millis(0),
                unix: UnixTime::from_secs(0),
            },
        };
        if !self.needs_bearer(wanted) {
            return self.requests(order);
        }
        let bearer = Token::access_token(STAND_IN, UnixTime::NEVER).ok();
        let first = Order {
            wanted: &self.bearer,
            ..order
        };
        let second = Order {
            bearer: bearer.as_ref(),
            ..order
        };
        let mut requests = self.requests(first);
        requests.extend(self.requests(second));
        requests
    }

    /// Those of one flight.
    fn requests(&self, order: Order<'_>) -> Vec<Request> {
        let mut requests = Vec::new();
        let mut step = self.begin(&order);
        loop {
            let (answer, leg) = match step {
                Step::Done(_) => return requests,
                Step::Sign(_, leg) => (Answer::Signature(Ok(Vec::new())), leg),
                #[cfg(not(target_family = "wasm"))]
                Step::Local(_, leg) => (Answer::Subject(Ok(Secret::new(STAND_IN))), leg),
                Step::Call(request, leg) => {
                    requests.push(request);
                    (Answer::Response(Ok(self.stand_in(&leg))), leg)
                }
            };
            step = self.proceed(&leg, answer, &order);
        }
    }

    /// A good answer where another leg follows; elsewhere any will do.
    fn stand_in(&self, leg: &Leg) -> Response {
        use super::federation::SubjectFormat;
        let body = match (&self.direct, leg) {
            (Direct::Federation(direct), Leg::Subject) => match direct.config.subject.format() {
                SubjectFormat::Text => STAND_IN.to_owned(),
                SubjectFormat::Json(field) => {
                    serde_json::json!({ field.as_str(): STAND_IN }).to_string()
                }
            },
            _ => String::new(),
        };
        Response {
            status: 200,
            headers: Vec::new(),
            body: body.into_bytes(),
        }
    }
}
