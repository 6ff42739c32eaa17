//! A request, with the audience that its token must have.

use arbitrary::Arbitrary;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use invoker::credential_headers::Headers;
use invoker::rules::{Annotation, RequestHead};
use invoker::time::Now;
use serde_json::Value;

/// Where it goes.
#[derive(Arbitrary, Debug)]
pub(crate) enum Host {
    Literal,
    Derived(u8),
    Bypassed,
    Uncovered,
}

#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) host: String,
    pub(crate) audience: Option<String>,
    authorization: Option<String>,
}

impl RequestHead for Head {
    fn cluster(&self) -> Option<String> {
        None
    }

    fn authority(&self) -> Option<String> {
        Some(self.host.clone())
    }

    fn path(&self) -> Option<String> {
        Some("/".into())
    }

    fn annotation(&self, _: Annotation) -> Option<Vec<u8>> {
        None
    }
}

impl Headers for Head {
    fn value(&self, name: &str) -> Option<String> {
        (name == "authorization")
            .then(|| self.authorization.clone())
            .flatten()
    }

    fn set(&mut self, name: &str, value: &str) {
        if name == "authorization" {
            self.authorization = Some(value.to_owned());
        }
    }

    fn remove(&mut self, name: &str) {
        if name == "authorization" {
            self.authorization = None;
        }
    }
}

impl Head {
    pub(crate) fn of(host: &Host) -> Self {
        let (host, audience) = match host {
            Host::Literal => (
                "profiles.example.com".to_owned(),
                Some("https://profiles.example.com".to_owned()),
            ),
            Host::Derived(which) => {
                let host = format!("service-{which}.a.run.app");
                (host.clone(), Some(format!("https://{host}")))
            }
            Host::Bypassed => ("open.a.run.app".to_owned(), None),
            Host::Uncovered => ("www.example.com".to_owned(), None),
        };
        Self {
            host,
            audience,
            authorization: Some("Bearer the-client's".to_owned()),
        }
    }

    /// It goes on: with a live token for its own audience, or as it came.
    pub(crate) fn check_sent(&self, now: Now) {
        let authorization = self.authorization.as_deref();
        let Some(audience) = &self.audience else {
            assert_eq!(
                authorization,
                Some("Bearer the-client's"),
                "{} was changed",
                self.host
            );
            return;
        };
        let token = authorization
            .and_then(|it| it.strip_prefix("Bearer "))
            .expect("it has a token");
        let claims = token
            .split('.')
            .nth(1)
            .map(|it| URL_SAFE_NO_PAD.decode(it).expect("it was parsed"));
        let claims: Value =
            serde_json::from_slice(&claims.expect("it is a JWT")).expect("it was parsed");
        assert_eq!(claims["aud"], **audience, "another audience's token");
        // A number of any kind; what was taken for its end is in seconds.
        let end = claims["exp"].as_f64().expect("it has an end");
        assert!(
            end * 1000.0 > now.unix.as_millis() as f64,
            "a dead token: {end} at {:?}",
            now.unix
        );
    }
}
