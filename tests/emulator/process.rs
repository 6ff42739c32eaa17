//! A running `invoker emulate`, and how the tests talk to it.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rsa::{
    BoxedUint, PublicKey,
    pkcs1v15::{Signature, VerifyingKey},
    sha2::Sha256,
    signature::Verifier as _,
};
use serde_json::Value;

/// What no call and no exit may take longer than, on the slowest machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const IDENTITY: &str = "/computeMetadata/v1/instance/service-accounts/default/identity";
pub(crate) const TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_invoker"));
    command.arg("emulate").args(arguments);
    command
}

/// Runs a command that is expected to end by itself; one that does not is ended, and that fails.
pub(crate) fn output(arguments: &[&str]) -> Output {
    output_of(&mut command(arguments))
}

/// The same for a command that a test has prepared.
pub(crate) fn output_of(command: &mut Command) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + DEADLINE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("{command:?} did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

pub(crate) struct Emulator {
    pub(crate) url: String,
    process: Child,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) version: ureq::http::Version,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Emulator {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::of(&mut command(arguments))
    }

    /// Of a command that a test has prepared.
    pub(crate) fn of(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line
            .strip_prefix("invoker emulate: listening on ")
            .unwrap_or_else(|| {
                panic!("the first line does not say where it listens: {line:?}");
            });
        Self {
            url: url.trim_end().to_owned(),
            process,
        }
    }

    pub(crate) fn pid(&self) -> String {
        self.process.id().to_string()
    }

    /// Waits for the process to end.
    pub(crate) fn end(mut self) -> ExitStatus {
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it did not end within {DEADLINE:?}");
    }

    /// A GET as a client of the metadata server sends it.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.try_get(path, &[("Metadata-Flavor", "Google")], DEADLINE)
            .unwrap()
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.try_get(path, headers, DEADLINE).unwrap()
    }

    pub(crate) fn try_get(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<Answer, ureq::Error> {
        let mut request = agent(timeout).get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.call()?)
    }

    /// An ID token for an audience that needs no encoding.
    pub(crate) fn id_token(&self, audience: &str) -> String {
        let answer = self.get(&format!("{IDENTITY}?audience={audience}&format=full"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// Sets a fault that must be accepted, and gives its number.
    pub(crate) fn fault(&self, fault: Value) -> u64 {
        let answer = self.post_fault(&fault.to_string());
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_u64().unwrap()
    }

    /// A POST with a content type and perhaps a bearer.
    pub(crate) fn post(
        &self,
        path: &str,
        (content_type, body): (&str, &str),
        bearer: Option<&str>,
    ) -> Answer {
        let mut request = agent(DEADLINE)
            .post(format!("{}{path}", self.url))
            .header("Content-Type", content_type);
        if let Some(bearer) = bearer {
            request = request.header("Authorization", format!("Bearer {bearer}"));
        }
        read(request.send(body).unwrap()).unwrap()
    }

    pub(crate) fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs = fields.iter();
        let pairs = pairs.map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        self.post(path, ("application/x-www-form-urlencoded", &body), None)
    }

    pub(crate) fn post_json(&self, path: &str, body: &Value, bearer: &str) -> Answer {
        self.post(path, ("application/json", &body.to_string()), Some(bearer))
    }

    /// A control call without a body that must succeed.
    pub(crate) fn control(&self, path: &str) {
        let answer = self.post(&format!("/_emulator{path}"), ("text/plain", ""), None);
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    /// What the emulator was asked at one endpoint.
    pub(crate) fn calls(&self, endpoint: &str) -> Vec<Value> {
        let path = format!("/_emulator/requests?endpoint={endpoint}");
        let answer = self.get_with(&path, &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json().as_array().unwrap().clone()
    }

    pub(crate) fn post_fault(&self, text: &str) -> Answer {
        let request = agent(DEADLINE).post(format!("{}/_emulator/faults", self.url));
        read(request.send(text).unwrap()).unwrap()
    }

    pub(crate) fn delete(&self, path: &str) -> u16 {
        let request = agent(DEADLINE).delete(format!("{}{path}", self.url));
        request.call().unwrap().status().as_u16()
    }

    /// The claims of a token whose signature fits the published key.
    pub(crate) fn verify(&self, token: &str) -> Value {
        let [header, claims, signature] = segments(token);
        let header: Value = serde_json::from_slice(&header).unwrap();
        let certificates = self.get_with("/oauth2/v3/certs", &[]).json();
        let mut keys = certificates["keys"].as_array().unwrap().iter();
        let jwk = keys
            .find(|jwk| jwk["kid"] == header["kid"])
            .expect("a key with the token's ID");
        let number = |name: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
            BoxedUint::from_be_slice_vartime(&bytes)
        };
        let key = PublicKey::new(number("n"), number("e")).unwrap();
        let (signed, _) = token.rsplit_once('.').unwrap();
        let signature = Signature::try_from(signature.as_slice()).unwrap();
        VerifyingKey::<Sha256>::new(key)
            .verify(signed.as_bytes(), &signature)
            .unwrap();
        serde_json::from_slice(&claims).unwrap()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The claims of a token, whoever signed it.
pub(crate) fn claims(token: &str) -> Value {
    let [_, claims, _] = segments(token);
    serde_json::from_slice(&claims).unwrap()
}

pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

fn segments(token: &str) -> [Vec<u8>; 3] {
    let decode = |segment: &str| URL_SAFE_NO_PAD.decode(segment).unwrap();
    let segments: Vec<_> = token.split('.').map(decode).collect();
    segments.try_into().expect("three segments")
}

fn agent(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(timeout))
        .build()
        .into()
}

fn read(mut answer: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let text = |value: &ureq::http::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = answer.headers().iter();
    Ok(Answer {
        status: answer.status().as_u16(),
        version: answer.version(),
        headers: headers
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body: answer
            .body_mut()
            .with_config()
            .limit(100 << 20)
            .read_to_string()?,
    })
}
