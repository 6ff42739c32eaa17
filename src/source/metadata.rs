//! The metadata server: one GET, and the body is the ID token, or JSON with the access token.
//!
//! Wire format: "Fetching identity and access tokens" in Google Cloud's documentation, and what its
//! own client libraries do.

use std::borrow::Cow;
use std::time::Duration;

use percent_encoding::utf8_percent_encode;

use super::oauth::{self, retry_after};
use super::{DATA, Granted, Leg, Order, Standing, Step, no_answer};
use crate::config::MetadataCredentials;
use crate::error::{Code, FetchError};
use crate::http::{CalloutError, Request, Response};
use crate::token::Token;
use crate::url::Scheme;
use crate::wanted::Wanted;

/// The name by which every client knows the server; it refuses requests for other hosts.
pub const AUTHORITY: &str = "metadata.google.internal";

/// The environment variable by which Google's clients find the server elsewhere.
pub const METADATA_HOST: &str = "GCE_METADATA_HOST";

/// A new GKE Pod's server answers 404 for some seconds: 132 of 485 Pods met it in
/// googleapis/google-cloud-go#14349.
const WARMING_UP: Duration = Duration::from_secs(60);

/// What marks an answer as the server's own, and a request as not one that a browser was led to make.
const FLAVOR: &str = "metadata-flavor";

const NO_FLAVOR: &str = "the metadata server's answer has no \"Metadata-Flavor: Google\"; its token is for this audience and is taken";

/// The credential of the machine that the proxy runs on.
#[derive(Debug)]
pub struct Metadata {
    cluster: String,
    service_account: String,
}

impl Metadata {
    pub(super) fn new(credentials: &MetadataCredentials) -> Self {
        Self {
            cluster: credentials.cluster.clone().unwrap_or_default(),
            service_account: credentials.service_account.clone(),
        }
    }

    pub(super) fn identity(&self) -> String {
        format!("metadata\n{}\n{}", self.cluster, self.service_account)
    }

    pub(super) fn server(&self) -> String {
        if self.cluster.is_empty() {
            format!("the metadata server ({AUTHORITY})")
        } else {
            format!("the metadata server (cluster {:?})", self.cluster)
        }
    }

    /// `format=full` adds `email`, without which policies on the caller's name fail.
    pub(super) fn begin(&self, order: &Order<'_>) -> Step {
        let what = match order.wanted {
            Wanted::IdToken(audience) => {
                let audience = utf8_percent_encode(audience.as_str(), DATA);
                format!("identity?audience={audience}&format=full")
            }
            Wanted::AccessToken(scopes) => {
                let scopes = scopes.iter().map(|scope| utf8_percent_encode(scope, DATA));
                let scopes: Vec<String> = scopes.map(|scope| scope.to_string()).collect();
                format!("token?scopes={}", scopes.join(","))
            }
        };
        let account = &self.service_account;
        let request = Request {
            cluster: self.cluster.clone(),
            scheme: Scheme::Http,
            method: "GET",
            authority: AUTHORITY.to_owned(),
            path: format!("/computeMetadata/v1/instance/service-accounts/{account}/{what}"),
            headers: vec![(Cow::Borrowed(FLAVOR), "Google".to_owned())],
            body: Vec::new(),
            timeout: order.timeout,
        };
        Step::Call(request, Leg::Metadata)
    }

    pub(super) fn token(
        &self,
        answer: Result<Response, CalloutError>,
        order: &Order<'_>,
    ) -> Result<Granted, FetchError> {
        let response = &answer.map_err(|error| no_answer(error, &self.cluster, order.standing))?;
        if response.status != 200 {
            return Err(self.refusal(response, order.standing));
        }
        // GKE has left the flavour out of good answers (googleapis/gcp-metadata#215): a valid token
        // for this audience speaks for itself. Some servers end it with a line break.
        let problem = match parse(response, order) {
            Ok(token) => {
                let remark = (!is_google(response)).then_some(NO_FLAVOR);
                return Ok(Granted { token, remark });
            }
            Err(problem) => problem,
        };
        let whose = if is_google(response) {
            ""
        } else {
            " (and no Metadata-Flavor: is this the metadata server?)"
        };
        Err(FetchError::permanent(
            Code::MalformedAnswer,
            format!("{problem}{whose}"),
        ))
    }

    /// What a status other than 200 means.
    fn refusal(&self, response: &Response, standing: Standing) -> FetchError {
        let status = response.status;
        match status {
            // Envoy itself answers so when a callout times out or can't connect.
            504 if !is_google(response) => {
                FetchError::transient(Code::CalloutTimeout, "no answer within callout_timeout")
            }
            503 if !is_google(response) => {
                FetchError::transient(Code::CalloutUnreachable, "connection refused or reset")
            }
            408 | 429 | 500.. => FetchError {
                retry_after: retry_after(response),
                ..FetchError::transient(Code::ServerError, format!("status {status}"))
            },
            404 => {
                let reason = format!(
                    "status 404: no service account {:?} here (on GKE: the Kubernetes service account has no IAM binding)",
                    self.service_account
                );
                if !standing.has_succeeded && standing.age < WARMING_UP {
                    FetchError::transient(Code::NotFound, reason)
                } else {
                    FetchError::permanent(Code::NotFound, reason)
                }
            }
            _ => FetchError::permanent(Code::Refused, format!("status {status}")),
        }
    }
}

/// The body is a JWT, or an object with an access token.
fn parse(response: &Response, order: &Order<'_>) -> Result<Token, String> {
    let body = str::from_utf8(&response.body).unwrap_or_default();
    let body = body.trim_ascii_end();
    if body.is_empty() {
        return Err("an empty answer".to_owned());
    }
    match order.wanted {
        Wanted::IdToken(audience) => Token::id_token(body, audience).map_err(|it| it.to_string()),
        Wanted::AccessToken(_) => oauth::object(response, &[], |_, _| None)
            .and_then(|answer| oauth::access_token(&answer, order.now))
            .map_err(|error| error.reason),
    }
}

fn is_google(response: &Response) -> bool {
    response.header(FLAVOR) == Some("Google")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audience::Audience;
    use crate::config::Credentials;
    use crate::error::Class;
    use crate::http::CalloutError;
    use crate::source::{Answer, Leg, Source, Step};
    use crate::time::{Monotonic, Now, UnixTime};
    use crate::wanted::Scopes;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    const AUDIENCE: &str = "https://a.example.com/?x=1&y=é#z+ %";

    fn source_with(cluster: &str, account: &str) -> Source {
        let (cluster, service_account) = (Some(cluster.to_owned()), account.to_owned());
        let credentials = Credentials::Metadata(MetadataCredentials {
            cluster,
            service_account,
        });
        Source::new(&credentials, &|_| None).unwrap()
    }

    fn source() -> Source {
        source_with("metadata", "default")
    }

    fn audience() -> Wanted {
        Audience::custom(AUDIENCE).unwrap().into()
    }

    fn order(wanted: &Wanted, standing: Standing) -> Order<'_> {
        Order {
            wanted,
            bearer: None,
            timeout: Duration::ZERO,
            standing,
            now: Now {
                monotonic: Monotonic::from_millis(0),
                unix: UnixTime::from_secs(1000),
            },
        }
    }

    fn jwt(audience: &str, exp: u64) -> String {
        let claims =
            serde_json::json!({"aud": audience, "exp": exp, "email": "login@x"}).to_string();
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    fn answer(status: u16, body: &str) -> Response {
        let headers = vec![("Metadata-Flavor".to_owned(), "Google".to_owned())];
        Response {
            status,
            headers,
            body: body.as_bytes().to_vec(),
        }
    }

    const LATE: Standing = Standing {
        age: Duration::from_secs(3600),
        has_succeeded: true,
        bearer_age: None,
    };
    const EARLY: Standing = Standing {
        age: Duration::from_secs(1),
        has_succeeded: false,
        bearer_age: None,
    };

    fn result(
        answer: Result<Response, CalloutError>,
        standing: Standing,
    ) -> Result<Granted, FetchError> {
        of(&audience(), answer, standing)
    }

    fn of(
        wanted: &Wanted,
        answer: Result<Response, CalloutError>,
        standing: Standing,
    ) -> Result<Granted, FetchError> {
        let answer = Answer::Response(answer);
        match source().proceed(&Leg::Metadata, answer, &order(wanted, standing)) {
            Step::Done(result) => result,
            _ => panic!("one leg is all there is"),
        }
    }

    fn failure(answer: Result<Response, CalloutError>, standing: Standing) -> (Class, Code) {
        let error = result(answer, standing).unwrap_err();
        (error.class, error.code)
    }

    #[test]
    fn the_audience_arrives_whole_whatever_is_in_it() {
        let Step::Call(request, Leg::Metadata) = source().begin(&order(&audience(), LATE)) else {
            panic!("the first step is a callout")
        };
        assert_eq!(
            request.path,
            "/computeMetadata/v1/instance/service-accounts/default/identity?audience=https%3A%2F%2Fa.example.com%2F%3Fx%3D1%26y%3D%C3%A9%23z%2B%20%25&format=full"
        );
        assert_eq!(
            request.headers,
            [("metadata-flavor".into(), "Google".to_owned())]
        );
        assert_eq!(
            (request.authority.as_str(), request.method),
            ("metadata.google.internal", "GET")
        );
    }

    #[test]
    fn a_token_is_taken_with_a_line_break_behind_it_and_without_the_flavour() {
        let token = format!("{}\r\n", jwt(AUDIENCE, 4600));
        let granted = result(Ok(answer(200, &token)), LATE).unwrap();
        assert_eq!(
            (granted.token.email(), granted.remark),
            (Some("login@x"), None)
        );
        let bare = Response {
            headers: Vec::new(),
            ..answer(200, &token)
        };
        assert_eq!(result(Ok(bare), LATE).unwrap().remark, Some(NO_FLAVOR));
    }

    #[test]
    fn what_may_pass_and_what_needs_a_person() {
        use Class::{Permanent, Transient};
        for status in [408, 429, 500, 502, 503, 504, 599] {
            assert_eq!(
                failure(Ok(answer(status, "")), LATE),
                (Transient, Code::ServerError)
            );
        }
        for status in [204, 301, 302, 400, 401, 403, 418] {
            assert_eq!(
                failure(Ok(answer(status, "")), EARLY),
                (Permanent, Code::Refused),
                "{status}"
            );
        }
        assert_eq!(
            failure(Err(CalloutError::Timeout), LATE),
            (Transient, Code::CalloutTimeout)
        );
        assert_eq!(
            failure(Err(CalloutError::Unreachable), LATE),
            (Transient, Code::CalloutUnreachable)
        );
        assert_eq!(
            failure(Err(CalloutError::Unavailable), LATE),
            (Transient, Code::CalloutUnavailable)
        );
        assert_eq!(
            failure(Err(CalloutError::TooLarge), LATE),
            (Permanent, Code::MalformedAnswer)
        );
    }

    #[test]
    fn a_server_that_warms_up_is_waited_for_and_a_missing_account_is_not() {
        let not_found = || Ok(answer(404, "not found"));
        assert_eq!(
            failure(not_found(), EARLY),
            (Class::Transient, Code::NotFound)
        );
        assert_eq!(
            failure(not_found(), LATE),
            (Class::Permanent, Code::NotFound)
        );
        let never_worked = Standing {
            has_succeeded: false,
            ..LATE
        };
        assert_eq!(
            failure(not_found(), never_worked),
            (Class::Permanent, Code::NotFound)
        );
        let worked = Standing {
            has_succeeded: true,
            ..EARLY
        };
        assert_eq!(
            failure(not_found(), worked),
            (Class::Permanent, Code::NotFound)
        );
    }

    #[test]
    fn a_cluster_that_is_late_is_waited_for_and_an_unknown_one_is_not() {
        let unknown = Err(CalloutError::UnknownCluster);
        assert_eq!(
            failure(unknown.clone(), EARLY),
            (Class::Transient, Code::UnknownCluster)
        );
        assert_eq!(
            failure(unknown, LATE),
            (Class::Permanent, Code::UnknownCluster)
        );
    }

    #[test]
    fn envoy_s_own_answers_are_told_from_the_server_s() {
        let envoys = |status| {
            Ok(Response {
                headers: Vec::new(),
                ..answer(status, "upstream …")
            })
        };
        assert_eq!(
            failure(envoys(504), LATE),
            (Class::Transient, Code::CalloutTimeout)
        );
        assert_eq!(
            failure(envoys(503), LATE),
            (Class::Transient, Code::CalloutUnreachable)
        );
    }

    #[test]
    fn answers_that_are_no_token_for_the_audience_need_a_person() {
        for body in [
            "<html>Sorry</html>".to_owned(),
            String::new(),
            jwt("https://other.example.com", 4600),
            format!("{}\r\nx-evil: 1", jwt(AUDIENCE, 4600)),
        ] {
            let found = failure(Ok(answer(200, &body)), LATE);
            assert_eq!(found, (Class::Permanent, Code::MalformedAnswer), "{body}");
        }
        let dead = failure(Ok(answer(200, &jwt(AUDIENCE, 1029))), LATE);
        assert_eq!(dead, (Class::Transient, Code::ExpiredToken));
    }

    #[test]
    fn retry_after_is_read_in_seconds() {
        let mut busy = answer(429, "");
        busy.headers.push(("Retry-After".into(), " 7 ".into()));
        assert_eq!(
            result(Ok(busy.clone()), LATE).unwrap_err().retry_after,
            Some(Duration::from_secs(7))
        );
        busy.headers[1].1 = "Wed, 21 Oct 2026 07:28:00 GMT".into();
        assert_eq!(result(Ok(busy), LATE).unwrap_err().retry_after, None);
    }

    #[test]
    fn no_message_quotes_the_answer() {
        let secret = jwt("https://other.example.com", 4600);
        let error = result(Ok(answer(200, &secret)), LATE).unwrap_err();
        assert!(!error.reason.contains("e30."), "{error}");
    }

    #[test]
    fn another_account_or_another_cluster_is_another_credential() {
        let identity = |cluster, account| source_with(cluster, account).identity();
        let here = identity("metadata", "default");
        assert_ne!(here, identity("metadata", "login@x"));
        assert_ne!(here, identity("other", "default"));
    }

    #[test]
    fn an_access_token_is_asked_for_with_its_scopes_and_lives_as_long_as_the_server_says() {
        let wanted = Wanted::from(Scopes::new(["https://s/a", "https://s/b"]).unwrap());
        let Step::Call(request, _) = source().begin(&order(&wanted, LATE)) else {
            panic!("the first step is a callout")
        };
        assert_eq!(
            request.path,
            "/computeMetadata/v1/instance/service-accounts/default/token?scopes=https%3A%2F%2Fs%2Fa,https%3A%2F%2Fs%2Fb"
        );
        let good = r#"{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}"#;
        let granted = of(&wanted, Ok(answer(200, good)), LATE).unwrap();
        assert_eq!(granted.token.secret(), "ya29.x");
        assert_eq!(granted.token.expires_at(), UnixTime::from_secs(4599));
        for body in ["", "ya29.x", "{}", r#"{"access_token":"ya29.x"}"#] {
            let error = of(&wanted, Ok(answer(200, body)), LATE).unwrap_err();
            assert_eq!(error.code, Code::MalformedAnswer, "{body}");
        }
        let short = r#"{"access_token":"ya29.x","expires_in":20}"#;
        let error = of(&wanted, Ok(answer(200, short)), LATE).unwrap_err();
        assert_eq!(error.code, Code::ExpiredToken);
    }
}
