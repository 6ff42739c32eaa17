//! The private key of a service account: the one place that holds key material.
//!
//! It is wiped when it is dropped, can't be copied, and `Debug` shows nothing of it. The core builds what
//! is to be signed; a host signs it, by [`SigningInput::sign`] or with something faster of its own.

use std::fmt;
use std::sync::Arc;

use rsa::PrivateKey;
use rsa::pkcs1v15::{self, Signature};
use rsa::pkcs8::{DecodePrivateKey as _, SecretDocument};
use rsa::sha2::Sha256;
use rsa::signature::{SignatureEncoding as _, Signer as _};
use rsa::traits::PublicKeyParts as _;

/// Google's keys have this size; RS256 (RFC 7518, 3.3) asks for no less.
const LEAST_BITS: usize = 2048;

/// The label of a PKCS#8 private key (RFC 7468).
const LABEL: &str = "PRIVATE KEY";

/// An RSA key for RS256.
pub struct SigningKey {
    signer: pkcs1v15::SigningKey<Sha256>,
    /// Wiped when it is dropped, as the signer is.
    der: SecretDocument,
}

/// Why a text is no key for RS256, and what to do. It never quotes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PEM of a private key.
    #[error(
        "is no PEM private key (\"-----BEGIN PRIVATE KEY-----\"); take the file as `gcloud iam service-accounts keys create` wrote it"
    )]
    NoPem,
    /// The older form.
    #[error("is a PKCS#1 key, where PKCS#8 is expected; convert it: openssl pkcs8 -topk8 -nocrypt")]
    Pkcs1,
    /// It needs a password.
    #[error("is an encrypted key; decrypt it: openssl pkcs8")]
    Encrypted,
    /// Another algorithm, or damaged.
    #[error(
        "is no RSA private key, or a damaged one; take the file as `gcloud iam service-accounts keys create` wrote it"
    )]
    NotRsa,
    /// Too short for RS256.
    #[error("has {0} bits, and RS256 asks for {LEAST_BITS} or more; make a new key")]
    TooShort(usize),
}

/// The key could not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key can't sign")]
pub struct SignError;

/// A text for the host to sign with RS256.
#[derive(Clone)]
pub struct SigningInput {
    pub(super) key: Arc<SigningKey>,
    pub(super) text: String,
}

impl SigningKey {
    /// Reads the PKCS#8 PEM of a key file.
    ///
    /// # Errors
    ///
    /// It is something else, or too short.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if pem.contains("-----BEGIN RSA PRIVATE KEY-----") {
            return Err(KeyError::Pkcs1);
        }
        if pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
            return Err(KeyError::Encrypted);
        }
        let (label, der) = SecretDocument::from_pem(pem.trim()).map_err(|_| KeyError::NoPem)?;
        if label != LABEL {
            return Err(KeyError::NoPem);
        }
        let key = PrivateKey::from_pkcs8_der(der.as_bytes()).map_err(|_| KeyError::NotRsa)?;
        let bits = key.size() * 8;
        if bits < LEAST_BITS {
            return Err(KeyError::TooShort(bits));
        }
        let signer = pkcs1v15::SigningKey::new(key);
        Ok(Self { signer, der })
    }

    /// The key as DER (PKCS#8), for a host that signs by other means.
    pub fn der(&self) -> &[u8] {
        self.der.as_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[censored]")
    }
}

impl SigningInput {
    /// What is to be signed.
    pub fn text(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// With what.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Signs here and now: tens of milliseconds in Wasm, one natively.
    ///
    /// # Errors
    ///
    /// The key is not fit to sign; none that was read is.
    pub fn sign(&self) -> Result<Vec<u8>, SignError> {
        let signature: Result<Signature, _> = self.key.signer.try_sign(self.text());
        signature.map(|it| it.to_vec()).map_err(|_| SignError)
    }
}

impl fmt::Debug for SigningInput {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SigningInput")
            .field("bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};

    #[test]
    fn a_key_that_rs256_does_not_take_is_refused() {
        let short = PrivateKey::new(&mut getrandom::SysRng, 1024).unwrap();
        let pem = short.to_pkcs8_pem(LineEnding::LF).unwrap();
        assert!(matches!(
            SigningKey::from_pem(&pem),
            Err(KeyError::TooShort(1024))
        ));
        let long_enough = crate::source::tests::key_file::pem();
        assert!(SigningKey::from_pem(&long_enough).is_ok());
    }
}
