//! Where a node is reached, and connections to it that have left HTTP behind.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::upgrade::{Parts, Upgraded};
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

use crate::control::Error;

/// How long a node may take to accept a connection and to answer the upgrade.
const PATIENCE: Duration = Duration::from_secs(10);
/// A peer that answers nothing for this long is gone.
const SILENCE: Duration = Duration::from_secs(20);
/// The longest refusal that is read, bytes.
const MAX_REFUSAL: usize = 64 << 10;

/// How to get to a node.
#[derive(Clone, Debug)]
pub(super) enum Route {
    /// This machine's own, by its local socket.
    Local(PathBuf),
    /// Any node that trusts us, by a service's port on its overlay address.
    Overlay(SocketAddr),
}

/// A connection that carries what both sides have agreed upon.
#[derive(Debug)]
pub(super) enum Socket {
    /// By the local socket.
    Unix(UnixStream),
    /// Over the overlay.
    Tcp(TcpStream),
}

/// What a refusal looks like in HTTP.
#[derive(serde::Deserialize)]
struct Refused {
    code: String,
    message: String,
    #[serde(default)]
    hint: String,
}

impl Route {
    /// Connects, asks for `path` and an upgrade to `protocol`; gives the connection, and bytes that came with the answer.
    ///
    /// # Errors
    /// `daemon_not_running`, `permission_denied` or `unreachable` where nobody answers; else what was refused.
    pub async fn upgrade(&self, path: &str, protocol: &'static str) -> Result<(Socket, Bytes), Error> {
        let upgraded = async {
            match self {
                Route::Local(socket) => {
                    let stream = UnixStream::connect(socket).await.map_err(|error| self.unreachable(&error))?;
                    let parts: Parts<TokioIo<UnixStream>> = self.negotiate(stream, path, protocol).await?;
                    Ok((Socket::Unix(parts.io.into_inner()), parts.read_buf))
                }
                Route::Overlay(address) => {
                    let stream = connect(*address).await.map_err(|error| self.unreachable(&error))?;
                    let parts: Parts<TokioIo<TcpStream>> = self.negotiate(stream, path, protocol).await?;
                    Ok((Socket::Tcp(parts.io.into_inner()), parts.read_buf))
                }
            }
        };
        match tokio::time::timeout(PATIENCE, upgraded).await {
            Ok(upgraded) => upgraded,
            Err(_) => Err(Error::new("timeout", format!("{self} has not answered within {PATIENCE:?}"))),
        }
    }

    async fn negotiate<S>(&self, stream: S, path: &str, protocol: &'static str) -> Result<Parts<TokioIo<S>>, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        tokio::spawn(connection.with_upgrades());
        let request = Request::get(path)
            .header(header::HOST, self.host())
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, protocol)
            .body(Empty::<Bytes>::new())
            .map_err(|error| Error::new("invalid_request", format!("{path}: {error}")))?;
        let response = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.refusal(response).await);
        }
        let upgraded: Upgraded = hyper::upgrade::on(response).await.map_err(|error| self.broken(&error))?;
        upgraded.downcast().map_err(|_| Error::new("internal", "the connection is not the one that was opened"))
    }

    async fn refusal(&self, response: Response<hyper::body::Incoming>) -> Error {
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_REFUSAL).collect().await;
        let refused = body.ok().and_then(|body| serde_json::from_slice::<Refused>(&body.to_bytes()).ok());
        match refused {
            Some(refused) => Error::new(&refused.code, refused.message).hint(refused.hint),
            None => Error::new("internal", format!("{self} answered {status}"))
                .hint("are this program and pilotd of the same version?"),
        }
    }

    fn host(&self) -> String {
        match self {
            Route::Local(_) => "pilotd".to_owned(),
            Route::Overlay(address) => address.to_string(),
        }
    }

    /// Why nobody could be asked.
    pub fn unreachable(&self, error: &io::Error) -> Error {
        match (self, error.kind()) {
            (Route::Local(_), io::ErrorKind::PermissionDenied) => {
                Error::new("permission_denied", format!("no permission to use {self}"))
                    .hint("run as root, or join the group pilot")
            }
            (Route::Local(_), _) => Error::new("daemon_not_running", format!("no pilotd answers at {self}"))
                .hint("start it with `sudo pilotd up`, or name its socket by PILOT_SOCKET"),
            (Route::Overlay(_), _) => Error::new("unreachable", format!("{self} cannot be reached: {error}"))
                .hint("`pilotctl peers` shows whether there is a path to that node"),
        }
    }

    fn broken(&self, error: &hyper::Error) -> Error {
        self.unreachable(&io::Error::other(error.to_string()))
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Route::Local(path) => write!(f, "{}", path.display()),
            Route::Overlay(address) => write!(f, "{address}"),
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(SILENCE / 2).with_interval(SILENCE / 4).with_retries(2);
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(SILENCE))?;
    Ok(stream)
}

impl Socket {
    /// Its two directions, each of which may be used by itself.
    pub fn split(self) -> (Reading, Writing) {
        match self {
            Socket::Unix(stream) => {
                let (reading, writing) = stream.into_split();
                (Reading::Unix(reading), Writing::Unix(writing))
            }
            Socket::Tcp(stream) => {
                let (reading, writing) = stream.into_split();
                (Reading::Tcp(reading), Writing::Tcp(writing))
            }
        }
    }
}

/// What comes from the other side.
#[derive(Debug)]
pub(super) enum Reading {
    /// By the local socket.
    Unix(unix::OwnedReadHalf),
    /// Over the overlay.
    Tcp(tcp::OwnedReadHalf),
}

impl Reading {
    /// Reads what is there into the free room of `buffer`; 0 where the other side is done.
    pub fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        match self {
            Reading::Unix(half) => pin!(half.read_buf(buffer)).poll(context),
            Reading::Tcp(half) => pin!(half.read_buf(buffer)).poll(context),
        }
    }
}

/// What goes to the other side; dropping it says that no more comes.
#[derive(Debug)]
pub(super) enum Writing {
    /// By the local socket.
    Unix(unix::OwnedWriteHalf),
    /// Over the overlay.
    Tcp(tcp::OwnedWriteHalf),
}

impl Writing {
    /// Writes as much as the kernel takes now.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Writing::Unix(half) => half.try_write(bytes),
            Writing::Tcp(half) => half.try_write(bytes),
        }
    }

    /// Writes everything.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            Writing::Unix(half) => half.writable().await,
            Writing::Tcp(half) => half.writable().await,
        }
    }
}
