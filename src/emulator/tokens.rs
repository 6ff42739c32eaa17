//! The tokens that are handed out: ID tokens as Google mints them, and opaque access tokens.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::{
    account::ServiceAccount, clock::Clock, faults::TokenChange, keys::SigningKey, lock,
    policy::Principal,
};

const ISSUER: &str = "https://accounts.google.com";

/// The real server gives the same access token out until 5 minutes before its end
/// ("Authenticating workloads using service accounts", Compute Engine's documentation).
const ACCESS_TOKEN_RENEWAL: i64 = 5 * 60;

/// The scope for everything, which is what those get who name none.
pub(super) const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Either of these opens the IAM credentials API.
const IAM_SCOPES: [&str; 2] = [CLOUD_PLATFORM, "https://www.googleapis.com/auth/iam"];

/// Why there is no token: the key or the machine's randomness failed. It names no secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("the token could not be signed")]
    Signature(#[from] rsa::signature::Error),
    #[error("no random bytes: {0}")]
    Randomness(#[from] getrandom::Error),
}

/// A token and its end.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) text: String,
    /// Seconds since the Unix epoch.
    pub(super) expires: i64,
}

/// What a caller asks for when it asks for an ID token.
#[derive(Debug)]
pub(super) struct IdTokenRequest<'a> {
    pub(super) account: &'a ServiceAccount,
    pub(super) audience: &'a str,
    /// `format=full`: with the email, which policies of receivers look at.
    pub(super) with_email: bool,
    /// Whether `azp` is the email too, where it is the account's number otherwise.
    pub(super) email_as_azp: bool,
}

/// Who an access token is of, and what it is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authorization {
    pub(super) principal: Principal,
    scopes: BTreeSet<String>,
}

impl Authorization {
    /// `scopes` separated by spaces or commas.
    pub(super) fn new(principal: Principal, scopes: &str) -> Self {
        let scopes = scopes.split([' ', ',']).filter(|scope| !scope.is_empty());
        Self {
            principal,
            scopes: scopes.map(str::to_owned).collect(),
        }
    }

    /// Whether IAM's credentials API takes it.
    pub(super) fn covers_iam(&self) -> bool {
        IAM_SCOPES.iter().any(|scope| self.scopes.contains(*scope))
    }
}

/// Mints tokens, and remembers the access tokens that are still to be given out again.
#[derive(Debug)]
pub(super) struct Mint {
    clock: Arc<Clock>,
    lifetime: i64,
    access_tokens: Mutex<HashMap<(String, String), Token>>,
    /// The access tokens that are not over, by what a caller shows.
    issued: Mutex<HashMap<String, (Authorization, i64)>>,
}

impl Mint {
    /// `lifetime` in whole seconds.
    pub(super) fn new(lifetime: Duration, clock: Arc<Clock>) -> Self {
        Self {
            clock,
            lifetime: i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX / 2),
            access_tokens: Mutex::default(),
            issued: Mutex::default(),
        }
    }

    /// Whole seconds from now to a token's end; negative once it is over.
    pub(super) fn remaining(&self, token: &Token) -> i64 {
        token.expires - self.clock.now()
    }

    /// An ID token, minted anew for each call as on Compute Engine.
    pub(super) fn id_token(
        &self,
        key: &SigningKey,
        request: &IdTokenRequest<'_>,
        change: &TokenChange,
    ) -> Result<Token, TokenError> {
        let identity = (request.account.email(), request.audience);
        change.keep_first(identity, || {
            let (issued, expires) = self.life(change);
            let id = request.account.unique_id();
            let azp = if request.email_as_azp {
                request.account.email()
            } else {
                &id
            };
            let mut claims = json!({
                "iss": ISSUER,
                "aud": change.aud.as_deref().unwrap_or(request.audience),
                "azp": azp,
                "sub": id,
                "iat": issued,
                "exp": expires,
            });
            if let Some(claims) = claims.as_object_mut() {
                if request.with_email {
                    claims.insert("email".to_owned(), json!(request.account.email()));
                    claims.insert("email_verified".to_owned(), json!(true));
                }
                claims.retain(|name, _| !change.omit.contains(name));
            }
            let mut text = key.sign(&claims)?;
            text.push_str(change.suffix.as_deref().unwrap_or_default());
            Ok(Token { text, expires })
        })
    }

    /// An access token of the machine: the one given out before, unless it ends soon.
    pub(super) fn machines_access_token(
        &self,
        account: &ServiceAccount,
        scopes: &str,
        change: &TokenChange,
    ) -> Result<Token, TokenError> {
        let authorization = || {
            let scopes = if scopes.is_empty() {
                CLOUD_PLATFORM
            } else {
                scopes
            };
            Authorization::new(Principal::Account(account.clone()), scopes)
        };
        if !change.is_default() {
            return change.keep_first((account.email(), scopes), || {
                self.new_access_token(authorization(), None, change)
            });
        }
        let mut tokens = lock(&self.access_tokens);
        tokens.retain(|_, token| self.remaining(token) > ACCESS_TOKEN_RENEWAL);
        let identity = (account.email().to_owned(), scopes.to_owned());
        if let Some(token) = tokens.get(&identity) {
            return Ok(token.clone());
        }
        let token = self.new_access_token(authorization(), None, change)?;
        tokens.insert(identity, token.clone());
        Ok(token)
    }

    /// An access token that nobody had before. `lifetime` in seconds, if it was asked for.
    pub(super) fn new_access_token(
        &self,
        authorization: Authorization,
        lifetime: Option<i64>,
        change: &TokenChange,
    ) -> Result<Token, TokenError> {
        let mut random = [0_u8; 48];
        getrandom::fill(&mut random)?;
        // Google's access tokens begin so; scanners for leaked secrets know the prefix.
        let mut text = format!("ya29.{}", URL_SAFE_NO_PAD.encode(random));
        let now = self.clock.now();
        let lifetime = change.lifetime.or(lifetime).unwrap_or(self.lifetime);
        let expires = now.saturating_add(lifetime);
        let mut issued = lock(&self.issued);
        issued.retain(|_, (_, expires)| *expires > now);
        issued.insert(text.clone(), (authorization, expires));
        text.push_str(change.suffix.as_deref().unwrap_or_default());
        Ok(Token { text, expires })
    }

    /// What an access token stands for, if it was given out here and is not over.
    pub(super) fn authorization(&self, access_token: &str) -> Option<Authorization> {
        let issued = lock(&self.issued);
        let (authorization, expires) = issued.get(access_token)?;
        (*expires > self.clock.now()).then(|| authorization.clone())
    }

    /// Ends all access tokens at once.
    pub(super) fn revoke_access_tokens(&self) {
        lock(&self.access_tokens).clear();
        lock(&self.issued).clear();
    }

    /// `iat` and `exp`. A token that is already over was issued one lifetime before its end, so
    /// that it is a plausible old token and not one that ends before it begins.
    fn life(&self, change: &TokenChange) -> (i64, i64) {
        let now = self.clock.now();
        let expires = now.saturating_add(change.lifetime.unwrap_or(self.lifetime));
        let issued = if expires > now {
            now
        } else {
            expires - self.lifetime
        };
        (issued, expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access_token(mint: &Mint, scopes: &str) -> String {
        let account = ServiceAccount::default();
        mint.machines_access_token(&account, scopes, &TokenChange::default())
            .unwrap()
            .text
    }

    #[test]
    fn an_access_token_is_given_out_again_for_the_same_scopes_only() {
        let mint = Mint::new(Duration::from_secs(3600), Arc::default());
        assert_eq!(access_token(&mint, "a"), access_token(&mint, "a"));
        assert_ne!(access_token(&mint, "a"), access_token(&mint, "b"));
    }

    #[test]
    fn an_access_token_that_ends_within_five_minutes_is_not_given_out_again() {
        let mint = Mint::new(Duration::from_secs(300), Arc::default());
        assert_ne!(access_token(&mint, "a"), access_token(&mint, "a"));
    }
}
