//! One record: the token, who fetches it, and how the last fetch failed.
//!
//! Anyone with the same `vm_id` can write here, so a record is read like a stranger's answer: each
//! part that does not parse, or that no VM of ours could have written, is absent.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::RecordKey;
use crate::error::{Class, Code};
use crate::time::{Monotonic, Now, UnixTime};
use crate::token::{Kind, Token, printable};
use crate::wanted::Wanted;

/// No lease of ours is longer: the longest callout timeout that a configuration can have, and the
/// second on top.
const LONGEST_LEASE_MS: u64 = 61_000;

/// No backoff of ours is longer, jitter and `Retry-After` included.
const LONGEST_BACKOFF_MS: u64 = 30_000;

/// More VMs than any machine runs workers; what a neighbour writes beyond it is dropped.
const MOST_WAITERS: usize = 256;

/// Where a VM can be woken: the token of its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PeerId(pub u32);

/// What the VMs know together about one credential and audience.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The last good token; no lease and no failure ever removes it.
    pub token: Option<StoredToken>,
    /// Who fetches.
    pub lease: Option<Lease>,
    /// How the last fetch failed; gone with the next success.
    pub failure: Option<Failure>,
}

/// A token with the moment at which it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredToken {
    /// The token.
    pub token: Token,
    /// When it came, for the pause that follows every success.
    pub fetched_at: Monotonic,
    /// The same on the wall clock, for the time of its refresh.
    pub fetched_unix: UnixTime,
}

/// Who fetches, until when, and whom to wake when it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// A random number that only its holder knows to be its own.
    pub id: u64,
    /// From then on anybody may take over.
    pub until: Monotonic,
    /// The VMs in which requests wait.
    pub waiters: Vec<PeerId>,
}

/// How the last fetch failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Whether it may pass.
    pub class: Class,
    /// Its stable name.
    pub code: Code,
    /// One sentence.
    pub reason: String,
    /// Failures since the last success, this one included.
    pub attempts: u32,
    /// When it failed.
    pub failed_at: Monotonic,
    /// No attempt before then, while no request waits.
    pub not_before: Monotonic,
    /// No attempt before then at all: the server's `Retry-After`.
    pub retry_after: Monotonic,
}

/// What lies under a record's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Our record, perhaps still empty.
    Ours(Record),
    /// Another audience's, which nobody fetches at the moment: it may be replaced.
    Replaceable,
    /// Another audience's, with a live lease: to be left alone.
    Taken,
}

#[derive(Default, Serialize, Deserialize)]
struct Wire {
    key: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    token: Value,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    lease: Value,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    failure: Value,
}

#[derive(Serialize, Deserialize)]
struct WireToken {
    #[serde(flatten)]
    secret: Secret,
    fetched_at: Monotonic,
    fetched_unix: UnixTime,
}

/// An ID token says itself when it ends.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Secret {
    IdToken {
        jwt: String,
    },
    AccessToken {
        access_token: String,
        expires_at: UnixTime,
    },
}

impl Record {
    /// Reads what lies under `key.name`.
    pub fn read(bytes: &[u8], key: &RecordKey, wanted: &Wanted, now: Now) -> Slot {
        let Ok(wire) = serde_json::from_slice::<Wire>(bytes) else {
            return Slot::Ours(Self::default());
        };
        let lease = part::<Lease>(wire.lease).and_then(|lease| lease.plausible(now.monotonic));
        if *wire.key != *key.full {
            let live = lease.is_some_and(|lease| lease.is_live(now.monotonic));
            return if live { Slot::Taken } else { Slot::Replaceable };
        }
        Slot::Ours(Self {
            token: part::<WireToken>(wire.token).and_then(|token| token.parse(wanted, now)),
            lease,
            failure: part::<Failure>(wire.failure).and_then(|f| f.plausible(now.monotonic)),
        })
    }

    /// Whether a fetch has ended since then, one way or the other.
    pub fn has_settled_since(&self, then: Monotonic) -> bool {
        let came = self.token.as_ref().map(|token| token.fetched_at);
        let failed = self.failure.as_ref().map(|failure| failure.failed_at);
        came.max(failed).is_some_and(|at| at >= then)
    }

    /// As it is stored. It holds the token: it goes to the store and nowhere else.
    pub fn write(&self, key: &RecordKey) -> Vec<u8> {
        let token = self.token.as_ref().map(|stored| WireToken {
            secret: Secret::of(&stored.token),
            fetched_at: stored.fetched_at,
            fetched_unix: stored.fetched_unix,
        });
        let wire = Wire {
            key: key.full.to_string(),
            token: value(&token),
            lease: value(&self.lease),
            failure: value(&self.failure),
        };
        // Strings and numbers under string keys: there is nothing that JSON could refuse.
        serde_json::to_vec(&wire).unwrap_or_default()
    }
}

impl WireToken {
    fn parse(self, wanted: &Wanted, now: Now) -> Option<StoredToken> {
        Some(StoredToken {
            token: self.secret.parse(wanted)?,
            fetched_at: self.fetched_at.min(now.monotonic),
            fetched_unix: self.fetched_unix.min(now.unix),
        })
    }
}

impl Secret {
    fn of(token: &Token) -> Self {
        match token.kind() {
            Kind::IdToken => Self::IdToken {
                jwt: token.secret().to_owned(),
            },
            Kind::AccessToken => Self::AccessToken {
                access_token: token.secret().to_owned(),
                expires_at: token.expires_at(),
            },
        }
    }

    fn parse(&self, wanted: &Wanted) -> Option<Token> {
        match (self, wanted) {
            (Self::IdToken { jwt }, Wanted::IdToken(audience)) => Token::id_token(jwt, audience),
            (
                Self::AccessToken {
                    access_token,
                    expires_at,
                },
                Wanted::AccessToken(_),
            ) => Token::access_token(access_token, *expires_at),
            _ => return None,
        }
        .ok()
    }
}

impl Lease {
    /// Whether its holder still has time.
    pub fn is_live(&self, now: Monotonic) -> bool {
        now < self.until
    }

    /// A lease that ends later than any of ours could would block its audience for as long.
    fn plausible(mut self, now: Monotonic) -> Option<Self> {
        self.waiters.truncate(MOST_WAITERS);
        (self.until.since(now).as_millis() <= u128::from(LONGEST_LEASE_MS)).then_some(self)
    }
}

impl Failure {
    fn plausible(mut self, now: Monotonic) -> Option<Self> {
        self.reason = printable(&self.reason);
        let latest = self.not_before.max(self.retry_after);
        (self.failed_at <= now && latest.since(now).as_millis() <= u128::from(LONGEST_BACKOFF_MS))
            .then_some(self)
    }
}

/// Of a written record what other machines can use: whose it is, the token, and when that came by the wall clock.
fn shared_part(bytes: &[u8]) -> Option<(String, WireToken)> {
    let wire: Wire = serde_json::from_slice(bytes).ok()?;
    let token: WireToken = part(wire.token)?;
    let fetched_at = Monotonic::from_millis(0);
    Some((
        wire.key,
        WireToken {
            fetched_at,
            ..token
        },
    ))
}

/// A written record with nothing but its token; `None` if it has none.
pub(super) fn only_token(bytes: &[u8]) -> Option<Vec<u8>> {
    let (key, token) = shared_part(bytes)?;
    let wire = Wire {
        key,
        token: value(&Some(token)),
        ..Wire::default()
    };
    serde_json::to_vec(&wire).ok()
}

/// `own` with the token of `theirs`, if that is a record of the same key and its token came later.
pub(super) fn with_newer_token(own: Option<&[u8]>, theirs: &[u8]) -> Option<Vec<u8>> {
    let Some(own) = own else {
        return only_token(theirs);
    };
    let (key, token) = shared_part(theirs)?;
    let mut both: Wire = serde_json::from_slice(own).ok()?;
    let came = part::<WireToken>(both.token).map(|token| token.fetched_unix);
    if both.key != key || came >= Some(token.fetched_unix) {
        return None;
    }
    both.token = value(&Some(token));
    serde_json::to_vec(&both).ok()
}

fn part<T: DeserializeOwned>(value: Value) -> Option<T> {
    serde_json::from_value(value).ok()
}

fn value<T: Serialize>(part: &Option<T>) -> Value {
    serde_json::to_value(part).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audience::Audience;
    use crate::wanted::Scopes;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn audience() -> Audience {
        Audience::parse("https://a.example.com").unwrap()
    }

    fn wanted() -> Wanted {
        audience().into()
    }

    fn key() -> RecordKey {
        RecordKey::literal("metadata\nm\ndefault", &wanted())
    }

    fn now() -> Now {
        Now {
            monotonic: Monotonic::from_millis(50_000),
            unix: UnixTime::from_secs(1_000),
        }
    }

    fn jwt(audience: &str) -> String {
        let claims = format!(r#"{{"aud":"{audience}","exp":4600}}"#);
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    fn full() -> Record {
        Record {
            token: Some(StoredToken {
                token: Token::id_token(&jwt(audience().as_str()), &audience()).unwrap(),
                fetched_at: Monotonic::from_millis(40_000),
                fetched_unix: UnixTime::from_secs(990),
            }),
            lease: Some(Lease {
                id: 7,
                until: Monotonic::from_millis(55_000),
                waiters: vec![PeerId(3), PeerId(4)],
            }),
            failure: Some(Failure {
                class: Class::Transient,
                code: Code::ServerError,
                reason: "status 500".to_owned(),
                attempts: 2,
                failed_at: Monotonic::from_millis(49_000),
                not_before: Monotonic::from_millis(50_500),
                retry_after: Monotonic::from_millis(49_000),
            }),
        }
    }

    fn read(text: &str) -> Record {
        match Record::read(text.as_bytes(), &key(), &wanted(), now()) {
            Slot::Ours(record) => record,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let bytes = full().write(&key());
        assert_eq!(
            Record::read(&bytes, &key(), &wanted(), now()),
            Slot::Ours(full())
        );
    }

    /// The format is shared with whatever version of the module runs beside this one: a change needs
    /// another prefix in `key`.
    #[test]
    fn the_format_is_that_of_version_1() {
        let text = String::from_utf8(full().write(&key())).unwrap();
        insta::assert_snapshot!(text, @r#"{"key":"metadata\nm\ndefault\nhttps://a.example.com","token":{"fetched_at":40000,"fetched_unix":990000,"jwt":"e30.eyJhdWQiOiJodHRwczovL2EuZXhhbXBsZS5jb20iLCJleHAiOjQ2MDB9.c2ln"},"lease":{"id":7,"until":55000,"waiters":[3,4]},"failure":{"attempts":2,"class":"transient","code":"server_error","failed_at":49000,"not_before":50500,"reason":"status 500","retry_after":49000}}"#);
    }

    #[test]
    fn what_a_neighbour_garbles_is_absent() {
        let text = String::from_utf8(full().write(&key())).unwrap();
        assert_eq!(read(""), Record::default());
        assert_eq!(read("[]"), Record::default());
        assert_eq!(read(&text[..text.len() / 2]), Record::default());
        let garbled = read(&text.replace("\"jwt\":\"", "\"jwt\":\"\\r\\n"));
        assert_eq!(
            garbled,
            Record {
                token: None,
                ..full()
            }
        );
        let other = text.replace(&jwt(audience().as_str()), &jwt("https://evil.example.com"));
        assert_eq!(
            read(&other),
            Record {
                token: None,
                ..full()
            }
        );
    }

    #[test]
    fn times_that_no_vm_of_ours_would_write_block_nobody() {
        let text = String::from_utf8(full().write(&key())).unwrap();
        let lease = read(&text.replace("\"until\":55000", "\"until\":999999999"));
        assert_eq!(
            lease,
            Record {
                lease: None,
                ..full()
            }
        );
        for field in [
            "\"not_before\":50500",
            "\"retry_after\":49000",
            "\"failed_at\":49000",
        ] {
            let (name, _) = field.split_once(':').unwrap();
            let failure = read(&text.replace(field, &format!("{name}:999999999")));
            assert_eq!(
                failure,
                Record {
                    failure: None,
                    ..full()
                },
                "{field}"
            );
        }
        let token = read(&text.replace("\"fetched_at\":40000", "\"fetched_at\":999999999"));
        assert_eq!(token.token.unwrap().fetched_at, now().monotonic);
    }

    #[test]
    fn another_audience_s_record_is_left_alone_while_it_is_being_fetched() {
        let other = Audience::parse("https://b.example.com").unwrap().into();
        let key = RecordKey {
            name: key().name,
            full: "somebody else".into(),
        };
        let bytes = full().write(&key);
        let ours = super::tests::key();
        assert_eq!(Record::read(&bytes, &ours, &other, now()), Slot::Taken);
        let late = Now {
            monotonic: Monotonic::from_millis(55_000),
            ..now()
        };
        assert_eq!(Record::read(&bytes, &ours, &other, late), Slot::Replaceable);
    }

    #[test]
    fn debug_shows_no_token() {
        let shown = format!("{:?}", full());
        assert!(!shown.contains("e30."), "{shown}");
    }

    fn access_token() -> (Wanted, RecordKey, Record) {
        let wanted = Wanted::from(Scopes::new(["https://s/a", "https://s/b"]).unwrap());
        let key = RecordKey::literal("metadata\nm\ndefault", &wanted);
        let token = Token::access_token("ya29.x", UnixTime::from_secs(4600)).unwrap();
        let record = Record {
            token: Some(StoredToken {
                token,
                fetched_at: Monotonic::from_millis(40_000),
                fetched_unix: UnixTime::from_secs(990),
            }),
            ..Record::default()
        };
        (wanted, key, record)
    }

    #[test]
    fn an_access_token_is_stored_with_its_end() {
        let (wanted, key, record) = access_token();
        let bytes = record.write(&key);
        let text = std::str::from_utf8(&bytes).unwrap();
        insta::assert_snapshot!(text, @r#"{"key":"metadata\nm\ndefault\naccess_token\nhttps://s/a https://s/b","token":{"access_token":"ya29.x","expires_at":4600000,"fetched_at":40000,"fetched_unix":990000}}"#);
        assert_eq!(
            Record::read(&bytes, &key, &wanted, now()),
            Slot::Ours(record)
        );
    }

    #[test]
    fn one_kind_of_token_is_never_read_as_the_other() {
        let (wanted, key, record) = access_token();
        let mut bytes = full().write(&key);
        let read = Record::read(&bytes, &key, &wanted, now());
        assert!(matches!(read, Slot::Ours(Record { token: None, .. })));
        bytes = record.write(&super::tests::key());
        let read = Record::read(&bytes, &super::tests::key(), &super::tests::wanted(), now());
        assert!(matches!(read, Slot::Ours(Record { token: None, .. })));
    }
}
