//! Byte streams between two programs.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::inbox::read;
use super::route::{Route, Socket};
use crate::control::{Error, Lines, query};

/// The name of a stream in an HTTP upgrade.
const PROTOCOL: &str = "pilot-stream";

/// A stream to a program on another node: ends its direction by shutting down, drops both when dropped.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    /// What came with the answer to the upgrade.
    begun: Bytes,
}

impl Stream {
    pub(super) async fn connect(route: &Route, node: &str, port: u16) -> Result<Stream, Error> {
        let fields = query([("node", node), ("port", &port.to_string())]);
        Stream::upgrade(route, &format!("/v1/streams/connect{fields}")).await
    }

    async fn upgrade(route: &Route, path: &str) -> Result<Stream, Error> {
        let (socket, begun) = route.upgrade(path, PROTOCOL).await?;
        Ok(Stream { socket, begun })
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.begun.is_empty() {
            let count = this.begun.len().min(buffer.remaining());
            buffer.put_slice(&this.begun.split_to(count));
            return Poll::Ready(Ok(()));
        }
        match &mut this.socket {
            Socket::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Socket::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().socket {
            Socket::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Socket::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nothing is kept back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// Streams that come in on a port; listening ends when it is dropped.
#[derive(Debug)]
pub struct Listener {
    route: Route,
    lines: Lines,
}

/// A stream that waits to be taken, for some seconds.
#[derive(Clone, Debug, Deserialize)]
pub struct Incoming {
    stream: u64,
    /// Who connects: its node ID.
    pub node_id: String,
    /// Its name, if it has one.
    #[serde(default)]
    pub hostname: Option<String>,
    /// The port.
    pub port: u16,
    #[serde(skip)]
    route: Option<Route>,
}

impl Listener {
    pub(super) fn new(route: Route, lines: Lines) -> Listener {
        Listener { route, lines }
    }

    /// The next stream that comes in; none when the daemon has ended. Cancel safe.
    ///
    /// # Errors
    /// The connection to the daemon broke.
    pub async fn next(&mut self) -> Result<Option<Incoming>, Error> {
        let Some(line) = self.lines.next().await? else { return Ok(None) };
        let incoming: Incoming = read(&line)?;
        Ok(Some(Incoming { route: Some(self.route.clone()), ..incoming }))
    }
}

impl Incoming {
    /// Takes the stream.
    ///
    /// # Errors
    /// `not_found` when the other side did not wait; `daemon_not_running`.
    pub async fn accept(self) -> Result<Stream, Error> {
        let Some(route) = &self.route else {
            return Err(Error::new("not_found", "this stream was not announced by a node"));
        };
        Stream::upgrade(route, &format!("/v1/streams/take?stream={}", self.stream)).await
    }
}
