//! The credential kinds that a world can have, and which server each callout asks for what.

use std::convert::Infallible;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastrand::Rng;
use invoker::config::{Config, Credentials};
use invoker::http::Request;
use invoker::source::key::SigningInput;
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use rsa::rand_core::{TryCryptoRng, TryRng};
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Metadata,
    Key,
    /// A key whose self-signed token is IAM's bearer.
    OtherUniverse,
    Impersonation,
    Federation,
}

/// What a callout or a signature is for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) leg: Leg,
    /// An audience, or [`BEARER`].
    pub(crate) what: String,
    /// The token that the server is shown.
    pub(crate) shown: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    Identity,
    MetadataToken,
    Signature,
    TokenEndpoint,
    Subject,
    Sts,
    Generate,
}

/// The access token that IAM is asked with.
pub(crate) const BEARER: &str = "the bearer";

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Metadata,
        Self::Key,
        Self::OtherUniverse,
        Self::Impersonation,
        Self::Federation,
    ];

    pub(crate) fn draw(rng: &mut Rng) -> Self {
        match rng.u8(..10) {
            0..4 => Self::Metadata,
            4 | 5 => Self::Key,
            6 => Self::OtherUniverse,
            7 | 8 => Self::Impersonation,
            _ => Self::Federation,
        }
    }

    pub(crate) fn credentials(self) -> Credentials {
        match self {
            Self::Metadata => METADATA.clone(),
            Self::Key => KEY.clone(),
            Self::OtherUniverse => OTHER_UNIVERSE.clone(),
            Self::Impersonation => IMPERSONATION.clone(),
            Self::Federation => FEDERATION.clone(),
        }
    }
}

impl Leg {
    /// Whether a flight begins with it: what is counted to find a loop.
    pub(crate) fn is_first(self) -> bool {
        !matches!(self, Self::TokenEndpoint | Self::Sts)
    }

    /// Whether it belongs to the bearer where there is one.
    pub(crate) fn is_of_a_bearer(self) -> bool {
        matches!(self, Self::MetadataToken | Self::Subject | Self::Sts)
    }
}

impl Asked {
    pub(crate) fn callout(request: &Request) -> Self {
        let asked = |leg, what: &str| Self {
            leg,
            what: what.to_owned(),
            shown: None,
        };
        let body = String::from_utf8(request.body.clone()).unwrap();
        match request.authority.as_str() {
            "metadata.google.internal" => match request.path.split_once("?audience=") {
                Some((_, query)) => {
                    asked(Leg::Identity, &decoded(query.split('&').next().unwrap()))
                }
                None => asked(Leg::MetadataToken, BEARER),
            },
            "oauth2.googleapis.com" => {
                let assertion = body.split_once("&assertion=").unwrap().1;
                asked(Leg::TokenEndpoint, &of_claims(assertion))
            }
            "subject.example.com" => asked(Leg::Subject, BEARER),
            "sts.googleapis.com" => {
                let token = body.split_once("&subject_token=").unwrap().1;
                Self {
                    shown: token.split('&').next().map(decoded),
                    ..asked(Leg::Sts, BEARER)
                }
            }
            _ => {
                let body: Value = serde_json::from_str(&body).unwrap();
                let (_, bearer) = &request.headers[0];
                Self {
                    shown: Some(bearer.strip_prefix("Bearer ").unwrap().to_owned()),
                    ..asked(Leg::Generate, body["audience"].as_str().unwrap())
                }
            }
        }
    }

    pub(crate) fn signature(input: &SigningInput) -> Self {
        Self {
            leg: Leg::Signature,
            what: of_claims(str::from_utf8(input.text()).unwrap()),
            shown: None,
        }
    }
}

/// Whom an assertion is to bring a token for.
fn of_claims(jwt: &str) -> String {
    let claims = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap());
    let claims: Value = serde_json::from_slice(&claims.unwrap()).unwrap();
    claims["target_audience"]
        .as_str()
        .unwrap_or(BEARER)
        .to_owned()
}

fn decoded(text: &str) -> String {
    let text = percent_encoding::percent_decode_str(text);
    text.decode_utf8().unwrap().into_owned()
}

static METADATA: LazyLock<Credentials> =
    LazyLock::new(|| credentials(&json!({"type": "metadata", "cluster": "metadata"})));

static KEY: LazyLock<Credentials> = LazyLock::new(|| credentials(&key("googleapis.com")));

static OTHER_UNIVERSE: LazyLock<Credentials> =
    LazyLock::new(|| credentials(&key("other.example.com")));

static IMPERSONATION: LazyLock<Credentials> = LazyLock::new(|| {
    credentials(&json!({
        "type": "impersonation", "service_account": "caller@x.iam.gserviceaccount.com", "cluster": "iam",
        "source": {"type": "metadata", "cluster": "metadata"},
    }))
});

static FEDERATION: LazyLock<Credentials> = LazyLock::new(|| {
    credentials(&json!({
        "type": "federation", "cluster": "sts", "subject_cluster": "subject", "iam_cluster": "iam",
        "config": {
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "credential_source": {"url": "https://subject.example.com/token"},
            "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/caller@x.iam.gserviceaccount.com:generateAccessToken",
        },
    }))
});

/// Makes the one key that there is, which takes as long as thousands of seeds.
pub(crate) fn prepare() {
    LazyLock::force(&KEY);
}

/// The same key each time: its digest is part of a record's name, and so of what a seed plays.
struct Predictable(Rng);

impl TryRng for Predictable {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.u32(..))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.u64(..))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Predictable {}

fn key(universe: &str) -> Value {
    static PEM: LazyLock<String> = LazyLock::new(|| {
        let key = rsa::PrivateKey::new(&mut Predictable(Rng::with_seed(0)), 2048).unwrap();
        key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string()
    });
    json!({
        "type": "service_account_key", "cluster": "oauth2",
        "key": {
            "type": "service_account",
            "client_email": "caller@x.iam.gserviceaccount.com",
            "private_key": *PEM,
            "private_key_id": "1",
            "token_uri": "https://oauth2.googleapis.com/token",
            "universe_domain": universe,
        },
    })
}

fn credentials(credentials: &Value) -> Credentials {
    let config = json!({
        "credentials": credentials,
        "audiences": [{"cluster": "x", "audience": "https://x.example.com"}],
    });
    Config::from_value(config).unwrap().credentials
}
