//! A key that nobody else has, made once for all tests.

use std::sync::LazyLock;

use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use serde_json::{Value, json};

pub(crate) static KEY: LazyLock<rsa::PrivateKey> =
    LazyLock::new(|| rsa::PrivateKey::new(&mut getrandom::SysRng, 2048).unwrap());

pub(crate) fn pem() -> String {
    KEY.to_pkcs8_pem(LineEnding::LF).unwrap().to_string()
}

/// The file as `gcloud` writes it.
pub(crate) fn key_file() -> Value {
    json!({
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "0123456789abcdef",
        "private_key": pem(),
        "client_email": super::ACCOUNT,
        "client_id": "1",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": "https://www.googleapis.com/robot/v1/metadata/x509/caller",
        "universe_domain": "googleapis.com",
    })
}
