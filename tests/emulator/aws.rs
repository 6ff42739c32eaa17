//! `--credentials` on a machine of AWS's: its metadata service is a thread of the test, which also reads what STS
//! is sent on its way to the emulator.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Stdio,
    sync::{Arc, Mutex, Weak},
    thread,
};

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    account::SEARCH,
    process::{Emulator, IDENTITY, command},
};

const PROFILES: &str = "https://profiles.example.com";
const KEYS: &str = r#"{"Code":"Success","AccessKeyId":"AKIAROLE","SecretAccessKey":"s3cret-key","Token":"s3cret-token"}"#;

/// What the metadata service answers, by method and path.
type Answers = BTreeMap<&'static str, (u16, &'static str)>;

struct Machine {
    google: Arc<Emulator>,
    answers: Arc<Mutex<Answers>>,
    /// Method, path and the headers of AWS's.
    asked: Arc<Mutex<Vec<String>>>,
    subject_tokens: Arc<Mutex<Vec<String>>>,
    folder: TempDir,
}

impl Machine {
    fn start(change: impl FnOnce(&mut Value)) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("credential.json");
        let value = format!("{SEARCH}={}", file.to_str().unwrap());
        let google = Emulator::start_with(&["--write-external-account", &value]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = format!("http://{}", listener.local_addr().unwrap());
        let machine = Self {
            google: Arc::new(google),
            answers: Arc::new(Mutex::new(BTreeMap::from([
                ("PUT /latest/api/token", (200, "s3cret-session")),
                ("GET /zone", (200, "us-east-2b")),
                ("GET /keys", (200, "my-role\n")),
                ("GET /keys/my-role", (200, KEYS)),
            ]))),
            asked: Arc::default(),
            subject_tokens: Arc::default(),
            folder,
        };
        // The thread outlives the test, and must not keep the emulator alive.
        let google = Arc::downgrade(&machine.google);
        let answers = Arc::clone(&machine.answers);
        let (asked, tokens) = (
            Arc::clone(&machine.asked),
            Arc::clone(&machine.subject_tokens),
        );
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&mut stream.unwrap(), &google, &answers, &asked, &tokens);
            }
        });
        let mut content: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        content["token_url"] = format!("{here}/v1/token").into();
        content["subject_token_type"] = "urn:ietf:params:aws:token-type:aws4_request".into();
        content["credential_source"] = json!({
            "environment_id": "aws1",
            "region_url": format!("{here}/zone"),
            "url": format!("{here}/keys"),
            "imdsv2_session_token_url": format!("{here}/latest/api/token"),
            "regional_cred_verification_url":
                "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
        });
        change(&mut content["credential_source"]);
        fs::write(&file, content.to_string()).unwrap();
        machine
    }

    /// `invoker emulate --credentials` with nothing of AWS's in its environment but this.
    fn metadata_server(&self, environment: &[(&str, &str)]) -> Emulator {
        let file = self.folder.path().join("credential.json");
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = command(&["--credentials", file.to_str().unwrap()]);
        for name in [
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
        ] {
            command.env_remove(name);
        }
        command
            .envs(environment.iter().copied())
            .stderr(Stdio::from(log));
        Emulator::of(&mut command)
    }

    /// Gets a token, and gives the signed request for which it came.
    fn signed(&self, environment: &[(&str, &str)]) -> Value {
        let token = self.metadata_server(environment).id_token(PROFILES);
        assert_eq!(self.google.verify(&token)["email"], SEARCH);
        let token = self.subject_tokens.lock().unwrap().pop().unwrap();
        serde_json::from_str(&decoded(&token)).unwrap()
    }

    fn refusal(&self, environment: &[(&str, &str)]) -> String {
        let server = self.metadata_server(environment);
        let answer = server.get(&format!("{IDENTITY}?audience={PROFILES}"));
        assert_ne!(answer.status, 200, "{answer:?}");
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
        assert!(
            !answer.body.contains("s3cret") && !log.contains("s3cret"),
            "{answer:?} {log}"
        );
        answer.body
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn answer(&self, call: &'static str, status: u16, body: &'static str) {
        self.answers.lock().unwrap().insert(call, (status, body));
    }
}

fn serve(
    stream: &mut TcpStream,
    google: &Weak<Emulator>,
    answers: &Mutex<Answers>,
    asked: &Mutex<Vec<String>>,
    tokens: &Mutex<Vec<String>>,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_ascii_lowercase());
    }
    let Some(first) = head.first() else {
        return;
    };
    let length = head
        .iter()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    let words: Vec<_> = first.split(' ').collect();
    let call = format!("{} {}", words[0].to_ascii_uppercase(), words[1]);
    let (status, answer) = if call == "POST /v1/token" {
        let token = body
            .split('&')
            .find_map(|it| it.strip_prefix("subject_token="));
        tokens.lock().unwrap().push(decoded(token.unwrap()));
        let form = ("application/x-www-form-urlencoded", body.as_str());
        let google = google.upgrade().unwrap();
        let answer = google.post("/v1/token", form, None);
        (answer.status, answer.body)
    } else {
        let own = head.iter().filter(|line| line.starts_with("x-aws-"));
        let own: String = own.map(|line| format!(" {line}")).collect();
        asked.lock().unwrap().push(format!("{call}{own}"));
        let (status, body) = answers.lock().unwrap()[call.as_str()];
        (status, body.to_owned())
    };
    let length = answer.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
    );
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

fn header<'a>(request: &'a Value, name: &str) -> Option<&'a str> {
    let headers = request["headers"].as_array().unwrap().iter();
    let found: Vec<_> = headers.filter(|it| it["key"] == name).collect();
    assert!(found.len() < 2, "{request}");
    found.first().map(|it| it["value"].as_str().unwrap())
}

#[test]
fn the_role_of_a_machine_signs_for_a_token_that_receivers_accept() {
    let machine = Machine::start(|_| {});
    let request = machine.signed(&[]);
    assert_eq!(request["method"], "POST");
    assert_eq!(
        request["url"],
        "https://sts.us-east-2.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
    );
    assert_eq!(
        header(&request, "x-amz-security-token"),
        Some("s3cret-token")
    );
    let file = fs::read(machine.folder.path().join("credential.json")).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    assert_eq!(
        header(&request, "x-goog-cloud-target-resource"),
        file["audience"].as_str()
    );
    let authorization = header(&request, "Authorization").unwrap();
    assert!(
        authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIAROLE/"),
        "{authorization}"
    );
    assert!(
        authorization.contains("/us-east-2/sts/aws4_request, SignedHeaders=host;x-amz-date;x-amz-security-token;x-goog-cloud-target-resource, Signature="),
        "{authorization}"
    );
    let session = "x-aws-ec2-metadata-token: s3cret-session";
    assert_eq!(
        machine.asked(),
        [
            "PUT /latest/api/token x-aws-ec2-metadata-token-ttl-seconds: 300".to_owned(),
            format!("GET /zone {session}"),
            format!("GET /keys {session}"),
            format!("GET /keys/my-role {session}"),
        ]
    );
}

#[test]
fn without_a_session_url_there_is_no_session() {
    let machine = Machine::start(|source| source["imdsv2_session_token_url"] = Value::Null);
    machine.signed(&[]);
    assert_eq!(
        machine.asked(),
        ["GET /zone", "GET /keys", "GET /keys/my-role"]
    );
}

#[test]
fn what_the_environment_says_is_not_asked_for() {
    let machine = Machine::start(|_| {});
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKIAENV"),
        ("AWS_SECRET_ACCESS_KEY", "s3cret"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&keys, more].concat();
    let request = machine.signed(&with(&[
        ("AWS_REGION", "eu-west-1"),
        ("AWS_DEFAULT_REGION", "x"),
    ]));
    assert!(
        header(&request, "Authorization")
            .unwrap()
            .contains("Credential=AKIAENV/")
    );
    assert_eq!(
        header(&request, "host"),
        Some("sts.eu-west-1.amazonaws.com")
    );
    assert_eq!(header(&request, "x-amz-security-token"), None);
    assert_eq!(machine.asked(), [] as [String; 0]);
    let request = machine.signed(&with(&[
        ("AWS_DEFAULT_REGION", "eu-west-2"),
        ("AWS_SESSION_TOKEN", "t"),
    ]));
    assert_eq!(
        header(&request, "host"),
        Some("sts.eu-west-2.amazonaws.com")
    );
    assert_eq!(header(&request, "x-amz-security-token"), Some("t"));
    machine.signed(&keys);
    assert_eq!(machine.asked().len(), 2, "a session and the region");
}

#[test]
fn each_failure_says_who_failed_and_what_to_do() {
    let machine = Machine::start(|_| {});
    let mut said = Vec::new();
    for (call, status, body, words) in [
        (
            "GET /keys/my-role",
            200,
            "s3cret",
            "subject token: AWS's metadata service gave keys that are not a JSON object",
        ),
        (
            "GET /keys/my-role",
            500,
            "s3cret",
            "asked for its keys: 500",
        ),
        ("GET /keys", 200, "../s3cret", "gave a role that is no name"),
        (
            "GET /keys",
            404,
            "s3cret",
            "asked for its role: 404 (give this machine an instance profile with a role)",
        ),
        (
            "GET /zone",
            200,
            "two wordsx",
            "\"two words\" is no region of AWS",
        ),
        (
            "GET /zone",
            401,
            "s3cret",
            "asked for the region: 401 (it wants IMDSv2: make the credential file with --enable-imdsv2)",
        ),
        (
            "PUT /latest/api/token",
            403,
            "s3cret",
            "asked for a session: 403",
        ),
    ] {
        machine.answer(call, status, body);
        let found = machine.refusal(&[]);
        assert!(found.contains(words), "{words}: {found}");
        assert!(found.contains("subject token: "), "{found}");
        said.push(found);
    }
    assert_eq!(machine.google.calls("sts").len(), 0);
}

#[test]
fn a_file_that_leads_nowhere_is_told_what_to_set() {
    let machine = Machine::start(|source| {
        *source = json!({
            "environment_id": "aws1",
            "regional_cred_verification_url": source["regional_cred_verification_url"],
        });
    });
    assert!(
        machine
            .refusal(&[])
            .contains("set AWS_REGION, or name credential_source.region_url")
    );
    let region = [("AWS_REGION", "us-east-1")];
    assert!(
        machine
            .refusal(&region)
            .contains("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    );
}
