//! The store of instances that have a key-value store in common: for tokens only.
//!
//! Leases, failures and pauses are told by a monotonic clock, which no two machines share, so they stay in the instance's memory.

use super::{MemoryStore, Mismatch, SharedStore, Version, key, record};

/// A key-value store that others read and write too. What goes wrong with it costs a fetch, so nothing here fails.
pub trait Bucket {
    /// The value; `None` if there is none, or it can't be had.
    fn get(&self, key: &str) -> Option<Vec<u8>>;

    /// Writes a value, whatever is there.
    fn set(&self, key: &str, value: &[u8]);

    /// Removes a value, if it is there.
    fn delete(&self, key: &str);
}

/// An instance's memory, and behind it a bucket that has the tokens of all.
#[derive(Debug)]
pub struct BucketStore<B> {
    memory: MemoryStore,
    bucket: B,
}

impl<B: Bucket> BucketStore<B> {
    /// With nothing in memory yet.
    pub fn new(bucket: B) -> Self {
        Self {
            memory: MemoryStore::default(),
            bucket,
        }
    }

    /// Tells the bucket what became of the token.
    fn publish(&self, name: &str, before: Option<&[u8]>, after: &[u8]) {
        if !key::is_record(name) {
            return;
        }
        let had = before.and_then(record::only_token);
        match record::only_token(after) {
            token if token == had => {}
            Some(token) => self.bucket.set(&bucket_key(name), &token),
            None => self.bucket.delete(&bucket_key(name)),
        }
    }
}

impl<B: Bucket> SharedStore for BucketStore<B> {
    fn get(&self, name: &str) -> Option<(Vec<u8>, Version)> {
        let own = self.memory.get(name);
        if key::is_record(name)
            && let Some(theirs) = self.bucket.get(&bucket_key(name))
            && let Some(both) = record::with_newer_token(own.as_ref().map(|it| &*it.0), &theirs)
        {
            self.memory.overwrite(name, &both);
            return self.memory.get(name);
        }
        own
    }

    fn compare_and_swap(
        &self,
        name: &str,
        value: &[u8],
        expected: Version,
    ) -> Result<(), Mismatch> {
        let before = self.memory.get(name);
        self.memory.compare_and_swap(name, value, expected)?;
        self.publish(name, before.as_ref().map(|it| &*it.0), value);
        Ok(())
    }

    fn insert(&self, name: &str, value: &[u8]) -> Result<(), Mismatch> {
        self.memory.insert(name, value)?;
        self.publish(name, None, value);
        Ok(())
    }
}

/// Short, and of letters that every store takes.
fn bucket_key(name: &str) -> String {
    format!("invoker-1-{:016x}", key::hash(name))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::rc::Rc;

    use super::*;
    use crate::audience::Audience;
    use crate::store::{Lease, Record, RecordKey, Slot, StoredToken, success_key};
    use crate::time::{Monotonic, Now, UnixTime};
    use crate::token::Token;
    use crate::wanted::{Scopes, Wanted};

    #[derive(Clone, Default)]
    struct Map(Rc<RefCell<BTreeMap<String, Vec<u8>>>>);

    impl Bucket for Map {
        fn get(&self, key: &str) -> Option<Vec<u8>> {
            self.0.borrow().get(key).cloned()
        }

        fn set(&self, key: &str, value: &[u8]) {
            self.0.borrow_mut().insert(key.to_owned(), value.to_vec());
        }

        fn delete(&self, key: &str) {
            self.0.borrow_mut().remove(key);
        }
    }

    const NOW: Now = Now {
        monotonic: Monotonic::from_millis(50_000),
        unix: UnixTime::from_secs(1_000),
    };

    fn wanted() -> Wanted {
        Scopes::new(["https://s/a"]).unwrap().into()
    }

    fn key() -> RecordKey {
        RecordKey::literal("metadata\nm\ndefault", &wanted())
    }

    fn with_token(secret: &str, fetched: u64) -> Record {
        let token = Token::access_token(secret, UnixTime::from_secs(4_600)).unwrap();
        Record {
            token: Some(StoredToken {
                token,
                fetched_at: Monotonic::from_millis(40_000),
                fetched_unix: UnixTime::from_secs(fetched),
            }),
            ..Record::default()
        }
    }

    fn leased() -> Record {
        Record {
            lease: Some(Lease {
                id: 7,
                until: NOW.monotonic,
                waiters: vec![],
            }),
            ..Record::default()
        }
    }

    fn write(store: &BucketStore<Map>, record: &Record) {
        let (key, bytes) = (key(), record.write(&key()));
        match store.get(&key.name) {
            Some((_, version)) => store.compare_and_swap(&key.name, &bytes, version),
            None => store.insert(&key.name, &bytes),
        }
        .unwrap();
    }

    fn read(store: &BucketStore<Map>) -> Record {
        let key = key();
        let Some((bytes, _)) = store.get(&key.name) else {
            return Record::default();
        };
        match Record::read(&bytes, &key, &wanted(), NOW) {
            Slot::Ours(record) => record,
            other => panic!("{other:?}"),
        }
    }

    fn secret(record: &Record) -> Option<&str> {
        Some(record.token.as_ref()?.token.secret())
    }

    fn two() -> (BucketStore<Map>, BucketStore<Map>, Map) {
        let bucket = Map::default();
        let store = || BucketStore::new(bucket.clone());
        (store(), store(), bucket.clone())
    }

    #[test]
    fn an_instance_finds_another_s_token_and_not_when_it_came_by_the_other_s_clock() {
        let (one, other, _) = two();
        write(&one, &with_token("ya29.x", 990));
        let found = read(&other);
        assert_eq!(secret(&found), Some("ya29.x"));
        let token = found.token.unwrap();
        assert_eq!(token.fetched_at, Monotonic::from_millis(0));
        assert_eq!(token.fetched_unix, UnixTime::from_secs(990));
    }

    #[test]
    fn leases_and_failures_and_marks_of_success_stay_in_the_instance() {
        let (one, other, bucket) = two();
        one.insert(&success_key("metadata"), b"1").unwrap();
        write(&one, &leased());
        assert!(bucket.0.borrow().is_empty());
        assert_eq!(read(&other), Record::default());
        write(&other, &with_token("ya29.x", 990));
        let both = read(&one);
        assert_eq!(both.lease, leased().lease);
        assert_eq!(secret(&both), Some("ya29.x"));
    }

    #[test]
    fn of_a_record_that_is_being_refreshed_the_bucket_gets_the_token_alone() {
        let (one, _, bucket) = two();
        let refreshing = Record {
            token: with_token("ya29.x", 990).token,
            ..leased()
        };
        write(&one, &refreshing);
        let shared = bucket.get(&bucket_key(&key().name)).unwrap();
        let Slot::Ours(shared) = Record::read(&shared, &key(), &wanted(), NOW) else {
            panic!("it is another's");
        };
        assert_eq!(shared.lease, None);
        assert_eq!(secret(&shared), Some("ya29.x"));
    }

    #[test]
    fn a_lease_beside_a_token_does_not_put_it_in_place_of_one_that_came_meanwhile() {
        let (one, other, _) = two();
        let first = with_token("first", 990);
        write(&one, &first);
        let (_, version) = one.get(&key().name).unwrap();
        write(&other, &with_token("second", 995));
        let refreshing = Record {
            token: first.token,
            ..leased()
        };
        one.compare_and_swap(&key().name, &refreshing.write(&key()), version)
            .unwrap();
        assert_eq!(secret(&read(&one)), Some("second"));
    }

    #[test]
    fn the_token_that_came_last_counts() {
        let (one, other, _) = two();
        write(&one, &with_token("first", 990));
        write(&other, &with_token("second", 995));
        assert_eq!(secret(&read(&one)), Some("second"));
        write(&one, &with_token("third", 999));
        assert_eq!(secret(&read(&other)), Some("third"));
    }

    #[test]
    fn a_token_that_was_dropped_does_not_come_back() {
        let (one, other, bucket) = two();
        write(&one, &with_token("refused", 990));
        write(&one, &Record::default());
        assert!(bucket.0.borrow().is_empty());
        assert_eq!(secret(&read(&one)), None);
        assert_eq!(secret(&read(&other)), None);
    }

    #[test]
    fn what_is_garbled_or_another_s_counts_for_nothing() {
        let (one, _, bucket) = two();
        write(&one, &leased());
        let name = bucket_key(&key().name);
        let another = RecordKey {
            full: "another\nhttps://s/a".into(),
            ..key()
        };
        for theirs in [
            b"".to_vec(),
            b"{".to_vec(),
            b"[1]".to_vec(),
            with_token("ya29.x", 990).write(&another),
        ] {
            bucket.set(&name, &theirs);
            assert_eq!(read(&one), leased());
        }
    }

    #[test]
    fn keys_are_short_and_plain() {
        let long = Audience::parse(&format!("https://{}.example.com", "a".repeat(60))).unwrap();
        let name = RecordKey::literal("metadata\nm\ndefault", &long.into()).name;
        let key = bucket_key(&name);
        assert!(
            key.len() <= 32
                && key
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        );
        assert_ne!(key, bucket_key(&super::tests::key().name));
    }
}
