//! Google's side for laptops and tests: a metadata server, and what gives tokens to those who have
//! none.
//!
//! It answers what Google's clients ask the metadata server of a machine on Google Cloud, the OAuth
//! token endpoint, STS and the IAM credentials API, as the real ones do (refusals included), with
//! tokens that are signed by a key of its own; and it publishes that key where receivers look for
//! Google's. It can be made to fail on purpose, and it shows which calls it got.
//!
//! # Layout
//!
//! ```text
//! connection ──► server ──► posted ──► recorder ──► faults ──► metadata ─────────► tokens ──► keys
//!                  │                                           token_endpoint        ▲          │
//!                  │                                           sts, subject          │          │
//!                  │                                           iam_credentials ──► policy       │
//!                  └──► control (/_emulator)                   certificates ◄───────────────────┘
//! ```
//!
//! `server` is the way of a call: `endpoint` says whose it is, `posted` reads its body. The
//! endpoints that are emulated are `metadata` (with `service_accounts` below it), `certificates`,
//! `token_endpoint`, `sts`, `subject` and `iam_credentials`; `oauth` and `iam_error` are how they
//! refuse. `tokens` mints, `keys` signs, `clock` dates; `account`, `account_keys`, `user` and
//! `policy` are who there is and who may what; `assertion` takes apart what accounts sign.
//! `faults` (with the values they are written in, `fault_values`) and `recorder` hold what
//! `control` sets and shows, `credential_files` writes what leads clients here, `parameters` is how
//! a query or a form is read.
//!
//! With real credentials (`Options::real`) its metadata server hands out real tokens instead, and the rest is
//! not there.
//!
//! Its tokens are else worth nothing to Google; but somebody may have given it a real key, or sent an
//! assertion that a real key signed. Neither is ever shown.

mod account;
mod account_keys;
mod assertion;
mod certificates;
mod clock;
mod control;
mod credential_files;
mod endpoint;
mod error;
mod fault_values;
mod faults;
mod iam_credentials;
mod iam_error;
mod keys;
mod metadata;
mod oauth;
mod parameters;
mod policy;
mod posted;
mod real;
mod recorder;
mod server;
mod service_accounts;
mod sts;
mod subject;
mod token_endpoint;
mod tokens;
mod user;

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinSet};

use crate::host::native::TokenBroker;

pub use account::{ServiceAccount, ServiceAccountError};
pub use clock::{ClockOffset, ClockOffsetError};
pub use credential_files::{CredentialFile, CredentialFileError, CredentialKind};
pub use error::Error;
pub use policy::{Grant, GrantError};
pub use subject::SubjectToken;

use account_keys::AccountKeys;
use clock::Clock;
use credential_files::Planned;
use keys::SigningKey;
use policy::Policy;
use server::Machine;
use user::User;

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
    /// Key files of service accounts (JSON) whose assertions are accepted.
    pub account_keys: Vec<PathBuf>,
    /// Who may impersonate whom; empty: everybody may.
    pub grants: Vec<Grant>,
    /// The one subject token that STS takes; without one, it takes any.
    pub subject_token: Option<SubjectToken>,
    /// Credential files to write, which lead to the emulator.
    pub credential_files: Vec<(CredentialKind, CredentialFile)>,
    /// Real tokens for whoever asks the metadata server, and nothing emulated but that.
    pub real: Option<RealTokens>,
    /// How far the emulated Google's clock is ahead of the machine's.
    pub clock_offset: ClockOffset,
}

/// Where real tokens come from.
#[derive(Debug, Clone)]
pub struct RealTokens {
    /// Fetches them.
    pub broker: TokenBroker,
    /// Whether others than this machine's own programs may ask.
    pub beyond_loopback: bool,
}

/// An emulator that listens; [`Emulator::serve`] lets it answer.
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
    /// If the options contradict each other, a key can't be used, the address is not free, or a
    /// credential file can't be written.
    pub async fn bind(options: Options) -> Result<Self, Error> {
        if options.token_lifetime < Duration::from_secs(1) {
            return Err(Error::Options(
                "the token lifetime must be at least a second, for instance 1h".to_owned(),
            ));
        }
        if let Some(real) = &options.real
            && !real.beyond_loopback
            && !options.listen.ip().is_loopback()
        {
            return Err(Error::Options(format!(
                "on {} everybody who reaches this machine would get real tokens; listen on 127.0.0.1, or say \
                 --beyond-loopback",
                options.listen.ip()
            )));
        }
        let mut accounts = account::Accounts::new(options.service_accounts)?;
        let policy = Policy::new(options.grants);
        for account in policy.accounts() {
            accounts.add_elsewhere(account.clone());
        }
        let account_keys = AccountKeys::default();
        for path in &options.account_keys {
            accounts.add_elsewhere(account_keys::register_file(&account_keys, path)?);
        }
        let mut planned = Vec::new();
        for (kind, file) in options.credential_files {
            planned.push(Planned::new(kind, file, &mut accounts, &account_keys)?);
        }
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
        let clock = Arc::new(Clock::new(options.clock_offset));
        let machine = Machine {
            address,
            accounts,
            account_keys,
            user: User::new()?,
            workload: subject::Workload::new(options.subject_token),
            policy,
            key,
            certificate,
            mint: tokens::Mint::new(options.token_lifetime, Arc::clone(&clock)),
            clock,
            faults: faults::Faults::default(),
            recorder: recorder::Recorder::default(),
            real: options.real.map(|real| real.broker),
        };
        for file in &planned {
            file.write(&machine)?;
        }
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
