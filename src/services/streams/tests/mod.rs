//! Streams over real sockets: the overlay is the loopback, the local socket is one.

mod attached;
mod grpc;
mod local;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::control::Client;
use crate::services::directory::testing::member;
use crate::services::directory::{Caller, Roster};
use crate::services::door::{Door, LineReader, LineWriter, Lines};

/// Longer than anything here takes on a machine that is not stuck.
const SOON: Duration = Duration::from_secs(20);

struct NoLines;

impl Lines for NoLines {
    fn serve<'a>(
        &'a self,
        _caller: Caller,
        _lines: LineReader,
        _out: LineWriter,
    ) -> std::pin::Pin<Box<dyn Future<Output = std::io::Result<()>> + Send + 'a>> {
        Box::pin(async { Ok(()) })
    }
}

/// A node whose overlay is the loopback: its peer `beta` is whoever comes from `::1`.
struct Fixture {
    streams: Streams,
    client: Client,
    roster: watch::Sender<Arc<Roster>>,
    opened: Arc<Mutex<HashMap<u16, SocketAddr>>>,
    overlay: SocketAddr,
    _serving: JoinSet<()>,
    _dir: tempfile::TempDir,
}

fn trusted() -> Arc<Roster> {
    let beta = Member { hostname: Some("beta".parse().unwrap()), ..member(2, "::1") };
    Arc::new(Roster::new(member(1, "fd50::1"), [beta]))
}

fn nobody() -> Arc<Roster> {
    Arc::new(Roster::new(member(1, "fd50::1"), []))
}

/// Each port of the overlay is one of the kernel's choice, the same whenever it is opened again.
fn loopback(opened: Arc<Mutex<HashMap<u16, SocketAddr>>>) -> Listen {
    Box::new(move |port| {
        let mut opened = opened.lock();
        let address = opened.get(&port).copied().unwrap_or("[::1]:0".parse().unwrap());
        let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.bind(&address.into()).map_err(|error| Error::new("port_in_use", error.to_string()))?;
        socket.listen(128).unwrap();
        let listener = TcpListener::from_std(socket.into()).unwrap();
        opened.insert(port, listener.local_addr().unwrap());
        Ok(vec![listener])
    })
}

async fn start(settings: Settings) -> Fixture {
    let (roster, watched) = watch::channel(trusted());
    let directory = Directory::new(watched);
    let opened = Arc::default();
    let streams = Streams::new(directory.clone(), settings, loopback(Arc::clone(&opened))).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pilotd.sock");
    let door = Door::new(streams.router(), &["pilot.v1.Streams"], Arc::new(NoLines), Limits::default()).await;
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let overlay = listener.local_addr().unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(door.clone().serve_local(UnixListener::bind(&path).unwrap(), directory.clone()));
    serving.spawn(door.serve_overlay(vec![listener], directory));
    serving.spawn(streams.clone().serve());
    Fixture { streams, client: Client::new(path), roster, opened, overlay, _serving: serving, _dir: dir }
}

impl Fixture {
    /// Connects as `beta`, as soon as the port is open.
    async fn call(&self, port: u16) -> TcpStream {
        let open = async {
            loop {
                let address = self.opened.lock().get(&port).copied();
                match address {
                    Some(address) => return TcpStream::connect(address).await.unwrap(),
                    None => tokio::task::yield_now().await,
                }
            }
        };
        timeout(SOON, open).await.unwrap()
    }

    /// Returns when the port refuses connections.
    async fn closed(&self, port: u16) {
        let address = self.opened.lock()[&port];
        let refused = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, refused).await.expect("the port is closed");
    }
}

async fn everything(from: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut received = Vec::new();
    timeout(SOON, from.read_to_end(&mut received)).await.expect("it ends").unwrap();
    received
}

/// Asserts that the other side broke the connection, as opposed to ending it.
async fn assert_broken(stream: &mut (impl AsyncRead + Unpin)) {
    let mut received = Vec::new();
    let outcome = timeout(SOON, stream.read_to_end(&mut received)).await.expect("it breaks");
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

async fn next(lines: &mut crate::control::Lines) -> Value {
    let line = timeout(SOON, lines.next()).await.expect("a stream is announced").unwrap().unwrap();
    serde_json::from_slice(&line).unwrap()
}
