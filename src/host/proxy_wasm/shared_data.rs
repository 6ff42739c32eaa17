//! Envoy's shared data as the core's store.

use super::abi;
use crate::store::{Mismatch, SharedStore, Version};

/// Envoy takes a compare-and-swap with 0 for an order to overwrite, and has no "create if absent".
/// A number that it never gives out is one: it inserts, and is a mismatch if something is there.
const NEVER_ISSUED: u32 = u32::MAX;

/// The map that all VMs with the same `vm_id` share.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedData;

impl SharedStore for SharedData {
    fn get(&self, key: &str) -> Option<(Vec<u8>, Version)> {
        abi::shared_data(key).map(|(value, cas)| (value, Version(cas)))
    }

    fn compare_and_swap(&self, key: &str, value: &[u8], expected: Version) -> Result<(), Mismatch> {
        match expected.0 {
            0 => Err(Mismatch),
            cas => abi::set_shared_data(key, value, cas).map_err(|_| Mismatch),
        }
    }

    fn insert(&self, key: &str, value: &[u8]) -> Result<(), Mismatch> {
        abi::set_shared_data(key, value, NEVER_ISSUED).map_err(|_| Mismatch)
    }
}
