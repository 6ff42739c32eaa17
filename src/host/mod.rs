//! What runs the core: one module a host. A host moves events and values; what they mean is the
//! core's business.

#[cfg(not(target_family = "wasm"))]
pub mod native;

#[cfg(all(target_os = "wasi", target_env = "p2"))]
#[allow(
    unsafe_code,
    reason = "what exports the component's functions is generated"
)]
mod component;

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
pub mod js;

#[cfg(all(target_os = "wasi", target_env = "p1"))]
#[allow(unsafe_code, reason = "the ABI is one of C functions")]
mod proxy_wasm;

#[cfg(any(test, all(target_os = "wasi", target_env = "p1")))]
mod proxy_wasm_wire;

#[cfg(any(
    test,
    all(target_os = "wasi", target_env = "p2"),
    all(target_family = "wasm", target_os = "unknown")
))]
pub(crate) mod url_head;
