//! What the VMs of one process share, or the instances of a component.
//!
//! The store itself belongs to the host (Envoy's shared data; memory elsewhere) and is lent to the
//! core for a call. It has no deletion and no transactions: every change of a record goes by
//! compare-and-swap, and who loses reads again and decides again.

mod bucket;
mod key;
mod memory;
mod record;

pub use bucket::{Bucket, BucketStore};
pub use key::{DERIVED_SLOTS, RecordKey, success_key};
pub use memory::MemoryStore;
pub use record::{Failure, Lease, PeerId, Record, Slot, StoredToken};

/// A value's version, as the store gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u32);

/// Somebody else changed the value in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch;

/// A map that all VMs see.
pub trait SharedStore {
    /// The value and its version; `None` if there is none.
    fn get(&self, key: &str) -> Option<(Vec<u8>, Version)>;

    /// Replaces the value if its version still is `expected`.
    ///
    /// # Errors
    ///
    /// It is not, or the store would not take the value.
    fn compare_and_swap(&self, key: &str, value: &[u8], expected: Version) -> Result<(), Mismatch>;

    /// Writes the first value of a key.
    ///
    /// # Errors
    ///
    /// There is one already, or the store would not take the value.
    fn insert(&self, key: &str, value: &[u8]) -> Result<(), Mismatch>;
}
