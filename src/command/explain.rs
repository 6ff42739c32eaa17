//! `invoker explain`.

use std::path::PathBuf;
use std::process::ExitCode;

use invoker::check::ConfigFile;
use invoker::explain::{Question, explain};

/// Options of `invoker explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration, as YAML or JSON
    file: PathBuf,
    /// The Envoy cluster that the request goes to; leave it out for WASI and JavaScript
    #[arg(long)]
    cluster: Option<String>,
    /// The request's host, with its port if it has one
    #[arg(long)]
    authority: String,
    /// The request's path
    #[arg(long)]
    path: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints what would happen to the request.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let file = arguments.file.display();
    let config = ConfigFile::read(&arguments.file)?.config;
    let config = config.map_err(|errors| anyhow::anyhow!("{file} is not valid:\n{errors}"))?;
    let question = Question {
        cluster: arguments.cluster.clone(),
        authority: Some(arguments.authority.clone()),
        path: arguments.path.clone(),
    };
    let explanation = explain(&config, &question, &|name| std::env::var(name).ok());
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&explanation)?);
    } else {
        print!("{explanation}");
    }
    Ok(ExitCode::SUCCESS)
}
