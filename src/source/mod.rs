//! Where tokens come from: one module a credential kind.
//!
//! A source turns what is wanted into a few steps (HTTP exchanges, signatures) and their answers into a
//! token. It sees no cache, no waiter, no clock and no retry: those are the authenticator's, the same for
//! every kind.
//!
//! A source has one layer or two. The first gives tokens by itself: the metadata server, a key, a
//! federation. The second, impersonation, asks IAM for another account's tokens, with an access token
//! of the first as the *bearer*. That one serves all audiences: the authenticator keeps it as it keeps
//! every token, with a record and a lease of its own ([`Source::bearer`]).

pub mod federation;
mod impersonation;
pub mod key;
#[cfg(not(target_family = "wasm"))]
pub mod local_subject;
pub mod metadata;
mod new;
mod oauth;
mod outline;
pub mod service_account;
pub mod user;

pub(crate) use self::new::NO_ACCOUNT;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use rsa::sha2::{Digest as _, Sha256};

use self::federation::Federation;
use self::impersonation::Impersonation;
use self::key::{SignError, SigningInput};
#[cfg(not(target_family = "wasm"))]
use self::local_subject::LocalSubject;
use self::metadata::Metadata;
use self::service_account::{ServiceAccount, Unsigned};
use self::user::User;
use crate::error::{Code, FetchError};
use crate::http::{CalloutError, Request, Response};
use crate::secret::Secret;
use crate::time::Now;
use crate::token::Token;
use crate::wanted::Wanted;

/// What impersonation needs of its bearer, and no more, as Google's own clients have it.
pub const IAM_SCOPE: &str = "https://www.googleapis.com/auth/iam";

/// RFC 3986's unreserved characters stay; the rest is data, `&`, `+` and `#` included. For a query as for
/// a form.
pub(crate) const DATA: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What a stranger said, fit for a log: nothing that looks like a secret is left.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn quoted(text: &str) -> String {
    oauth::quoted(text, &[])
}

/// A credential that can be turned into tokens.
#[derive(Debug)]
pub struct Source {
    direct: Direct,
    impersonation: Option<Impersonation>,
    bearer: Wanted,
}

/// What gives tokens by itself.
#[derive(Debug)]
enum Direct {
    Metadata(Metadata),
    ServiceAccount(ServiceAccount),
    Federation(Federation),
    User(Arc<User>),
}

/// One token to get.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Which.
    pub wanted: &'a Wanted,
    /// The access token to ask with, where [`Source::needs_bearer`].
    pub bearer: Option<&'a Token>,
    /// For each callout.
    pub timeout: Duration,
    /// What is known of the credential.
    pub standing: Standing,
    /// For the times in an assertion, and the end of a token that says only how long it lives.
    pub now: Now,
}

/// How far an exchange has come.
#[derive(Clone, Debug)]
pub enum Leg {
    /// Nothing has been asked yet.
    Start,
    /// The metadata server.
    Metadata,
    /// The server of a subject token.
    Subject,
    /// The token service, which got this subject token.
    Sts(Secret),
    /// The signature of an assertion.
    Signature(Unsigned),
    /// The token endpoint.
    TokenEndpoint,
    /// IAM's `generate…Token`.
    Generate,
}

/// What an exchange needs next.
#[derive(Debug)]
pub enum Step {
    /// This request's answer.
    Call(Request, Leg),
    /// This text's signature.
    Sign(SigningInput, Leg),
    /// A subject token that only the host can get.
    #[cfg(not(target_family = "wasm"))]
    Local(Arc<LocalSubject>, Leg),
    /// Nothing more.
    Done(Result<Granted, FetchError>),
}

/// What came of a step.
#[derive(Debug)]
pub enum Answer {
    /// Of a callout.
    Response(Result<Response, CalloutError>),
    /// Of a signature.
    Signature(Result<Vec<u8>, SignError>),
    /// Of what only the host can get.
    #[cfg(not(target_family = "wasm"))]
    Subject(Result<Secret, FetchError>),
}

/// A token, and what an operator should know of how it came.
#[derive(Debug)]
pub struct Granted {
    /// The token.
    pub token: Token,
    /// Something that works and may hurt one day.
    pub remark: Option<&'static str>,
}

impl From<Token> for Granted {
    fn from(token: Token) -> Self {
        Self {
            token,
            remark: None,
        }
    }
}

/// What is known of the credential when a callout fails: early trouble is often only early.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Since the VM started.
    pub age: Duration,
    /// Whether the credential ever brought a token in this VM.
    pub has_succeeded: bool,
    /// How long ago the bearer came, if there is one.
    pub bearer_age: Option<Duration>,
}

/// An unknown cluster may still arrive for this long: Envoy gets clusters and listeners from
/// different streams.
const CLUSTERS_MAY_COME: Duration = Duration::from_secs(30);

impl Source {
    /// Names the credential and where it is asked, for the key of stored tokens. One credential has
    /// one text, two have two; without line breaks inside a part, so that parts can't run together.
    pub fn identity(&self) -> String {
        match &self.impersonation {
            Some(account) => format!("{}\n{}", account.identity(), self.direct.identity()),
            None => self.direct.identity(),
        }
    }

    /// The server, as a message to a person names it.
    pub fn server(&self) -> String {
        match &self.impersonation {
            Some(account) => account.server(),
            None => self.direct.server(),
        }
    }

    /// The access token that this source asks with, and the identity of the credential that gives it.
    pub fn bearer(&self) -> Option<(&Wanted, String)> {
        self.impersonation.as_ref()?;
        Some((&self.bearer, self.direct.identity()))
    }

    /// Whether [`Order::bearer`] must be there for this.
    pub fn needs_bearer(&self, wanted: &Wanted) -> bool {
        match (&self.direct, wanted) {
            // A key signs access tokens of its own account by itself, in every universe.
            (Direct::ServiceAccount(direct), Wanted::AccessToken(_)) => self
                .impersonation
                .as_ref()
                .is_some_and(|it| it.account != direct.key.email),
            _ => self.impersonation.is_some(),
        }
    }

    /// The first step towards a token. With a bearer in the order it is IAM's, else the first layer's.
    pub fn begin(&self, order: &Order<'_>) -> Step {
        match (&self.impersonation, order.bearer) {
            (Some(account), Some(bearer)) => account.begin(bearer, order),
            _ => self.direct.begin(order),
        }
    }

    /// The step after an answer.
    pub fn proceed(&self, leg: &Leg, answer: Answer, order: &Order<'_>) -> Step {
        let result = match (answer, leg, &self.direct, &self.impersonation) {
            (Answer::Response(answer), Leg::Metadata, Direct::Metadata(direct), account) => {
                let result = direct.token(answer, order);
                // Beside other legs this one needs a name.
                match account {
                    Some(_) => result.map_err(|error| error.at("metadata server")),
                    None => result,
                }
            }
            (Answer::Response(answer), Leg::Subject, Direct::Federation(direct), _) => {
                return direct.exchange(answer, order);
            }
            #[cfg(not(target_family = "wasm"))]
            (Answer::Subject(answer), Leg::Subject, Direct::Federation(direct), _) => {
                return direct.exchange_for(answer, order);
            }
            (Answer::Response(answer), Leg::Sts(subject), Direct::Federation(direct), _) => {
                direct.token(subject, answer, order)
            }
            (Answer::Signature(answer), Leg::Signature(text), Direct::ServiceAccount(it), _) => {
                return alive(it.signed(text, answer, order), order.now);
            }
            (Answer::Response(answer), Leg::TokenEndpoint, Direct::ServiceAccount(direct), _) => {
                direct.token(answer, order)
            }
            (Answer::Response(answer), Leg::TokenEndpoint, Direct::User(direct), _) => {
                direct.token(answer, order)
            }
            (Answer::Response(answer), Leg::Generate, _, Some(account)) => {
                account.token(answer, order)
            }
            _ => Err(oauth::malformed("an answer that was not asked for")),
        };
        alive(Step::Done(result), order.now)
    }
}

impl Direct {
    fn identity(&self) -> String {
        match self {
            Self::Metadata(direct) => direct.identity(),
            Self::ServiceAccount(direct) => direct.identity(),
            Self::Federation(direct) => direct.identity(),
            Self::User(direct) => direct.identity(),
        }
    }

    fn server(&self) -> String {
        match self {
            Self::Metadata(direct) => direct.server(),
            Self::ServiceAccount(direct) => direct.server(),
            Self::Federation(direct) => direct.server(),
            Self::User(direct) => direct.server(),
        }
    }

    fn begin(&self, order: &Order<'_>) -> Step {
        match self {
            Self::Metadata(direct) => direct.begin(order),
            Self::ServiceAccount(direct) => direct.begin(order),
            Self::Federation(direct) => direct.begin(order),
            Self::User(direct) => direct.begin(order),
        }
    }
}

/// A server can hand out dead tokens for a while: that is its trouble, not ours to send on.
fn alive(step: Step, now: Now) -> Step {
    let Step::Done(Ok(Granted { token, .. })) = &step else {
        return step;
    };
    if token.is_usable(now.unix) {
        return step;
    }
    let expires_at = token.expires_at();
    let when = match expires_at.since(now.unix).as_secs() {
        0 => format!("ended {} s ago", now.unix.since(expires_at).as_secs()),
        left => format!("ends in {left} s"),
    };
    Step::Done(Err(FetchError::transient(
        Code::ExpiredToken,
        format!("it gave a token that {when}; one is used until 30 s before its \"exp\""),
    )))
}

/// What a callout without an answer means.
fn no_answer(error: CalloutError, cluster: &str, standing: Standing) -> FetchError {
    match error {
        CalloutError::Timeout => {
            FetchError::transient(Code::CalloutTimeout, "no answer within callout_timeout")
        }
        CalloutError::Unreachable => {
            FetchError::transient(Code::CalloutUnreachable, "connection refused or reset")
        }
        CalloutError::Unavailable if cluster.is_empty() => {
            FetchError::transient(Code::CalloutUnavailable, "the request could not be sent")
        }
        CalloutError::Unavailable => FetchError::transient(
            Code::CalloutUnavailable,
            format!("cluster {cluster:?} has no healthy endpoint, or its circuit breaker is open"),
        ),
        CalloutError::NotGiven => {
            FetchError::transient(Code::CalloutUnavailable, "the program gave none")
        }
        CalloutError::Unreadable => {
            FetchError::transient(Code::CalloutUnavailable, "the file can't be read")
        }
        CalloutError::UnknownCluster => {
            let reason = format!("there is no cluster {cluster:?}");
            if standing.age < CLUSTERS_MAY_COME {
                FetchError::transient(Code::UnknownCluster, reason)
            } else {
                FetchError::permanent(Code::UnknownCluster, reason)
            }
        }
        CalloutError::TooLarge => oauth::malformed("an answer of more than 64 KiB"),
    }
}

/// A server with the cluster that leads to it.
fn named(server: &str, cluster: &str) -> String {
    if cluster.is_empty() {
        server.to_owned()
    } else {
        format!("{server} (cluster {cluster:?})")
    }
}

/// Tells credentials apart by what must not be shown: SHA-256 over the parts, each with its length.
fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

#[cfg(test)]
pub(crate) mod tests;
