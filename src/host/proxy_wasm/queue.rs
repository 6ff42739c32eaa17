//! The queue through which other VMs wake this root context.
//!
//! Queues and their names live as long as any VM does, and a name's last registration gets its
//! messages. So names are numbered slots that are used again: a root claims a free one in shared
//! data for a while, renews it, and whoever stops renewing has left.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::abi;
use crate::store::{PeerId, SharedStore};
use crate::time::Monotonic;

/// A claim that is not renewed for so long is free again.
const CLAIM: Duration = Duration::from_secs(60);
const RENEW: Duration = Duration::from_secs(15);

/// More root contexts than any proxy has at a time.
const MAX_SLOTS: usize = 1024;

/// One root's queue.
#[derive(Debug)]
pub(super) struct Queue {
    owner: u64,
    claimed: Option<Claimed>,
}

#[derive(Debug)]
struct Claimed {
    name: String,
    peer: PeerId,
    renew_at: Monotonic,
}

#[derive(Serialize, Deserialize)]
struct Claim {
    owner: u64,
    until: Monotonic,
}

impl Queue {
    /// `owner`: a random number, by which a root knows its own claim.
    pub(super) fn new(owner: u64) -> Self {
        Self {
            owner,
            claimed: None,
        }
    }

    /// Where this root can be woken, if it can.
    pub(super) fn peer(&self) -> Option<PeerId> {
        self.claimed.as_ref().map(|claimed| claimed.peer)
    }

    /// Claims a queue, or renews the claim when it is time to.
    pub(super) fn keep(&mut self, store: &dyn SharedStore, now: Monotonic) {
        if let Some(claimed) = &mut self.claimed {
            if now < claimed.renew_at {
                return;
            }
            if claim(&claimed.name, self.owner, store, now) {
                claimed.renew_at = now + RENEW;
                return;
            }
            // A process that was stopped for longer than a claim finds its slot in other hands.
            self.claimed = None;
        }
        self.claimed = (0..MAX_SLOTS)
            .map(|slot| format!("invoker/1/queue/{slot}"))
            .find_map(|name| {
                if !claim(&name, self.owner, store, now) {
                    return None;
                }
                let peer = PeerId(abi::register_queue(&name).ok()?);
                Some(Claimed {
                    name,
                    peer,
                    renew_at: now + RENEW,
                })
            });
    }
}

fn claim(name: &str, owner: u64, store: &dyn SharedStore, now: Monotonic) -> bool {
    let claim = Claim {
        owner,
        until: now + CLAIM,
    };
    let Ok(bytes) = serde_json::to_vec(&claim) else {
        return false;
    };
    match store.get(name) {
        None => store.insert(name, &bytes).is_ok(),
        Some((held, version)) => {
            let is_taken = serde_json::from_slice::<Claim>(&held).is_ok_and(|held| {
                held.owner != owner && now < held.until && held.until.since(now) <= CLAIM
            });
            !is_taken && store.compare_and_swap(name, &bytes, version).is_ok()
        }
    }
}
