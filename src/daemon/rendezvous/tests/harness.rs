//! Nodes and programs that speak to a server on loopback.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UdpSocket, UnixStream};
use tokio::time::timeout;

use super::*;
use crate::identity::PublicKey;
use crate::rendezvous::LinkEvent;
use crate::rendezvous::client::Wish;
use crate::wire::RelayCredential;
use crate::wire::rendezvous::{ClientMessage, Deliver, Hello, ServerMessage, Welcome, server_message::Body};

/// Far longer than anything here takes, so that a failure is told from slowness.
const PATIENCE: Duration = Duration::from_secs(30);

pub async fn patient<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("nothing came")
}

pub fn options(state: &Path) -> Options {
    Options { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Options::new(state.to_owned()) }
}

/// A node's end of the link.
pub struct Node {
    events: mpsc::Receiver<LinkEvent>,
    pub outgoing: mpsc::Sender<ClientMessage>,
    pub stun: Vec<SocketAddr>,
    pub relay: SocketAddr,
    pub welcome: Welcome,
}

impl Node {
    /// Connects, says Hello and is welcomed.
    pub async fn log_in(url: &RendezvousUrl, identity: &Identity, hostname: &str) -> Node {
        let (sender, mut events) = mpsc::channel(64);
        let (outgoing, queue) = mpsc::channel(64);
        let reach = link::Reach::new(url.clone(), identity, None).unwrap();
        tokio::spawn(link::client::run(reach, sender, queue, Arc::default()));
        let (stun, relay) = match patient(events.recv()).await.unwrap() {
            LinkEvent::Up { stun, relay } => (stun, relay[0]),
            other => panic!("{other:?}"),
        };
        let hello = Hello { version: 1, network: 0, hostname: Some(hostname.to_owned()) };
        outgoing.send(hello.into()).await.unwrap();
        let mut node = Node { events, outgoing, stun, relay, welcome: Welcome::default() };
        match node.next().await {
            Body::Welcome(welcome) => node.welcome = welcome,
            other => panic!("{other:?}"),
        }
        node
    }

    pub async fn next(&mut self) -> Body {
        match patient(self.events.recv()).await.unwrap() {
            LinkEvent::Message(ServerMessage { body }) => body.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub async fn say(&self, message: impl Into<ClientMessage>) {
        self.outgoing.send(message.into()).await.unwrap();
    }

    pub fn credential(&self) -> RelayCredential {
        self.welcome.credential().unwrap()
    }
}

/// A node's relay stream.
pub struct Stream {
    outgoing: mpsc::Sender<Vec<u8>>,
    taken: mpsc::UnboundedReceiver<Vec<u8>>,
    _wishes: watch::Sender<Wish>,
    _events: mpsc::Receiver<LinkEvent>,
}

impl Stream {
    /// Opens one and waits until it is open.
    pub async fn open(url: &RendezvousUrl, identity: &Identity) -> Stream {
        let (wishes, wished) = watch::channel(Wish { is_open: true, epoch: 0 });
        let (sender, mut events) = mpsc::channel(16);
        let (outgoing, frames) = mpsc::channel(64);
        let (take, taken) = mpsc::unbounded_channel();
        let taking = move |frame: &[u8]| take.send(frame.to_vec()).unwrap();
        let wiring = link::stream::Wiring { wished, outgoing: frames, events: sender, taken: taking };
        tokio::spawn(link::stream::run(link::Reach::new(url.clone(), identity, None).unwrap(), wiring));
        assert!(matches!(patient(events.recv()).await, Some(LinkEvent::StreamUp)));
        Stream { outgoing, taken, _wishes: wishes, _events: events }
    }

    pub async fn send(&self, frame: &[u8]) {
        self.outgoing.send(frame.to_vec()).await.unwrap();
    }

    pub async fn receive(&mut self) -> Vec<u8> {
        patient(self.taken.recv()).await.unwrap()
    }
}

pub fn deliver(to: PublicKey, content: &[u8], durable: bool) -> Deliver {
    Deliver { recipient: to.as_bytes().to_vec(), sealed: content.to_vec(), durable }
}

pub async fn exchange(socket: &UdpSocket, to: SocketAddr, datagram: &[u8]) -> Vec<u8> {
    socket.send_to(datagram, to).await.unwrap();
    receive(socket).await
}

pub async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 2048];
    let (len, _) = patient(socket.recv_from(&mut buffer)).await.unwrap();
    buffer.truncate(len);
    buffer
}

pub async fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

/// Asks `status.sock` as any HTTP client would.
pub async fn ask(state: &Path, path: &str) -> Value {
    let mut stream = UnixStream::connect(state.join("status.sock")).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: pilot\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    patient(stream.read_to_string(&mut answer)).await.unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}
