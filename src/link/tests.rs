//! Both ends of the link on loopback, with real TLS.

use std::time::Duration;

use rand_core::OsRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::server::ServerEvent;
use super::*;
use crate::identity::{Identity, PublicKey, RendezvousUrl};
use crate::rendezvous::LinkEvent;
use crate::rendezvous::client::Wish;
use crate::rendezvous::directory::SessionId;
use crate::wire::rendezvous::{ClientMessage, Delivered, Hello, Refused, ServerMessage, client_message};

/// Far longer than anything here takes, so that a failure is told from slowness.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    key: PublicKey,
    port: u16,
    events: mpsc::Receiver<ServerEvent>,
    carried: mpsc::Receiver<Carried>,
    stop: watch::Sender<()>,
}

impl Server {
    async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Server::start_on(listener, Identity::generate(&mut OsRng))
    }

    fn start_on(listener: TcpListener, identity: Identity) -> Server {
        let port = listener.local_addr().unwrap().port();
        let (sender, events) = mpsc::channel(16);
        let (stop, stopped) = watch::channel(());
        let (relays, carried) = mpsc::channel(16);
        let key = identity.public_key();
        tokio::spawn(async move {
            server::serve(vec![listener], &identity, sender, relays, stopped).await.unwrap();
        });
        Server { key, port, events, carried, stop }
    }

    async fn next(&mut self) -> ServerEvent {
        timeout(PATIENCE, self.events.recv()).await.unwrap().unwrap()
    }

    async fn connected(&mut self) -> (SessionId, PublicKey, mpsc::Sender<ServerMessage>) {
        match self.next().await {
            ServerEvent::Connected { session, key, outgoing } => (session, key, outgoing),
            other => panic!("{other:?}"),
        }
    }

    fn url(&self) -> RendezvousUrl {
        url(self.key, self.port)
    }
}

fn url(key: PublicKey, port: u16) -> RendezvousUrl {
    RendezvousUrl { key, host: "127.0.0.1".parse().unwrap(), port }
}

struct Client {
    key: PublicKey,
    events: mpsc::Receiver<LinkEvent>,
    outgoing: mpsc::Sender<ClientMessage>,
}

impl Client {
    fn start(url: RendezvousUrl) -> Client {
        let identity = Identity::generate(&mut OsRng);
        let key = identity.public_key();
        let (sender, events) = mpsc::channel(16);
        let (outgoing, messages) = mpsc::channel(16);
        tokio::spawn(client::run(
            Reach::new(url, &identity, None).unwrap(),
            sender,
            messages,
            std::sync::Arc::default(),
        ));
        Client { key, events, outgoing }
    }

    async fn next(&mut self) -> LinkEvent {
        timeout(PATIENCE, self.events.recv()).await.unwrap().unwrap()
    }

    async fn down(&mut self) -> String {
        match self.next().await {
            LinkEvent::Down { reason } => reason,
            other => panic!("{other:?}"),
        }
    }
}

fn hello() -> ClientMessage {
    let hello = Hello { version: 1, network: 0, hostname: None };
    hello.into()
}

#[tokio::test]
async fn messages_pass_both_ways_and_the_clients_key_is_proven() {
    let mut server = Server::start().await;
    let mut client = Client::start(server.url());
    let LinkEvent::Up { stun, relay } = client.next().await else { panic!("not up") };
    let ports = |offset| format!("127.0.0.1:{}", server.port + offset).parse().unwrap();
    assert_eq!(stun, [ports(1), ports(2)]);
    assert_eq!(relay, [ports(1)]);

    let (session, key, outgoing) = server.connected().await;
    assert_eq!(key, client.key);
    client.outgoing.send(hello()).await.unwrap();
    let ServerEvent::Message(from, message) = server.next().await else { panic!("no message") };
    assert_eq!(from, session);
    assert!(matches!(message.body, Some(client_message::Body::Hello(_))));

    let sent: ServerMessage = Delivered { sealed: vec![7; 32 * 1024], delivery: 9 }.into();
    outgoing.send(sent.clone()).await.unwrap();
    let LinkEvent::Message(received) = client.next().await else { panic!("no message") };
    assert_eq!(received, sent);

    drop(client);
    assert!(matches!(server.next().await, ServerEvent::Disconnected(gone) if gone == session));
}

#[tokio::test]
async fn a_server_with_another_key_is_refused() {
    let server = Server::start().await;
    let other = Identity::generate(&mut OsRng).public_key();
    let reason = Client::start(url(other, server.port)).down().await;
    let expected = format!("the server at 127.0.0.1:{} has another key than", server.port);
    assert!(reason.contains(&expected), "{reason}");
}

#[tokio::test]
async fn something_that_is_no_rendezvous_server_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = stream.read(&mut [0; 1024]).await;
        }
    });
    let key = Identity::generate(&mut OsRng).public_key();
    let reason = Client::start(url(key, port)).down().await;
    assert!(reason.contains("not as a Pilot rendezvous server"), "{reason}");
}

#[tokio::test]
async fn the_client_keeps_trying_until_the_server_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let identity = Identity::generate(&mut OsRng);
    let mut client = Client::start(url(identity.public_key(), address.port()));
    for _ in 0..2 {
        let reason = client.down().await;
        assert!(reason.contains("cannot reach pilot://"), "{reason}");
    }
    let mut server = Server::start_on(TcpListener::bind(address).await.unwrap(), identity);
    loop {
        match client.next().await {
            LinkEvent::Up { .. } => break,
            LinkEvent::Down { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(server.connected().await.1, client.key);
}

#[tokio::test]
async fn the_last_words_of_a_session_arrive_before_its_end() {
    let mut server = Server::start().await;
    let mut client = Client::start(server.url());
    assert!(matches!(client.next().await, LinkEvent::Up { .. }));
    let (_, _, outgoing) = server.connected().await;
    let refused: ServerMessage = Refused { code: "full".into(), message: "no room".into() }.into();
    outgoing.send(refused.clone()).await.unwrap();
    drop(outgoing);
    assert!(matches!(client.next().await, LinkEvent::Message(message) if message == refused));
    assert!(client.down().await.contains("ended"));
}

#[tokio::test]
async fn stopping_the_server_ends_its_connections() {
    let mut server = Server::start().await;
    let mut client = Client::start(server.url());
    assert!(matches!(client.next().await, LinkEvent::Up { .. }));
    let _session = server.connected().await;
    drop(server.stop);
    assert!(client.down().await.contains("ended"));
}

/// A node's end of a relay stream, with what came in.
struct Frames {
    wishes: watch::Sender<Wish>,
    events: mpsc::Receiver<LinkEvent>,
    outgoing: mpsc::Sender<Vec<u8>>,
    taken: mpsc::UnboundedReceiver<Vec<u8>>,
    key: PublicKey,
}

impl Frames {
    fn start(url: RendezvousUrl) -> Frames {
        let identity = Identity::generate(&mut OsRng);
        let (wishes, wished) = watch::channel(Wish::default());
        let (sender, events) = mpsc::channel(16);
        let (outgoing, frames) = mpsc::channel(64);
        let (take, taken) = mpsc::unbounded_channel();
        let taking = move |frame: &[u8]| take.send(frame.to_vec()).unwrap();
        let wiring = stream::Wiring { wished, outgoing: frames, events: sender, taken: taking };
        tokio::spawn(stream::run(Reach::new(url, &identity, None).unwrap(), wiring));
        Frames { wishes, events, outgoing, taken, key: identity.public_key() }
    }

    fn wish(&self, is_open: bool, epoch: u64) {
        self.wishes.send_replace(Wish { is_open, epoch });
    }

    async fn is_up(&mut self) -> bool {
        match timeout(PATIENCE, self.events.recv()).await.unwrap().unwrap() {
            LinkEvent::StreamUp => true,
            LinkEvent::StreamDown => false,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_relay_stream_carries_frames_both_ways_in_order_when_it_is_wished_for() {
    let mut server = Server::start().await;
    let mut frames = Frames::start(server.url());
    frames.outgoing.send(b"of no use before it is open".to_vec()).await.unwrap();
    assert!(server.carried.try_recv().is_err());
    frames.wish(true, 0);
    assert!(frames.is_up().await);
    let mut carried = timeout(PATIENCE, server.carried.recv()).await.unwrap().unwrap();
    assert_eq!(carried.key, frames.key);
    let sent: Vec<Vec<u8>> = (0..100).map(|n| vec![n; 1400]).collect();
    for frame in &sent {
        frames.outgoing.send(frame.clone()).await.unwrap();
    }
    let mut received = Vec::new();
    while received.len() < sent.len() {
        received.extend(timeout(PATIENCE, carried.incoming.next()).await.unwrap().unwrap());
    }
    assert_eq!(received, sent);
    let sender = crate::rendezvous::relay::Endpoint::Stream { number: 1, key: frames.key };
    carried.outgoing.send(sender, b"back".to_vec()).unwrap();
    assert_eq!(timeout(PATIENCE, frames.taken.recv()).await.unwrap().unwrap(), b"back");

    frames.wish(true, 1);
    assert!(!frames.is_up().await, "another epoch is another stream");
    assert!(frames.is_up().await);
    assert!(timeout(PATIENCE, carried.incoming.next()).await.unwrap().is_none());
    let again = timeout(PATIENCE, server.carried.recv()).await.unwrap().unwrap();
    drop(again);
    assert!(!frames.is_up().await, "the server ended it");
    assert!(frames.is_up().await, "it is opened again while it is wished for");
}

#[tokio::test]
async fn a_frame_that_is_too_long_ends_its_stream() {
    let mut server = Server::start().await;
    let mut frames = Frames::start(server.url());
    frames.wish(true, 0);
    assert!(frames.is_up().await);
    let mut carried = timeout(PATIENCE, server.carried.recv()).await.unwrap().unwrap();
    frames.outgoing.send(vec![0; crate::wire::rendezvous::MAX_FRAME + 1]).await.unwrap();
    assert!(timeout(PATIENCE, carried.incoming.next()).await.unwrap().is_none());
}
