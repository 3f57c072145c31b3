//! A connection that keeps its place, gives back its first byte, and breaks when its caller is not trusted any more.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::slots::Slot;

/// Ready once the caller may be served no longer.
pub(super) type Untrusted = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The connection, whoever holds it: also after an HTTP upgrade.
pub(super) struct Guarded<S> {
    stream: S,
    first: Option<[u8; 1]>,
    untrusted: Option<Untrusted>,
    is_cut: bool,
    _slot: Slot,
}

impl<S> Guarded<S> {
    pub fn new(stream: S, first: [u8; 1], untrusted: Option<Untrusted>, slot: Slot) -> Guarded<S> {
        Guarded { stream, first: Some(first), untrusted, is_cut: false, _slot: slot }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(untrusted) = &mut self.untrusted
            && untrusted.as_mut().poll(context).is_ready()
        {
            self.untrusted = None;
            self.is_cut = true;
        }
        if self.is_cut { Err(io::Error::new(io::ErrorKind::ConnectionAborted, "no longer trusted")) } else { Ok(()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(context)?;
        if buffer.remaining() > 0
            && let Some(first) = this.first.take()
        {
            buffer.put_slice(&first);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_cut {
            this.check(context)?;
        }
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_cut {
            this.check(context)?;
        }
        Pin::new(&mut this.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.get_mut().stream).poll_shutdown(context))?;
        Poll::Ready(Ok(()))
    }
}
