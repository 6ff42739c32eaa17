//! A way to the server that the core names: in the clear to a metadata server and to loopback, else over
//! TLS, with the system's own roots.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use hyper::http::uri::Authority;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::MetadataServer;
use super::http::Trouble;
use crate::http::Request;
use crate::source::metadata;
use crate::url::Scheme;

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(super) async fn connect(
        request: &Request,
        metadata_server: &MetadataServer,
    ) -> Result<Self, Trouble> {
        if request.authority == metadata::AUTHORITY {
            let address = (metadata_server.host.as_str(), metadata_server.port);
            let stream = TcpStream::connect(address).await;
            return stream.map(Self::Plain).map_err(Trouble::Connect);
        }
        let wrong = || Trouble::Authority(request.authority.clone());
        let authority: Authority = request.authority.parse().map_err(|_| wrong())?;
        let port = match request.scheme {
            Scheme::Https => 443,
            Scheme::Http | Scheme::File | Scheme::Program => 80,
        };
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let address = (host, authority.port_u16().unwrap_or(port));
        let stream = TcpStream::connect(address)
            .await
            .map_err(Trouble::Connect)?;
        if request.scheme == Scheme::Http {
            return Ok(Self::Plain(stream));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong())?;
        let stream = connector()?.connect(name, stream).await;
        stream
            .map(|stream| Self::Tls(Box::new(stream)))
            .map_err(Trouble::Tls)
    }
}

/// Reading the system's roots takes some 10 ms: once.
fn connector() -> Result<TlsConnector, Trouble> {
    static CONFIG: OnceLock<Option<Arc<ClientConfig>>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = ClientConfig::builder().with_root_certificates(roots.clone());
        (!roots.is_empty()).then(|| Arc::new(config.with_no_client_auth()))
    });
    config
        .clone()
        .map(TlsConnector::from)
        .ok_or(Trouble::NoRoots)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
