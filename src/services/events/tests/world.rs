//! Nodes on this machine, each behind real doors: a port for each peer, and a local socket.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::control::Client;
use crate::services::directory::testing::member;
use crate::services::directory::{Directory, Member, Roster};
use crate::services::door::{Door, Limits};
use crate::services::events::dial::{Dial, Dialling, Stream};
use crate::services::events::sequence::Volatile;
use crate::services::events::{Events, Settings};

/// The port of the second node for connections of the first.
type Ports = Arc<Mutex<HashMap<(u8, u8), SocketAddr>>>;

struct Loopback {
    me: u8,
    ports: Ports,
}

impl Dial for Loopback {
    fn dial<'a>(&'a self, peer: &'a Member) -> Dialling<'a> {
        let port = self.ports.lock().get(&(self.me, peer.id.to_u64() as u8)).copied();
        Box::pin(async move {
            let port = port.ok_or(std::io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(TcpStream::connect(port).await?) as Box<dyn Stream>)
        })
    }
}

/// All nodes that trust each other.
pub struct World {
    folder: tempfile::TempDir,
    ports: Ports,
}

/// One node.
pub struct Node {
    pub number: u8,
    pub events: Events,
    pub roster: watch::Sender<Arc<Roster>>,
    socket: PathBuf,
    _serving: JoinSet<()>,
}

fn address(number: u8) -> String {
    format!("fd50::{number}")
}

pub fn roster(me: u8, peers: &[u8]) -> Arc<Roster> {
    let peers = peers.iter().map(|peer| member(*peer, &address(*peer)));
    Arc::new(Roster::new(member(me, &address(me)), peers))
}

impl World {
    pub fn new() -> World {
        World { folder: tempfile::tempdir().unwrap(), ports: Ports::default() }
    }

    /// Starts a node that trusts `peers`, or starts it anew.
    pub async fn start(&self, number: u8, peers: &[u8]) -> Node {
        self.start_with(number, peers, Settings::default(), 1).await
    }

    pub async fn start_with(&self, number: u8, peers: &[u8], settings: Settings, first_seq: u64) -> Node {
        let (sender, receiver) = watch::channel(roster(number, peers));
        let directory = Directory::new(receiver);
        let dial = Arc::new(Loopback { me: number, ports: self.ports.clone() });
        let events = Events::new(settings, directory.clone(), dial, first_seq, Arc::new(Volatile));
        let door = Door::new(events.router(), &["pilot.v1.Events"], events.lines(), Limits::default()).await;
        let mut serving = JoinSet::new();
        serving.spawn(events.clone().run_links());
        for peer in peers.iter().chain([&number]) {
            self.listen(&door, number, *peer, &mut serving).await;
        }
        let socket = self.folder.path().join(format!("{number}.sock"));
        // A node that is started anew finds the socket of the old one.
        let _ = std::fs::remove_file(&socket);
        serving.spawn(door.serve_local(UnixListener::bind(&socket).unwrap(), directory));
        Node { number, events, roster: sender, socket, _serving: serving }
    }

    /// A port on which everybody is taken for `peer`.
    async fn listen(&self, door: &Door, number: u8, peer: u8, serving: &mut JoinSet<()>) {
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        self.ports.lock().insert((peer, number), listener.local_addr().unwrap());
        let me = if peer == number { "::1" } else { "fd50::ffff" };
        let peers = (peer != number).then(|| member(peer, "::1"));
        let (sender, receiver) = watch::channel(Arc::new(Roster::new(member(number, me), peers)));
        serving.spawn(door.clone().serve_overlay(vec![listener], Directory::new(receiver)));
        // The roster stays as it is for as long as it is looked at.
        serving.spawn(async move { sender.closed().await });
    }

    /// Where node `to` is reached by node `from`.
    pub fn port(&self, from: u8, to: u8) -> SocketAddr {
        self.ports.lock()[&(from, to)]
    }

    /// Has node `from` find somebody else where it looks for node `to`.
    pub fn pretend(&self, from: u8, to: u8, port: SocketAddr) {
        self.ports.lock().insert((from, to), port);
    }

    pub async fn connect(&self, from: u8, to: u8) -> TcpStream {
        TcpStream::connect(self.port(from, to)).await.unwrap()
    }
}

impl Node {
    pub fn client(&self) -> Client {
        Client::new(&self.socket)
    }

    /// A conversation in lines, by the local socket.
    pub async fn lines(&self) -> Talk {
        Talk::new(UnixStream::connect(&self.socket).await.unwrap())
    }

    pub fn counter(&self, name: &str) -> u64 {
        self.events.counters()[name].as_u64().unwrap()
    }

    /// Waits until a counter is at `value`.
    pub async fn until(&self, name: &str, value: u64) {
        let wanted = format!("{name} of node {} is {value}", self.number);
        until(&wanted, || self.counter(name) == value).await;
    }
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What comes within a time that is long enough.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("nothing came")
}

/// A conversation in lines.
pub struct Talk {
    reader: BufReader<Box<dyn Stream>>,
}

impl Talk {
    pub fn new(stream: impl Stream + 'static) -> Talk {
        Talk { reader: BufReader::new(Box::new(stream)) }
    }

    pub async fn say(&mut self, text: &str) {
        self.reader.write_all(text.as_bytes()).await.unwrap();
        self.reader.flush().await.unwrap();
    }

    /// Says a line, and waits until everything said is done.
    pub async fn say_and_flush(&mut self, line: &str) {
        self.say(&format!("{line}\n{{\"flush\":77}}\n")).await;
        assert_eq!(self.line().await, r#"{"flushed":77}"#);
    }

    pub async fn done(&mut self) {
        self.reader.shutdown().await.unwrap();
    }

    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        soon(self.reader.read_line(&mut line)).await.unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    pub async fn json(&mut self) -> Value {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}
