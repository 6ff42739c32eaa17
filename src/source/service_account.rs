//! A service account's key: a JWT that it signs, exchanged at the key's token endpoint for a token.
//!
//! Wire format: "Using OAuth 2.0 for Server to Server Applications" in Google's documentation, and what
//! its own client libraries do. A key of another universe domain has no such endpoint: there the signed
//! JWT is an access token itself.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::utf8_percent_encode;
use serde_json::{Map, Value, json};

use super::key::{SignError, SigningInput, SigningKey};
use super::oauth::{self, Complaint};
use super::{DATA, Granted, Leg, Order, Step, no_answer};
use crate::error::{Code, FetchError};
use crate::http::{CalloutError, FORM, Request, Response};
use crate::time::UnixTime;
use crate::token::Token;
use crate::url::Url;
use crate::wanted::Wanted;

/// The leg as a message names it.
const LEG: &str = "token endpoint";

/// Services refuse an `iat` in the future, and clocks differ a little.
const BACKDATED: Duration = Duration::from_secs(10);

/// The longest that Google takes.
const LIFETIME: Duration = Duration::from_secs(3600);

const GRANT_TYPE: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";

/// A key file, read.
#[derive(Debug)]
pub struct ServiceAccountKey {
    /// The account's email: `client_email`.
    pub email: String,
    /// `private_key_id`.
    pub key_id: Option<String>,
    /// Where assertions are exchanged, and their `aud`.
    pub token_uri: Url,
    /// `googleapis.com`, but for clouds of its own.
    pub universe: String,
    /// `private_key`.
    pub key: Arc<SigningKey>,
}

/// The universe domain of Google Cloud as everybody knows it.
pub const DEFAULT_UNIVERSE: &str = "googleapis.com";

impl ServiceAccountKey {
    /// Whether its tokens come from [`Self::token_uri`].
    pub fn is_of_default_universe(&self) -> bool {
        self.universe == DEFAULT_UNIVERSE
    }
}

#[derive(Debug)]
pub(super) struct ServiceAccount {
    pub(super) cluster: String,
    pub(super) key: Arc<ServiceAccountKey>,
}

/// A JWT that lacks its signature.
#[derive(Clone)]
pub struct Unsigned {
    text: String,
    expires_at: UnixTime,
}

impl std::fmt::Debug for Unsigned {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[censored]")
    }
}

impl ServiceAccount {
    pub(super) fn identity(&self) -> String {
        let key = &self.key;
        let parts = [
            &self.cluster,
            &key.email,
            key.key_id.as_deref().unwrap_or_default(),
            key.token_uri.as_str(),
            &key.universe,
        ];
        format!(
            "service_account_key\n{}\n{}",
            parts.join("\n"),
            super::digest([key.key.der()])
        )
    }

    pub(super) fn server(&self) -> String {
        let endpoint = self.key.token_uri.authority();
        super::named(&format!("the token endpoint {endpoint}"), &self.cluster)
    }

    pub(super) fn begin(&self, order: &Order<'_>) -> Step {
        let issued_at = order.now.unix - BACKDATED;
        let expires_at = issued_at + LIFETIME;
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), self.key.email.as_str().into());
        claims.insert("sub".to_owned(), self.key.email.as_str().into());
        claims.insert("iat".to_owned(), issued_at.as_secs().into());
        claims.insert("exp".to_owned(), expires_at.as_secs().into());
        if self.key.is_of_default_universe() {
            claims.insert("aud".to_owned(), self.key.token_uri.as_str().into());
        }
        match order.wanted {
            Wanted::IdToken(audience) => {
                claims.insert("target_audience".to_owned(), audience.as_str().into())
            }
            Wanted::AccessToken(scopes) => {
                claims.insert("scope".to_owned(), scopes.as_str().into())
            }
        };
        let text = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(self.header().to_string()),
            URL_SAFE_NO_PAD.encode(Value::Object(claims).to_string())
        );
        let input = SigningInput {
            key: Arc::clone(&self.key.key),
            text: text.clone(),
        };
        Step::Sign(input, Leg::Signature(Unsigned { text, expires_at }))
    }

    /// What follows the signature: the exchange, or nothing if the JWT is a token itself.
    pub(super) fn signed(
        &self,
        unsigned: &Unsigned,
        signature: Result<Vec<u8>, SignError>,
        order: &Order<'_>,
    ) -> Step {
        let signature = match signature {
            Ok(signature) => URL_SAFE_NO_PAD.encode(signature),
            Err(error) => {
                let error = FetchError::permanent(Code::Refused, format!("signature: {error}"));
                return Step::Done(Err(error));
            }
        };
        let assertion = format!("{}.{signature}", unsigned.text);
        if !self.key.is_of_default_universe() {
            let token = oauth::token(Token::access_token(&assertion, unsigned.expires_at));
            return Step::Done(token.map(Granted::from));
        }
        let assertion = utf8_percent_encode(&assertion, DATA);
        let body = format!("grant_type={GRANT_TYPE}&assertion={assertion}");
        let request =
            Request::post(&self.cluster, &self.key.token_uri, order.timeout).with_body(FORM, body);
        Step::Call(request, Leg::TokenEndpoint)
    }

    pub(super) fn token(
        &self,
        answer: Result<Response, CalloutError>,
        order: &Order<'_>,
    ) -> Result<Granted, FetchError> {
        let token = answer
            .map_err(|error| no_answer(error, &self.cluster, order.standing))
            .and_then(|response| {
                let answer =
                    oauth::object(&response, &[], |_, complaint| self.advice(complaint, order))?;
                match order.wanted {
                    Wanted::IdToken(audience) => {
                        oauth::token(Token::id_token(oauth::text(&answer, "id_token")?, audience))
                    }
                    Wanted::AccessToken(_) => oauth::access_token(&answer, order.now),
                }
            });
        token.map(Granted::from).map_err(|error| error.at(LEG))
    }

    fn header(&self) -> Value {
        match &self.key.key_id {
            Some(key_id) => json!({"alg": "RS256", "typ": "JWT", "kid": key_id}),
            None => json!({"alg": "RS256", "typ": "JWT"}),
        }
    }

    fn advice(&self, complaint: &Complaint, order: &Order<'_>) -> Option<String> {
        let email = &self.key.email;
        let said = |words: &str| complaint.message.contains(words);
        if complaint.word != "invalid_grant" {
            return None;
        }
        if said("Invalid JWT Signature") {
            let key_id = self.key.key_id.as_deref().unwrap_or("without an ID");
            Some(format!(
                "the key {key_id} of {email} is wrong, or was deleted: make a new one and replace it"
            ))
        } else if said("reasonable timeframe") {
            Some(format!(
                "this machine's clock is off: it says {} s since 1970; set it",
                order.now.unix.as_secs()
            ))
        } else if said("account not found") {
            Some(format!("{email} was deleted, or is written wrong"))
        } else {
            None
        }
    }
}
