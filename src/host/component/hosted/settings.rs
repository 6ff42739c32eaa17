//! `wasi:config`.

use super::bindings::wasi::config::store::{self, Error};

/// The host's setting of that name, which it has in small letters.
///
/// # Errors
///
/// The host can't say.
pub(in crate::host::component) fn setting(name: &str) -> Result<Option<String>, String> {
    let key = name.to_ascii_lowercase();
    store::get(&key).map_err(|error| match error {
        Error::Upstream(problem) | Error::Io(problem) => {
            format!("wasi:config has no answer for {key}: {problem}; it is asked again with the next request")
        }
    })
}
