//! The person who is logged in: whom an `authorized_user` file is of.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{error::Error, parameters::Parameters};

/// The OAuth client that the person logged in with.
pub(super) const CLIENT_ID: &str = "invoker-local.apps.googleusercontent.com";

/// A person's credentials, made at start.
pub(super) struct User {
    pub(super) client_secret: String,
    pub(super) refresh_token: String,
}

impl User {
    pub(super) fn new() -> Result<Self, Error> {
        let random = |prefix: &str| {
            let mut bytes = [0_u8; 24];
            getrandom::fill(&mut bytes).map_err(|error| Error::Key(error.to_string()))?;
            Ok::<_, Error>(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)))
        };
        Ok(Self {
            // Google's begin so, and scanners for leaked secrets know them by it.
            client_secret: random("GOCSPX-")?,
            refresh_token: random("1//")?,
        })
    }

    /// Whether a form shows the client that the person logged in with.
    pub(super) fn is_client(&self, form: &Parameters) -> bool {
        form.value("client_id") == Some(CLIENT_ID)
            && form.value("client_secret") == Some(&self.client_secret)
    }
}

impl fmt::Debug for User {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("User").finish_non_exhaustive()
    }
}
