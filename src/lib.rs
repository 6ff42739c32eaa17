//! Invoker attaches Google-signed ID tokens to outbound requests.

pub mod audience;
pub mod authenticator;
pub mod config;
pub mod credential_headers;
pub mod error;
pub mod host;
pub mod http;
pub mod invoker;
pub mod rules;
pub mod source;
pub mod store;
pub mod time;
pub mod token;

#[cfg(not(target_family = "wasm"))]
pub mod check;
#[cfg(not(target_family = "wasm"))]
pub mod emulator;
#[cfg(not(target_family = "wasm"))]
pub mod explain;

pub use invoker::Invoker;
