//! What a program prints that was asked for a subject token, or leaves in its `output_file`.
//!
//! The format is version 1 of "executable-sourced credentials" (docs.cloud.google.com, workload identity
//! federation; AIP-4117 for client libraries).

use serde_json::{Map, Value};

use crate::error::{Code, FetchError};
use crate::secret::Secret;
use crate::source::quoted;
use crate::time::UnixTime;

const VERSION: u64 = 1;

/// The token in what a program printed that ended well. Who also writes files has to say when tokens end.
pub(super) fn token(
    printed: &[u8],
    has_output_file: bool,
    now: UnixTime,
) -> Result<Secret, FetchError> {
    let response = object(printed)?;
    let (token, expires_at) = read(&response)?;
    match expires_at {
        Some(at) if at <= now => Err(FetchError::permanent(
            Code::ExpiredToken,
            format!(
                "the program printed a token that ended {} s ago; see that it gets a new one, and see this \
                 machine's clock",
                now.since(at).as_secs()
            ),
        )),
        None if has_output_file => Err(malformed(
            "without \"expiration_time\", which it must have beside an output_file",
        )),
        _ => Ok(token),
    }
}

/// The token that a program left in a file for later; only one that says how long it is good for.
pub(super) fn kept_token(kept: &[u8], now: UnixTime) -> Result<Secret, FetchError> {
    token(kept, true, now)
}

/// The code and the message of a failure.
pub(super) fn complaint(printed: &[u8]) -> Option<String> {
    let response = object(printed).ok()?;
    (response.get("success") == Some(&Value::Bool(false))).then_some(())?;
    let part = |field: &str| match response.get(field)? {
        Value::String(text) => Some(quoted(text)),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    Some(format!("{}: {}", part("code")?, part("message")?))
}

fn object(printed: &[u8]) -> Result<Map<String, Value>, FetchError> {
    // Without serde's words, which can quote.
    serde_json::from_slice(printed).map_err(|_| malformed("that is not a JSON object"))
}

fn read(response: &Map<String, Value>) -> Result<(Secret, Option<UnixTime>), FetchError> {
    match response.get("version").map(Value::as_u64) {
        Some(Some(VERSION)) => {}
        Some(Some(other)) => {
            return Err(malformed(&format!(
                "of version {other}, and only version 1 is known"
            )));
        }
        _ => return Err(malformed("without a \"version\"")),
    }
    match response.get("success").map(Value::as_bool) {
        Some(Some(true)) => {}
        Some(Some(false)) => return Err(unsuccessful(response)),
        _ => return Err(malformed("without \"success\"")),
    }
    let kind = response.get("token_type").and_then(Value::as_str);
    let field = match kind {
        Some(
            "urn:ietf:params:oauth:token-type:jwt" | "urn:ietf:params:oauth:token-type:id_token",
        ) => "id_token",
        Some("urn:ietf:params:oauth:token-type:saml2") => "saml_response",
        Some(_) => {
            return Err(malformed(
                "whose \"token_type\" is none of jwt, id_token and saml2",
            ));
        }
        None => return Err(malformed("without a \"token_type\"")),
    };
    let token = response.get(field).and_then(Value::as_str);
    let token = token.filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| malformed(&format!("without {field:?}")))?;
    let expires_at = match response.get("expiration_time") {
        None => None,
        Some(value) => {
            let seconds = value.as_u64();
            Some(seconds.ok_or_else(|| {
                malformed("whose \"expiration_time\" is no number of seconds since 1970")
            })?)
        }
    };
    Ok((Secret::new(token), expires_at.map(UnixTime::from_secs)))
}

fn unsuccessful(response: &Map<String, Value>) -> FetchError {
    let printed = Value::Object(response.clone()).to_string();
    match complaint(printed.as_bytes()) {
        Some(complaint) => {
            FetchError::permanent(Code::Refused, format!("the program says {complaint}"))
        }
        None => malformed("of a failure without \"code\" and \"message\""),
    }
}

fn malformed(what: &str) -> FetchError {
    FetchError::permanent(
        Code::MalformedAnswer,
        format!("the program printed an answer {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1000);

    fn told(printed: &str) -> String {
        match token(printed.as_bytes(), false, NOW) {
            Ok(token) => token.expose().to_owned(),
            Err(error) => format!("{}: {error}", error.code.as_str()),
        }
    }

    #[test]
    fn the_token_is_where_its_type_says() {
        let jwt = r#"{"version":1,"success":true,"token_type":"urn:ietf:params:oauth:token-type:jwt","id_token":"a.b.c","expiration_time":1001}"#;
        assert_eq!(told(jwt), "a.b.c");
        assert_eq!(told(&jwt.replace(":jwt", ":id_token")), "a.b.c");
        assert_eq!(
            told(&jwt.replace(r#","expiration_time":1001"#, "")),
            "a.b.c"
        );
        let saml = jwt.replace(":jwt", ":saml2");
        assert!(told(&saml).contains("saml_response"));
        assert_eq!(
            told(&saml.replace("\"id_token\"", "\"saml_response\"")),
            "a.b.c"
        );
    }

    #[test]
    fn beside_an_output_file_a_token_says_when_it_ends() {
        let with = |end: &str| {
            let printed = format!(
                r#"{{"version":1,"success":true,"token_type":"urn:ietf:params:oauth:token-type:jwt","id_token":"a.b.c"{end}}}"#
            );
            kept_token(printed.as_bytes(), NOW).map_err(|error| error.code)
        };
        assert!(with(r#","expiration_time":1001"#).is_ok());
        assert_eq!(with(r#","expiration_time":1000"#), Err(Code::ExpiredToken));
        assert_eq!(with(""), Err(Code::MalformedAnswer));
    }

    #[test]
    fn anything_else_is_an_error_that_quotes_no_secret() {
        let good = r#"{"version":1,"success":true,"token_type":"urn:ietf:params:oauth:token-type:jwt","id_token":"eyJz3cret.b.c","expiration_time":900}"#;
        let failure = r#"{"version":1,"success":false,"code":"401","message":"Caller eyJz3cret not authorized."}"#;
        let found = [
            good.to_owned(),
            String::new(),
            "eyJz3cret".to_owned(),
            "[]".to_owned(),
            good.replace("\"version\":1", "\"version\":2"),
            good.replace("\"version\":1", "\"version\":\"1\""),
            good.replace("true", "\"true\""),
            good.replace(":jwt", ":access_token"),
            good.replace("token_type", "kind"),
            good.replace("eyJz3cret.b.c", ""),
            good.replace("900", "\"900\""),
            failure.to_owned(),
            failure.replace("\"401\"", "401"),
            failure.replace("message", "words"),
        ]
        .map(|printed| told(&printed));
        assert!(!found.concat().contains("z3cret"));
        insta::assert_snapshot!(found.join("\n"), @r#"
        expired_token: the program printed a token that ended 100 s ago; see that it gets a new one, and see this machine's clock
        malformed_answer: the program printed an answer that is not a JSON object
        malformed_answer: the program printed an answer that is not a JSON object
        malformed_answer: the program printed an answer that is not a JSON object
        malformed_answer: the program printed an answer of version 2, and only version 1 is known
        malformed_answer: the program printed an answer without a "version"
        malformed_answer: the program printed an answer without "success"
        malformed_answer: the program printed an answer whose "token_type" is none of jwt, id_token and saml2
        malformed_answer: the program printed an answer without a "token_type"
        malformed_answer: the program printed an answer without "id_token"
        malformed_answer: the program printed an answer whose "expiration_time" is no number of seconds since 1970
        refused: the program says 401: Caller [cut] not authorized.
        refused: the program says 401: Caller [cut] not authorized.
        malformed_answer: the program printed an answer of a failure without "code" and "message"
        "#);
    }
}
