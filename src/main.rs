//! The `invoker` command.

#[cfg(not(target_family = "wasm"))]
mod command;

#[cfg(not(target_family = "wasm"))]
fn main() -> std::process::ExitCode {
    command::run()
}

/// The command is native only; the Wasm targets build the library.
#[cfg(target_family = "wasm")]
fn main() {}
