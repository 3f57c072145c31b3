//! A rendezvous server that is dialled again and again: by the link, and by the relay stream beside it.
//!
//! Comes in: the URL and our identity, once. Goes out: connections on which the server proved its key.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::{Detour, KEEPALIVE, KEEPALIVE_TIMEOUT, LinkError, Proxy, dial, tls};
use crate::identity::{Identity, RendezvousUrl};

/// How long the direct way is tried before a proxy is tried beside it.
const HEAD_START: Duration = Duration::from_secs(1);

/// How to reach one server, and where it was found last.
pub struct Reach {
    url: RendezvousUrl,
    config: Arc<ClientConfig>,
    detour: Option<Detour>,
    /// The addresses found last, for when the name does not resolve for a while.
    addresses: Mutex<Vec<SocketAddr>>,
}

impl Reach {
    /// The server behind `url`, to which `identity` is proven, with a way through a proxy if there is one.
    pub fn new(url: RendezvousUrl, identity: &Identity, detour: Option<Detour>) -> Result<Arc<Reach>, rustls::Error> {
        let config = Arc::new(tls::client_config(identity, url.key)?);
        Ok(Arc::new(Reach { url, config, detour, addresses: Mutex::default() }))
    }

    /// The server's URL.
    pub fn url(&self) -> &RendezvousUrl {
        &self.url
    }

    /// The addresses found last.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.lock().clone()
    }

    /// Asks for the server's addresses anew, and connects.
    pub(super) async fn connect(&self) -> Result<TlsStream<TcpStream>, LinkError> {
        match &self.detour {
            None => self.directly(false).await,
            Some(Detour::Always(proxy)) => {
                // The addresses are for UDP only, and where a proxy is the only way out there may be none.
                let resolved = timeout(HEAD_START, self.resolve());
                tokio::join!(self.through(proxy), resolved).0
            }
            Some(Detour::WhenNeeded(proxy)) => self.either(false, proxy).await,
        }
    }

    /// Connects to where the server was found last, if it was: where UDP is blocked a resolver may be, too.
    pub(super) async fn connect_again(&self) -> Result<TlsStream<TcpStream>, LinkError> {
        match &self.detour {
            None => self.directly(true).await,
            Some(Detour::Always(proxy)) => self.through(proxy).await,
            Some(Detour::WhenNeeded(proxy)) => self.either(true, proxy).await,
        }
    }

    /// The direct way has a head start, and the proxy all the time that is left.
    async fn either(&self, known: bool, proxy: &Proxy) -> Result<TlsStream<TcpStream>, LinkError> {
        let mut direct = pin!(self.directly(known));
        match timeout(HEAD_START, &mut direct).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(_)) => self.through(proxy).await,
            Err(_) => tokio::select! {
                Ok(stream) = &mut direct => Ok(stream),
                stream = self.through(proxy) => stream,
            },
        }
    }

    async fn through(&self, proxy: &Proxy) -> Result<TlsStream<TcpStream>, LinkError> {
        dial::dial_through(proxy, &self.url, &self.config).await
    }

    async fn directly(&self, known: bool) -> Result<TlsStream<TcpStream>, LinkError> {
        let addresses = match self.addresses() {
            addresses if known && !addresses.is_empty() => addresses,
            _ => self.resolve().await?,
        };
        dial::dial(&self.url, &self.config, &addresses).await
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, LinkError> {
        let found = dial::resolve(&self.url).await;
        let mut known = self.addresses.lock();
        match found {
            Ok(addresses) => *known = addresses,
            Err(error) if known.is_empty() => return Err(error),
            Err(_) => {}
        }
        Ok(known.clone())
    }
}

/// HTTP/2 on this one connection; it is never replaced by another underneath.
pub(super) async fn channel(stream: TlsStream<TcpStream>) -> Result<Channel, tonic::transport::Error> {
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_| {
        let taken = stream.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected));
        std::future::ready(taken)
    });
    // The URI only fills the :authority field: the connection is made already.
    Endpoint::from_static("http://rendezvous.pilot")
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
}

/// An error with its causes: tonic's own text names none.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
