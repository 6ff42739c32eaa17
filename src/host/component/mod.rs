//! The WASI components: one crate, built once for each. Cargo's feature `client` chooses the client of WASI 0.3
//! (`wit/identity`); without it, it is the proxy of WASI 0.2 (`wit/egress`), which the feature `hosted` gives the host's stores
//! (`wit/hosted`).

mod configuration;
mod log;

#[cfg(feature = "client")]
mod client;

#[cfg(not(feature = "client"))]
mod egress;

#[cfg(feature = "hosted")]
mod hosted;

#[cfg(all(feature = "client", feature = "hosted"))]
compile_error!("the feature `hosted` is for the proxy: leave out `client`, or it");
