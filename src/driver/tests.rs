//! Programs and the event service of a real node, on a local socket.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::timeout;

use super::route::Route;
use super::{Draft, Event, Events, Options, Overflow, Subscription};
use crate::identity::{Identity, NodeId};
use crate::services::directory::{Directory, Member, Roster};
use crate::services::door::{Door, Limits};
use crate::services::events as service;

/// Long enough for a busy machine; nothing waits for it to pass.
const SOON: Duration = Duration::from_secs(20);

/// A node's event service in a runtime of its own, as it is in a process of its own.
struct Node {
    socket: PathBuf,
    /// Its port 1002, under another number.
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Node {
    async fn start(socket: &Path, first_seq: u64) -> Node {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
        let port = std::net::TcpListener::bind("[::1]:0").unwrap();
        let address = port.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        port.set_nonblocking(true).unwrap();
        runtime.spawn(serve(listener, port, first_seq));
        Node { socket: socket.to_owned(), address, runtime: Some(runtime) }
    }

    fn events(&self) -> Events {
        Events::new(Route::Local(self.socket.clone()))
    }

    /// Ends it, with every connection.
    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            std::fs::remove_file(&self.socket).unwrap();
            runtime.shutdown_background();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(socket: std::os::unix::net::UnixListener, port: std::net::TcpListener, first_seq: u64) {
    let key = Identity::generate(&mut rand_core::OsRng).public_key();
    let id = NodeId::derive(&key);
    let me = Member { id, key, hostname: None, address: Ipv6Addr::LOCALHOST, is_online: true };
    let (_roster, seen) = watch::channel(Arc::new(Roster::new(me, [])));
    let directory = Directory::new(seen);
    let settings = service::Settings::default();
    let dial = Arc::new(service::dial::Overlay { silence: settings.silence });
    let volatile = Arc::new(service::sequence::Volatile);
    let events = service::Events::new(settings, directory.clone(), dial, first_seq, volatile);
    let door = Door::new(events.router(), &["pilot.v1.Events"], events.lines(), Limits::default()).await;
    let port = TcpListener::from_std(port).unwrap();
    let overlay = door.clone().serve_overlay(vec![port], directory.clone());
    tokio::join!(overlay, door.serve_local(UnixListener::from_std(socket).unwrap(), directory));
}

async fn node() -> (tempfile::TempDir, Node) {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&folder.path().join("pilotd.sock"), 1).await;
    (folder, node)
}

async fn next(subscription: &mut Subscription) -> Event {
    timeout(SOON, subscription.next()).await.expect("an event comes").expect("the subscription goes on")
}

#[tokio::test]
async fn what_is_published_is_received_to_the_letter() {
    let (_folder, node) = node().await;
    let events = node.events();
    let mut all = events.subscribe("*").await.unwrap();
    events.publish("metrics.cpu", &json!({"percent": 73.2})).await.unwrap();
    events.send(Draft::json("metrics.raw", &b"{ \"z\":1.50,\"a\": 1 }"[..])).await.unwrap();
    events.send(Draft::text("log", "größer").header("level", "info").reply_to("answers")).await.unwrap();
    events.send(Draft::binary("blob", vec![0, 255, 10])).await.unwrap();

    let cpu = next(&mut all).await;
    assert_eq!(
        (cpu.topic(), &*cpu.text(), cpu.content_type()),
        ("metrics.cpu", r#"{"percent":73.2}"#, "application/json")
    );
    assert_eq!((cpu.seq(), cpu.missed(), cpu.reply_to()), (1, 0, None));
    assert_eq!(cpu.source().len(), "a1b2.c3d4.e5f6".len());
    assert!(cpu.time().elapsed().unwrap() < SOON);
    assert_eq!(&*next(&mut all).await.text(), "{ \"z\":1.50,\"a\": 1 }");
    let log = next(&mut all).await;
    assert_eq!((&*log.text(), log.content_type(), log.header("level")), ("größer", "text/plain", Some("info")));
    assert_eq!(log.reply_to(), Some("answers"));
    let blob = next(&mut all).await;
    assert_eq!((blob.content_type(), blob.seq()), ("application/octet-stream", 4));
    assert_eq!(blob.into_data(), &[0u8, 255, 10][..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_arrives_whole_and_in_order_through_a_full_buffer() {
    const COUNT: u64 = 60_000;
    let (_folder, node) = node().await;
    let mut numbers = node.events().subscribe("numbers").await.unwrap();
    let events = node.events();
    let publishing = tokio::spawn(async move {
        for n in 0..COUNT {
            events.publish("numbers", &n).await.unwrap();
        }
        events.flush().await.unwrap();
    });
    for n in 0..COUNT {
        let event = next(&mut numbers).await;
        assert_eq!((event.json::<u64>().unwrap(), event.missed()), (n, 0));
    }
    publishing.await.unwrap();
}

#[tokio::test]
async fn dropping_a_publisher_sends_what_it_was_given() {
    let (_folder, node) = node().await;
    let mut numbers = node.events().subscribe("numbers").await.unwrap();
    let events = node.events();
    for n in 0..1000 {
        events.publish("numbers", &n).await.unwrap();
    }
    drop(events);
    for n in 0..1000 {
        assert_eq!(next(&mut numbers).await.json::<u64>().unwrap(), n);
    }
}

#[tokio::test]
async fn a_refusal_is_told_once_and_the_link_goes_on() {
    let (_folder, node) = node().await;
    let events = node.events();
    let mut all = events.subscribe("*").await.unwrap();
    events.send(Draft::text("a", "x").header("no spaces", "y")).await.unwrap();
    assert_eq!(events.flush().await.unwrap_err().code, "bad_argument");
    events.publish("b", &1).await.unwrap();
    events.flush().await.unwrap();
    assert_eq!(next(&mut all).await.topic(), "b");
}

#[tokio::test]
async fn what_no_node_takes_is_refused_before_it_leaves() {
    let (_folder, node) = node().await;
    let events = node.events();
    for topic in ["", "a..b", "a.*", "a b"] {
        assert_eq!(events.publish(topic, &1).await.unwrap_err().code, "invalid_topic", "{topic:?}");
    }
    assert_eq!(events.subscribe("a.>.b").await.err().unwrap().code, "invalid_topic");
}

#[tokio::test]
async fn a_slow_subscriber_is_told_how_many_it_missed() {
    const COUNT: u64 = 40_000;
    let (_folder, node) = node().await;
    let events = node.events();
    let slow = Options::new("numbers").queue(100).overflow(Overflow::DropOldest);
    let mut slow = events.subscribe(slow).await.unwrap();
    let padding = "x".repeat(200);
    for n in 0..COUNT {
        events.publish("numbers", &json!({"n": n, "padding": padding})).await.unwrap();
    }
    events.flush().await.unwrap();
    let (mut received, mut missed) = (0, 0);
    while received + missed < COUNT {
        let event = next(&mut slow).await;
        missed += event.missed();
        assert_eq!(event.json::<serde_json::Value>().unwrap()["n"], received + missed, "in order, each gap told");
        received += 1;
    }
    assert!(missed > 0);
}

#[tokio::test]
async fn a_subscriber_that_wants_no_gap_is_disconnected_when_it_is_slow() {
    let (_folder, node) = node().await;
    let events = node.events();
    let strict = Options::new("numbers").queue(100).overflow(Overflow::Disconnect);
    let mut strict = events.subscribe(strict).await.unwrap();
    for n in 0..40_000 {
        events.publish("numbers", &json!({"n": n, "padding": "x".repeat(200)})).await.unwrap();
    }
    events.flush().await.unwrap();
    let mut expected = 0;
    while let Some(event) = timeout(SOON, strict.next()).await.expect("it ends") {
        assert_eq!(event.json::<serde_json::Value>().unwrap()["n"], expected);
        expected += 1;
    }
    assert!(expected < 40_000);
    assert!(strict.error().is_some(), "it says why");
}

#[tokio::test]
async fn the_overlay_port_serves_the_same() {
    let (_folder, node) = node().await;
    let events = Events::dial(node.address).await.unwrap();
    let mut here = node.events().subscribe("*").await.unwrap();
    let mut there = events.subscribe("*").await.unwrap();
    events.publish("a", &1).await.unwrap();
    events.flush().await.unwrap();
    node.events().publish("b", &2).await.unwrap();
    for (topic, text) in [("a", "1"), ("b", "2")] {
        for subscription in [&mut here, &mut there] {
            let event = next(subscription).await;
            assert_eq!((event.topic(), &*event.text()), (topic, text));
        }
    }
    let nobody = Events::dial("[::1]:1".parse().unwrap()).await.unwrap();
    assert_eq!(nobody.publish("a", &1).await.unwrap_err().code, "unreachable");
}

#[tokio::test]
async fn a_subscription_to_one_node_goes_on_where_it_was_cut() {
    let (_folder, node) = node().await;
    let relay = TcpListener::bind("[::1]:0").await.unwrap();
    let events = Events::dial(relay.local_addr().unwrap()).await.unwrap();
    let target = node.address;
    let (cut, mut cutting) = tokio::sync::mpsc::channel::<()>(1);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = relay.accept().await {
            let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                _ = cutting.recv() => {}
            }
        }
    });
    let mut numbers = events.subscribe("numbers").await.unwrap();
    let publisher = node.events();
    publisher.publish("numbers", &1).await.unwrap();
    assert_eq!(&*next(&mut numbers).await.text(), "1");
    cut.send(()).await.unwrap();
    for n in 2..=500 {
        publisher.publish("numbers", &n).await.unwrap();
    }
    for n in 2..=500 {
        assert_eq!(next(&mut numbers).await.json::<u64>().unwrap(), n);
    }
    assert_eq!(numbers.interruptions(), 1);
}

#[tokio::test]
async fn a_subscription_and_a_publisher_survive_a_restart() {
    let (_folder, mut node) = node().await;
    let (socket, events) = (node.socket.clone(), node.events());
    let mut numbers = events.subscribe("numbers").await.unwrap();
    events.publish("numbers", &1).await.unwrap();
    assert_eq!(&*next(&mut numbers).await.text(), "1");
    node.stop();
    let refused = timeout(SOON, async {
        // The link may be in the middle of noticing.
        loop {
            if let Err(error) = events.publish("numbers", &2).await {
                return error;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(refused.await.unwrap().code, "daemon_not_running");

    let _node = Node::start(&socket, 1000).await;
    let publishing = tokio::spawn(async move {
        loop {
            events.publish("numbers", &3).await.unwrap();
            events.flush().await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert_eq!(&*next(&mut numbers).await.text(), "3");
    assert_eq!(numbers.interruptions(), 1);
    publishing.abort();
}

#[tokio::test]
async fn a_question_is_answered() {
    let (_folder, node) = node().await;
    let events = node.events();
    let mut questions = events.subscribe("questions").await.unwrap();
    let answering = tokio::spawn(async move {
        let question = next(&mut questions).await;
        question.reply(&json!({"echo": question.json::<u64>().unwrap()})).await.unwrap();
    });
    let reply = events.request("questions", &7, SOON).await.unwrap();
    assert_eq!(&*reply.text(), r#"{"echo":7}"#);
    answering.await.unwrap();
    let nobody = events.request("nobody.listens", &7, Duration::from_millis(50)).await;
    assert_eq!(nobody.unwrap_err().code, "timeout");
}

#[tokio::test]
async fn without_a_daemon_the_error_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let events = Events::new(Route::Local(folder.path().join("none.sock")));
    assert_eq!(events.publish("a", &1).await.unwrap_err().code, "daemon_not_running");
    assert_eq!(events.subscribe("a").await.err().unwrap().code, "daemon_not_running");
    assert_eq!(super::Pilot::at(folder.path().join("none.sock")).await.unwrap_err().code, "daemon_not_running");
}
