//! Invoker attaches Google-signed ID tokens to outbound requests, in the proxy.
//!
//! A service that calls another one on Cloud Run (or behind IAP, or any other OIDC check) must send an
//! ID token whose audience is the service that it calls. This crate decides which requests need one,
//! gets it, keeps it fresh, and writes it into the request. What an operator needs to know is in the
//! README; this page is the tour for who changes the code.
//!
//! # How a request gets its token
//!
//! ```text
//!                        config
//!                          │
//! request head ─────► rules ──► authenticator ──► verdict ──► credential_headers
//!                                │          ▲     (continue, wait, or answer with a denial)
//!                          cache │          │ fetch
//!                                ▼          │
//!                              store      source ──► callouts and signatures, which the host makes
//!                     (shared by all VMs)  (the metadata server, a key, impersonation, federation)
//! ```
//!
//! The core does no IO: it never reads a clock, a socket, a file or the environment. A host brings
//! events and the time, and carries out what the core asks for. Data goes one way: a source never
//! sees the cache or a waiting request, and a host never sees a token's life cycle.
//!
//! # Layout
//!
//! The core, the same for every host:
//!
//! - [`invoker`](mod@invoker): everything behind one type, [`Invoker`], and what is counted
//! - [`config`]: text to a [`Config`](config::Config) that can't be wrong, or every problem with its path
//! - [`rules`]: a request's head to what it needs
//! - [`audience`]: whom an ID token is for
//! - [`wanted`]: a kind of token, and for whom or for what
//! - [`credential_headers`]: how the token is written, and what becomes of the caller's own credential
//! - [`authenticator`]: who fetches, who waits, when to refresh, what to do on failure
//! - [`source`]: where tokens come from, a module a credential kind; what a flight does leg by leg
//! - [`token`]: a token, parsed once, whose `Debug` never shows it
//! - [`store`]: the records that all VMs of a process share
//! - [`http`]: plain requests and answers, and the [`url`]s that they go to
//! - `protobuf`: reads the messages that a proxy hands over
//! - [`secret`]: text that nobody may see
//! - [`time`]: the two clocks
//! - [`error`](mod@error): why there is no token, and what that means for a request
//!
//! The hosts, and what only the command needs:
//!
//! - `host`: `proxy_wasm` is the module that Envoy loads, `proxy_wasm_wire` its wire formats, tested natively; `component`
//!   has the WASI components, `js`
//!   what the JavaScript package in `js/` is built on; `native` serves the command
//! - `check`: what `invoker check` finds, in a configuration and in Envoy's bootstrap
//! - `explain`: what would happen to a request
//! - `emulator`: a local metadata server
//!
//! `src/command` holds the command line itself, a file a subcommand.
//!
//! # The calling contract
//!
//! For each request, the cheapest step first: [`Invoker::begin`] (what do the rules say),
//! [`Invoker::authorize_cached`] (is there a token at hand), [`Invoker::handle_request`] (all else, which can
//! mean to wait).
//!
//! For everything: call the `handle_*` method for what happened, with the time; drain
//! [`Invoker::poll_output`] to the end and do what it says; then ask [`Invoker::poll_timeout`] when to call
//! [`Invoker::handle_timeout`] if nothing happens before. A request that waits comes back as
//! [`Output::Resume`](authenticator::Output::Resume), for [`Invoker::finish`]; one whose client left goes to
//! [`Invoker::handle_cancel`]. The store is lent for each call and may be shared with other cores.
//!
//! Leases, pauses and timeouts go by the monotonic clock, so that a clock that is set does not break
//! them; only a token's own times go by the wall clock.
//!
//! # Where the promises are tested
//!
//! - One fetch for all who wait, no request that waits for a refresh, no dead or foreign token, bounded
//!   retries, nobody forgotten: `tests/simulation` plays several VMs over one store through thousands of
//!   seeds, and asks for these after every step.
//! - What each part does by itself: unit and property tests beside the code.
//! - Where one audience is for all, the decision allocates nothing: `tests/hit_path_allocations.rs`.
//! - The emulator is faithful: `tests/emulator`, and Google's own clients in `tests/clients`.
//! - What `check` and `explain` print: `tests/check`.
//! - The WASI components in jco serve and in Wasmtime: `tests/components`.
//! - The JavaScript package on Node.js, Deno and workerd: `tests/js`.
//! - The built module in a real Envoy, oldest and newest supported, in both places: `tests/e2e`.

pub mod audience;
pub mod authenticator;
pub mod config;
pub mod credential_headers;
pub mod error;
pub mod host;
pub mod http;
pub mod invoker;
mod protobuf;
pub mod rules;
pub mod secret;
pub mod source;
pub mod store;
pub mod time;
pub mod token;
pub mod url;
pub mod wanted;

#[cfg(not(target_family = "wasm"))]
pub mod check;
#[cfg(not(target_family = "wasm"))]
pub mod emulator;
#[cfg(not(target_family = "wasm"))]
pub mod explain;

pub use invoker::Invoker;
