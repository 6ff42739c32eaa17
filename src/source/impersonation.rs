//! Another account's tokens: IAM makes them for whoever may impersonate it.
//!
//! Wire format: `generateIdToken` and `generateAccessToken` of the IAM Service Account Credentials API. The
//! access token that it is asked with serves all audiences, and so has a record of its own.

use serde_json::{Value, json};

use super::oauth::{self, Complaint};
use super::{Granted, Leg, Order, Step, no_answer};
use crate::error::{Class, FetchError};
use crate::http::{CalloutError, JSON, Request, Response};
use crate::token::Token;
use crate::url::Url;
use crate::wanted::Wanted;

/// The longest that IAM gives without a policy of the organisation that allows more.
const LIFETIME: &str = "3600s";

/// A fresh access token that is refused needs a person; an older one may have been revoked meanwhile.
const FRESH: std::time::Duration = std::time::Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Impersonation {
    pub(super) cluster: String,
    /// `https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/EMAIL`, without a method.
    pub(super) account_url: Url,
    pub(super) account: String,
    pub(super) delegates: Vec<String>,
}

impl Impersonation {
    /// The accounts in between are part of who asks.
    pub(super) fn identity(&self) -> String {
        format!(
            "impersonation\n{}\n{}\n{}",
            self.cluster,
            self.account_url,
            self.delegates.join(" ")
        )
    }

    pub(super) fn server(&self) -> String {
        let Self {
            account_url,
            account,
            cluster,
            ..
        } = self;
        let server = format!("{} for {account}", account_url.authority());
        super::named(&server, cluster)
    }

    pub(super) fn begin(&self, bearer: &Token, order: &Order<'_>) -> Step {
        let delegates: Vec<String> = self
            .delegates
            .iter()
            .map(|email| format!("projects/-/serviceAccounts/{email}"))
            .collect();
        let body = match order.wanted {
            Wanted::IdToken(audience) => {
                json!({"audience": audience.as_str(), "includeEmail": true, "delegates": delegates})
            }
            Wanted::AccessToken(scopes) => json!({
                "scope": scopes.iter().map(Value::from).collect::<Vec<_>>(),
                "lifetime": LIFETIME,
                "delegates": delegates,
            }),
        };
        let mut request = Request::post(&self.cluster, &self.account_url, order.timeout)
            .with_header("authorization", bearer.authorization())
            .with_body(JSON, body.to_string());
        request.path = format!("{}:{}", request.path, method(order.wanted));
        Step::Call(request, Leg::Generate)
    }

    pub(super) fn token(
        &self,
        answer: Result<Response, CalloutError>,
        order: &Order<'_>,
    ) -> Result<Granted, FetchError> {
        let bearer = order.bearer.map(Token::secret).unwrap_or_default();
        let is_refused = matches!(&answer, Ok(response) if response.status == 401);
        let token = answer
            .map_err(|error| no_answer(error, &self.cluster, order.standing))
            .and_then(|response| {
                let answer = oauth::object(&response, &[bearer], |status, complaint| {
                    self.advice(status, complaint, order.wanted)
                })?;
                match order.wanted {
                    Wanted::IdToken(audience) => {
                        oauth::token(Token::id_token(oauth::text(&answer, "token")?, audience))
                    }
                    Wanted::AccessToken(_) => oauth::generated_access_token(&answer),
                }
            });
        token.map(Granted::from).map_err(|error| {
            let error = error.at(method(order.wanted));
            if !is_refused {
                return error;
            }
            let is_old = order.standing.bearer_age.is_some_and(|age| age > FRESH);
            FetchError {
                class: if is_old {
                    Class::Transient
                } else {
                    error.class
                },
                is_bearer_refused: true,
                ..error
            }
        })
    }

    fn advice(&self, status: u16, complaint: &Complaint, wanted: &Wanted) -> Option<String> {
        let account = &self.account;
        let role = match wanted {
            Wanted::IdToken(_) => "roles/iam.serviceAccountOpenIdTokenCreator",
            Wanted::AccessToken(_) => "roles/iam.serviceAccountTokenCreator",
        };
        match (status, self.delegates.as_slice()) {
            (403, _)
                if complaint.message.contains("has not been used")
                    || complaint.message.contains("is disabled") =>
            {
                Some("enable iamcredentials.googleapis.com in the caller's project".to_owned())
            }
            (403, []) => Some(format!("grant the caller {role} on {account}")),
            (403, [first, ..]) => Some(format!(
                "grant the caller roles/iam.serviceAccountTokenCreator on {first}, each delegate the same on the \
                 next one, and the last one {role} on {account}"
            )),
            (404, _) => Some(format!(
                "there is no service account {account}, or a delegate is missing"
            )),
            _ => None,
        }
    }
}

/// IAM's name for it, and that of the leg in a message.
fn method(wanted: &Wanted) -> &'static str {
    match wanted {
        Wanted::IdToken(_) => "generateIdToken",
        Wanted::AccessToken(_) => "generateAccessToken",
    }
}
