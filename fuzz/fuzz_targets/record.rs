//! What lies under a record's name, which any neighbour may have written: nothing in it can bring a foreign token, or block an audience.

#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use invoker::audience::Audience;
use invoker::store::{Record, RecordKey, Slot};
use invoker::time::{Monotonic, Now, UnixTime};
use invoker::token::Kind;
use invoker::wanted::{Scopes, Wanted};
use invoker_fuzz::jwt;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const AUDIENCE: &str = "https://profiles.example.com";
/// The longest callout timeout of a configuration, and a second.
const LONGEST_LEASE: Duration = Duration::from_secs(61);
/// The longest pause, its jitter included.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    wants_id_token: bool,
    monotonic: u64,
    unix: u64,
    written: Written<'a>,
}

#[derive(Arbitrary, Debug)]
enum Written<'a> {
    Bytes(&'a [u8]),
    /// In the record's form, with parts that may fit.
    Record {
        is_ours: bool,
        claims: Option<&'a str>,
        access_token: &'a str,
        numbers: [u64; 6],
        lease: Option<Vec<u32>>,
        failure: Option<(&'a str, &'a str)>,
    },
}

fuzz_target!(|input: Input<'_>| {
    let wanted: Wanted = if input.wants_id_token {
        Wanted::IdToken(Audience::parse(AUDIENCE).expect("it is one"))
    } else {
        Wanted::AccessToken(
            Scopes::new(["https://www.googleapis.com/auth/cloud-platform"]).expect("it is one"),
        )
    };
    let key = RecordKey::literal("metadata", &wanted);
    let now = Now {
        monotonic: Monotonic::from_millis(input.monotonic),
        unix: UnixTime::from_millis(input.unix),
    };
    let bytes = match input.written {
        Written::Bytes(bytes) => bytes.to_vec(),
        Written::Record {
            is_ours,
            claims,
            access_token,
            numbers,
            lease,
            failure,
        } => {
            let [fetched_at, fetched_unix, expires_at, until, other, attempts] = numbers;
            let secret = match claims {
                Some(claims) => json!({"jwt": jwt(claims)}),
                None => json!({"access_token": access_token, "expires_at": expires_at}),
            };
            let mut token = secret;
            token["fetched_at"] = fetched_at.into();
            token["fetched_unix"] = fetched_unix.into();
            let lease =
                lease.map(|waiters| json!({"id": other, "until": until, "waiters": waiters}));
            let failure = failure.map(|(class, reason)| {
                json!({
                    "class": class, "code": "server_error", "reason": reason, "attempts": attempts,
                    "failed_at": fetched_at, "not_before": until, "retry_after": other,
                })
            });
            let key = if is_ours { &*key.full } else { "another's" };
            let record: Value =
                json!({"key": key, "token": token, "lease": lease, "failure": failure});
            serde_json::to_vec(&record).expect("it is JSON")
        }
    };
    let Slot::Ours(record) = Record::read(&bytes, &key, &wanted, now) else {
        return;
    };
    // What nobody can read is as good as nothing.
    if record != Record::default() {
        let written: Value = serde_json::from_slice(&bytes).expect("it was read");
        assert_eq!(written["key"], *key.full, "another name's record is ours");
    }
    if let Some(stored) = &record.token {
        let expected = if input.wants_id_token {
            Kind::IdToken
        } else {
            Kind::AccessToken
        };
        assert_eq!(stored.token.kind(), expected);
        if let Ok(claims) = stored.token.claims() {
            assert_eq!(claims.get("aud").and_then(Value::as_str), Some(AUDIENCE));
        }
        assert!(
            stored.fetched_at <= now.monotonic && stored.fetched_unix <= now.unix,
            "it comes from the future"
        );
    }
    if let Some(lease) = &record.lease {
        assert!(
            lease.until.since(now.monotonic) <= LONGEST_LEASE,
            "a lease for {:?}",
            lease.until.since(now.monotonic)
        );
    }
    if let Some(failure) = &record.failure {
        for end in [failure.not_before, failure.retry_after] {
            assert!(
                end.since(now.monotonic) <= LONGEST_PAUSE,
                "a pause of {:?}",
                end.since(now.monotonic)
            );
        }
    }
    // What one VM writes another one reads.
    assert_eq!(
        Record::read(&record.write(&key), &key, &wanted, now),
        Slot::Ours(record)
    );
});
