//! Tokens for components that want the token itself.

use super::bindings::exports::invoker::identity::id_tokens::Error;
use super::{clock, instance};
use crate::audience::Audience;
use crate::authenticator::Answer;
use crate::error::{Class, Denial};
use crate::host::component::configuration::Misconfigured;

/// A token for that audience.
pub(super) async fn get(audience: &str) -> Result<String, Error> {
    let audience = Audience::custom(audience).map_err(|error| Error {
        code: "invalid_audience".to_owned(),
        message: error.to_string(),
        is_temporary: false,
    })?;
    let (request, answer) = instance::with(|instance| {
        let request = instance.next_request();
        let (store, now) = (&instance.store, clock::now());
        let answer = instance
            .invoker
            .request_token(request, audience.into(), store, now);
        (request, answer)
    })?;
    instance::step();
    let token = match answer {
        Answer::Token(token) => token,
        Answer::Denied(denial) => return Err(denial.into()),
        Answer::Pending => instance::wait(request).await??,
    };
    Ok(token.secret().to_owned())
}

impl From<Denial> for Error {
    fn from(denial: Denial) -> Self {
        Self {
            code: denial.code.as_str().to_owned(),
            message: denial.message,
            is_temporary: denial.class == Class::Transient,
        }
    }
}

impl From<Misconfigured> for Error {
    fn from(problem: Misconfigured) -> Self {
        Self {
            code: "misconfigured".to_owned(),
            message: "the configuration can't be used; see the component's standard error"
                .to_owned(),
            is_temporary: problem.is_temporary,
        }
    }
}
