//! AWS: the subject token is a signed `GetCallerIdentity` that Google sends on to AWS, which so tells Google who
//! signed it.
//!
//! As Google's own clients make it: the region and the keys are the environment's, else the machine's metadata
//! service has them (IMDS; version 2 where the credential file names its session token).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::sigv4::{Keys, Request, Scope, quote};
use crate::error::{Code, FetchError};
use crate::host::native::MetadataServer;
use crate::host::native::http;
use crate::http::{CalloutError, Request as Call};
use crate::secret::Secret;
use crate::source::local_subject::Aws;
use crate::time::UnixTime;
use crate::url::{Nearness, Url};

/// Of a session with the metadata service, in seconds: it is used at once. As in Google's own clients.
const SESSION_SECONDS: &str = "300";

/// The header that Google wants to see: it binds the signature to the pool's provider.
const TARGET: &str = "x-goog-cloud-target-resource";

/// Whom a message names.
pub(super) const ASKED: &str = "AWS's credentials of this machine";

/// Signs with what the environment and the metadata service say now.
pub(super) async fn get(
    aws: &Aws,
    metadata_server: &MetadataServer,
    timeout: Duration,
    now: impl Fn() -> UnixTime,
) -> Result<Secret, FetchError> {
    let machine = Machine {
        aws,
        metadata_server,
        timeout,
    };
    let found = tokio::time::timeout(timeout, machine.region_and_keys()).await;
    let (region, keys) = found.map_err(|_| {
        FetchError::transient(
            Code::CalloutTimeout,
            format!("AWS's metadata service did not answer within {timeout:?}"),
        )
    })??;
    subject_token(aws, &region, &keys, now())
}

/// The signed request, as Google wants to have it.
fn subject_token(
    aws: &Aws,
    region: &str,
    keys: &Keys,
    now: UnixTime,
) -> Result<Secret, FetchError> {
    let url = aws.verification_url.replace("{region}", region);
    // The credential file's was looked at with a region in it.
    let parts = url.strip_prefix("https://").unwrap_or_default();
    let (host, query) = parts.split_once('?').unwrap_or((parts, ""));
    let host = host.trim_end_matches('/');
    let request = Request {
        method: "POST",
        host,
        query,
        headers: BTreeMap::from([(TARGET, aws.audience.clone())]),
    };
    let scope = Scope {
        region,
        service: host.split('.').next().unwrap_or_default(),
        now,
    };
    let headers = request.signed(keys, scope);
    let headers: Vec<_> = headers
        .into_iter()
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect();
    let request = json!({"url": url, "method": "POST", "headers": headers});
    Ok(Secret::new(quote(&Zeroizing::new(request.to_string()))))
}

/// Where the region and the keys come from.
struct Machine<'a> {
    aws: &'a Aws,
    metadata_server: &'a MetadataServer,
    timeout: Duration,
}

impl Machine<'_> {
    async fn region_and_keys(&self) -> Result<(String, Keys), FetchError> {
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        let keys = keys_of_the_environment();
        let session = match (&region, &keys, &self.aws.session_url) {
            (Some(_), Some(_), _) | (_, _, None) => None,
            (_, _, Some(url)) => Some(self.session(url).await?),
        };
        let region = match region {
            Some(region) => region,
            None => self.region(session.as_ref()).await?,
        };
        if !is_region(&region) {
            return Err(FetchError::permanent(
                Code::Refused,
                format!(
                    "{region:?} is no region of AWS; see AWS_REGION and credential_source.region_url"
                ),
            ));
        }
        let keys = match keys {
            Some(keys) => keys,
            None => self.keys(session.as_ref()).await?,
        };
        Ok((region, keys))
    }

    async fn session(&self, url: &Url) -> Result<Secret, FetchError> {
        let call = Call {
            method: "PUT",
            ..Call::get("", url, self.timeout)
        };
        let call = call.with_header("x-aws-ec2-metadata-token-ttl-seconds", SESSION_SECONDS);
        let token = self.ask(&call, "a session").await?;
        Ok(Secret::new(token.trim()))
    }

    async fn region(&self, session: Option<&Secret>) -> Result<String, FetchError> {
        let url = self.aws.region_url.as_ref().ok_or_else(|| {
            FetchError::permanent(
                Code::Refused,
                "no region of AWS is known; set AWS_REGION, or name credential_source.region_url",
            )
        })?;
        let zone = self
            .ask(&call(url, session, self.timeout), "the region")
            .await?;
        // It is a zone: us-east-2b.
        let mut zone = zone.trim().chars();
        zone.next_back();
        Ok(zone.as_str().to_owned())
    }

    async fn keys(&self, session: Option<&Secret>) -> Result<Keys, FetchError> {
        let url = self.aws.keys_url.as_ref().ok_or_else(|| {
            FetchError::permanent(
                Code::Refused,
                "no credentials of AWS are known; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name \
                 credential_source.url",
            )
        })?;
        let role = self
            .ask(&call(url, session, self.timeout), "its role")
            .await?;
        let role = role.trim();
        // IAM's alphabet for names.
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
        if role.is_empty() || !role.bytes().all(is_name) {
            return Err(malformed("a role that is no name"));
        }
        let url = format!("{}/{role}", url.as_str().trim_end_matches('/'));
        let url = Url::parse(&url, Nearness::LinkLocal)
            .map_err(|_| malformed("a role that is no name"))?;
        let keys = self
            .ask(&call(&url, session, self.timeout), "its keys")
            .await?;
        keys_of(&keys)
    }

    async fn ask(&self, call: &Call, what: &str) -> Result<Zeroizing<String>, FetchError> {
        let exchange = http::exchange(call, self.metadata_server).await;
        let whom = format!(
            "AWS's metadata service ({}), asked for {what}",
            exchange.asked
        );
        let response = exchange.answer.map_err(|error| {
            let code = match error {
                CalloutError::Timeout => Code::CalloutTimeout,
                CalloutError::TooLarge => return malformed("more than 64 KiB"),
                _ => Code::CalloutUnreachable,
            };
            FetchError::transient(code, format!("{whom}: {}", exchange.in_words))
        })?;
        let status = response.status;
        let told = |advice: &str| format!("{whom}: {status}{advice}");
        match status {
            200 => String::from_utf8(response.body)
                .map(Zeroizing::new)
                .map_err(|_| malformed("an answer that is not text")),
            401 => Err(FetchError::permanent(
                Code::Refused,
                told(" (it wants IMDSv2: make the credential file with --enable-imdsv2)"),
            )),
            404 => Err(FetchError::permanent(
                Code::NotFound,
                told(" (give this machine an instance profile with a role)"),
            )),
            408 | 429 | 500.. => Err(FetchError::transient(Code::ServerError, told(""))),
            _ => Err(FetchError::permanent(Code::Refused, told(""))),
        }
    }
}

fn call(url: &Url, session: Option<&Secret>, timeout: Duration) -> Call {
    let call = Call::get("", url, timeout);
    match session {
        Some(session) => call.with_header("x-aws-ec2-metadata-token", session.expose()),
        None => call,
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn keys_of_the_environment() -> Option<Keys> {
    Some(Keys {
        access_key_id: variable("AWS_ACCESS_KEY_ID")?,
        secret_access_key: Secret::new(variable("AWS_SECRET_ACCESS_KEY")?),
        session_token: variable("AWS_SESSION_TOKEN").map(Secret::new),
    })
}

fn keys_of(answer: &str) -> Result<Keys, FetchError> {
    let answer: Map<String, Value> =
        serde_json::from_str(answer).map_err(|_| malformed("keys that are not a JSON object"))?;
    let text = |field: &str| answer.get(field)?.as_str().filter(|text| !text.is_empty());
    let must =
        |field: &str| text(field).ok_or_else(|| malformed(&format!("keys without {field:?}")));
    Ok(Keys {
        access_key_id: must("AccessKeyId")?.to_owned(),
        secret_access_key: Secret::new(must("SecretAccessKey")?),
        session_token: text("Token").map(Secret::new),
    })
}

/// It becomes part of a host.
fn is_region(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(plain)
}

fn malformed(what: &str) -> FetchError {
    FetchError::permanent(
        Code::MalformedAnswer,
        format!("AWS's metadata service gave {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(session_token: Option<&str>) -> String {
        let aws = Aws {
            audience: "//iam.googleapis.com/projects/123456/locations/global/workloadIdentityPools/POOL_ID/providers/PROVIDER_ID".to_owned(),
            region_url: None,
            keys_url: None,
            session_url: None,
            verification_url: "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15".to_owned(),
        };
        let keys = Keys {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            session_token: session_token.map(Secret::new),
        };
        let now = UnixTime::from_rfc3339("2020-08-11T06:55:22Z").unwrap();
        let token = subject_token(&aws, "us-east-2", &keys, now).unwrap();
        token.expose().to_owned()
    }

    /// google-auth 2.62 made these of the same inputs: `aws.RequestSigner.get_request_options` with the target
    /// among the `additional_headers` (its own credentials add that header unsigned, against its own advice),
    /// and then as `aws.Credentials.retrieve_subject_token` does.
    #[test]
    fn it_is_what_google_auth_makes_of_the_same_keys() {
        assert_eq!(
            made(None),
            "%7B%22headers%22%3A%5B%7B%22key%22%3A%22Authorization%22%2C%22value%22%3A%22AWS4-HMAC-SHA256%20Credential%3DAKIAIOSFODNN7EXAMPLE/20200811/us-east-2/sts/aws4_request%2C%20SignedHeaders%3Dhost%3Bx-amz-date%3Bx-goog-cloud-target-resource%2C%20Signature%3Dfae09118e41357ad87677b120e1977871dadb5d8b4110e6d46fb50c8f7a4ff7f%22%7D%2C%7B%22key%22%3A%22host%22%2C%22value%22%3A%22sts.us-east-2.amazonaws.com%22%7D%2C%7B%22key%22%3A%22x-amz-date%22%2C%22value%22%3A%2220200811T065522Z%22%7D%2C%7B%22key%22%3A%22x-goog-cloud-target-resource%22%2C%22value%22%3A%22//iam.googleapis.com/projects/123456/locations/global/workloadIdentityPools/POOL_ID/providers/PROVIDER_ID%22%7D%5D%2C%22method%22%3A%22POST%22%2C%22url%22%3A%22https%3A//sts.us-east-2.amazonaws.com%3FAction%3DGetCallerIdentity%26Version%3D2011-06-15%22%7D"
        );
        let session = "AQoEXAMPLEH4aoAH0gNCAPyJxz4BlCFFxWNE1OPTgk5TthT+FvwqnKwRcOIfrRh3c/LTo6UDdyJwOOvEVPvLXCrrrUtdnniCEXAMPLE";
        assert_eq!(
            made(Some(session)),
            "%7B%22headers%22%3A%5B%7B%22key%22%3A%22Authorization%22%2C%22value%22%3A%22AWS4-HMAC-SHA256%20Credential%3DAKIAIOSFODNN7EXAMPLE/20200811/us-east-2/sts/aws4_request%2C%20SignedHeaders%3Dhost%3Bx-amz-date%3Bx-amz-security-token%3Bx-goog-cloud-target-resource%2C%20Signature%3D36b41214b10f4855bbaf5eefa9e103eb9dcb0bca76a261562406f56dc7795331%22%7D%2C%7B%22key%22%3A%22host%22%2C%22value%22%3A%22sts.us-east-2.amazonaws.com%22%7D%2C%7B%22key%22%3A%22x-amz-date%22%2C%22value%22%3A%2220200811T065522Z%22%7D%2C%7B%22key%22%3A%22x-amz-security-token%22%2C%22value%22%3A%22AQoEXAMPLEH4aoAH0gNCAPyJxz4BlCFFxWNE1OPTgk5TthT%2BFvwqnKwRcOIfrRh3c/LTo6UDdyJwOOvEVPvLXCrrrUtdnniCEXAMPLE%22%7D%2C%7B%22key%22%3A%22x-goog-cloud-target-resource%22%2C%22value%22%3A%22//iam.googleapis.com/projects/123456/locations/global/workloadIdentityPools/POOL_ID/providers/PROVIDER_ID%22%7D%5D%2C%22method%22%3A%22POST%22%2C%22url%22%3A%22https%3A//sts.us-east-2.amazonaws.com%3FAction%3DGetCallerIdentity%26Version%3D2011-06-15%22%7D"
        );
    }

    #[test]
    fn keys_have_an_id_and_a_secret_and_perhaps_a_token() {
        let answer = r#"{"Code": "Success", "AccessKeyId": "id", "SecretAccessKey": "s3cret", "Token": "t0ken"}"#;
        let keys = keys_of(answer).unwrap();
        assert_eq!(keys.access_key_id, "id");
        assert_eq!(keys.secret_access_key.expose(), "s3cret");
        assert_eq!(keys.session_token.unwrap().expose(), "t0ken");
        for (answer, said) in [
            ("s3cret", "keys that are not a JSON object"),
            (
                r#"{"Code": "AssumeRoleUnauthorizedAccess"}"#,
                "keys without \"AccessKeyId\"",
            ),
            (
                r#"{"AccessKeyId": "id", "SecretAccessKey": ""}"#,
                "keys without \"SecretAccessKey\"",
            ),
        ] {
            let error = keys_of(answer).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_region_can_t_lead_elsewhere() {
        assert!(is_region("us-east-2") && is_region("cn-north-1"));
        for text in ["", "us east", "evil.example.com/", "US-EAST-2", "x@y"] {
            assert!(!is_region(text), "{text}");
        }
    }
}
