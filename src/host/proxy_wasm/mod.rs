//! The host for Envoy and everything built on it: a proxy-wasm module.
//!
//! This file is the module's surface: what Envoy calls. Each export is an entry into the VM, some
//! 8,000 instructions, so what a request doesn't need is not exported (no creation, log or
//! deletion of its context). `proxy_on_request_body` is: it costs only requests with a body, and
//! without it one of Envoy's options lets waiting requests through.
//!
//! # Before changing it
//!
//! Envoy does not re-enter the module while a host call is under way, but for
//! `proxy_on_memory_allocate`: resuming and answering requests happens after the export returned. So
//! the VM's state may stay borrowed during host calls.

mod abi;
mod callout;
mod clock;
mod metrics;
mod queue;
mod root;
mod shared_data;
mod signing;
mod stream;
mod vm;

use std::cell::RefCell;

use root::Action;
use vm::Vm;

thread_local! {
    static VM: RefCell<Vm> = RefCell::new(Vm::new());
}

/// Runs `f` on the VM's state; should it be borrowed after all, `otherwise` is the answer.
fn with_vm<T>(otherwise: T, f: impl FnOnce(&mut Vm) -> T) -> T {
    VM.with(|vm| match vm.try_borrow_mut() {
        Ok(mut vm) => f(&mut vm),
        Err(_) => otherwise,
    })
}

/// What a defect of ours would do to a VM, for the test that shows what Envoy makes of it.
#[cfg(feature = "test-panic")]
#[expect(clippy::panic, reason = "that is what it is for")]
fn panic_on_request() {
    if abi::header(abi::Map::Request, "x-invoker-test-panic").is_some() {
        panic!("a test asked for it");
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    abi::initialize();
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    abi::allocate(size)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, size: usize) -> u32 {
    with_vm(false, |vm| vm.on_configure(root, size)).into()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root: u32) {
    with_vm((), |vm| vm.on_tick(root));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_queue_ready(root: u32, queue: u32) {
    with_vm((), |vm| vm.on_queue_ready(root, queue));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(
    root: u32,
    token: u32,
    headers: u32,
    body_size: usize,
    _trailers: u32,
) {
    with_vm((), |vm| {
        vm.on_callout_response(root, token, headers, body_size)
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _headers: u32, _end_of_stream: u32) -> u32 {
    with_vm(Action::Pause, |vm| vm.on_request_headers(context)) as u32
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, _body_size: usize, _end_of_stream: u32) -> u32 {
    with_vm(Action::Pause, |vm| vm.on_request_body(context)) as u32
}
