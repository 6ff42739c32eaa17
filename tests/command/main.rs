//! `invoker token` and `invoker wait` against a real `invoker emulate`.

// The crate is native only; so are its tests.
#![cfg(not(target_family = "wasm"))]
// clippy.toml excepts test functions from these, not the helpers that they share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod config;
mod failures;
mod run;
mod token;
mod wait;

/// How the emulator's own tests run it.
#[path = "../emulator/process.rs"]
#[allow(dead_code, reason = "they use more of it")]
mod process;
