//! A metadata server for laptops and tests.
//!
//! It answers what Google's clients ask the metadata server of a machine on Google Cloud, as the
//! real one does (refusals included), with tokens that are signed by a key of its own; and it
//! publishes that key where receivers look for Google's. It can be made to fail on purpose, and it
//! shows which calls it got.
//!
//! # Layout
//!
//! ```text
//! connection ──► server ──► recorder ──► faults ──► metadata ──────► tokens ──► keys
//!                  │                                certificates                 │
//!                  └──► control (/_emulator)             └───────────────────────┘
//! ```
//!
//! `server` is the way of a call, `metadata` (with `service_accounts` below it) and `certificates`
//! are the endpoints that are emulated,
//! `tokens` mints, `keys` signs, `faults` (with the values they are written in, `fault_values`) and
//! `recorder` hold what `control` sets and shows, `account` is who the machine is, `parameters` how a
//! request's parameters are read.
//!
//! Its tokens are worth nothing to Google, so nothing here is secret; the key is not shown all the
//! same, since somebody may have given theirs.

mod account;
mod certificates;
mod control;
mod error;
mod fault_values;
mod faults;
mod keys;
mod metadata;
mod parameters;
mod recorder;
mod server;
mod service_accounts;
mod tokens;

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinSet};

pub use account::{ServiceAccount, ServiceAccountError};
pub use error::Error;

use keys::SigningKey;
use server::Machine;

/// How to start an emulator.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The machine's accounts, the first of which is `default`. Empty: one with a made-up name.
    pub service_accounts: Vec<ServiceAccount>,
    /// How long tokens live; at least a second, and counted in whole seconds.
    pub token_lifetime: Duration,
    /// A PKCS#8 PEM file with the RSA key to sign with; without one a new key is made.
    pub key: Option<PathBuf>,
}

/// A metadata server that listens; [`Emulator::serve`] lets it answer.
#[derive(Debug)]
pub struct Emulator {
    listener: TcpListener,
    address: SocketAddr,
    machine: Arc<Machine>,
}

impl Emulator {
    /// Prepares the key and opens the port. Clients can connect from here on.
    ///
    /// # Errors
    ///
    /// If the options contradict each other, the key can't be used, or the address is not free.
    pub async fn bind(options: Options) -> Result<Self, Error> {
        if options.token_lifetime < Duration::from_secs(1) {
            return Err(Error::Options(
                "the token lifetime must be at least a second, for instance 1h".to_owned(),
            ));
        }
        let accounts = account::Accounts::new(options.service_accounts)?;
        let key = options
            .key
            .as_deref()
            .map_or_else(SigningKey::generate, SigningKey::read)?;
        let certificate = certificates::certificate(&key)?;
        let refused = |cause| Error::Listen {
            address: options.listen,
            cause,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let machine = Machine {
            accounts,
            key,
            certificate,
            mint: tokens::Mint::new(options.token_lifetime),
            faults: faults::Faults::default(),
            recorder: recorder::Recorder::default(),
        };
        Ok(Self {
            listener,
            address,
            machine: Arc::new(machine),
        })
    }

    /// The address it listens on, with the port that was found if any would do.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The account that is `default`.
    pub fn default_account(&self) -> &ServiceAccount {
        self.machine.accounts.default()
    }

    /// Answers until the future is dropped, which also ends every open connection.
    pub async fn serve(self) -> Infallible {
        let router = server::router(&self.machine);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(server::serve(router.clone(), stream));
                    }
                    // Too many open files, as a rule: it passes when connections end.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// Locks a mutex whose data is whole between any two statements, so that a panic elsewhere, while
/// it was held, can't have broken it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
