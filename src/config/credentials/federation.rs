//! `type: federation`.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::cluster;
use super::file::{self, CredentialFile, Fields, FileKind};
use super::is_email;
#[cfg(not(target_family = "wasm"))]
use super::local_subject::{self, Around};
use crate::config::error::Problems;
use crate::config::reader;
use crate::secret::Secret;
use crate::source::federation::{
    ExternalAccount, ImpersonatedAccount, Subject, SubjectFormat, SubjectServer,
};
use crate::url::{Nearness, Url};

/// Another provider's token, exchanged for Google's.
#[derive(Debug, Clone)]
pub struct FederationCredentials {
    /// The `external_account` file.
    pub config: CredentialFile<ExternalAccount>,
    /// The Envoy cluster of the token service.
    pub cluster: Option<String>,
    /// The Envoy cluster of the subject token's server.
    pub subject_cluster: Option<String>,
    /// The Envoy cluster of IAM.
    pub iam_cluster: Option<String>,
    /// Whether the program around the host brings the subject token, whatever `config` says of its source.
    pub asks_program: bool,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(rename = "type")]
    _kind: String,
    #[serde(default, deserialize_with = "crate::config::schema::present")]
    config: Option<Value>,
    #[serde(default, deserialize_with = "crate::config::schema::present")]
    cluster: Option<String>,
    #[serde(default, deserialize_with = "crate::config::schema::present")]
    subject_cluster: Option<String>,
    #[serde(default, deserialize_with = "crate::config::schema::present")]
    iam_cluster: Option<String>,
    #[serde(default, deserialize_with = "crate::config::schema::present")]
    subject_token: Option<String>,
}

/// What a proxy can't do, and what does it in its place.
const BESIDE: &str = "run `invoker emulate --credentials FILE` beside the proxy, which can, and write type: metadata";

/// For what nothing of Invoker's can do.
const ELSE: &str =
    "take a source with a url or a file, another kind of credentials, or impersonation";

pub(super) fn read(
    place: &str,
    object: Map<String, Value>,
    problems: &mut Problems,
) -> Option<FederationCredentials> {
    let raw: Raw = super::fields(place, object, problems)?;
    for (field, name) in [
        ("cluster", &raw.cluster),
        ("subject_cluster", &raw.subject_cluster),
        ("iam_cluster", &raw.iam_cluster),
    ] {
        cluster::check_name(&format!("{place}.{field}"), name.as_deref(), problems);
    }
    let asks_program = match raw.subject_token.as_deref() {
        None => false,
        Some(PROGRAM) => true,
        Some(other) => {
            problems.add(
                format!("{place}.subject_token"),
                format!(
                    "unknown value {}, expected \"{PROGRAM}\"",
                    reader::quoted(other)
                ),
            );
            return None;
        }
    };
    let path = format!("{place}.config");
    Some(FederationCredentials {
        config: match asks_program {
            true => from_program(&path, raw.config, problems)?,
            false => file::read(&path, raw.config, problems)?,
        },
        asks_program,
        cluster: raw.cluster,
        subject_cluster: raw.subject_cluster,
        iam_cluster: raw.iam_cluster,
    })
}

/// What `subject_token` says where the program is asked for it.
const PROGRAM: &str = "program";

fn from_program(
    path: &str,
    config: Option<Value>,
    problems: &mut Problems,
) -> Option<CredentialFile<ExternalAccount>> {
    match file::read(path, config, problems)? {
        CredentialFile::Inline(config) => {
            let FromProgram(config) = Arc::into_inner(config)?;
            Some(CredentialFile::Inline(Arc::new(config)))
        }
        CredentialFile::Environment(name) => {
            problems.add(
                path,
                format!(
                    "is in the environment variable {name}, and a program that brings its own subject token can read \
                     it as well; write the JSON itself"
                ),
            );
            None
        }
    }
}

/// An `external_account` whose subject token the program has.
struct FromProgram(ExternalAccount);

impl FileKind for FromProgram {
    const TYPE: &'static str = ExternalAccount::TYPE;

    fn read(fields: &Fields<'_>, problems: &mut Problems) -> Option<Self> {
        external_account(fields, problems, Asker::Program).map(Self)
    }
}

impl FileKind for ExternalAccount {
    const TYPE: &'static str = "external_account";

    fn read(fields: &Fields<'_>, problems: &mut Problems) -> Option<Self> {
        external_account(fields, problems, Asker::Proxy)
    }
}

/// Who will ask for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A process of the machine: it reads files and starts programs.
    Process,
    /// It does neither.
    Proxy,
    /// It has the subject token, or a way of its own to it.
    Program,
}

pub(super) fn external_account(
    fields: &Fields<'_>,
    problems: &mut Problems,
    asker: Asker,
) -> Option<ExternalAccount> {
    let audience = fields.line("audience", problems);
    let subject_token_type = fields.line("subject_token_type", problems);
    let token_url = fields.text("token_url", problems);
    let token_url =
        token_url.and_then(|text| problems.take("token_url", Url::parse(text, Nearness::Loopback)));
    for field in ["client_id", "client_secret", "workforce_pool_user_project"] {
        if fields.0.contains_key(field) {
            problems.add(
                field,
                "is for people who log in (workforce pools), which is not supported",
            );
        }
    }
    let account = match fields.optional_text("service_account_impersonation_url", problems) {
        Some(text) => account(text, problems).map(Some),
        None => Some(None),
    };
    let subject = match fields.0.get("credential_source") {
        _ if asker == Asker::Program => Some(Subject::Served(SubjectServer::program())),
        #[cfg(not(target_family = "wasm"))]
        Some(Value::Object(source)) if asker == Asker::Process && is_local(source) => {
            let around = Around {
                audience: audience?,
                subject_token_type: subject_token_type?,
                account: account.as_ref()?.as_ref(),
            };
            let mut found = Problems::default();
            let subject = local_subject::read(source, &around, &mut found);
            if let Err(errors) = found.into_result() {
                problems.append(errors.below(PLACE));
            }
            subject
        }
        Some(Value::Object(source)) => subject(source, problems, asker).map(Subject::Served),
        _ => {
            problems.add("credential_source", "is missing, or no object");
            None
        }
    };
    let universe = fields.universe(problems);
    Some(ExternalAccount {
        audience: audience?.to_owned(),
        subject_token_type: subject_token_type?.to_owned(),
        token_url: token_url?,
        subject: subject?,
        account: account?,
        universe: universe?,
    })
}

pub(super) fn account(text: &str, problems: &mut Problems) -> Option<ImpersonatedAccount> {
    const FIELD: &str = "service_account_impersonation_url";
    let url = problems.take(FIELD, Url::parse(text, Nearness::Loopback))?;
    let account = url.as_str().strip_suffix(":generateAccessToken");
    let email = account.and_then(|account| account.rsplit_once('/'));
    match (account, email) {
        (Some(account), Some((_, email))) if is_email(email) => Some(ImpersonatedAccount {
            url: problems.take(FIELD, Url::parse(account, Nearness::Loopback))?,
            email: email.to_owned(),
        }),
        _ => {
            problems.add(
                FIELD,
                "does not end with an account's email and \":generateAccessToken\", as gcloud writes it",
            );
            None
        }
    }
}

#[cfg(not(target_family = "wasm"))]
fn is_local(source: &Map<String, Value>) -> bool {
    source.contains_key("executable") || source.contains_key("environment_id")
}

const PLACE: &str = "credential_source";

fn subject(
    source: &Map<String, Value>,
    problems: &mut Problems,
    asker: Asker,
) -> Option<SubjectServer> {
    let fields = Fields(source);
    let refused = [
        ("file", "has a file, and a proxy reads none", BESIDE),
        (
            "executable",
            "starts a program, and a proxy starts none",
            BESIDE,
        ),
        (
            "environment_id",
            "is AWS's, whose requests are signed by rules that a proxy does not know",
            BESIDE,
        ),
        (
            "certificate",
            "is a certificate, which works only with TLS that Invoker doesn't make",
            ELSE,
        ),
    ];
    for (field, why, instead) in refused {
        let is_readable = field == "file" && asker == Asker::Process;
        if source.contains_key(field) && !is_readable {
            problems.add(format!("{PLACE}.{field}"), format!("{why}; {instead}"));
            return None;
        }
    }
    let mut found = Problems::default();
    let url = if source.contains_key("file") {
        let file = fields.text("file", &mut found);
        file.and_then(|path| found.take("file", Url::file(path)))
    } else {
        let url = fields.text("url", &mut found);
        url.and_then(|text| found.take("url", Url::parse(text, Nearness::LinkLocal)))
    };
    let headers = match source.get("headers") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Object(headers)) => self::headers(headers, &mut found),
        Some(other) => {
            found.add(
                "headers",
                format!("found {}, expected an object", reader::kind(other)),
            );
            None
        }
    };
    let format = match source.get("format") {
        None | Some(Value::Null) => Some(SubjectFormat::Text),
        Some(Value::Object(format)) => self::format(format, &mut found),
        Some(other) => {
            found.add(
                "format",
                format!("found {}, expected an object", reader::kind(other)),
            );
            None
        }
    };
    if let Err(errors) = found.into_result() {
        problems.append(errors.below(PLACE));
    }
    Some(SubjectServer {
        url: url?,
        headers: headers?,
        format: format?,
    })
}

/// Names in lower case, as HTTP/2 has them. No value is quoted: it can be a credential.
fn headers(headers: &Map<String, Value>, problems: &mut Problems) -> Option<Vec<(String, Secret)>> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let is_value = |value: &str| {
        value
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic())
    };
    let mut read = Vec::new();
    for (name, value) in headers {
        match value {
            Value::String(value) if is_name(name) && is_value(value) => {
                read.push((name.to_ascii_lowercase(), Secret::new(value)));
            }
            _ => {
                problems.add("headers", "holds a name or a value that is no header's");
                return None;
            }
        }
    }
    Some(read)
}

fn format(format: &Map<String, Value>, problems: &mut Problems) -> Option<SubjectFormat> {
    let fields = Fields(format);
    match fields.optional_text("type", problems).unwrap_or("text") {
        "text" => Some(SubjectFormat::Text),
        "json" => match fields.optional_text("subject_token_field_name", problems) {
            None | Some("") => {
                problems.add(
                    "format.subject_token_field_name",
                    "is missing; the token is in a field of the JSON",
                );
                None
            }
            Some(field) if field.contains(char::is_control) => {
                problems.add(
                    "format.subject_token_field_name",
                    "holds a control character",
                );
                None
            }
            Some(field) => Some(SubjectFormat::Json(field.to_owned())),
        },
        _ => {
            problems.add("format.type", "is neither \"text\" nor \"json\"");
            None
        }
    }
}
