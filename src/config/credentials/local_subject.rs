//! `credential_source` with `executable`, or with AWS's `environment_id`: for programs of the machine itself.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::file::Fields;
use crate::config::error::Problems;
use crate::config::reader;
use crate::secret::Secret;
use crate::source::federation::{ImpersonatedAccount, Subject};
use crate::source::local_subject::{Aws, Executable, LocalSubject};
use crate::url::{Nearness, Scheme, Url};

/// As Google's own clients have them: docs.cloud.google.com, "Executable-sourced credentials".
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const TIMEOUT_MILLIS: std::ops::RangeInclusive<u64> = 5_000..=120_000;

/// What the rest of the file says, for whom it is to be told.
pub(super) struct Around<'a> {
    pub(super) audience: &'a str,
    pub(super) subject_token_type: &'a str,
    pub(super) account: Option<&'a ImpersonatedAccount>,
}

/// A source that a server can't be asked for; `None` if it is none, or if something is wrong, and that is
/// noted.
pub(super) fn read(
    source: &Map<String, Value>,
    around: &Around<'_>,
    problems: &mut Problems,
) -> Option<Subject> {
    let local = match source.get("executable") {
        Some(Value::Object(executable)) => self::executable(&Fields(executable), around, problems)?,
        Some(other) => {
            let found = reader::kind(other);
            problems.add("executable", format!("found {found}, expected an object"));
            return None;
        }
        None => aws(&Fields(source), around, problems)?,
    };
    Some(Subject::Local(Arc::new(local)))
}

fn executable(
    fields: &Fields<'_>,
    around: &Around<'_>,
    problems: &mut Problems,
) -> Option<LocalSubject> {
    let mut found = Problems::default();
    let command = fields.text("command", &mut found);
    let command = command.and_then(|text| command_line(text, &mut found));
    let timeout = timeout(fields, &mut found);
    let output_file = fields.optional_text("output_file", &mut found);
    if output_file.is_some_and(|path| path.is_empty() || path.contains('\0')) {
        found.add("output_file", "is no path; leave it out if there is none");
    }
    if let Err(errors) = found.into_result() {
        problems.append(errors.below("executable"));
        return None;
    }
    let (program, arguments) = command?;
    let mut environment = vec![
        ("GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE", around.audience),
        (
            "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE",
            around.subject_token_type,
        ),
        ("GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE", "0"),
    ];
    environment.extend(around.account.map(|account| {
        (
            "GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL",
            account.email.as_str(),
        )
    }));
    environment.extend(output_file.map(|path| ("GOOGLE_EXTERNAL_ACCOUNT_OUTPUT_FILE", path)));
    Some(LocalSubject::Executable(Executable {
        program,
        arguments: arguments.into_iter().map(Secret::new).collect(),
        environment: environment
            .into_iter()
            .map(|(name, value)| (name, value.to_owned()))
            .collect(),
        timeout: timeout?,
        output_file: output_file.map(str::to_owned),
    }))
}

fn aws(fields: &Fields<'_>, around: &Around<'_>, problems: &mut Problems) -> Option<LocalSubject> {
    let environment = fields.text("environment_id", problems)?;
    if environment != "aws1" {
        problems.add("environment_id", "is not known; only \"aws1\" is");
        return None;
    }
    let mut url = |field: &str| match fields.optional_text(field, problems) {
        Some(text) => {
            let url = Url::parse(text, Nearness::LinkLocal);
            problems.take(field, url).map(Some)
        }
        None => Some(None),
    };
    let region_url = url("region_url");
    let keys_url = url("url");
    let session_url = url("imdsv2_session_token_url");
    let verification_url = fields.text(VERIFICATION_URL, problems)?;
    if !is_verification_url(verification_url) {
        problems.add(
            VERIFICATION_URL,
            "is not as gcloud writes it: \
             \"https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15\"",
        );
        return None;
    }
    Some(LocalSubject::Aws(Aws {
        audience: around.audience.to_owned(),
        region_url: region_url?,
        keys_url: keys_url?,
        session_url: session_url?,
        verification_url: verification_url.to_owned(),
    }))
}

const VERIFICATION_URL: &str = "regional_cred_verification_url";

/// Whether it leads to the root of a host without a port, over TLS.
fn is_verification_url(text: &str) -> bool {
    let url = Url::parse(&text.replace("{region}", "us-east-1"), Nearness::Loopback);
    url.is_ok_and(|url| {
        let path = url.path();
        url.scheme() == Scheme::Https
            && !url.authority().contains(':')
            && (path == "/" || path.starts_with("/?"))
    })
}

/// Split as a POSIX shell would split it, but expanding nothing.
fn command_line(text: &str, problems: &mut Problems) -> Option<(String, Vec<String>)> {
    let words = shlex::split(text).filter(|_| !text.contains('\0'));
    let Some(words) = words else {
        problems.add(
            "command",
            "has a quotation mark or a backslash without its other half",
        );
        return None;
    };
    // The library takes such a word for the start of a comment; Google's clients do not.
    let hashes = |text: &str| text.matches('#').count();
    if words.iter().map(|word| hashes(word)).sum::<usize>() != hashes(text) {
        problems.add("command", "has a word that begins with \"#\"; quote it");
        return None;
    }
    let mut words = words.into_iter();
    match words.next().filter(|program| !program.is_empty()) {
        Some(program) => Some((program, words.collect())),
        None => {
            problems.add("command", "names no program");
            None
        }
    }
}

fn timeout(fields: &Fields<'_>, problems: &mut Problems) -> Option<Duration> {
    let millis = match fields.0.get("timeout_millis") {
        None | Some(Value::Null) => return Some(TIMEOUT_DEFAULT),
        Some(value) => value.as_u64(),
    };
    let millis = millis.filter(|millis| TIMEOUT_MILLIS.contains(millis));
    if millis.is_none() {
        problems.add("timeout_millis", "is no number from 5000 to 120000");
    }
    millis.map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_it(executable: Value) -> Result<Executable, String> {
        let around = Around {
            audience: "//iam",
            subject_token_type: "urn:x",
            account: None,
        };
        let Value::Object(source) = json!({ "executable": executable }) else {
            unreachable!()
        };
        let mut problems = Problems::default();
        let subject = read(&source, &around, &mut problems);
        match (problems.into_result(), subject) {
            (Ok(()), Some(Subject::Local(local))) => match Arc::into_inner(local).unwrap() {
                LocalSubject::Executable(it) => Ok(it),
                LocalSubject::Aws(_) => unreachable!(),
            },
            (Err(errors), _) => Err(errors.to_string()),
            _ => unreachable!(),
        }
    }

    #[test]
    fn a_command_is_split_without_a_shell() {
        for (command, words) in [
            ("/bin/get --a=b c", &["/bin/get", "--a=b", "c"] as &[&str]),
            (
                r#"'/opt/my tools/get' "a 'b' \"c\"" d\ e $HOME `x` > y"#,
                &[
                    "/opt/my tools/get",
                    "a 'b' \"c\"",
                    "d e",
                    "$HOME",
                    "`x`",
                    ">",
                    "y",
                ],
            ),
            ("get a#b '#c'", &["get", "a#b", "#c"]),
        ] {
            let it = read_it(json!({ "command": command })).unwrap();
            let mut found = vec![it.program.as_str()];
            found.extend(it.arguments.iter().map(Secret::expose));
            assert_eq!(found, words);
        }
    }

    #[test]
    fn it_may_run_for_30_seconds_unless_it_says_otherwise() {
        let timeout = |it: Value| read_it(it).unwrap().timeout.as_secs();
        assert_eq!(timeout(json!({"command": "x"})), 30);
        let least = json!({"command": "x", "timeout_millis": 5000});
        assert_eq!(timeout(least), 5);
        let most = json!({"command": "x", "timeout_millis": 120_000});
        assert_eq!(timeout(most), 120);
    }

    #[test]
    fn aws_is_asked_who_it_is_over_tls_at_the_root_of_a_host() {
        let good = "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15";
        assert!(is_verification_url(good));
        assert!(is_verification_url("https://sts.amazonaws.com/"));
        for wrong in [
            "http://127.0.0.1/",
            "https://sts.{region}.amazonaws.com:8443/",
            "https://sts.{region}.amazonaws.com/other?Action=GetCallerIdentity",
            "sts.{region}.amazonaws.com",
        ] {
            assert!(!is_verification_url(wrong), "{wrong}");
        }
    }

    #[test]
    fn what_can_t_be_run_says_why_without_its_arguments() {
        let found = [
            json!("x"),
            json!({}),
            json!({"command": "  "}),
            json!({"command": "get 's3cret"}),
            json!({"command": "get #s3cret"}),
            json!({"command": ["get"]}),
            json!({"command": "x", "timeout_millis": 4999}),
            json!({"command": "x", "timeout_millis": 120_001}),
            json!({"command": "x", "timeout_millis": "30"}),
            json!({"command": "x", "output_file": ""}),
        ]
        .map(|it| read_it(it).unwrap_err());
        assert!(!found.concat().contains("s3cret"));
        insta::assert_snapshot!(found.join("\n"), @r##"
        executable: found a string, expected an object
        executable.command: is missing
        executable.command: names no program
        executable.command: has a quotation mark or a backslash without its other half
        executable.command: has a word that begins with "#"; quote it
        executable.command: found a list, expected a string
        executable.timeout_millis: is no number from 5000 to 120000
        executable.timeout_millis: is no number from 5000 to 120000
        executable.timeout_millis: is no number from 5000 to 120000
        executable.output_file: is no path; leave it out if there is none
        "##);
    }
}
