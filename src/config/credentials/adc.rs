//! Application Default Credentials: the files that gcloud and the console write, each of which says in its
//! `type` what it is. Programs read them; a proxy does not, since its credentials name clusters as well.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::file::{self, CredentialFile, Fields, FileKind};
use super::{
    Credentials, FederationCredentials, ImpersonationCredentials, KeyCredentials, federation,
    is_email,
};
use crate::config::error::{ConfigErrors, Problems};
use crate::config::reader;
use crate::secret::Secret;
use crate::source::federation::ExternalAccount;
use crate::source::user::User;
use crate::url::{Nearness, Url};

/// How a person gets credentials that can make ID tokens.
const LOGIN: &str = "gcloud auth application-default login --impersonate-service-account=EMAIL";

const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

impl Credentials {
    /// Reads a credential file.
    ///
    /// # Errors
    ///
    /// It is no file of a kind that can make ID tokens; each problem with the field and what to do.
    pub fn from_file(text: &str) -> Result<Self, ConfigErrors> {
        credentials(&file::object(text)?)
    }
}

fn credentials(file: &Map<String, Value>) -> Result<Credentials, ConfigErrors> {
    match kind(file)? {
        "service_account" => key(file),
        "external_account" => federation(file),
        "impersonated_service_account" => {
            let ImpersonatedServiceAccount(credentials) = file::from_object(file)?;
            Ok(Credentials::Impersonation(Box::new(credentials)))
        }
        "authorized_user" => Err(ConfigErrors::one(
            "type",
            format!(
                "\"authorized_user\" is a person's own login, which makes no ID tokens that services take; let it \
                 act as a service account: {LOGIN}"
            ),
        )),
        other => Err(unknown(other)),
    }
}

fn kind(file: &Map<String, Value>) -> Result<&str, ConfigErrors> {
    let kind = file.get("type").and_then(Value::as_str);
    kind.ok_or_else(|| {
        ConfigErrors::one(
            "type",
            "is missing: this is no credential file of gcloud or of the console",
        )
    })
}

fn unknown(kind: &str) -> ConfigErrors {
    ConfigErrors::one(
        "type",
        format!(
            "{} is not supported; \"service_account\", \"external_account\" and \
             \"impersonated_service_account\" are ({LOGIN} makes the last one)",
            reader::quoted(kind)
        ),
    )
}

fn key(file: &Map<String, Value>) -> Result<Credentials, ConfigErrors> {
    Ok(Credentials::ServiceAccountKey(KeyCredentials {
        key: CredentialFile::Inline(Arc::new(file::from_object(file)?)),
        cluster: None,
    }))
}

fn federation(file: &Map<String, Value>) -> Result<Credentials, ConfigErrors> {
    let FromFiles(config) = file::from_object(file)?;
    Ok(Credentials::Federation(FederationCredentials {
        config: CredentialFile::Inline(Arc::new(config)),
        cluster: None,
        subject_cluster: None,
        iam_cluster: None,
        asks_program: false,
    }))
}

/// An `external_account` for programs, which can read the subject token from a file, or start the program that prints it.
struct FromFiles(ExternalAccount);

impl FileKind for FromFiles {
    const TYPE: &'static str = ExternalAccount::TYPE;

    fn read(fields: &Fields<'_>, problems: &mut Problems) -> Option<Self> {
        federation::external_account(fields, problems, federation::Asker::Process).map(Self)
    }
}

/// What `gcloud auth application-default login --impersonate-service-account` writes.
struct ImpersonatedServiceAccount(ImpersonationCredentials);

impl FileKind for ImpersonatedServiceAccount {
    const TYPE: &'static str = "impersonated_service_account";

    fn read(fields: &Fields<'_>, problems: &mut Problems) -> Option<Self> {
        const URL: &str = "service_account_impersonation_url";
        let account = fields.text(URL, problems);
        let account = account.and_then(|text| federation::account(text, problems));
        let delegates = delegates(fields, problems);
        let source = match fields.0.get("source_credentials") {
            Some(Value::Object(file)) => match source(file) {
                Ok(source) => Some(source),
                Err(errors) => {
                    problems.append(errors.below("source_credentials"));
                    None
                }
            },
            _ => {
                problems.add("source_credentials", "is missing, or no object");
                None
            }
        };
        let account = account?;
        Some(Self(ImpersonationCredentials {
            service_account: account.email,
            account_url: Some(account.url),
            delegates: delegates?,
            cluster: None,
            source: source?,
        }))
    }
}

/// Emails, in front of which gcloud may write `projects/-/serviceAccounts/`.
fn delegates(fields: &Fields<'_>, problems: &mut Problems) -> Option<Vec<String>> {
    let entries = match fields.0.get("delegates") {
        None | Some(Value::Null) => return Some(Vec::new()),
        Some(Value::Array(entries)) => entries,
        Some(_) => {
            problems.add("delegates", "is no list of service accounts");
            return None;
        }
    };
    let email = |entry: &Value| {
        let text = entry.as_str()?;
        let email = text.rsplit('/').next().unwrap_or(text);
        is_email(email).then(|| email.to_owned())
    };
    let emails: Option<Vec<String>> = entries.iter().map(email).collect();
    if emails.is_none() {
        problems.add(
            "delegates",
            "holds something that is no service account's email",
        );
    }
    emails
}

/// Who impersonates: here a person may.
fn source(file: &Map<String, Value>) -> Result<Credentials, ConfigErrors> {
    match kind(file)? {
        "authorized_user" => Ok(Credentials::User(Arc::new(file::from_object(file)?))),
        "service_account" => key(file),
        "external_account" => federation(file),
        other => Err(unknown(other)),
    }
}

impl FileKind for User {
    const TYPE: &'static str = "authorized_user";

    fn read(fields: &Fields<'_>, problems: &mut Problems) -> Option<Self> {
        let client_id = fields.line("client_id", problems);
        let client_secret = fields.line("client_secret", problems);
        let refresh_token = fields.line("refresh_token", problems);
        let token_uri = fields
            .optional_text("token_uri", problems)
            .unwrap_or(TOKEN_URI);
        let token_uri = problems.take("token_uri", Url::parse(token_uri, Nearness::Loopback));
        Some(Self {
            client_id: client_id?.to_owned(),
            client_secret: Secret::new(client_secret?),
            refresh_token: Secret::new(refresh_token?),
            token_uri: token_uri?,
        })
    }
}
