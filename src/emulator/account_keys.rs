//! The keys that service accounts sign assertions with, as Google knows them: the public halves.

use std::{fs, path::Path, sync::Mutex};

use rsa::{
    pkcs1v15::{Signature, VerifyingKey},
    sha2::Sha256,
    signature::Verifier as _,
};
use serde::{Deserialize, Serialize};

use super::{account::ServiceAccount, assertion::Assertion, error::Error, keys::SigningKey, lock};

/// The keys of all accounts. One that is disabled or deleted signs for nobody any more.
#[derive(Debug, Default)]
pub(super) struct AccountKeys(Mutex<Vec<AccountKey>>);

#[derive(Debug)]
struct AccountKey {
    id: String,
    account: ServiceAccount,
    key: VerifyingKey<Sha256>,
    disabled: bool,
}

/// A key, as `GET /_emulator/keys` shows it.
#[derive(Debug, Serialize)]
pub(super) struct View {
    id: String,
    account: String,
    disabled: bool,
}

impl AccountKeys {
    /// Registers a key under its ID. One that has this ID already is replaced.
    pub(super) fn add(&self, account: ServiceAccount, id: String, key: VerifyingKey<Sha256>) {
        let mut keys = lock(&self.0);
        keys.retain(|known| known.id != id);
        keys.push(AccountKey {
            id,
            account,
            key,
            disabled: false,
        });
    }

    /// Whether this account signed: with the key that the assertion names, or with any of its own
    /// if it names none.
    pub(super) fn verify(&self, account: &ServiceAccount, assertion: &Assertion<'_>) -> bool {
        let Ok(signature) = Signature::try_from(assertion.signature.as_slice()) else {
            return false;
        };
        let signed = assertion.signed.as_bytes();
        assertion.is_rs256()
            && lock(&self.0).iter().any(|key| {
                !key.disabled
                    && key.account == *account
                    && assertion.kid().is_none_or(|kid| kid == key.id)
                    && key.key.verify(signed, &signature).is_ok()
            })
    }

    /// Disables a key or enables it again; false if there is none of that ID.
    pub(super) fn set_disabled(&self, id: &str, disabled: bool) -> bool {
        let mut keys = lock(&self.0);
        let found = keys.iter_mut().find(|key| key.id == id);
        found.map(|key| key.disabled = disabled).is_some()
    }

    /// Deletes a key; false if there is none of that ID.
    pub(super) fn remove(&self, id: &str) -> bool {
        let mut keys = lock(&self.0);
        let before = keys.len();
        keys.retain(|key| key.id != id);
        keys.len() < before
    }

    /// All keys, in the order in which they were registered.
    pub(super) fn list(&self) -> Vec<View> {
        let view = |key: &AccountKey| View {
            id: key.id.clone(),
            account: key.account.to_string(),
            disabled: key.disabled,
        };
        lock(&self.0).iter().map(view).collect()
    }
}

/// What of a service account's key file counts here.
#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: String,
    private_key_id: String,
}

/// Registers the key of a service account's key file (JSON) and gives its account.
pub(super) fn register_file(keys: &AccountKeys, path: &Path) -> Result<ServiceAccount, Error> {
    let text = fs::read_to_string(path).map_err(|cause| Error::KeyFile {
        path: path.to_owned(),
        cause,
    })?;
    let unusable = |problem: String| Error::AccountKey {
        path: path.to_owned(),
        problem,
    };
    let file: KeyFile = serde_json::from_str(&text).map_err(|error| {
        // A JSON error may quote a value, and here values are secrets.
        let (line, column) = (error.line(), error.column());
        unusable(format!("no key file, at line {line}, column {column}"))
    })?;
    let account: ServiceAccount = file
        .client_email
        .parse()
        .map_err(|error| unusable(format!("client_email: {error}")))?;
    let key = SigningKey::from_pem(&file.private_key)
        .map_err(|problem| unusable(format!("private_key: {problem}")))?;
    keys.add(account.clone(), file.private_key_id, key.verifying_key());
    Ok(account)
}
