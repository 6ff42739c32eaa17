//! A person's own login: a refresh token, exchanged at the token endpoint for an access token.
//!
//! Wire format: RFC 6749, section 6, as Google's own client libraries have it for files of type
//! `authorized_user`. It makes no ID token that a service would take, so that it is only the first layer
//! below an impersonation.

use super::oauth;
use super::{DATA, Granted, Leg, Order, Step, no_answer};
use crate::error::FetchError;
use crate::http::{CalloutError, FORM, Request, Response};
use crate::secret::Secret;
use crate::url::Url;

use percent_encoding::utf8_percent_encode;

/// The leg as a message names it.
const LEG: &str = "login";

/// An `authorized_user` file, read.
#[derive(Debug)]
pub struct User {
    /// Whose program it is that the person logged in with: gcloud, as a rule.
    pub client_id: String,
    /// The program's, which everybody has.
    pub client_secret: Secret,
    /// The person's.
    pub refresh_token: Secret,
    /// Where it is exchanged.
    pub token_uri: Url,
}

impl User {
    pub(super) fn identity(&self) -> String {
        format!(
            "authorized_user\n{}\n{}\n{}",
            self.client_id,
            self.token_uri,
            super::digest([self.refresh_token.expose().as_bytes()])
        )
    }

    pub(super) fn server(&self) -> String {
        format!("the token endpoint {}", self.token_uri.authority())
    }

    /// The scopes are those of the login: a refresh token brings all of them.
    pub(super) fn begin(&self, order: &Order<'_>) -> Step {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", &self.client_id),
            ("client_secret", self.client_secret.expose()),
            ("refresh_token", self.refresh_token.expose()),
        ];
        let fields =
            fields.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, DATA)));
        let request = Request::post("", &self.token_uri, order.timeout);
        Step::Call(
            request.with_body(FORM, fields.join("&")),
            Leg::TokenEndpoint,
        )
    }

    pub(super) fn token(
        &self,
        answer: Result<Response, CalloutError>,
        order: &Order<'_>,
    ) -> Result<Granted, FetchError> {
        let secrets = [self.refresh_token.expose(), self.client_secret.expose()];
        let token = answer
            .map_err(|error| no_answer(error, "", order.standing))
            .and_then(|response| {
                let answer = oauth::object(&response, &secrets, |_, complaint| {
                    (complaint.word == "invalid_grant").then(|| {
                        "the login has ended: do `gcloud auth application-default login \
                         --impersonate-service-account=EMAIL` again"
                            .to_owned()
                    })
                })?;
                oauth::access_token(&answer, order.now)
            });
        token.map(Granted::from).map_err(|error| error.at(LEG))
    }
}
