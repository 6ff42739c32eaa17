//! Envoy's shared data with its sharp edges: swaps fail now and then although nobody wrote, and
//! neighbours write what they like.

use std::cell::{Cell, RefCell};

use fastrand::Rng;
use invoker::store::{MemoryStore, Mismatch, SharedStore, Version};

#[derive(Debug)]
pub(crate) struct SimulatedStore {
    inner: MemoryStore,
    rng: RefCell<Rng>,
    lost_swaps: Cell<u32>,
}

impl SimulatedStore {
    pub(crate) fn new(seed: u64, lost_swaps: u32) -> Self {
        Self {
            inner: MemoryStore::default(),
            rng: RefCell::new(Rng::with_seed(seed)),
            lost_swaps: Cell::new(lost_swaps),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.inner.len()
    }

    /// What a hostile or careless neighbour does.
    pub(crate) fn vandalise(&self) {
        let mut rng = self.rng.borrow_mut();
        let keys = self.inner.keys();
        let Some(key) = rng.choice(&keys) else { return };
        let (bytes, _) = self.inner.get(key).unwrap();
        let text = String::from_utf8(bytes).unwrap_or_default();
        let vandalised = match rng.u8(..7) {
            0 => String::new(),
            1 => "{}".to_owned(),
            2 => text.get(..text.len() / 2).unwrap_or_default().to_owned(),
            3 => text.replace("\"until\":", "\"until\":99999999999"),
            4 => text.replace("\"not_before\":", "\"not_before\":99999999999"),
            5 => text
                .replace("\"jwt\":\"", "\"jwt\":\"x")
                .replace("\"access_token\":\"", "\"access_token\":\"x"),
            _ => text.replace("\"fetched_at\":", "\"fetched_at\":9999999"),
        };
        self.inner.overwrite(key, vandalised.as_bytes());
    }

    fn is_lost(&self) -> bool {
        self.rng.borrow_mut().u32(..100) < self.lost_swaps.get()
    }
}

impl SharedStore for SimulatedStore {
    fn get(&self, key: &str) -> Option<(Vec<u8>, Version)> {
        self.inner.get(key)
    }

    fn compare_and_swap(&self, key: &str, value: &[u8], expected: Version) -> Result<(), Mismatch> {
        if self.is_lost() {
            Err(Mismatch)
        } else {
            self.inner.compare_and_swap(key, value, expected)
        }
    }

    fn insert(&self, key: &str, value: &[u8]) -> Result<(), Mismatch> {
        if self.is_lost() {
            Err(Mismatch)
        } else {
            self.inner.insert(key, value)
        }
    }
}
