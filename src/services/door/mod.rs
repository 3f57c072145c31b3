//! One port, every dialect: JSON lines, HTTP/1.1, HTTP/2 and gRPC, told apart by the first byte of a connection.
//!
//! In: listeners, a [`Router`] and what speaks JSON lines. Out: requests that carry their [`Caller`]: the member whose
//! address the connection came from, or the local socket's owner. An address of nobody is closed at once; so is one
//! connection too many, of one caller or in all. A connection whose first byte or header does not come is closed after
//! [`Limits::patience`]; every connection of a node ends with the trust in it.
//!
//! What a request means is left to the services.

mod grpc;
mod guarded;
mod http;
mod lines;
pub(super) mod slots;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::directory::{Caller, Directory};
pub use grpc::{grpc, status};
use guarded::Guarded;
pub use http::upgrade;
pub use lines::{LineReader, LineWriter};
use slots::{Slot, Slots};

/// A breath after a failed accept: out of descriptors, most likely, and the next would fail as well.
const PAUSE: Duration = Duration::from_millis(100);
/// A connection on which nothing moves is asked after this time whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How much a door bears.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Of them, from one caller.
    pub per_caller: usize,
    /// How long the first byte, a header or a body of JSON may take.
    pub patience: Duration,
    /// The longest JSON line or body, bytes.
    pub longest: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { connections: 4096, per_caller: 2048, patience: Duration::from_secs(10), longest: 2 << 20 }
    }
}

/// Speaks JSON lines.
pub trait Lines: Send + Sync + 'static {
    /// Serves one connection until it ends.
    ///
    /// # Errors
    /// The connection broke.
    fn serve<'a>(
        &'a self,
        caller: Caller,
        lines: LineReader,
        out: LineWriter,
    ) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;
}

/// What is behind one port, or behind the local socket; clones are the same door.
#[derive(Clone)]
pub struct Door {
    router: Router,
    lines: Arc<dyn Lines>,
    limits: Limits,
    slots: Arc<Slots>,
}

impl Door {
    /// A door to `router` and `lines`. `services` are the full names of the gRPC services in the router, for
    /// reflection and health.
    pub async fn new(router: Router, services: &[&str], lines: Arc<dyn Lines>, limits: Limits) -> Door {
        let router = http::guarded(router.merge(grpc::published(services).await), limits);
        Door { router, lines, limits, slots: Slots::new(limits) }
    }

    /// Serves TCP connections of members until the future is dropped, which closes them.
    pub async fn serve_overlay(self, listeners: Vec<TcpListener>, directory: Directory) {
        let mut accepting = JoinSet::new();
        for listener in listeners {
            accepting.spawn(self.clone().accept_overlay(listener, directory.clone()));
        }
        while accepting.join_next().await.is_some() {}
    }

    async fn accept_overlay(self, listener: TcpListener, directory: Directory) {
        let mut connections = JoinSet::new();
        let (_open, closed) = watch::channel(());
        loop {
            let Ok((stream, from)) = listener.accept().await else {
                sleep(PAUSE).await;
                continue;
            };
            while connections.try_join_next().is_some() {}
            let Some(member) = directory.roster().at(from.ip()).cloned() else { continue };
            if let Some(slot) = self.slots.take(member.id) {
                prepare(&stream);
                let (directory, closed, caller) = (directory.clone(), closed.clone(), Caller::Node(member.clone()));
                let over = Box::pin(async move {
                    tokio::select! {
                        () = directory.until_untrusted(&member) => {}
                        () = until_closed(closed) => {}
                    }
                });
                connections.spawn(self.clone().converse(stream, caller, slot, over));
            }
        }
    }

    /// Serves connections of the local socket until the future is dropped, which closes them.
    pub async fn serve_local(self, listener: UnixListener, directory: Directory) {
        let mut connections = JoinSet::new();
        let (_open, closed) = watch::channel(());
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                sleep(PAUSE).await;
                continue;
            };
            while connections.try_join_next().is_some() {}
            let me = directory.me();
            if let Some(slot) = self.slots.take(me.id) {
                let over = Box::pin(until_closed(closed.clone()));
                connections.spawn(self.clone().converse(stream, Caller::Local(me), slot, over));
            }
        }
    }

    async fn converse<S>(self, mut stream: S, caller: Caller, slot: Slot, over: guarded::Over)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut first = [0; 1];
        match timeout(self.limits.patience, stream.read_exact(&mut first)).await {
            Ok(Ok(_)) => {}
            _ => return,
        }
        let guarded = Guarded::new(stream, first, over, slot);
        // Whatever ends a connection, there is nobody left to tell.
        if first == *b"{" {
            let (read, write) = tokio::io::split(guarded);
            let lines = LineReader::new(Box::new(read), self.limits.longest);
            let _ = self.lines.serve(caller, lines, LineWriter::new(Box::new(write))).await;
        } else {
            let _ = self.http(guarded, caller).await;
        }
    }

    async fn http<S>(&self, stream: S, caller: Caller) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.limits.patience);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(KEEPALIVE))
            .keep_alive_timeout(self.limits.patience)
            .adaptive_window(true)
            .max_concurrent_streams(Some(256))
            .max_header_list_size(16 << 10);
        let service = TowerToHyperService::new(self.router.clone().layer(Extension(caller)));
        builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await
    }
}

/// Returns when whoever accepts connections does so no longer: then those that were upgraded end as well.
async fn until_closed(mut closed: watch::Receiver<()>) {
    while closed.changed().await.is_ok() {}
}

/// Small answers go at once, and a machine that is gone is noticed. A failure to ask for either harms nobody.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(Duration::from_secs(5));
    let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive.with_retries(3));
}
