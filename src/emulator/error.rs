//! Why an emulator did not start.

use std::{io, net::SocketAddr, path::PathBuf};

/// What can keep the emulator from starting: a key or an address that can't be used.
///
/// Each message is whole: what the operating system said stands in it, before the advice, and is
/// therefore no `source` that a caller would print a second time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key file could not be read.
    #[error("cannot read the key file {}: {cause}", path.display())]
    KeyFile {
        /// The file that was named.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// The key file was read and holds no key of the right kind.
    #[error("{}: {problem}; make one with: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out FILE.pem", path.display())]
    KeyFormat {
        /// The file that was named.
        path: PathBuf,
        /// What was found instead; never a part of the key.
        problem: String,
    },
    /// The key file of a service account can't be used.
    #[error("{}: {problem}; it must be a service account's key file (JSON with client_email, private_key, private_key_id)", path.display())]
    AccountKey {
        /// The file that was named.
        path: PathBuf,
        /// What was found instead; never a part of the key.
        problem: String,
    },
    /// A credential file could not be written.
    #[error("cannot write {}: {cause}", path.display())]
    CredentialFile {
        /// The file that was named.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// A key could not be made, or a certificate for it.
    #[error("cannot prepare the signing key: {0}")]
    Key(String),
    /// The address could not be listened on.
    #[error("cannot listen on {address}: {cause}{}", advice(cause))]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system said.
        cause: io::Error,
    },
    /// Options that contradict each other.
    #[error("{0}")]
    Options(String),
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another process listens there: stop it, or choose another port (0 takes any free one)"
        }
        io::ErrorKind::PermissionDenied => {
            "; this user may not open that port: choose one above 1023 (0 takes any free one)"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine has no such address: 127.0.0.1 is reachable from here only, 0.0.0.0 from everywhere"
        }
        _ => "",
    }
}
