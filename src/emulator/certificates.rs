//! What receivers check signatures with: `/oauth2/v3/certs` (JWKS) and `/oauth2/v1/certs` (X.509).

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{Json, Router, extract::State, response::IntoResponse, routing::get};
use rsa::pkcs1v15::Signature;
use serde_json::json;
use x509_cert::{
    TbsCertificate,
    builder::{self, Builder as _, CertificateBuilder, profile::BuilderProfile},
    der::{EncodePem as _, pem::LineEnding},
    ext::Extension,
    name::Name,
    serial_number::SerialNumber,
    spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoRef},
    time::Validity,
};

use super::{error::Error, keys::SigningKey, server::Machine};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Short, unlike Google's hours: an emulator that is started again has another key.
const CACHE_CONTROL: (&str, &str) = ("cache-control", "public, max-age=60");

pub(super) fn routes() -> Router<Arc<Machine>> {
    Router::new()
        .route("/oauth2/v1/certs", get(x509))
        .route("/oauth2/v3/certs", get(jwks))
}

async fn jwks(State(machine): State<Arc<Machine>>) -> impl IntoResponse {
    (
        [CACHE_CONTROL],
        Json(json!({ "keys": [machine.key.jwk()] })),
    )
}

async fn x509(State(machine): State<Arc<Machine>>) -> impl IntoResponse {
    let kid = machine.key.kid();
    ([CACHE_CONTROL], Json(json!({ kid: machine.certificate })))
}

/// A self-signed certificate for the key, as PEM.
pub(super) fn certificate(key: &SigningKey) -> Result<String, Error> {
    self_signed(key).map_err(|error| Error::Key(error.to_string()))
}

fn self_signed(key: &SigningKey) -> builder::Result<String> {
    let subject: Name = "CN=invoker emulate".parse()?;
    let now = SystemTime::now();
    // From yesterday: a receiver's clock may be behind.
    let validity = Validity::new((now - DAY).try_into()?, (now + 365 * DAY).try_into()?);
    let public = SubjectPublicKeyInfo::try_from(key.public_der()).map_err(builder::Error::from)?;
    let certificate =
        CertificateBuilder::new(Plain(subject), SerialNumber::from(1_u32), validity, public)?
            .build::<_, Signature>(key.signer())?;
    Ok(certificate.to_pem(LineEnding::LF)?)
}

/// A certificate that is nothing but a name and a key, as receivers of tokens look at no more.
struct Plain(Name);

impl BuilderProfile for Plain {
    fn get_issuer(&self, subject: &Name) -> Name {
        subject.clone()
    }

    fn get_subject(&self) -> Name {
        self.0.clone()
    }

    fn build_extensions(
        &self,
        _key: SubjectPublicKeyInfoRef<'_>,
        _issuer_key: SubjectPublicKeyInfoRef<'_>,
        _certificate: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        Ok(Vec::new())
    }
}
