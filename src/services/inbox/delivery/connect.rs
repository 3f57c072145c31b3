//! A gRPC connection to the inbox of another node.

use std::io;
use std::net::Ipv6Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

use crate::services::api::inbox_client::InboxClient;

/// How long a connection may take to come about.
const PATIENCE: Duration = Duration::from_secs(10);
/// A silent connection is asked after this time whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Connects to a port of an overlay address.
pub type Dial = Arc<dyn Fn(Ipv6Addr, u16) -> Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>> + Send + Sync>;

/// Connects to the inbox at `address`.
///
/// # Errors
/// Why that is not possible, for people.
pub async fn connect(dial: &Dial, address: Ipv6Addr) -> Result<InboxClient<Channel>, String> {
    let connecting = async {
        let stream = dial(address, super::super::PORT).await.map_err(|error| format!("cannot connect: {error}"))?;
        // Receipts would wait for each other; without it they are only slower.
        let _ = stream.set_nodelay(true);
        over(stream).await
    };
    let late = || format!("no connection within {} s", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, connecting).await.map_err(|_| late())?
}

async fn over(stream: TcpStream) -> Result<InboxClient<Channel>, String> {
    let endpoint = Endpoint::from_static("http://pilot")
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(PATIENCE)
        .keep_alive_while_idle(true)
        .http2_adaptive_window(true);
    // There is one stream; a channel that asks for a second has lost the first.
    let only = Arc::new(Mutex::new(Some(TokioIo::new(stream))));
    let connector = tower::service_fn(move |_| {
        let stream = only.lock().take();
        async move { stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
    });
    let channel = endpoint.connect_with_connector(connector).await;
    channel.map(InboxClient::new).map_err(|error| format!("cannot speak gRPC: {error}"))
}
