//! A credential file that a person names: what ADC knows.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use invoker::config::Credentials;
use zeroize::Zeroizing;

/// Reads it; its `type` decides what it is.
pub(super) fn read(path: &Path) -> anyhow::Result<Credentials> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    // It can hold a key.
    let text = Zeroizing::new(text);
    Credentials::from_file(&text)
        .map_err(|errors| anyhow::anyhow!("{name} can't be used:\n{errors}"))
}
