//! An instance's store, and when instances are made.

use std::future::{Future, pending};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use wasmtime::component::{Component, GuestTaskId, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store, StoreContextMut, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, ProxyPre, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView, p2, p3};

use crate::key_value::{self, Buckets, KeyValue};

/// Each memory of a component: far less than the bodies that the tests send through it.
const MEMORY_BYTES: usize = 8 << 20;

/// As `wasmtime serve` has it.
const CONCURRENT_CALLS: usize = 16;

pub(crate) struct Guest {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    settings: WasiConfigVariables,
    buckets: Buckets,
    limits: StoreLimits,
}

struct Hooks;

impl WasiHttpHooks for Hooks {}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

pub(crate) struct Server {
    engine: Engine,
    settings: Vec<(String, String)>,
    buckets: Buckets,
    component: ProxyPre<Guest>,
}

impl Server {
    pub(crate) fn new(component: &[u8], settings: Vec<(String, String)>) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config.wasm_component_model_async(true);
        let engine = Engine::new(&config)?;
        let component = Component::new(&engine, component)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        p2::add_only_http_to_linker_async(&mut linker)?;
        p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_config::add_to_linker(&mut linker, |guest: &mut Guest| {
            WasiConfig::from(&guest.settings)
        })?;
        key_value::add_to_linker(&mut linker, |guest: &mut Guest| KeyValue {
            buckets: &guest.buckets,
            table: &mut guest.table,
        })?;
        let component = linker.instantiate_pre(&component)?;
        let component = match p3::bindings::ServicePre::new(component.clone()) {
            Ok(service) => ProxyPre::P3(service),
            Err(_) => ProxyPre::P2(p2::bindings::ProxyPre::new(component)?),
        };
        Ok(Self {
            engine,
            settings,
            buckets: Buckets::default(),
            component,
        })
    }
}

impl HandlerState for Server {
    type StoreData = Guest;
    type WorkerExpiration = Never;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Guest, Never, Worker>> {
        let guest = Guest {
            table: ResourceTable::new(),
            wasi: WasiCtx::builder().inherit_env().inherit_stderr().build(),
            http: WasiHttpCtx::new(),
            hooks: Hooks,
            settings: self.settings.clone().into_iter().collect(),
            buckets: self.buckets.clone(),
            limits: StoreLimitsBuilder::new()
                .memory_size(MEMORY_BYTES)
                .trap_on_grow_failure(true)
                .build(),
        };
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| &mut guest.limits);
        let proxy = self.component.instantiate_async(&mut store).await?;
        Ok(Instance {
            store,
            proxy,
            view: Guest::http,
            expiration: Never,
            state: Worker,
        })
    }
}

/// An instance is there for as long as the host is.
pub(crate) struct Never;

impl WorkerExpiration for Never {
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>, _: WorkerStatus, _: Instant) -> Poll<()> {
        Poll::Pending
    }
}

pub(crate) struct Worker;

impl WorkerState for Worker {
    type StoreData = Guest;
    type RequestData = ();

    fn should_accept_request(&self, concurrent: usize, _: usize) -> ShouldAccept {
        match concurrent < CONCURRENT_CALLS {
            true => ShouldAccept::Yes,
            false => ShouldAccept::No,
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, Guest>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        Box::pin(pending())
    }

    fn drop(&self, _: Store<Guest>, result: wasmtime::Result<()>) {
        if let Err(error) = result {
            eprintln!("host: {error:?}");
        }
    }
}
