//! The whole server on loopback: real TLS, real sockets, real files.

mod harness;

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::net::UdpSocket;

use super::*;
use crate::udp::{Receiver, Run, Sent, Sockets};
use crate::wire::path::MAIN;
use crate::wire::relay::{Frame, bind, send_header};
use crate::wire::rendezvous::{Acknowledge, RequestTrust, SetHostname, request_trust, server_message::Body};
use crate::wire::{Allocation, Ecn, stun};

use harness::{Node, Stream, ask, deliver, exchange, options, patient, receive, udp};

/// Two nodes that are logged in.
struct Pair {
    alice: Identity,
    bob: Identity,
    a: Node,
    b: Node,
}

impl Pair {
    async fn log_in(url: &RendezvousUrl, alice: Identity, bob: Identity) -> Pair {
        let a = Node::log_in(url, &alice, "alice").await;
        let b = Node::log_in(url, &bob, "bob").await;
        Pair { alice, bob, a, b }
    }

    async fn start(server: &Handle) -> Pair {
        let (alice, bob) = (Identity::generate(&mut OsRng), Identity::generate(&mut OsRng));
        Pair::log_in(&server.urls()[0], alice, bob).await
    }

    /// Binds both at the relay, each from a socket of its own.
    async fn bind(&self) -> [UdpSocket; 2] {
        let sockets = [udp().await, udp().await];
        for (node, socket) in [&self.a, &self.b].into_iter().zip(&sockets) {
            let bound = exchange(socket, node.relay, &bind(&node.credential(), 1)).await;
            assert!(matches!(Frame::parse(&bound), Ok(Frame::Bound(_))));
        }
        sockets
    }
}

#[tokio::test]
async fn envelopes_and_trust_requests_reach_the_other_node() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(options(folder.path())).await.unwrap();
    let Pair { alice, bob, mut a, mut b } = Pair::start(&server).await;
    a.say(deliver(bob.public_key(), b"now", false)).await;
    match b.next().await {
        Body::Delivered(delivered) => {
            assert_eq!((&delivered.sealed[..], delivered.delivery), (&b"now"[..], 0))
        }
        other => panic!("{other:?}"),
    }
    let target = Some(request_trust::Target::Hostname("bob".into()));
    let request = RequestTrust { request: 3, target, sender_statement: b"please".to_vec() };
    a.say(request).await;
    assert!(matches!(a.next().await, Body::Queued(queued) if queued.request == 3));
    match b.next().await {
        Body::TrustRequested(requested) => {
            assert_eq!(requested.sender_key, alice.public_key().as_bytes());
            assert_eq!(requested.sender_hostname, "alice");
            b.say(Acknowledge { delivery: requested.delivery }).await;
        }
        other => panic!("{other:?}"),
    }
    let emptied = async { while ask(folder.path(), "/v1/status").await["data"]["mailbox"] != 0 {} };
    patient(emptied).await;
    server.stop().await;
}

#[tokio::test]
async fn both_udp_ports_tell_a_node_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(options(folder.path())).await.unwrap();
    let Pair { a, .. } = Pair::start(&server).await;
    let port = server.urls()[0].port;
    let ports: Vec<_> = a.stun.iter().map(SocketAddr::port).collect();
    assert_eq!(ports, [port + 1, port + 2]);
    let socket = udp().await;
    for at in &a.stun {
        let response = exchange(&socket, *at, &stun::request([5; 12])).await;
        let seen = stun::parse_response(&response);
        assert_eq!(seen, Ok(([5; 12], socket.local_addr().unwrap())));
    }
    server.stop().await;
}

#[tokio::test]
async fn the_relay_carries_both_ways_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(options(folder.path())).await.unwrap();
    let pair = Pair::start(&server).await;
    let sockets = pair.bind().await;
    let credentials = [pair.a.credential(), pair.b.credential()];
    for (from, to) in [(0, 1), (1, 0)] {
        let (sender, receiver) = (&credentials[from], &credentials[to]);
        let frame = [&send_header(sender.session, receiver.allocation)[..], b"sealed"].concat();
        sockets[from].send_to(&frame, pair.a.relay).await.unwrap();
        let expected =
            Frame::Deliver { source: sender.allocation, destination: receiver.allocation, payload: b"sealed" };
        assert_eq!(Frame::parse(&receive(&sockets[to]).await), Ok(expected));
    }
    let stray = send_header(1, Allocation(1));
    sockets[0].send_to(&stray, pair.a.relay).await.unwrap();
    let counted = async {
        loop {
            let status = ask(folder.path(), "/v1/status").await;
            if status["data"]["relay"]["dropped"]["relay_unknown_session"] == 1 {
                break status;
            }
        }
    };
    let status = patient(counted).await;
    let (data, relay) = (&status["data"], &status["data"]["relay"]);
    assert_eq!(status["status"], "ok");
    assert_eq!((&data["sessions"], &data["hostnames"]), (&2.into(), &2.into()));
    assert_eq!((&relay["bound"], &relay["datagrams"], &relay["bytes"]), (&2.into(), &2.into(), &52.into()));
    assert!(data["uptime_secs"].is_u64() && data["version"].is_string());
    server.stop().await;
}

#[tokio::test]
async fn runs_pass_the_relay_in_order_with_their_congestion_bits() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(options(folder.path())).await.unwrap();
    let pair = Pair::start(&server).await;
    let (a, b) = (pair.a.credential(), pair.b.credential());
    let sockets = [(); 2].map(|()| Sockets::bind(0, Arc::default()).unwrap());
    for (credential, sockets) in [&a, &b].into_iter().zip(&sockets) {
        sockets.send_to(MAIN, pair.a.relay, &bind(credential, 1));
        assert!(matches!(Frame::parse(&arrived(sockets, 1)[0].0), Ok(Frame::Bound(_))));
    }
    let payload = |number: u8, len| vec![number; len];
    let frame = |number: u8, len| [&send_header(a.session, b.allocation)[..], &payload(number, len)].concat();
    let mut bytes: Vec<u8> = (0..40).flat_map(|number| frame(number, 1_400)).collect();
    bytes.extend(frame(40, 300));
    for ecn in [Ecn::Congested, Ecn::Capable0, Ecn::NotCapable] {
        let run = Run { to: pair.a.relay, ecn, bytes: &bytes, size: 1_420 };
        assert_eq!(sockets[0].send_run(MAIN, &run), Sent::Out);
        for (number, (datagram, seen)) in arrived(&sockets[1], 41).iter().enumerate() {
            let payload = payload(number as u8, if number == 40 { 300 } else { 1_400 });
            let expected = Frame::Deliver { source: a.allocation, destination: b.allocation, payload: &payload };
            assert_eq!((Frame::parse(datagram), *seen), (Ok(expected), ecn));
        }
    }
    // Followed by a STUN request of the same size, which the kernel may join to it.
    let request = stun::request([5; 12]);
    let bytes = [&frame(1, request.len() - 20)[..], &request].concat();
    sockets[0].send_run(MAIN, &Run { to: pair.a.relay, ecn: Ecn::NotCapable, bytes: &bytes, size: request.len() });
    assert!(matches!(Frame::parse(&arrived(&sockets[1], 1)[0].0), Ok(Frame::Deliver { .. })));
    assert!(stun::parse_response(&arrived(&sockets[0], 1)[0].0).is_ok());
    server.stop().await;
}

/// The next datagrams, with their congestion bits.
fn arrived(sockets: &Sockets, wanted: usize) -> Vec<(Vec<u8>, Ecn)> {
    let (mut receiver, mut all) = (Receiver::default(), Vec::new());
    while all.len() < wanted {
        let mut wait = [PollFd::new(sockets.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut wait, PollTimeout::from(30_000_u16)), Ok(1), "{} of {wanted} came", all.len());
        let waited = sockets.wait_each(0, |_, socket| {
            let _ = receiver.receive(socket);
            for received in receiver.received() {
                all.extend(received.bytes.chunks(received.size).map(|datagram| (datagram.to_vec(), received.ecn)));
            }
        });
        assert!(waited.unwrap());
    }
    all
}

#[tokio::test]
async fn a_restart_keeps_urls_mailboxes_and_allocations() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(options(folder.path())).await.unwrap();
    let url = server.urls()[0].clone();
    let Pair { alice, bob, mut a, b } = Pair::start(&server).await;
    let allocations = (a.welcome.relay_allocation, b.welcome.relay_allocation);
    drop(b);
    a.say(deliver(bob.public_key(), b"later", true)).await;
    // Its answer shows that the envelope before it was taken in.
    a.say(SetHostname { request: 4, hostname: Some("alice".into()) }).await;
    assert!(matches!(a.next().await, Body::HostnameSet(_)));
    drop(a);
    server.stop().await;
    assert!(!folder.path().join("status.sock").exists());

    let mut again = options(folder.path());
    again.listen = vec![SocketAddr::from(([127, 0, 0, 1], url.port))];
    let server = start(again).await.unwrap();
    assert_eq!(server.urls(), std::slice::from_ref(&url));
    let Pair { a, mut b, .. } = Pair::log_in(&url, alice, bob).await;
    assert_eq!((a.welcome.relay_allocation, b.welcome.relay_allocation), allocations);
    assert!(matches!(b.next().await, Body::Delivered(delivered) if delivered.sealed == b"later"));
    server.stop().await;
}

#[tokio::test]
async fn one_state_one_server_and_a_stopped_one_leaves_the_way_free() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(options(folder.path())).await.unwrap();
    let text = start(options(folder.path())).await.err().unwrap().to_string();
    assert!(text.contains("another rendezvous server (pid "), "{text}");
    first.stop().await;
    std::fs::write(folder.path().join("status.sock"), "left behind").unwrap();
    let second = start(options(folder.path())).await.unwrap();
    assert_eq!(ask(folder.path(), "/v1/status").await["status"], "ok");
    let error = ask(folder.path(), "/v1/peers").await;
    assert_eq!((&error["status"], &error["code"]), (&"error".into(), &"not_found".into()));
    second.stop().await;
}

#[tokio::test]
async fn the_urls_are_known_before_the_first_start() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut options = options(&state);
    options.listen = vec!["127.0.0.1:9443".parse().unwrap()];
    options.advertise = vec!["example.org".parse().unwrap(), "[2001:db8::1]:9000".parse().unwrap()];
    let urls = print_urls(&options).unwrap();
    let texts: Vec<String> = urls.iter().map(|url| url.to_string()).collect();
    let key = urls[0].key;
    assert_eq!(texts, [format!("pilot://{key}@example.org:9443"), format!("pilot://{key}@[2001:db8::1]:9000")]);
    assert_eq!(print_urls(&options).unwrap(), urls);
    let mode = |name: &str| std::fs::metadata(state.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("rendezvous.pem"), 0o600);

    options.listen = vec!["127.0.0.1:0".parse().unwrap()];
    let server = start(options.clone()).await.unwrap();
    assert_eq!(server.urls()[1], urls[1]);
    assert_eq!(print_urls(&options).unwrap()[1], urls[1]);
    assert_eq!((mode("rendezvous.db"), mode("status.sock"), mode("")), (0o600, 0o600, 0o700));
    server.stop().await;
}

#[tokio::test]
async fn by_default_one_url_stands_for_both_families() {
    let folder = tempfile::tempdir().unwrap();
    let listen = sockets::listen_or_default(&[]);
    let texts: Vec<String> = listen.iter().map(SocketAddr::to_string).collect();
    assert_eq!(texts, ["0.0.0.0:9000", "[::]:9000"]);
    let url = print_urls(&Options::new(folder.path().to_owned())).unwrap();
    assert_eq!((url.len(), url[0].port), (1, 9000));
}

#[tokio::test]
async fn both_families_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let listen = ["127.0.0.1:0", "[::1]:0"].map(|at| at.parse().unwrap()).to_vec();
    let server = start(Options { listen, ..options(folder.path()) }).await.unwrap();
    for url in server.urls() {
        let node = Node::log_in(url, &Identity::generate(&mut OsRng), "alice").await;
        let socket = UdpSocket::bind((node.stun[0].ip(), 0)).await.unwrap();
        let response = exchange(&socket, node.stun[0], &stun::request([5; 12])).await;
        assert_eq!(stun::parse_response(&response), Ok(([5; 12], socket.local_addr().unwrap())));
    }
    assert_eq!(server.urls().len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn a_key_file_that_holds_no_key_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rendezvous.pem");
    std::fs::write(&path, "not a key").unwrap();
    let text = start(options(folder.path())).await.err().unwrap().to_string();
    assert!(text.contains("rendezvous.pem holds no rendezvous key"), "{text}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "not a key");
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let mut options = options(folder.path());
    options.listen = vec![address];
    let text = start(options.clone()).await.err().unwrap().to_string();
    assert!(text.contains(&format!("cannot listen on TCP {address}")), "{text}");
    options.listen = vec!["127.0.0.1:65534".parse().unwrap()];
    let text = start(options).await.err().unwrap().to_string();
    assert!(text.contains("choose a port up to 65533"), "{text}");
}

#[tokio::test]
async fn a_node_without_udp_uses_the_relay_through_a_stream() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(options(folder.path())).await.unwrap();
    let pair = Pair::start(&server).await;
    let url = &server.urls()[0];
    let [_, socket] = pair.bind().await;
    let (a, b) = (pair.a.credential(), pair.b.credential());
    let mut stream = Stream::open(url, &pair.alice).await;
    stream.send(&bind(&a, 2)).await;
    assert!(matches!(Frame::parse(&stream.receive().await), Ok(Frame::Bound(_))));

    stream.send(&[&send_header(a.session, b.allocation)[..], b"there"].concat()).await;
    let expected = Frame::Deliver { source: a.allocation, destination: b.allocation, payload: b"there" };
    assert_eq!(Frame::parse(&receive(&socket).await), Ok(expected));
    let back = [&send_header(b.session, a.allocation)[..], b"back"].concat();
    socket.send_to(&back, pair.b.relay).await.unwrap();
    let expected = Frame::Deliver { source: b.allocation, destination: a.allocation, payload: b"back" };
    assert_eq!(Frame::parse(&stream.receive().await), Ok(expected));
    assert_eq!(ask(folder.path(), "/v1/status").await["data"]["relay"]["streams"], 1);

    let thief = Stream::open(url, &pair.bob).await;
    thief.send(&bind(&a, 3)).await;
    let refused =
        async { while ask(folder.path(), "/v1/status").await["data"]["relay"]["dropped"]["relay_wrong_key"] != 1 {} };
    patient(refused).await;
    server.stop().await;
}
