//! What the simulation does not tell apart: how many callouts, how soon, and in which words.

mod bearer;
mod flight;
mod limits;
mod refresh;
mod waiting;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::flight::LEASE_SLACK;
use super::{Authenticator, CalloutId, Output, RequestId, Settings};
use crate::audience::Audience;
use crate::config::{Credentials, MetadataCredentials, Timing};
use crate::http::Response;
use crate::rules::Target;
use crate::source::Source;
use crate::store::{MemoryStore, Record, Slot};
use crate::time::{Monotonic, Now, UnixTime};
use crate::wanted::Wanted;

const CALLOUT_TIMEOUT: Duration = Duration::from_secs(4);

fn at(since_start: Duration) -> Now {
    Now {
        monotonic: Monotonic::from_millis(0) + since_start,
        unix: UnixTime::from_secs(1_000_000) + since_start,
    }
}

fn vm(seed: u64) -> Authenticator {
    let credentials = Credentials::Metadata(MetadataCredentials {
        cluster: Some("metadata".to_owned()),
        service_account: "default".to_owned(),
    });
    vm_with(&credentials, seed)
}

fn vm_with(credentials: &Credentials, seed: u64) -> Authenticator {
    let settings = Settings {
        timing: Timing {
            timeout: Duration::from_secs(30),
            callout_timeout: CALLOUT_TIMEOUT,
            refresh_margin: Duration::from_secs(300),
        },
        max_waiting_requests: 8,
        prefetch: false,
        lateness: Duration::ZERO,
        joins_fetches: true,
    };
    let source = Source::new(credentials, &|_| None).unwrap();
    let wanted = Wanted::IdToken(Audience::parse("https://a.run.app").unwrap());
    let started = Monotonic::from_millis(0);
    Authenticator::new(source, settings, &[wanted], seed, started)
}

fn fetch(vm: &mut Authenticator, store: &MemoryStore, now: Now) -> CalloutId {
    fetch_for(vm, &Target::Literal(0), store, now)
}

fn fetch_for(vm: &mut Authenticator, target: &Target, store: &MemoryStore, now: Now) -> CalloutId {
    vm.handle_request(RequestId(1), target, store, now);
    match vm.poll_output() {
        Some(Output::Callout(callout, _)) => callout,
        other => panic!("it did not fetch but {other:?}"),
    }
}

fn record(vm: &Authenticator, store: &MemoryStore, now: Now) -> Record {
    let id = vm.entries.literal_id(0).unwrap();
    match vm.read(id, store, now) {
        Some((Slot::Ours(record), _)) => record,
        other => panic!("{other:?}"),
    }
}

/// The metadata server's answer.
fn token(exp: u64) -> Response {
    token_for("https://a.run.app", exp)
}

fn token_for(audience: &str, exp: u64) -> Response {
    let claims = format!(r#"{{"aud":"{audience}","exp":{}}}"#, 1_000_000 + exp);
    Response {
        status: 200,
        headers: Vec::new(),
        body: format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)).into_bytes(),
    }
}

fn callouts(vm: &mut Authenticator) -> Vec<CalloutId> {
    let outputs = std::iter::from_fn(|| vm.poll_output());
    outputs
        .filter_map(|output| match output {
            Output::Callout(callout, _) => Some(callout),
            _ => None,
        })
        .collect()
}

/// What a neighbour in the same shared data can do.
fn garble(store: &MemoryStore) {
    for key in store.keys() {
        store.overwrite(&key, b"rubbish");
    }
}
