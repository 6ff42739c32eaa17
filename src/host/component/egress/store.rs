//! Where an instance keeps its tokens.

use crate::host::component::configuration::Configured;

#[cfg(not(feature = "hosted"))]
pub(super) type Store = crate::store::MemoryStore;

#[cfg(not(feature = "hosted"))]
pub(super) fn new(_: &Configured) -> Store {
    Store::default()
}

#[cfg(feature = "hosted")]
pub(super) type Store = crate::store::BucketStore<crate::host::component::hosted::KeyValue>;

#[cfg(feature = "hosted")]
pub(super) fn new(configured: &Configured) -> Store {
    let bucket = crate::host::component::hosted::KeyValue::new(configured.bucket.clone());
    Store::new(bucket)
}
