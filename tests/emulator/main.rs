//! The local metadata server as its clients see it: the real command, asked over HTTP.

// The crate is native only; so are its tests.
#![cfg(not(target_family = "wasm"))]
// clippy.toml excepts test functions from these, not the helpers that they share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod account;
#[cfg(unix)]
mod aws;
mod credential_files;
mod endpoints;
mod faults;
mod iam_credentials;
#[cfg(unix)]
mod local_subjects;
mod metadata;
mod options;
mod process;
mod real_tokens;
mod records;
mod sts;
mod token_endpoint;
mod tokens;
