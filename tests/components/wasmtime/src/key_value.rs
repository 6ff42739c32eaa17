//! `wasi:keyvalue`, in the host's memory. The one of Wasmtime's own crate shares nothing between instances, nor between two
//! openings of a bucket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../../wit/hosted",
        imports: { default: trappable },
        with: { "wasi:keyvalue/store.bucket": super::Bucket },
    });
}

use bindings::wasi::keyvalue::store::{self, Error, KeyResponse};

type Values = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// Those that there are.
#[derive(Clone, Default)]
pub(crate) struct Buckets {
    tokens: Values,
}

/// `None` in one that is broken.
pub struct Bucket(Option<Values>);

/// The buckets, seen from one instance.
pub(crate) struct KeyValue<'a> {
    pub(crate) buckets: &'a Buckets,
    pub(crate) table: &'a mut ResourceTable,
}

struct HasKeyValue;

impl HasData for HasKeyValue {
    type Data<'a> = KeyValue<'a>;
}

pub(crate) fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> KeyValue<'_>,
) -> wasmtime::Result<()> {
    store::add_to_linker::<_, HasKeyValue>(linker, view)
}

impl KeyValue<'_> {
    /// Does it with the bucket's values.
    fn with<T>(
        &mut self,
        bucket: &Resource<Bucket>,
        act: impl FnOnce(&mut HashMap<String, Vec<u8>>) -> T,
    ) -> wasmtime::Result<Result<T, Error>> {
        Ok(match &self.table.get(bucket)?.0 {
            Some(values) => Ok(act(&mut values.lock().unwrap())),
            None => Err(Error::Other("it is broken".to_owned())),
        })
    }
}

impl store::Host for KeyValue<'_> {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<Bucket>, Error>> {
        let bucket = match name.as_str() {
            "tokens" => Bucket(Some(self.buckets.tokens.clone())),
            "broken" => Bucket(None),
            _ => return Ok(Err(Error::NoSuchStore)),
        };
        Ok(Ok(self.table.push(bucket)?))
    }
}

impl store::HostBucket for KeyValue<'_> {
    fn get(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        self.with(&bucket, |values| values.get(&key).cloned())
    }

    fn set(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        self.with(&bucket, |values| {
            values.insert(key, value);
        })
    }

    fn delete(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<(), Error>> {
        self.with(&bucket, |values| {
            values.remove(&key);
        })
    }

    fn exists(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<bool, Error>> {
        self.with(&bucket, |values| values.contains_key(&key))
    }

    fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        _: Option<u64>,
    ) -> wasmtime::Result<Result<KeyResponse, Error>> {
        self.with(&bucket, |values| KeyResponse {
            keys: values.keys().cloned().collect(),
            cursor: None,
        })
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}
