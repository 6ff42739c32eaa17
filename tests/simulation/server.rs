//! The servers: well, or one of them or all ill in one of many ways.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastrand::Rng;
use invoker::http::{CalloutError, Response};

use crate::kinds::{Asked, Leg};

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
    /// All access tokens of before are refused.
    Revokes,
}

/// Who is ill.
#[derive(Clone, Copy, Debug)]
enum Ill {
    All,
    OfTheBearer,
    OfTheAudiences,
}

const ILL: [Mood; 17] = [
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
    Mood::Revokes,
];

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) mood: Mood,
    pub(crate) lifetime: u64,
    ill: Ill,
    /// Access tokens, with the moment of their end in seconds of the clock that nobody sets.
    issued: BTreeMap<String, u64>,
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
            ill: Ill::All,
            issued: BTreeMap::new(),
            same: None,
            serial: 0,
        }
    }

    pub(crate) fn fall_ill(&mut self, rng: &mut Rng) {
        self.ill = rng
            .choice([Ill::All, Ill::OfTheBearer, Ill::OfTheAudiences])
            .unwrap();
        self.mood = if rng.u8(..17) == 0 {
            Mood::TooLarge
        } else {
            rng.choice(ILL).unwrap()
        };
        self.same = None;
        if self.mood == Mood::Revokes {
            self.issued.clear();
        }
    }

    pub(crate) fn reply(
        &mut self,
        asked: &Asked,
        unix_secs: u64,
        steady_secs: u64,
        timeout: u64,
        rng: &mut Rng,
    ) -> Reply {
        let is_ill = match self.ill {
            Ill::All => true,
            Ill::OfTheBearer => asked.leg.is_of_a_bearer(),
            Ill::OfTheAudiences => !asked.leg.is_of_a_bearer(),
        };
        let mood = if is_ill { self.mood } else { Mood::Well };
        let after = match mood {
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
        let mut good = |life: i64| self.good(asked, life, unix_secs, steady_secs);
        let whole = i64::try_from(life).unwrap();
        let answer = match mood {
            Mood::Well | Mood::Slow | Mood::Hangs | Mood::Revokes => Ok(good(whole)),
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
            Mood::NoExpiry => Ok(token(
                asked,
                |audience| format!(r#"{{"aud":"{audience}"}}"#),
                None,
            )),
            Mood::WrongAudience => {
                let other = Asked {
                    what: "https://somebody.else".to_owned(),
                    ..asked.clone()
                };
                Ok(self.good(&other, whole, unix_secs, steady_secs))
            }
            Mood::Expired => Ok(good(-5)),
            Mood::ShortLived => Ok(good(40)),
            Mood::SameAgain => {
                let (_, exp) = match &self.same {
                    Some(same) if same.0 == asked.what => same.clone(),
                    _ => (asked.what.clone(), unix_secs + life),
                };
                self.same = Some((asked.what.clone(), exp));
                let left = exp.saturating_sub(unix_secs);
                self.issued.insert("at-same".to_owned(), steady_secs + left);
                let claims = |audience: &str| format!(r#"{{"aud":"{audience}","exp":{exp}}}"#);
                Ok(token(asked, claims, Some(("at-same", left))))
            }
        };
        Reply { after, answer }
    }

    /// A token that lives for so many seconds from now, if what was shown is good.
    fn good(&mut self, asked: &Asked, life: i64, unix_secs: u64, steady_secs: u64) -> Response {
        match asked.leg {
            Leg::Sts if !asked.shown.as_ref().unwrap().starts_with("subject-") => {
                return response(400, r#"{"error":"invalid_grant"}"#);
            }
            Leg::Generate => {
                let shown = asked.shown.as_ref().unwrap();
                // Self-signed ones are known by their look, and end by themselves.
                let is_good = self.issued.get(shown).is_some_and(|end| steady_secs < *end);
                if !is_good && !shown.starts_with("eyJ") {
                    return response(401, r#"{"error":{"status":"UNAUTHENTICATED"}}"#);
                }
            }
            _ => {}
        }
        self.serial += 1;
        let serial = self.serial;
        let left = u64::try_from(life).unwrap_or(0);
        let secret = format!("at-{serial}");
        self.issued.insert(secret.clone(), steady_secs + left);
        let exp = unix_secs.saturating_add_signed(life);
        let claims = |audience: &str| format!(r#"{{"aud":"{audience}","exp":{exp},"n":{serial}}}"#);
        token(asked, claims, Some((&secret, left)))
    }
}

/// An answer of the form that the leg has.
fn token(asked: &Asked, claims: impl Fn(&str) -> String, access: Option<(&str, u64)>) -> Response {
    let id_token = jwt(&claims(&asked.what));
    let body = match asked.leg {
        Leg::Identity => id_token,
        Leg::TokenEndpoint => format!(r#"{{"id_token":"{id_token}"}}"#),
        Leg::Generate => format!(r#"{{"token":"{id_token}"}}"#),
        Leg::Subject => format!("subject-{}", asked.what.len()),
        Leg::MetadataToken | Leg::Sts => match access {
            Some((secret, left)) => format!(r#"{{"access_token":"{secret}","expires_in":{left}}}"#),
            None => r#"{"access_token":"at"}"#.to_owned(),
        },
        Leg::Signature => unreachable!("no server signs"),
    };
    response(200, &body)
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
