//! The command line: one module a subcommand, the exit codes here.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod check;
mod credential_file;
mod emulate;
mod explain;
mod no_token;
mod token;
mod token_request;
mod wait;

/// Attaches Google-signed ID tokens to outbound requests, in the proxy.
#[derive(Debug, Parser)]
#[command(name = "invoker", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a configuration, an Envoy bootstrap that loads it, or Istio's resources
    Check(check::Arguments),
    /// Say what would happen to a request
    Explain(explain::Arguments),
    /// Run a local metadata server, token endpoint, STS and IAM credentials API
    Emulate(emulate::Arguments),
    /// Print a token for an audience
    Token(token::Arguments),
    /// Wait until a token can be had
    Wait(wait::Arguments),
}

/// Runs the command that the process's arguments name; 0 is success, 1 an error that was printed.
pub(crate) fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Emulate(arguments) => emulate::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::Wait(arguments) => wait::run(&arguments),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("invoker: {error:#}");
            ExitCode::FAILURE
        }
    }
}
