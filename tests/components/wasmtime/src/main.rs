//! Serves a WASI HTTP component with Wasmtime, as `wasmtime serve` does with instances that it uses again, on a port that it
//! prints. The component sees the environment and standard error.
//!
//! usage: invoker-wasmtime-host COMPONENT [PLUG]

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
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let component = match paths.as_slice() {
        [component] => std::fs::read(component)?,
        [component, plug] => plugged(component, plug)?,
        _ => bail!("usage: invoker-wasmtime-host COMPONENT [PLUG]"),
    };
    let server = Server::new(&component).map_err(|error| anyhow!("{error:?}"))?;
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
