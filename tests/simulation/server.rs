//! The metadata server: well, or ill in one of many ways.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastrand::Rng;
use invoker::http::{CalloutError, Response};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    Slow,
    /// Past every timeout.
    Hangs,
    Refuses,
    NoHealthyEndpoint,
    Status(u16),
    RetryAfter,
    ErrorPage,
    EmptyBody,
    NoExpiry,
    WrongAudience,
    Expired,
    /// Dies 40 s after it was minted: usable for 10.
    ShortLived,
    /// The first token of this mood again and again.
    SameAgain,
    TooLarge,
}

const ILL: [Mood; 16] = [
    Mood::Slow,
    Mood::Hangs,
    Mood::Refuses,
    Mood::NoHealthyEndpoint,
    Mood::Status(500),
    Mood::Status(403),
    Mood::Status(404),
    Mood::Status(204),
    Mood::RetryAfter,
    Mood::ErrorPage,
    Mood::EmptyBody,
    Mood::NoExpiry,
    Mood::WrongAudience,
    Mood::Expired,
    Mood::ShortLived,
    Mood::SameAgain,
];

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) mood: Mood,
    pub(crate) lifetime: u64,
    same: Option<(String, u64)>,
    serial: u64,
}

/// What comes back, and after how many milliseconds.
pub(crate) struct Reply {
    pub(crate) after: u64,
    pub(crate) answer: Result<Response, CalloutError>,
}

impl Server {
    pub(crate) fn new(lifetime: u64) -> Self {
        Self {
            mood: Mood::Well,
            lifetime,
            same: None,
            serial: 0,
        }
    }

    pub(crate) fn fall_ill(&mut self, rng: &mut Rng) {
        self.mood = if rng.u8(..17) == 0 {
            Mood::TooLarge
        } else {
            rng.choice(ILL).unwrap()
        };
        self.same = None;
    }

    pub(crate) fn reply(
        &mut self,
        audience: &str,
        unix_secs: u64,
        timeout: u64,
        rng: &mut Rng,
    ) -> Reply {
        let after = match self.mood {
            Mood::Slow => rng.u64(1000..timeout + 500),
            Mood::Hangs => timeout + 1,
            Mood::NoHealthyEndpoint => 0,
            _ => rng.u64(1..300),
        };
        if after > timeout {
            return Reply {
                after: timeout,
                answer: Err(CalloutError::Timeout),
            };
        }
        let life = self.lifetime;
        let answer = match self.mood {
            Mood::Well | Mood::Slow | Mood::Hangs => Ok(self.good(audience, unix_secs + life)),
            Mood::Refuses => Err(CalloutError::Unreachable),
            Mood::NoHealthyEndpoint => Err(CalloutError::Unavailable),
            Mood::TooLarge => Err(CalloutError::TooLarge),
            Mood::Status(status) => Ok(response(status, "trouble")),
            Mood::RetryAfter => {
                let mut answer = response(429, "later");
                answer
                    .headers
                    .push(("Retry-After".into(), rng.u64(0..100).to_string()));
                Ok(answer)
            }
            Mood::ErrorPage => Ok(response(200, "<html>Sorry</html>")),
            Mood::EmptyBody => Ok(response(200, "")),
            Mood::NoExpiry => Ok(response(200, &jwt(&format!(r#"{{"aud":"{audience}"}}"#)))),
            Mood::WrongAudience => Ok(self.good("https://somebody.else", unix_secs + life)),
            Mood::Expired => Ok(self.good(audience, unix_secs.saturating_sub(5))),
            Mood::ShortLived => Ok(self.good(audience, unix_secs + 40)),
            Mood::SameAgain => {
                let (_, exp) = match &self.same {
                    Some(same) if same.0 == audience => same.clone(),
                    _ => (audience.to_owned(), unix_secs + life),
                };
                self.same = Some((audience.to_owned(), exp));
                Ok(response(
                    200,
                    &jwt(&format!(r#"{{"aud":"{audience}","exp":{exp}}}"#)),
                ))
            }
        };
        Reply { after, answer }
    }

    fn good(&mut self, audience: &str, exp: u64) -> Response {
        self.serial += 1;
        response(
            200,
            &jwt(&format!(
                r#"{{"aud":"{audience}","exp":{exp},"n":{}}}"#,
                self.serial
            )),
        )
    }
}

fn response(status: u16, body: &str) -> Response {
    Response {
        status,
        headers: vec![("Metadata-Flavor".into(), "Google".into())],
        body: body.as_bytes().to_vec(),
    }
}

fn jwt(claims: &str) -> String {
    format!(
        "eyJhbGciOiJSUzI1NiJ9.{}.c2lnbmF0dXJl",
        URL_SAFE_NO_PAD.encode(claims)
    )
}
