//! The WASI components: one crate, built once for each. Cargo's feature `client` chooses the client of WASI 0.3
//! (`wit/identity`); without it, it is the proxy of WASI 0.2 (`wit/egress`).

mod configuration;
mod log;

#[cfg(feature = "client")]
mod client;

#[cfg(not(feature = "client"))]
mod egress;
