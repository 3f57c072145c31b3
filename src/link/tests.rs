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
        tokio::spawn(client::run(url, identity, sender, messages));
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
            LinkEvent::Message(message) => panic!("{message:?}"),
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
