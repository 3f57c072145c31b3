//! The way to the events of another node: a connection to its port 1002 that speaks frames.
//!
//! In: a peer. Out: a connection after the upgrade, on which frames go both ways. How a peer is reached is left to a
//! [`Dial`], so that everything above it runs over any stream.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::compact::expanded;
use super::frame::{put_frame, take_frame};
use crate::control::Error;
use crate::services::directory::Member;

/// The TCP port of events.
pub const PORT: u16 = 1002;
/// The protocol that is upgraded to.
pub const PROTOCOL: &str = "pilot-events";
/// How long connecting and upgrading may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer to an upgrade.
const LONGEST_HEAD: usize = 8 << 10;
/// Bytes read at once.
pub(super) const READ: usize = 256 << 10;

/// A connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that is being made.
pub type Dialling<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// Connects to the port of events of a peer.
pub trait Dial: Send + Sync + 'static {
    /// Connects.
    fn dial<'a>(&'a self, peer: &'a Member) -> Dialling<'a>;
}

/// By TCP to the overlay address; a peer that is silent for so long is given up.
#[derive(Clone, Copy, Debug)]
pub struct Overlay {
    /// How long.
    pub silence: Duration,
}

impl Dial for Overlay {
    fn dial<'a>(&'a self, peer: &'a Member) -> Dialling<'a> {
        Box::pin(async move {
            let stream = TcpStream::connect((peer.address, PORT)).await?;
            stream.set_nodelay(true)?;
            let keepalive = socket2::TcpKeepalive::new().with_time(self.silence / 2).with_interval(self.silence / 8);
            let socket = socket2::SockRef::from(&stream);
            socket.set_tcp_keepalive(&keepalive.with_retries(4))?;
            socket.set_tcp_user_timeout(Some(self.silence))?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

/// Frames on a connection.
pub struct Frames {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
}

impl Frames {
    /// Connects to a peer and upgrades to frames.
    ///
    /// # Errors
    /// `unreachable`.
    pub async fn connect(dial: &dyn Dial, peer: &Member) -> Result<Frames, Error> {
        let connecting = async {
            let mut frames = Frames { stream: dial.dial(peer).await?, buffer: BytesMut::new() };
            frames.upgrade().await.map(|()| frames)
        };
        let problem = match timeout(PATIENCE, connecting).await {
            Ok(Ok(frames)) => return Ok(frames),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {PATIENCE:?}"),
        };
        Err(Error::new("unreachable", format!("the events of {} cannot be reached: {problem}", peer.id))
            .hint("`pilotctl ping` shows whether it is there"))
    }

    async fn upgrade(&mut self) -> io::Result<()> {
        let ask = format!(
            "GET /v1/events/link HTTP/1.1\r\nHost: pilot\r\nConnection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n\r\n"
        );
        self.stream.write_all(ask.as_bytes()).await?;
        loop {
            let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.buffer.split_to(end + 4);
                return match head.starts_with(b"HTTP/1.1 101 ") {
                    true => Ok(()),
                    false => Err(io::Error::other(first_line(&head))),
                };
            }
            if self.buffer.len() > LONGEST_HEAD || self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = BytesMut::new();
        put_frame(&mut out, bytes);
        self.stream.write_all(&out).await?;
        self.stream.flush().await
    }

    /// The next frame, each event in it with its stamp; none once the other side is done. Cancel safe.
    ///
    /// # Errors
    /// The connection broke, or a frame is too large.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(frame) = take_frame(&mut self.buffer).map_err(io::Error::other)? {
                return Ok(Some(expanded(frame)));
            }
            make_room(&mut self.buffer);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Makes room for what is read next: seldom, because what has come of a frame is copied then.
pub(super) fn make_room(buffer: &mut BytesMut) {
    if buffer.capacity() - buffer.len() < READ / 4 {
        buffer.reserve(READ);
    }
}

fn first_line(head: &[u8]) -> String {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    format!("it answers {:?}", String::from_utf8_lossy(line))
}
