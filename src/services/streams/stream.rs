//! One stream: the connection to a node, its place among all, and the rule that it must end well or be seen to break.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::splice::splice;
use crate::services::directory::{Directory, Member};
use crate::services::door::slots::Slot;

/// A node that says nothing is asked after this time whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// And so often until it answers.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// A node that has answered none of so many is gone.
const KEEPALIVE_RETRIES: u32 = 8;

/// A connection to a node that carries a stream.
pub trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes the drop of this connection an error for the other side, where it would be an end otherwise.
    fn cut(&mut self);
}

impl Pipe for TcpStream {
    fn cut(&mut self) {
        // Else the connection ends in the ordinary way, which is the best that is left.
        let _ = SockRef::from(&*self).set_linger(Some(Duration::ZERO));
    }
}

/// A stream to or from a node. Dropped before it has ended it breaks, and the other side sees that.
pub struct Stream {
    /// The node at the other end.
    pub node: Arc<Member>,
    /// The port, at whichever end listens.
    pub port: u16,
    pipe: Box<dyn Pipe>,
    has_ended: bool,
    _slot: Slot,
}

impl Stream {
    pub(super) fn new(node: Arc<Member>, port: u16, pipe: Box<dyn Pipe>, slot: Slot) -> Stream {
        Stream { node, port, pipe, has_ended: false, _slot: slot }
    }

    /// Carries bytes between the node and `local`, until both have ended or the node is not trusted any more.
    ///
    /// # Errors
    /// The stream broke: not everything has been delivered.
    pub async fn carry(
        self,
        local: &mut (impl AsyncRead + AsyncWrite + Unpin),
        directory: &Directory,
    ) -> io::Result<()> {
        self.carry_while(local, directory, std::future::pending()).await
    }

    /// As [`Stream::carry`]; `gone` is ready when whoever is behind `local` has left.
    pub(super) async fn carry_while(
        mut self,
        local: &mut (impl AsyncRead + AsyncWrite + Unpin),
        directory: &Directory,
        gone: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let node = self.node.clone();
        tokio::select! {
            outcome = splice(&mut self.pipe, local, gone) => outcome?,
            () = directory.until_untrusted(&node) => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
        self.has_ended = true;
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.has_ended {
            self.pipe.cut();
        }
    }
}

/// Small writes go at once, and a node that is gone is noticed. A failure to ask for either harms nobody.
pub(super) fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_RETRIES));
}

/// Closes a connection that is not served, so that the other side cannot take it for a stream that ended.
pub(super) fn refuse(mut stream: TcpStream) {
    stream.cut();
}
