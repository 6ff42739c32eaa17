//! Serves a WASI HTTP component with Wasmtime, as `wasmtime serve` does with instances that it uses again, on a port that it
//! prints. The component sees the environment, standard error, the settings (`wasi:config`) and two buckets (`wasi:keyvalue`):
//! `tokens`, which all instances have in common, and `broken`.
//!
//! usage: invoker-wasmtime-host [--config KEY=VALUE]... COMPONENT [PLUG]

mod key_value;
mod state;

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use wac_graph::{CompositionGraph, EncodeOptions};
use wac_types::Package;
use wasmtime_wasi_http::handler::ProxyHandler;

use self::state::Server;

#[tokio::main]
async fn main() -> Result<()> {
    let mut settings = Vec::new();
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--config" => {
                let setting = arguments.next().context("--config needs KEY=VALUE")?;
                let (key, value) = setting
                    .split_once('=')
                    .context("--config needs KEY=VALUE")?;
                settings.push((key.to_owned(), value.to_owned()));
            }
            path => paths.push(path.into()),
        }
    }
    let component = match paths.as_slice() {
        [component] => std::fs::read(component)?,
        [component, plug] => plugged(component, plug)?,
        _ => bail!("usage: invoker-wasmtime-host [--config KEY=VALUE]... COMPONENT [PLUG]"),
    };
    let server = Server::new(&component, settings).map_err(|error| anyhow!("{error:?}"))?;
    let handler = ProxyHandler::new(server);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream, handler.clone()));
    }
}

/// What `wac plug --plug PLUG COMPONENT` makes.
fn plugged(component: &PathBuf, plug: &PathBuf) -> Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let mut register = |name, path: &PathBuf| {
        let package = Package::from_file(name, None, path, graph.types_mut());
        anyhow::Ok(graph.register_package(package.context(name)?)?)
    };
    let plug = register("plug", plug)?;
    let socket = register("socket", component)?;
    wac_graph::plug(&mut graph, vec![plug], socket)?;
    Ok(graph.encode(EncodeOptions::default())?)
}

async fn serve(stream: TcpStream, handler: ProxyHandler<Server>) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let handler = handler.clone();
        async move {
            let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            let answer = handler.handle((), request).await;
            if let Err(error) = &answer {
                eprintln!("host: {error:?}");
            }
            answer
        }
    });
    // A client that leaves is none of the host's trouble.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
