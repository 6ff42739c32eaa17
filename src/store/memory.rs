//! The store of hosts that share nothing between instances, and of tests.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{Mismatch, SharedStore, Version};

/// A map in this process's memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    values: RefCell<BTreeMap<String, (Vec<u8>, Version)>>,
}

impl MemoryStore {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.values.borrow().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Overwrites a value whatever is there, as a hostile neighbour in Envoy's shared data can.
    pub fn overwrite(&self, key: &str, value: &[u8]) {
        let mut values = self.values.borrow_mut();
        let next = values
            .get(key)
            .map_or(1, |(_, version)| version.0.wrapping_add(1));
        values.insert(key.to_owned(), (value.to_vec(), Version(next)));
    }

    /// All keys, in order.
    pub fn keys(&self) -> Vec<String> {
        self.values.borrow().keys().cloned().collect()
    }
}

impl SharedStore for MemoryStore {
    fn get(&self, key: &str) -> Option<(Vec<u8>, Version)> {
        self.values.borrow().get(key).cloned()
    }

    fn compare_and_swap(&self, key: &str, value: &[u8], expected: Version) -> Result<(), Mismatch> {
        match self.values.borrow_mut().get_mut(key) {
            Some((current, version)) if *version == expected => {
                *current = value.to_vec();
                version.0 = version.0.wrapping_add(1);
                Ok(())
            }
            _ => Err(Mismatch),
        }
    }

    fn insert(&self, key: &str, value: &[u8]) -> Result<(), Mismatch> {
        let mut values = self.values.borrow_mut();
        if values.contains_key(key) {
            return Err(Mismatch);
        }
        values.insert(key.to_owned(), (value.to_vec(), Version(1)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_late_changes_nothing() {
        let store = MemoryStore::default();
        store.insert("key", b"first").unwrap();
        assert_eq!(store.insert("key", b"again"), Err(Mismatch));
        let (_, version) = store.get("key").unwrap();
        store.compare_and_swap("key", b"second", version).unwrap();
        let late = store.compare_and_swap("key", b"third", version);
        assert_eq!(late, Err(Mismatch));
        assert_eq!(store.get("key").unwrap().0, b"second");
        let (_, version) = store.get("key").unwrap();
        store.overwrite("key", b"a neighbour's");
        let late = store.compare_and_swap("key", b"third", version);
        assert_eq!(late, Err(Mismatch));
        assert_eq!(store.keys(), ["key"]);
    }
}
