//! Invoker attaches Google-signed ID tokens to outbound requests.

#[cfg(not(target_family = "wasm"))]
pub mod emulator;
