//! Invoker attaches Google-signed ID tokens to outbound requests.

pub mod audience;
pub mod config;
pub mod credential_headers;
pub mod rules;

#[cfg(not(target_family = "wasm"))]
pub mod emulator;
