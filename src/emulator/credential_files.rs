//! Credential files that lead to the emulator, in the formats of Google's.
//!
//! They hold keys and refresh tokens, though of an emulator: only their owner may read them. A
//! file that leads anywhere else is never overwritten, since it may be somebody's real key.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process,
    str::FromStr,
};

use serde_json::{Value, json};

use super::{
    account::{Accounts, ServiceAccount, digits},
    account_keys::AccountKeys,
    endpoint::ACCOUNTS,
    error::Error,
    keys::SigningKey,
    server::Machine,
    subject,
    user::CLIENT_ID,
};

/// Which kind of credential a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialKind {
    /// A service account's key (`service_account`).
    Key,
    /// Workload identity federation (`external_account`).
    ExternalAccount,
    /// A person who impersonates an account (`impersonated_service_account`).
    ImpersonatedServiceAccount,
}

/// Where to write a credential, and whose: `FILE` or `EMAIL=FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFile {
    /// The account that the file leads to; without one, the machine's default.
    pub account: Option<ServiceAccount>,
    /// Where it is written.
    pub path: PathBuf,
}

/// A text that names no file.
#[derive(Debug, thiserror::Error)]
#[error("write FILE or EMAIL=FILE")]
pub struct CredentialFileError;

impl FromStr for CredentialFile {
    type Err = CredentialFileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text
            .split_once('=')
            .and_then(|(email, path)| Some((email.parse().ok()?, path)));
        let (account, path) = match named {
            Some((account, path)) => (Some(account), path),
            None => (None, text),
        };
        if path.is_empty() {
            return Err(CredentialFileError);
        }
        let path = path.into();
        Ok(Self { account, path })
    }
}

/// A file to write, with what must exist before the emulator answers.
#[derive(Debug)]
pub(super) struct Planned {
    account: ServiceAccount,
    path: PathBuf,
    credential: Credential,
}

/// What a file is to hold.
#[derive(Debug)]
enum Credential {
    /// The account's new key.
    Key(Box<SigningKey>),
    ExternalAccount,
    ImpersonatedServiceAccount,
}

impl Planned {
    /// Lets the account exist, and has a key of it registered if the file is to hold one.
    pub(super) fn new(
        kind: CredentialKind,
        file: CredentialFile,
        accounts: &mut Accounts,
        keys: &AccountKeys,
    ) -> Result<Self, Error> {
        let account = file.account.unwrap_or_else(|| accounts.default().clone());
        accounts.add_elsewhere(account.clone());
        let credential = match kind {
            CredentialKind::Key => {
                let key = SigningKey::generate()?;
                keys.add(account.clone(), key.kid().to_owned(), key.verifying_key());
                Credential::Key(Box::new(key))
            }
            CredentialKind::ExternalAccount => Credential::ExternalAccount,
            CredentialKind::ImpersonatedServiceAccount => Credential::ImpersonatedServiceAccount,
        };
        Ok(Self {
            account,
            path: file.path,
            credential,
        })
    }

    /// Writes the file, now that the address is known.
    pub(super) fn write(&self, machine: &Machine) -> Result<(), Error> {
        let content = match &self.credential {
            Credential::Key(key) => service_account(machine, &self.account, key)?,
            Credential::ExternalAccount => external_account(machine, &self.account),
            Credential::ImpersonatedServiceAccount => {
                impersonated_service_account(machine, &self.account)
            }
        };
        if !may_be_replaced(&self.path) {
            return Err(Error::Options(format!(
                "{} exists and is no file of the emulator's; remove it, or name another one",
                self.path.display()
            )));
        }
        write_privately(&self.path, &format!("{content:#}\n")).map_err(|cause| {
            Error::CredentialFile {
                path: self.path.clone(),
                cause,
            }
        })
    }
}

fn service_account(
    machine: &Machine,
    account: &ServiceAccount,
    key: &SigningKey,
) -> Result<Value, Error> {
    Ok(json!({
        "type": "service_account",
        "project_id": account.project_id(),
        "private_key_id": key.kid(),
        "private_key": key.to_pem()?.as_str(),
        "client_email": account.email(),
        "client_id": account.unique_id(),
        "token_uri": machine.url("/token"),
        "universe_domain": "googleapis.com",
    }))
}

fn external_account(machine: &Machine, account: &ServiceAccount) -> Value {
    let project = digits(account.project_id()) % 10_u64.pow(12);
    let (header, value) = subject::HEADER;
    json!({
        "type": "external_account",
        "audience": format!("//iam.googleapis.com/projects/{project}/locations/global/workloadIdentityPools/elsewhere/providers/emulator"),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": machine.url("/v1/token"),
        "service_account_impersonation_url": impersonation_url(machine, account),
        "credential_source": {
            "url": machine.url("/subject.json"),
            "headers": { header: value },
            "format": { "type": "json", "subject_token_field_name": "access_token" },
        },
        "universe_domain": "googleapis.com",
    })
}

fn impersonated_service_account(machine: &Machine, account: &ServiceAccount) -> Value {
    json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url": impersonation_url(machine, account),
        "delegates": [],
        "source_credentials": {
            "type": "authorized_user",
            "client_id": CLIENT_ID,
            "client_secret": machine.user.client_secret,
            "refresh_token": machine.user.refresh_token,
            "token_uri": machine.url("/token"),
            "universe_domain": "googleapis.com",
        },
    })
}

fn impersonation_url(machine: &Machine, account: &ServiceAccount) -> String {
    machine.url(&format!("{ACCOUNTS}{account}:generateAccessToken"))
}

/// Whether nothing is lost: there is no such file, or an emulator wrote it. Only its files lead
/// to a server without TLS.
fn may_be_replaced(path: &Path) -> bool {
    let Ok(text) = fs::read_to_string(path) else {
        return !path.exists();
    };
    let content: Value = serde_json::from_str(&text).unwrap_or_default();
    ["token_uri", "service_account_impersonation_url"]
        .iter()
        .filter_map(|field| content.get(field)?.as_str())
        .any(|url| url.starts_with("http://"))
}

/// Writes beside the file and moves it there, so that nobody ever reads half of it.
fn write_privately(path: &Path, content: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", process::id()));
    let beside = PathBuf::from(beside);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options
        .open(&beside)
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // It may not have come to be.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_alone_or_behind_an_account() {
        let parse = |text: &str| {
            let file: CredentialFile = text.parse().unwrap();
            let email = file.account.map(|account| account.to_string());
            (email, file.path.to_str().unwrap().to_owned())
        };
        assert_eq!(parse("a/key.json"), (None, "a/key.json".to_owned()));
        assert_eq!(parse("a=b.json"), (None, "a=b.json".to_owned()));
        assert_eq!(
            parse("a@x.org=b.json"),
            (Some("a@x.org".to_owned()), "b.json".to_owned())
        );
        assert!("a@x.org=".parse::<CredentialFile>().is_err());
        assert!("".parse::<CredentialFile>().is_err());
    }
}
