//! `invoker token`.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use invoker::config::{Config, Timing};
use invoker::host::native::{MetadataServer, Native};
use invoker::token::Token;
use invoker::wanted::{Scopes, Wanted};

use super::{no_token, token_request};

/// Options of `invoker token`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The token is all that stands on standard output:
  curl -H \"Authorization: Bearer $(invoker token https://profiles-abc-uc.a.run.app)\" https://profiles-abc-uc.a.run.app/
GCE_METADATA_HOST (host or host:port) says where the metadata server is, if not at metadata.google.internal.")]
pub(crate) struct Arguments {
    /// Whom the ID token is for: the receiving service's URL, or an OAuth client ID
    #[arg(required_unless_present = "scope")]
    audience: Option<String>,

    /// Print an access token for one of Google's own APIs instead; once for each scope
    #[arg(long, value_name = "SCOPE", conflicts_with_all = ["audience", "decode"])]
    scope: Vec<String>,

    #[command(flatten)]
    request: token_request::Options,

    /// Print the token's claims as JSON, not the token
    #[arg(long)]
    decode: bool,

    /// Give up after this time [default: the configuration's timeout, or 5s; longer where a
    /// program has to print a subject token]
    #[arg(long, value_name = "DURATION", value_parser = token_request::timeout)]
    timeout: Option<Duration>,
}

/// Prints one token, or what it says; never both.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let token = fetch(arguments)?;
    let text = if arguments.decode {
        serde_json::to_string_pretty(&token.claims()?)?
    } else {
        token.secret().to_owned()
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").context("cannot write to standard output")?;
    out.flush().context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

fn fetch(arguments: &Arguments) -> anyhow::Result<Rc<Token>> {
    let wanted = wanted(arguments)?;
    let config = arguments.request.config()?;
    let server = MetadataServer::from_environment()?;
    let source = arguments.request.source(config.as_ref(), &wanted)?;
    let timing = match arguments.timeout {
        Some(timeout) => within(config.as_ref(), timeout),
        None => config
            .map_or_else(Timing::default, |config| config.timing)
            .with_patience(source.patience()),
    };
    token_request::block_on(async {
        let mut host = Native::new(source, &[wanted], timing, server.clone());
        host.token().await.map_err(|denial| {
            no_token::error(&denial.message, denial.code, &server, host.last_exchange())
        })
    })?
}

fn wanted(arguments: &Arguments) -> anyhow::Result<Wanted> {
    match &arguments.audience {
        Some(audience) => Ok(arguments.request.audience(audience)?.into()),
        None => {
            let scopes = Scopes::new(&arguments.scope);
            let scopes = scopes.map_err(|error| anyhow::anyhow!("--scope: {error}"))?;
            Ok(scopes.into())
        }
    }
}

fn within(config: Option<&Config>, timeout: Duration) -> Timing {
    match config {
        Some(config) => config.timing.within(timeout),
        None => Timing::of(timeout),
    }
}
