//! Workload identity federation: another provider's token (the *subject token*), exchanged at Google's
//! Security Token Service for an access token.
//!
//! Wire format: RFC 8693, and what Google's own client libraries make of an `external_account` file. The
//! two legs are one flight.

use std::sync::Arc;

use percent_encoding::utf8_percent_encode;
use serde_json::{Map, Value};

#[cfg(not(target_family = "wasm"))]
use super::local_subject::LocalSubject;
use super::oauth;
use super::{DATA, Granted, Leg, Order, Step, no_answer};
use crate::error::{Code, FetchError};
use crate::http::{CalloutError, FORM, Request, Response};
use crate::secret::Secret;
use crate::url::Url;
use crate::wanted::Wanted;

/// The legs as messages name them.
const SUBJECT: &str = "subject token";
const STS: &str = "sts";

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// An `external_account` file, read.
#[derive(Debug)]
pub struct ExternalAccount {
    /// The pool's provider.
    pub audience: String,
    /// What the subject token is.
    pub subject_token_type: String,
    /// Google's STS.
    pub token_url: Url,
    /// Where the subject token comes from.
    pub subject: Subject,
    /// Whom the federated principal impersonates; without it there are no ID tokens.
    pub account: Option<ImpersonatedAccount>,
    /// `googleapis.com`, but for clouds of its own.
    pub universe: String,
}

/// `credential_source`.
#[derive(Debug)]
pub enum Subject {
    /// A server has it.
    Served(SubjectServer),
    /// This machine has it, in a way of its own.
    #[cfg(not(target_family = "wasm"))]
    Local(Arc<LocalSubject>),
}

/// Where a subject token is handed out.
#[derive(Debug)]
pub struct SubjectServer {
    /// It is asked with a `GET`.
    pub url: Url,
    /// Whatever its server wants to see.
    pub headers: Vec<(String, Secret)>,
    /// How the answer is read.
    pub format: SubjectFormat,
}

impl Subject {
    /// Whether a credential goes along when it is asked for; most servers want only a flavour.
    pub fn has_credential(&self) -> bool {
        let mut headers = match self {
            Self::Served(server) => server.headers.iter(),
            #[cfg(not(target_family = "wasm"))]
            Self::Local(_) => return false,
        };
        headers.any(|(name, _)| {
            ["authorization", "key", "secret", "token"]
                .iter()
                .any(|word| name.contains(word))
        })
    }

    /// How its server's answer is read.
    pub(super) fn format(&self) -> &SubjectFormat {
        match self {
            Self::Served(server) => &server.format,
            #[cfg(not(target_family = "wasm"))]
            Self::Local(_) => &SubjectFormat::Text,
        }
    }
}

impl SubjectServer {
    /// The program around the host, which answers with the token.
    pub fn program() -> Self {
        Self {
            url: Url::program(),
            headers: Vec::new(),
            format: SubjectFormat::Text,
        }
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let headers = self.headers.iter();
        let headers =
            headers.flat_map(|(name, value)| [name.as_bytes(), value.expose().as_bytes()]);
        let format = match &self.format {
            SubjectFormat::Text => "",
            SubjectFormat::Json(field) => field,
        };
        [self.url.as_str().as_bytes(), format.as_bytes()]
            .into_iter()
            .chain(headers)
    }
}

/// How a subject token lies in its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectFormat {
    /// It is the answer.
    Text,
    /// It is in this field of a JSON object.
    Json(String),
}

/// `service_account_impersonation_url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImpersonatedAccount {
    /// Without a method: it ends with the email.
    pub url: Url,
    /// The account's email.
    pub email: String,
}

#[derive(Debug)]
pub(super) struct Federation {
    pub(super) cluster: String,
    pub(super) subject_cluster: String,
    pub(super) config: Arc<ExternalAccount>,
}

impl Federation {
    pub(super) fn identity(&self) -> String {
        let config = &self.config;
        // A query, a header or an argument can be a secret, so that they are only told apart.
        let subject = match &config.subject {
            Subject::Served(server) => super::digest(server.parts()),
            #[cfg(not(target_family = "wasm"))]
            Subject::Local(local) => super::digest(local.parts()),
        };
        [
            "federation",
            &self.cluster,
            &self.subject_cluster,
            &config.audience,
            &config.subject_token_type,
            config.token_url.as_str(),
            &subject,
        ]
        .join("\n")
    }

    pub(super) fn server(&self) -> String {
        let sts = self.config.token_url.authority();
        super::named(&format!("the token service {sts}"), &self.cluster)
    }

    pub(super) fn begin(&self, order: &Order<'_>) -> Step {
        #[cfg_attr(
            target_family = "wasm",
            allow(
                clippy::infallible_destructuring_match,
                reason = "there is but one kind"
            )
        )]
        let server = match &self.config.subject {
            Subject::Served(server) => server,
            #[cfg(not(target_family = "wasm"))]
            Subject::Local(local) => return Step::Local(Arc::clone(local), Leg::Subject),
        };
        let request = Request::get(&self.subject_cluster, &server.url, order.timeout);
        let request = server
            .headers
            .iter()
            .fold(request, |request, (name, value)| {
                request.with_header(name.clone(), value.expose())
            });
        Step::Call(request, Leg::Subject)
    }

    /// What follows the subject token's answer: the exchange.
    pub(super) fn exchange(
        &self,
        answer: Result<Response, CalloutError>,
        order: &Order<'_>,
    ) -> Step {
        let subject = answer
            .map_err(|error| no_answer(error, &self.subject_cluster, order.standing))
            .and_then(|response| self.subject(&response));
        self.exchange_for(subject, order)
    }

    /// The exchange of a subject token, if there is one.
    pub(super) fn exchange_for(
        &self,
        subject: Result<Secret, FetchError>,
        order: &Order<'_>,
    ) -> Step {
        match subject {
            Ok(subject) => Step::Call(self.exchange_request(&subject, order), Leg::Sts(subject)),
            Err(error) => Step::Done(Err(error.at(SUBJECT))),
        }
    }

    pub(super) fn token(
        &self,
        subject: &Secret,
        answer: Result<Response, CalloutError>,
        order: &Order<'_>,
    ) -> Result<Granted, FetchError> {
        let token = answer
            .map_err(|error| no_answer(error, &self.cluster, order.standing))
            .and_then(|response| {
                let answer = oauth::object(&response, &[subject.expose()], |_, complaint| {
                    (complaint.word == "invalid_grant").then(|| {
                        "see that the provider takes this subject token: its issuer, its audience, its \
                         attribute condition, and this machine's clock"
                            .to_owned()
                    })
                })?;
                oauth::access_token(&answer, order.now)
            });
        token.map(Granted::from).map_err(|error| error.at(STS))
    }

    fn subject(&self, response: &Response) -> Result<Secret, FetchError> {
        if let Some(error) = oauth::envoys_own(response) {
            return Err(error);
        }
        if response.status != 200 {
            // The server is a stranger: its words are its status.
            return Err(oauth::object(
                &Response {
                    body: Vec::new(),
                    ..response.clone()
                },
                &[],
                |_, _| None,
            )
            .map_or_else(|error| error, |_| oauth::malformed("an empty answer")));
        }
        let malformed = |reason: &str| FetchError::permanent(Code::MalformedAnswer, reason);
        let text = str::from_utf8(&response.body)
            .map_err(|_| malformed("an answer that is not text"))?
            .trim();
        let token = match self.config.subject.format() {
            SubjectFormat::Text => text.to_owned(),
            SubjectFormat::Json(field) => {
                let answer: Map<String, Value> = serde_json::from_str(text)
                    .map_err(|_| malformed("an answer that is not a JSON object"))?;
                let found = answer.get(field).and_then(Value::as_str);
                found
                    .ok_or_else(|| malformed(&format!("an answer without {field:?}")))?
                    .to_owned()
            }
        };
        if token.is_empty() {
            return Err(malformed("an empty answer"));
        }
        Ok(Secret::new(token))
    }

    fn exchange_request(&self, subject: &Secret, order: &Order<'_>) -> Request {
        let config = &self.config;
        let scope = match order.wanted {
            Wanted::AccessToken(scopes) => scopes.as_str(),
            // Not asked for: an ID token comes from the account that is impersonated.
            Wanted::IdToken(_) => super::IAM_SCOPE,
        };
        let fields = [
            ("grant_type", GRANT_TYPE),
            ("audience", &config.audience),
            ("scope", scope),
            ("requested_token_type", ACCESS_TOKEN),
            ("subject_token", subject.expose()),
            ("subject_token_type", &config.subject_token_type),
        ];
        let fields =
            fields.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, DATA)));
        Request::post(&self.cluster, &config.token_url, order.timeout)
            .with_body(FORM, fields.join("&"))
    }
}
