//! A service account with a key, as its owner holds it: an emulator, and what signs for it.

use std::{fs, ops::Deref};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rsa::{
    PrivateKey,
    pkcs1v15::SigningKey,
    pkcs8::DecodePrivateKey as _,
    sha2::Sha256,
    signature::{SignatureEncoding as _, Signer as _},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Answer, Emulator, now};

pub(crate) const LOGIN: &str = "login@shop-42.iam.gserviceaccount.com";
pub(crate) const SEARCH: &str = "search@shop-42.iam.gserviceaccount.com";

pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
pub(crate) const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The provider of subject tokens, as `external_account` files name it.
pub(crate) const PROVIDER: &str =
    "//iam.googleapis.com/projects/12/locations/global/workloadIdentityPools/p/providers/q";

/// What STS is asked with when all is right.
pub(crate) fn subject_exchange(subject_token: &str) -> [(&str, &str); 6] {
    [
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("audience", PROVIDER),
        ("scope", CLOUD_PLATFORM),
        (
            "requested_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        ),
        ("subject_token", subject_token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
    ]
}

/// An emulator that wrote a key file of its account `LOGIN`.
pub(crate) struct KeyHolder {
    emulator: Emulator,
    pub(crate) file: Value,
    key: SigningKey<Sha256>,
    _folder: TempDir,
}

impl Deref for KeyHolder {
    type Target = Emulator;

    fn deref(&self) -> &Emulator {
        &self.emulator
    }
}

impl KeyHolder {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("key.json");
        let option = format!("{LOGIN}={}", path.to_str().unwrap());
        let mut all = vec!["--service-account", LOGIN, "--service-account", SEARCH];
        all.extend(["--write-key", &option]);
        all.extend(arguments);
        let emulator = Emulator::start_with(&all);
        let file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let key = PrivateKey::from_pkcs8_pem(file["private_key"].as_str().unwrap()).unwrap();
        Self {
            emulator,
            file,
            key: SigningKey::new(key),
            _folder: folder,
        }
    }

    pub(crate) fn key_id(&self) -> &str {
        self.file["private_key_id"].as_str().unwrap()
    }

    /// The claims of an assertion that is right for an ID token, with changes; null removes one.
    pub(crate) fn claims(&self, changes: Value) -> Value {
        let mut claims = json!({
            "iss": LOGIN,
            "sub": LOGIN,
            "aud": format!("{}/token", self.url),
            "iat": now() - 10,
            "exp": now() + 3500,
            "target_audience": "https://profiles.example.com",
        });
        let fields = claims.as_object_mut().unwrap();
        fields.extend(changes.as_object().unwrap().clone());
        fields.retain(|_, value| !value.is_null());
        claims
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.key_id() });
        self.sign_with(&header, claims)
    }

    pub(crate) fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let segment = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", segment(header), segment(claims));
        let signature = self.key.sign(signed.as_bytes()).to_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub(crate) fn exchange(&self, assertion: &str) -> Answer {
        let fields = [("grant_type", JWT_BEARER), ("assertion", assertion)];
        self.post_form("/token", &fields)
    }

    /// What comes for an assertion that is right but for these changes.
    pub(crate) fn exchange_changed(&self, changes: Value) -> Answer {
        self.exchange(&self.sign(&self.claims(changes)))
    }

    /// An access token of `LOGIN`.
    pub(crate) fn access_token(&self) -> String {
        let changes = json!({ "target_audience": null, "scope": CLOUD_PLATFORM });
        let answer = self.exchange_changed(changes);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }
}

/// A refusal of an OAuth endpoint: its status, its code, and whether its text has this in it.
#[track_caller]
pub(crate) fn assert_refused(answer: &Answer, status: u16, code: &str, text: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["error"], code, "{body}");
    let description = body["error_description"].as_str().unwrap();
    assert!(description.contains(text), "{body}");
}
