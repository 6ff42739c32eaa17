//! `invoker emulate`: Google's token servers on this machine, until it is interrupted.

use std::{
    convert::Infallible,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use invoker::authenticator::{Event, Level};
use invoker::config::Timing;
use invoker::emulator::{
    ClockOffset, CredentialFile, CredentialKind, Emulator, Grant, Options, RealTokens,
    ServiceAccount, SubjectToken,
};
use invoker::host::native::{MetadataServer, TokenBroker};
use invoker::source::Source;

use super::credential_file;

/// Options of `invoker emulate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0", value_parser = address)]
    listen: SocketAddr,

    /// An account of the emulated machine; the first is its default, more may follow
    #[arg(long, value_name = "EMAIL")]
    service_account: Vec<ServiceAccount>,

    /// How long tokens live
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = lifetime)]
    token_lifetime: Duration,

    /// Sign with this RSA key (PKCS#8 PEM) instead of one that is made at start
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// A service account's key file (JSON) whose signatures are accepted; may be repeated
    #[arg(long, value_name = "FILE")]
    account_key: Vec<PathBuf>,

    /// Who may impersonate whom (an email, `user` or `federated`); without any, everybody may
    #[arg(long, value_name = "CALLER=TARGET")]
    grant: Vec<Grant>,

    /// The only subject token that STS takes; without it, any
    #[arg(long, value_name = "TEXT", value_parser = subject_token)]
    subject_token: Option<SubjectToken>,

    /// Write a key file of an account (else the default one), made at start; may be repeated
    #[arg(long, value_name = "[EMAIL=]FILE")]
    write_key: Vec<CredentialFile>,

    /// Write an external_account file that leads to an account by federation; may be repeated
    #[arg(long, value_name = "[EMAIL=]FILE")]
    write_external_account: Vec<CredentialFile>,

    /// Write an impersonated_service_account file of a user; may be repeated
    #[arg(long, value_name = "[EMAIL=]FILE")]
    write_impersonated_service_account: Vec<CredentialFile>,

    /// Hand out real tokens, from this credential file of gcloud's or the console's: a metadata server for this
    /// machine's programs, and nothing emulated but that
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "service_account", "token_lifetime", "key", "account_key", "grant", "subject_token", "write_key",
        "write_external_account", "write_impersonated_service_account", "clock_offset",
    ])]
    credentials: Option<PathBuf>,

    /// Let --listen be an address that other machines reach: they all get real tokens
    #[arg(long, requires = "credentials")]
    beyond_loopback: bool,

    /// How far Google's clock is ahead of this machine's; -5m is five minutes behind
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "0s",
        allow_hyphen_values = true
    )]
    clock_offset: ClockOffset,
}

impl Arguments {
    fn credential_files(&self) -> Vec<(CredentialKind, CredentialFile)> {
        [
            (CredentialKind::Key, &self.write_key),
            (
                CredentialKind::ExternalAccount,
                &self.write_external_account,
            ),
            (
                CredentialKind::ImpersonatedServiceAccount,
                &self.write_impersonated_service_account,
            ),
        ]
        .into_iter()
        .flat_map(|(kind, files)| files.iter().map(move |file| (kind, file.clone())))
        .collect()
    }
}

/// Serves until SIGINT or SIGTERM, which end it with success.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let real = arguments.credentials.as_deref().map(source).transpose()?;
    let account = real.as_ref().and_then(|source| source.account());
    let accounts = match account {
        Some(email) => vec![email.parse().with_context(|| format!("{email:?}"))?],
        None => arguments.service_account.clone(),
    };
    let real = real
        .map(|source| {
            let server = MetadataServer::from_environment()?;
            let timing = Timing::default().with_patience(source.patience());
            let broker = TokenBroker::start(source, timing, server, report);
            anyhow::Ok(RealTokens {
                broker: broker.context("cannot start a thread")?,
                beyond_loopback: arguments.beyond_loopback,
            })
        })
        .transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("cannot start the server's threads")?;
    let outcome = runtime.block_on(serve(Options {
        listen: arguments.listen,
        service_accounts: accounts,
        real,
        token_lifetime: arguments.token_lifetime,
        key: arguments.key.clone(),
        account_keys: arguments.account_key.clone(),
        grants: arguments.grant.clone(),
        subject_token: arguments.subject_token.clone(),
        credential_files: arguments.credential_files(),
        clock_offset: arguments.clock_offset,
    }));
    outcome.map(|()| ExitCode::SUCCESS)
}

fn source(file: &Path) -> anyhow::Result<Source> {
    let credentials = credential_file::read(file)?;
    let environment = |name: &str| std::env::var(name).ok();
    let source = Source::new(&credentials, &environment)
        .map_err(|errors| anyhow::anyhow!("{} can't be used:\n{errors}", file.display()))?;
    anyhow::ensure!(
        source.gives_id_tokens(),
        "{} names no account (service_account_impersonation_url), and without one there are no ID tokens; make it \
         with `gcloud iam workload-identity-pools create-cred-config --service-account=EMAIL`",
        file.display()
    );
    Ok(source)
}

/// What an operator wants to know of tokens that others ask for.
fn report(event: &Event) {
    if event.level() > Level::Debug {
        let _ = writeln!(io::stderr(), "invoker emulate: {event}");
    }
}

async fn serve(options: Options) -> anyhow::Result<()> {
    let real = options.real.is_some();
    let listens_far = !options.listen.ip().is_loopback();
    // Before the first line is printed: whoever reads it may send a signal at once.
    let interrupted = interruption().context("cannot listen for signals")?;
    let emulator = Emulator::bind(options).await?;
    // Somebody who reads only the first line and closes the pipe still wants the server.
    let _ = if real {
        introduce_real(&emulator, listens_far)
    } else {
        introduce(&emulator)
    };
    tokio::select! {
        never = emulator.serve() => match never {},
        () = interrupted => Ok(()),
    }
}

fn introduce(emulator: &Emulator) -> io::Result<()> {
    let address = emulator.address();
    let account = emulator.default_account();
    let mut out = io::stdout().lock();
    writeln!(out, "invoker emulate: listening on http://{address}")?;
    out.flush()?;
    write!(
        out,
        "
It is the metadata server of a machine whose default service account is {account}.
An ID token:
  curl -H 'Metadata-Flavor: Google' 'http://{address}/computeMetadata/v1/instance/service-accounts/default/identity?audience=https://profiles.example.com&format=full'
Google's own clients find it with:
  export GCE_METADATA_HOST={address} GCE_METADATA_IP={address} METADATA_SERVER_DETECTION=assume-present
Receivers check its tokens (issuer https://accounts.google.com) with:
  http://{address}/oauth2/v3/certs (JWKS) or http://{address}/oauth2/v1/certs (X.509)
It is a token endpoint, STS and the IAM credentials API too; credential files that lead there:
  invoker emulate --write-key key.json --write-external-account federated.json
See what it was asked, and make it fail:
  curl http://{address}/_emulator/requests
  curl http://{address}/_emulator/faults -d '{{\"path\": \"/computeMetadata/*\", \"status\": 503, \"times\": 3}}'
Ctrl-C ends it.
"
    )?;
    out.flush()
}

fn introduce_real(emulator: &Emulator, listens_far: bool) -> io::Result<()> {
    let address = emulator.address();
    if listens_far {
        writeln!(
            io::stderr(),
            "invoker emulate: warning: everybody who reaches {address} gets real tokens"
        )?;
    }
    let mut out = io::stdout().lock();
    writeln!(out, "invoker emulate: listening on http://{address}")?;
    out.flush()?;
    write!(
        out,
        "
It is a metadata server with real tokens of {}, for every program of this machine.
In Envoy: credentials of type metadata, with a cluster that leads to {address}.
Google's own clients find it with:
  export GCE_METADATA_HOST={address} GCE_METADATA_IP={address} METADATA_SERVER_DETECTION=assume-present
Ctrl-C ends it.
",
        emulator.default_account()
    )?;
    out.flush()
}

#[cfg(unix)]
fn interruption() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn interruption() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let advice = "write an IP address and a port, for instance 127.0.0.1:8080 or [::1]:8080";
    text.parse().map_err(|_| advice.to_owned())
}

fn subject_token(text: &str) -> Result<SubjectToken, String> {
    if text.is_empty() {
        return Err("an empty token proves nothing; leave the option out to take any".to_owned());
    }
    text.parse().map_err(|never: Infallible| match never {})
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).ok();
    let fit = duration.filter(|duration| *duration >= Duration::from_secs(1));
    fit.ok_or_else(|| "write at least a second, for instance 90s or 1h".to_owned())
}
