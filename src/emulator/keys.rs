//! The key that tokens are signed with, and what receivers get to see of it.

use std::{fmt, fs, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rsa::{
    PrivateKey, PublicKey,
    pkcs1v15::{self, Signature},
    pkcs8::{
        DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding,
        der::zeroize::Zeroizing,
    },
    sha2::{Digest as _, Sha256},
    signature::{Keypair as _, SignatureEncoding as _, Signer as _},
    traits::PublicKeyParts as _,
};

use super::error::Error;

/// Google's keys have this size; RS256 receivers refuse smaller ones.
const KEY_BITS: usize = 2048;

/// An RSA key for RS256, with the ID that tokens name it by.
pub(super) struct SigningKey {
    signer: pkcs1v15::SigningKey<Sha256>,
    public: PublicKey,
    public_der: Vec<u8>,
    kid: String,
}

impl SigningKey {
    /// A new key; takes some 100 ms.
    pub(super) fn generate() -> Result<Self, Error> {
        let key = PrivateKey::new(&mut getrandom::SysRng, KEY_BITS);
        Self::new(key.map_err(|error| Error::Key(error.to_string()))?)
    }

    /// The key of a PKCS#8 PEM file.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let pem = fs::read_to_string(path).map_err(|cause| Error::KeyFile {
            path: path.to_owned(),
            cause,
        })?;
        Self::from_pem(&pem).map_err(|problem| match problem {
            PemError::Unfit(problem) => Error::KeyFormat {
                path: path.to_owned(),
                problem,
            },
            PemError::Other(error) => error,
        })
    }

    /// A PKCS#8 PEM key.
    pub(super) fn from_pem(pem: &str) -> Result<Self, PemError> {
        if !pem.contains("-----BEGIN PRIVATE KEY-----") {
            return Err(PemError::Unfit(what_it_is_instead(pem).to_owned()));
        }
        let key = PrivateKey::from_pkcs8_pem(pem.trim())
            .map_err(|error| PemError::Unfit(format!("not an RSA private key ({error})")))?;
        let bits = key.size() * 8;
        if bits < KEY_BITS {
            return Err(PemError::Unfit(format!(
                "the key has {bits} bits, RS256 asks for {KEY_BITS} or more"
            )));
        }
        Ok(Self::new(key)?)
    }

    /// The key as PKCS#8 PEM.
    pub(super) fn to_pem(&self) -> Result<Zeroizing<String>, Error> {
        let key: &PrivateKey = self.signer.as_ref();
        key.to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| Error::Key(error.to_string()))
    }

    /// What checks its signatures.
    pub(super) fn verifying_key(&self) -> pkcs1v15::VerifyingKey<Sha256> {
        self.signer.verifying_key()
    }

    fn new(key: PrivateKey) -> Result<Self, Error> {
        let public = key.to_public_key();
        let der = public
            .to_public_key_der()
            .map_err(|error| Error::Key(error.to_string()))?
            .into_vec();
        // Derived from the key: a receiver that kept an older certificate never takes it for this
        // one. 40 hexadecimal digits, as Google's key IDs have.
        let kid = Sha256::digest(&der)
            .iter()
            .take(20)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self {
            signer: pkcs1v15::SigningKey::new(key),
            public,
            public_der: der,
            kid,
        })
    }

    /// The key's ID: the header `kid` of tokens, the key of the certificates.
    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as DER (SubjectPublicKeyInfo).
    pub(super) fn public_der(&self) -> &[u8] {
        &self.public_der
    }

    /// What signs, for those who need more than a token's signature.
    pub(super) fn signer(&self) -> &pkcs1v15::SigningKey<Sha256> {
        &self.signer
    }

    /// The public key as a JWK (RFC 7517).
    pub(super) fn jwk(&self) -> serde_json::Value {
        serde_json::json!({
            "kty": "RSA",
            "alg": "RS256",
            "use": "sig",
            "kid": self.kid,
            "n": URL_SAFE_NO_PAD.encode(self.public.n_bytes()),
            "e": URL_SAFE_NO_PAD.encode(self.public.e_bytes()),
        })
    }

    /// A JWT (RFC 7519) with these claims, signed with RS256.
    pub(super) fn sign(&self, claims: &serde_json::Value) -> Result<String, rsa::signature::Error> {
        let header = serde_json::json!({ "alg": "RS256", "kid": self.kid, "typ": "JWT" });
        let segment = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", segment(&header), segment(claims));
        let signature: Signature = self.signer.try_sign(signed.as_bytes())?;
        Ok(format!(
            "{signed}.{}",
            URL_SAFE_NO_PAD.encode(signature.to_bytes())
        ))
    }
}

/// Why a text is no key that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PemError {
    /// Never a part of the key.
    #[error("{0}")]
    Unfit(String),
    #[error(transparent)]
    Other(#[from] Error),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut view = formatter.debug_struct("SigningKey");
        view.field("kid", &self.kid).finish_non_exhaustive()
    }
}

fn what_it_is_instead(pem: &str) -> &'static str {
    if pem.contains("-----BEGIN RSA PRIVATE KEY-----") {
        "a PKCS#1 key, where PKCS#8 is expected (convert it: openssl pkcs8 -topk8 -nocrypt -in FILE -out NEW.pem)"
    } else if pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        "an encrypted key (decrypt it: openssl pkcs8 -in FILE -out NEW.pem)"
    } else if pem.contains("-----BEGIN EC PRIVATE KEY-----") {
        "an elliptic-curve key, where RSA is expected"
    } else if pem.contains("-----BEGIN CERTIFICATE-----")
        || pem.contains("-----BEGIN PUBLIC KEY-----")
    {
        "only a public key, where the private one is expected"
    } else {
        "no PEM private key (\"-----BEGIN PRIVATE KEY-----\") in it"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsa::signature::Verifier as _;

    #[test]
    fn a_signature_verifies_with_the_published_key_and_no_longer_once_changed() {
        let key = SigningKey::generate().unwrap();
        let jwt = key.sign(&serde_json::json!({ "aud": "x" })).unwrap();
        let (signed, signature) = jwt.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let signature = Signature::try_from(signature.as_slice()).unwrap();
        let verifier = key.verifying_key();
        assert!(verifier.verify(signed.as_bytes(), &signature).is_ok());
        assert!(verifier.verify(b"something else", &signature).is_err());
    }

    #[test]
    fn the_debug_form_shows_the_id_alone() {
        let key = SigningKey::generate().unwrap();
        assert_eq!(
            format!("{key:?}"),
            format!("SigningKey {{ kid: {:?}, .. }}", key.kid())
        );
    }
}
