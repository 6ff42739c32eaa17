//! The tokens that are handed out: ID tokens as Google mints them, and opaque access tokens.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::{account::ServiceAccount, faults::TokenChange, keys::SigningKey, lock};

const ISSUER: &str = "https://accounts.google.com";

/// The real server gives the same access token out until 5 minutes before its end
/// ("Authenticating workloads using service accounts", Compute Engine's documentation).
const ACCESS_TOKEN_RENEWAL: i64 = 5 * 60;

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

impl Token {
    /// Whole seconds from now to the end; negative once it is over.
    pub(super) fn remaining(&self) -> i64 {
        self.expires - now()
    }
}

/// What a caller asks for when it asks for an ID token.
#[derive(Debug)]
pub(super) struct IdTokenRequest<'a> {
    pub(super) account: &'a ServiceAccount,
    pub(super) audience: &'a str,
    /// `format=full`: with the email, which policies of receivers look at.
    pub(super) with_email: bool,
}

/// Mints tokens, and remembers the access tokens that are still to be given out again.
#[derive(Debug)]
pub(super) struct Mint {
    lifetime: i64,
    access_tokens: Mutex<HashMap<(String, String), Token>>,
}

impl Mint {
    /// `lifetime` in whole seconds.
    pub(super) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime: i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX / 2),
            access_tokens: Mutex::default(),
        }
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
            let mut claims = json!({
                "iss": ISSUER,
                "aud": change.aud.as_deref().unwrap_or(request.audience),
                "azp": id,
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

    /// An access token for these scopes: the one given out before, unless it ends soon.
    pub(super) fn access_token(
        &self,
        account: &ServiceAccount,
        scopes: &str,
        change: &TokenChange,
    ) -> Result<Token, TokenError> {
        if !change.is_default() {
            return change.keep_first((account.email(), scopes), || self.new_access_token(change));
        }
        let mut tokens = lock(&self.access_tokens);
        tokens.retain(|_, token| token.remaining() > ACCESS_TOKEN_RENEWAL);
        let identity = (account.email().to_owned(), scopes.to_owned());
        if let Some(token) = tokens.get(&identity) {
            return Ok(token.clone());
        }
        let token = self.new_access_token(change)?;
        tokens.insert(identity, token.clone());
        Ok(token)
    }

    fn new_access_token(&self, change: &TokenChange) -> Result<Token, TokenError> {
        let mut random = [0_u8; 48];
        getrandom::fill(&mut random)?;
        let (_, expires) = self.life(change);
        let suffix = change.suffix.as_deref().unwrap_or_default();
        Ok(Token {
            // Google's access tokens begin so; scanners for leaked secrets know the prefix.
            text: format!("ya29.{}{suffix}", URL_SAFE_NO_PAD.encode(random)),
            expires,
        })
    }

    /// `iat` and `exp`. A token that is already over was issued one lifetime before its end, so
    /// that it is a plausible old token and not one that ends before it begins.
    fn life(&self, change: &TokenChange) -> (i64, i64) {
        let now = now();
        let expires = now.saturating_add(change.lifetime.unwrap_or(self.lifetime));
        let issued = if expires > now {
            now
        } else {
            expires - self.lifetime
        };
        (issued, expires)
    }
}

/// Seconds since the Unix epoch, by the machine's clock.
fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access_token(mint: &Mint, scopes: &str) -> String {
        let account = ServiceAccount::default();
        mint.access_token(&account, scopes, &TokenChange::default())
            .unwrap()
            .text
    }

    #[test]
    fn an_access_token_is_given_out_again_for_the_same_scopes_only() {
        let mint = Mint::new(Duration::from_secs(3600));
        assert_eq!(access_token(&mint, "a"), access_token(&mint, "a"));
        assert_ne!(access_token(&mint, "a"), access_token(&mint, "b"));
    }

    #[test]
    fn an_access_token_that_ends_within_five_minutes_is_not_given_out_again() {
        let mint = Mint::new(Duration::from_secs(300));
        assert_ne!(access_token(&mint, "a"), access_token(&mint, "a"));
    }
}
