//! The proxy-wasm ABI 0.2.1, as far as the filter uses it. All unsafe code of the crate is here.
//!
//! The Rust SDK is not used: it enters the VM for the creation, the log and the deletion of every
//! request's context (some 8,000 instructions each), ties a callout to the request that caused it,
//! and panics on statuses that it does not expect. Here a call answers with a [`Status`], and
//! nothing is called that the filter does not need.
//!
//! Specification: <https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>.

use std::ptr;
use std::time::Duration;

use crate::host::proxy_wasm_wire::pairs;

/// What a host call answers when it does not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(u32);

impl Status {
    const OK: u32 = 0;
    /// The argument is no good: an unknown cluster, a context that is gone.
    pub(super) const BAD_ARGUMENT: Self = Self(2);
}

/// Header maps by their number in the ABI.
#[derive(Clone, Copy)]
pub(super) enum Map {
    Request = 0,
    CalloutResponse = 6,
}

/// Buffers by their number in the ABI.
#[derive(Clone, Copy)]
pub(super) enum Buffer {
    CalloutResponseBody = 4,
    PluginConfiguration = 7,
}

/// Kinds of metrics by their number in the ABI.
#[derive(Clone, Copy)]
pub(super) enum Metric {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}

/// Clocks by their number in WASI; the ABI's own call has only the first.
#[derive(Clone, Copy)]
pub(super) enum Clock {
    Realtime = 0,
    Monotonic = 1,
}

/// Log levels by their number in the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_set_effective_context(id: u32) -> u32;
    fn proxy_get_property(
        path: *const u8,
        size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;
    fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        max: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
    fn proxy_continue_stream(kind: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        cas: u32,
    ) -> u32;
    fn proxy_register_shared_queue(name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_dequeue_shared_queue(id: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_enqueue_shared_queue(id: u32, data: *const u8, size: usize) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        argument: *const u8,
        argument_size: usize,
        result: *mut *mut u8,
        result_size: *mut usize,
    ) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, nanoseconds: *mut u64) -> u32;
}

unsafe extern "C" {
    /// The static constructors, which a library's linker leaves to `_initialize`.
    fn __wasm_call_ctors();
}

/// Runs what must run before anything else in the module.
pub(super) fn initialize() {
    // SAFETY: the host calls `_initialize` once, before every other export.
    unsafe { __wasm_call_ctors() }
}

/// Memory into which the host writes a value; [`owned`] takes it over.
pub(super) fn allocate(size: usize) -> *mut u8 {
    let mut bytes = Vec::<u8>::with_capacity(size);
    let data = bytes.as_mut_ptr();
    std::mem::forget(bytes);
    data
}

pub(super) fn log(level: Level, message: &str) {
    // SAFETY: the host reads `message` during the call only.
    let _ = unsafe { proxy_log(level as u32, message.as_ptr(), message.len()) };
}

/// The lowest level that Envoy writes, by its number.
pub(super) fn log_level() -> u32 {
    let mut level = 0;
    // SAFETY: the host writes one number.
    match unsafe { proxy_get_log_level(&mut level) } {
        Status::OK => level,
        _ => Level::Info as u32,
    }
}

/// Since the clock's zero.
pub(super) fn nanoseconds(clock: Clock) -> u64 {
    let mut nanoseconds = 0;
    // SAFETY: the host writes one number. Envoy has both clocks, so there is no error to meet.
    let _ = unsafe { clock_time_get(clock as u32, 1, &mut nanoseconds) };
    nanoseconds
}

pub(super) fn set_tick_period(period: Duration) {
    let millis = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    // SAFETY: numbers only.
    let _ = unsafe { proxy_set_tick_period_milliseconds(millis) };
}

/// Makes host calls act on another context; an error if it is gone.
pub(super) fn set_effective_context(id: u32) -> Result<(), Status> {
    // SAFETY: numbers only.
    check(unsafe { proxy_set_effective_context(id) })
}

/// A property, by its path's parts with NULs in between.
pub(super) fn property(path: &str) -> Option<Vec<u8>> {
    // SAFETY: the host reads `path` during the call, and hands over a value that it had us allocate.
    let value =
        unsafe { taken(|data, size| proxy_get_property(path.as_ptr(), path.len(), data, size)) };
    value.ok()
}

pub(super) fn buffer(kind: Buffer, max: usize) -> Option<Vec<u8>> {
    // SAFETY: as in `property`.
    unsafe { taken(|data, size| proxy_get_buffer_bytes(kind as u32, 0, max, data, size)) }.ok()
}

pub(super) fn headers(map: Map) -> Vec<(String, String)> {
    // SAFETY: as in `property`.
    let pairs = unsafe { taken(|data, size| proxy_get_header_map_pairs(map as u32, data, size)) };
    pairs::decode(&pairs.unwrap_or_default())
}

/// A header; `None` also if it is not UTF-8.
pub(super) fn header(map: Map, name: &str) -> Option<String> {
    // SAFETY: as in `property`.
    let value = unsafe {
        taken(|data, size| {
            proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, size)
        })
    };
    String::from_utf8(value.ok()?).ok()
}

pub(super) fn set_header(map: Map, name: &str, value: &str) -> Result<(), Status> {
    // SAFETY: the host reads both texts during the call only.
    check(unsafe {
        proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

pub(super) fn remove_header(map: Map, name: &str) -> Result<(), Status> {
    // SAFETY: as in `set_header`.
    check(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// Sends the effective context's request on.
pub(super) fn continue_request() -> Result<(), Status> {
    // SAFETY: numbers only; 0 is the request's direction.
    check(unsafe { proxy_continue_stream(0) })
}

/// Answers the effective context's request.
pub(super) fn send_local_response(
    status: u16,
    details: &str,
    headers: &[(&str, &str)],
    body: &str,
    grpc_status: u32,
) -> Result<(), Status> {
    let headers = pairs::encode(headers);
    // SAFETY: the host reads all texts during the call only.
    check(unsafe {
        proxy_send_local_response(
            status.into(),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status.cast_signed(),
        )
    })
}

/// Sends a callout in the name of the effective context's root, under whose id its answer comes.
pub(super) fn http_call(
    cluster: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    timeout: Duration,
) -> Result<u32, Status> {
    let headers = pairs::encode(headers);
    let trailers = pairs::encode(&[]);
    let timeout = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    let mut token = 0;
    // SAFETY: the host reads all texts during the call only, and writes one number.
    check(unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            timeout,
            &mut token,
        )
    })
    .map(|()| token)
}

/// A shared value and its version.
pub(super) fn shared_data(key: &str) -> Option<(Vec<u8>, u32)> {
    let mut cas = 0;
    // SAFETY: as in `property`, and the host writes one number.
    let value = unsafe {
        taken(|data, size| proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &mut cas))
    };
    value.ok().map(|value| (value, cas))
}

pub(super) fn set_shared_data(key: &str, value: &[u8], cas: u32) -> Result<(), Status> {
    // SAFETY: the host reads both during the call only.
    check(unsafe {
        proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas)
    })
}

pub(super) fn register_queue(name: &str) -> Result<u32, Status> {
    let mut id = 0;
    // SAFETY: the host reads `name` during the call, and writes one number.
    check(unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), &mut id) }).map(|()| id)
}

/// Takes one message from a queue; an error if there is none.
pub(super) fn dequeue(queue: u32) -> Result<Vec<u8>, Status> {
    // SAFETY: as in `property`.
    unsafe { taken(|data, size| proxy_dequeue_shared_queue(queue, data, size)) }
}

/// Puts an empty message into a queue.
pub(super) fn enqueue(queue: u32) -> Result<(), Status> {
    // SAFETY: the message is empty; its address is not read.
    check(unsafe { proxy_enqueue_shared_queue(queue, ptr::NonNull::dangling().as_ptr(), 0) })
}

pub(super) fn define_metric(kind: Metric, name: &str) -> Result<u32, Status> {
    let mut id = 0;
    // SAFETY: the host reads `name` during the call, and writes one number.
    check(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut id) })
        .map(|()| id)
}

pub(super) fn increment_metric(id: u32, by: u64) {
    // SAFETY: numbers only.
    let _ = unsafe { proxy_increment_metric(id, i64::try_from(by).unwrap_or(i64::MAX)) };
}

pub(super) fn record_metric(id: u32, value: u64) {
    // SAFETY: numbers only.
    let _ = unsafe { proxy_record_metric(id, value) };
}

pub(super) fn call_foreign_function(name: &str, argument: &[u8]) -> Result<Vec<u8>, Status> {
    // SAFETY: as in `property`.
    unsafe {
        taken(|data, size| {
            proxy_call_foreign_function(
                name.as_ptr(),
                name.len(),
                argument.as_ptr(),
                argument.len(),
                data,
                size,
            )
        })
    }
}

/// Calls the host for a value, and takes over the memory that it had us [`allocate`] for it.
///
/// # Safety
///
/// `call` must either fail, leave both as they are, or set them to what `allocate` gave for that size.
unsafe fn taken(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Status> {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    check(call(&mut data, &mut size))?;
    if data.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: `data` is a vector's memory of this capacity, given up by `allocate`, and the host
    // has written all of it.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

fn check(status: u32) -> Result<(), Status> {
    if status == Status::OK {
        Ok(())
    } else {
        Err(Status(status))
    }
}
