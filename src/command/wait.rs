//! `invoker wait`: for init containers, and for scripts that start before their credentials work.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use invoker::audience::Audience;
use invoker::authenticator::Event;
use invoker::config::{Config, Timing};
use invoker::error::Code;
use invoker::host::native::{FIRST, Happening, MetadataServer, Native};
use invoker::token::Token;
use invoker::wanted::Wanted;

use super::{no_token, token_request};

/// A metadata server gives a token for any audience, so a name that nobody has will do.
const ANY_AUDIENCE: &str = "https://invoker.invalid";

/// Options of `invoker wait`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It waits through everything that time or a person can mend (a server that is not up yet, a service account
without its permission), with the same pauses as the filter, and says on standard error when the reason changes.
GCE_METADATA_HOST (host or host:port) says where the metadata server is, if not at metadata.google.internal.")]
pub(crate) struct Arguments {
    /// Whom the token is to be for [default: the first audience that the configuration spells out, or
    /// https://invoker.invalid: a token that no service accepts, and that proves the credentials as well]
    audience: Option<String>,

    #[command(flatten)]
    request: token_request::Options,

    /// Give up after this time
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = token_request::timeout)]
    timeout: Duration,
}

/// Says when a token can be had, and never shows it.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.request.config()?;
    let wanted = wanted(arguments, config.as_ref())?;
    let server = MetadataServer::from_environment()?;
    let source = arguments.request.source(config.as_ref(), &wanted)?;
    let timing = config.map_or_else(Timing::default, |config| config.timing);
    let timing = timing.within(arguments.timeout);
    let token = token_request::block_on(async {
        let mut host = Native::new(
            source,
            std::slice::from_ref(&wanted),
            timing,
            server.clone(),
        );
        let mut reason = Reason::default();
        let token = tokio::time::timeout(arguments.timeout, wait(&mut host, &mut reason)).await;
        token.map_err(|_| {
            let what = reason.at_the_end(&wanted, arguments.timeout);
            no_token::error(&what, reason.code, &server, host.last_exchange())
        })
    })??;
    let email = token.email().unwrap_or("the service account");
    // Whoever closed the pipe still wants the exit code.
    let _ = writeln!(
        io::stdout(),
        "invoker wait: {email} gets {}",
        in_plural(&wanted)
    );
    Ok(ExitCode::SUCCESS)
}

fn in_plural(wanted: &Wanted) -> String {
    match wanted {
        Wanted::IdToken(audience) => format!("tokens for audience {audience:?}"),
        Wanted::AccessToken(scopes) => format!("access tokens for scopes {scopes:?}"),
    }
}

fn wanted(arguments: &Arguments, config: Option<&Config>) -> anyhow::Result<Wanted> {
    let literal = config.and_then(|config| config.rules.literals().first());
    match (&arguments.audience, literal) {
        (Some(text), _) => Ok(arguments.request.audience(text)?.into()),
        (None, Some(literal)) => Ok(literal.clone()),
        (None, None) => Ok(Audience::parse(ANY_AUDIENCE)?.into()),
    }
}

/// Asks until there is a token. When the core has rejected a question, since a person is needed, it goes on
/// trying by itself: the end of its next attempt is the time to ask anew.
async fn wait(host: &mut Native, reason: &mut Reason) -> Rc<Token> {
    host.ask(&FIRST);
    loop {
        match host.next().await {
            Happening::Answered(_, Ok(token)) => return token,
            Happening::Answered(_, Err(_)) | Happening::Event(Event::Denied { .. }) => {}
            Happening::Event(event) => {
                reason.note(&event);
                if !host.is_pending() {
                    host.ask(&FIRST);
                }
            }
        }
    }
}

/// Why there is no token yet.
#[derive(Debug)]
struct Reason {
    code: Code,
    text: String,
}

impl Default for Reason {
    fn default() -> Self {
        Self {
            code: Code::Timeout,
            text: "the first answer is still awaited".to_owned(),
        }
    }
}

impl Reason {
    fn note(&mut self, event: &Event) {
        let Event::FetchFailed {
            code,
            reason,
            retry_in,
            ..
        } = event
        else {
            return;
        };
        if self.text != *reason {
            let pause = retry_in.as_secs_f32();
            let _ = writeln!(
                io::stderr(),
                "invoker wait: not yet: {reason}; next attempt in {pause:.1} s"
            );
        }
        self.code = *code;
        self.text.clone_from(reason);
    }

    fn at_the_end(&self, wanted: &Wanted, timeout: Duration) -> String {
        let Self { text, .. } = self;
        format!("no {wanted} within {timeout:?}: {text}")
    }
}
