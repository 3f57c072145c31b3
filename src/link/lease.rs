//! How long an accepted connection may live: it must open its one stream soon, and ends soon after that stream.
//!
//! Comes in: a TLS stream and the key behind it. Goes out: a byte stream for gRPC that fails when its lease is over.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::identity::PublicKey;

/// How long a connection has to open its stream.
const OPENING: Duration = Duration::from_secs(10);
/// How long the last messages of an ended stream have to leave.
const LINGER: Duration = Duration::from_secs(1);

/// An authenticated connection; it occupies a place among the server's connections while it lives.
pub struct Leased {
    stream: TlsStream<TcpStream>,
    expiry: Pin<Box<dyn Future<Output = ()> + Send>>,
    caller: Caller,
    _place: OwnedSemaphorePermit,
}

/// Who is at the other end, as the request handler sees it.
#[derive(Clone)]
pub struct Caller {
    /// The key that TLS proved.
    pub key: PublicKey,
    opening: Arc<Mutex<Option<oneshot::Sender<oneshot::Receiver<()>>>>>,
}

/// Kept while the stream is open: dropping it lets the connection end.
pub struct Stay {
    _signal: oneshot::Sender<()>,
}

impl Caller {
    /// Takes the one stream that a connection may open; the second time there is none.
    pub fn open(&self) -> Option<Stay> {
        let opening = self.opening.lock().take()?;
        let (signal, end) = oneshot::channel();
        opening.send(end).ok()?;
        Some(Stay { _signal: signal })
    }
}

impl Leased {
    /// Starts the lease of a connection; `stop` ends it at once when its sender is dropped.
    pub fn new(
        stream: TlsStream<TcpStream>,
        key: PublicKey,
        place: OwnedSemaphorePermit,
        stop: watch::Receiver<()>,
    ) -> Leased {
        let (opening, opened) = oneshot::channel();
        let caller = Caller { key, opening: Arc::new(Mutex::new(Some(opening))) };
        Leased { stream, expiry: Box::pin(expire(opened, stop)), caller, _place: place }
    }
}

async fn expire(opened: oneshot::Receiver<oneshot::Receiver<()>>, mut stop: watch::Receiver<()>) {
    let end = async {
        if let Ok(Ok(end)) = timeout(OPENING, opened).await {
            let _ = end.await;
            sleep(LINGER).await;
        }
    };
    tokio::select! {
        () = end => {}
        _ = stop.changed() => {}
    }
}

impl Connected for Leased {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Leased {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.expiry.as_mut().poll(cx).is_ready() {
            // A future that is done must not be polled again.
            self.expiry = Box::pin(std::future::ready(()));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Leased {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
