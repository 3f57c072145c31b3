//! Against a real nats-server (Debian: `apt-get install nats-server`).

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::header::HeaderMap;
use async_nats::jetstream;
use futures_util::StreamExt;
use prost::Message as _;
use tokio::time::timeout;

use super::*;
use crate::identity::NodeId;
use crate::services::api;
use crate::services::events::batch::elements;
use crate::services::events::event::{EventView, NewEvent};
use crate::services::events::sequence::Volatile;
use crate::services::events::subscriber::{Origin, Scope};
use crate::services::events::subscription::{Subscription, Wish};
use crate::services::events::topic::Pattern;
use crate::services::events::wishes::Wanted;

/// Longer than anything here takes on a machine that is not stuck.
const SOON: Duration = Duration::from_secs(30);

/// A nats-server on the loopback, killed on drop.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// On a free port, or on one that was free before.
    async fn start(dir: &Path, port: Option<u16>, more: &[&str]) -> Server {
        let ports = tempfile::tempdir_in(dir).unwrap();
        let wanted = port.map_or_else(|| "-1".to_owned(), |port| port.to_string());
        let mut command = Command::new("nats-server");
        command.args(["-a", "127.0.0.1", "-p", &wanted, "--ports_file_dir"]).arg(ports.path()).args(more);
        command.arg("-sd").arg(dir).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("nats-server cannot be run: install it, `apt-get install nats-server`");
        let file = ports.path().join(format!("nats-server_{}.ports", process.id()));
        let listening = async {
            loop {
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                if let Ok(said) = serde_json::from_str::<serde_json::Value>(&text) {
                    let url = said["nats"][0].as_str().unwrap().to_owned();
                    return url.rsplit(':').next().unwrap().parse().unwrap();
                }
                tokio::task::yield_now().await;
            }
        };
        let port = timeout(SOON, listening).await.expect("nats-server listens");
        Server { process, port }
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    async fn client(&self) -> async_nats::Client {
        async_nats::connect(self.url()).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn me() -> NodeId {
    "a1b2.c3d4.e5f6".parse().unwrap()
}

fn bus() -> Arc<Bus> {
    Bus::new(crate::services::events::Settings::default(), me(), 1, Arc::new(Volatile))
}

fn settings(url: String) -> Settings {
    let export = vec![Export { pattern: "metrics.*".into(), subject_prefix: "pilot.".into(), peers: false }];
    let import = vec![Import { subject: "alerts.>".into(), topic_prefix: "nats.".into() }];
    Settings {
        url,
        credentials: None,
        user: None,
        password: None,
        token: None,
        export,
        import,
        jetstream: None,
        queue: 1000,
    }
}

fn publish(bus: &Arc<Bus>, event: &NewEvent<'_>) {
    let mut element = bytes::BytesMut::new();
    event.put(&mut element);
    let (_, body) = elements(&element).next().unwrap();
    bus.publish(Origin::Local, &[EventView::parse(body).unwrap().offer()], 7).unwrap();
}

fn number(bus: &Arc<Bus>, topic: &str, number: usize) {
    publish(bus, &NewEvent { topic, data: number.to_string().as_bytes(), ..NewEvent::default() });
}

fn subscribe(bus: &Arc<Bus>, pattern: &str) -> Subscription {
    let wanted = Wanted { group: None, pattern: Pattern::parse(pattern).unwrap() };
    bus.subscribe(Wish::new(vec![wanted], Scope::All)).unwrap()
}

/// The next events of a subscription, at least one.
async fn taken(subscription: &Subscription) -> Vec<api::Event> {
    let segments = timeout(SOON, subscription.take(1 << 20)).await.expect("an event comes").unwrap();
    let batches = segments.iter().map(|segment| api::EventBatch::decode(&segment.bytes[..]).unwrap());
    batches.flat_map(|batch| batch.events).collect()
}

async fn next(subscriber: &mut async_nats::Subscriber) -> async_nats::Message {
    timeout(SOON, subscriber.next()).await.expect("a message comes").unwrap()
}

/// A subscriber that the server knows of.
async fn listening(client: &async_nats::Client, subject: &str) -> async_nats::Subscriber {
    let subscriber = client.subscribe(subject.to_owned()).await.unwrap();
    // Comes back after everything before it was handled.
    let inbox = client.new_inbox();
    let mut echo = client.subscribe(inbox.clone()).await.unwrap();
    client.publish(inbox, "".into()).await.unwrap();
    next(&mut echo).await;
    subscriber
}

/// Publishes on `subject` until an event has come through to the bus.
async fn until_imported(client: &async_nats::Client, subject: &str, subscription: &Subscription) -> Vec<api::Event> {
    let coming = async {
        loop {
            client.publish(subject.to_owned(), "\"hello\"".into()).await.unwrap();
            client.flush().await.unwrap();
            if let Ok(events) = timeout(Duration::from_millis(50), taken(subscription)).await {
                return events;
            }
        }
    };
    timeout(SOON, coming).await.expect("the subject is imported")
}

#[tokio::test]
async fn an_event_goes_out_with_all_that_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), None, &[]).await;
    let mut messages = listening(&server.client().await, "pilot.>").await;
    let bus = bus();
    let bridge = Bridge::start(&settings(server.url()), bus.clone()).await.unwrap();
    let headers = [("trace".to_owned(), "ü 1".to_owned())];
    let binary = [0u8, 255, 10, 13];
    publish(&bus, &NewEvent { topic: "other", data: b"{}", ..NewEvent::default() });
    publish(
        &bus,
        &NewEvent {
            topic: "metrics.50%.cpu",
            data: &binary,
            content_type: "image/png",
            headers: &headers,
            reply_to: "",
        },
    );
    publish(&bus, &NewEvent { topic: "metrics.cpu", data: b"{\"percent\": 73.2}", ..NewEvent::default() });
    let first = next(&mut messages).await;
    assert_eq!((first.subject.as_str(), &first.payload[..]), ("pilot.metrics.50%25.cpu", &binary[..]));
    let said = |message: &async_nats::Message, name: &str| {
        message.headers.as_ref().unwrap().get(name).map(|value| value.as_str().to_owned()).unwrap_or_default()
    };
    assert_eq!((said(&first, "Content-Type"), said(&first, "trace")), ("image/png".into(), "ü 1".into()));
    assert_eq!((said(&first, "Pilot-Source"), said(&first, "Pilot-Seq")), ("a1b2.c3d4.e5f6".into(), "2".into()));
    let second = next(&mut messages).await;
    assert_eq!((second.subject.as_str(), &second.payload[..]), ("pilot.metrics.cpu", &b"{\"percent\": 73.2}"[..]));
    assert_eq!(said(&second, "Content-Type"), "application/json");
    assert_eq!(bridge.counts().dropped, 0);
}

#[tokio::test]
async fn a_message_comes_in_with_all_that_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), None, &[]).await;
    let client = server.client().await;
    let bus = bus();
    let events = subscribe(&bus, "nats.*");
    let _bridge = Bridge::start(&settings(server.url()), bus.clone()).await.unwrap();
    let hello = until_imported(&client, "alerts.hello", &events).await.remove(0);
    assert_eq!(
        (hello.topic.as_str(), &hello.data[..], hello.content_type.as_str()),
        ("nats.alerts.hello", &b"\"hello\""[..], "")
    );
    assert_eq!(hello.source, "a1b2.c3d4.e5f6");
    let mut headers = HeaderMap::new();
    headers.insert("trace", "7");
    headers.insert("content-type", "image/png");
    client.publish_with_headers("alerts.x*y.z", headers, vec![0, 255].into()).await.unwrap();
    client.publish("alerts.text", "no json".into()).await.unwrap();
    client.publish("alerts.binary", vec![255, 254].into()).await.unwrap();
    let mut came = Vec::new();
    while came.len() < 3 {
        came.extend(taken(&events).await.into_iter().filter(|event| event.topic != "nats.alerts.hello"));
    }
    assert_eq!((came[0].topic.as_str(), &came[0].data[..]), ("nats.alerts.x%2Ay.z", &[0, 255][..]));
    assert_eq!(came[0].content_type, "image/png");
    let headers: Vec<_> = came[0].headers.iter().map(|one| (one.name.as_str(), one.value.as_str())).collect();
    assert_eq!(headers, [("Nats-Subject", "alerts.x*y.z"), ("trace", "7")]);
    assert_eq!([&came[1].content_type, &came[2].content_type], ["text/plain", "application/octet-stream"]);
}

#[tokio::test]
async fn nothing_goes_round_in_circles() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), None, &[]).await;
    let client = server.client().await;
    let mut messages = listening(&client, ">").await;
    let bus = bus();
    let events = subscribe(&bus, "*");
    let everything = Settings {
        export: vec![Export { pattern: "*".into(), subject_prefix: String::new(), peers: true }],
        import: vec![Import { subject: ">".into(), topic_prefix: String::new() }],
        ..settings(server.url())
    };
    let bridge = Bridge::start(&everything, bus.clone()).await.unwrap();
    let imported = until_imported(&client, "a", &events).await.len();
    number(&bus, "b", 1);
    let mut headers = HeaderMap::new();
    // What another bridge of this node's events would send.
    headers.insert("Pilot-Source", "a1b2.c3d4.e5f6");
    client.publish_with_headers("mine", headers, "1".into()).await.unwrap();
    client.publish("end", "1".into()).await.unwrap();
    let mut topics = Vec::new();
    while topics.last().is_none_or(|last| last != "end") {
        topics.extend(taken(&events).await.into_iter().map(|event| event.topic));
    }
    topics.retain(|topic| topic != "a");
    assert_eq!(topics, ["b", "end"]);
    let mut subjects = Vec::new();
    while !(subjects.contains(&"b".to_owned()) && subjects.contains(&"end".to_owned())) {
        subjects.push(next(&mut messages).await.subject.to_string());
    }
    number(&bus, "last", 1);
    while subjects.last().is_none_or(|last| last != "last") {
        subjects.push(next(&mut messages).await.subject.to_string());
    }
    subjects.retain(|subject| !subject.starts_with("_INBOX") && subject != "a");
    subjects.sort();
    assert_eq!(subjects, ["b", "end", "last", "mine"], "each once");
    assert!(imported >= 1 && bridge.counts().exported == 2, "{:?}", bridge.counts());
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for_and_the_newest_events_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let port = {
        let server = Server::start(dir.path(), None, &[]).await;
        server.port
    };
    let bus = bus();
    let few = Settings { queue: 10, ..settings(format!("nats://127.0.0.1:{port}")) };
    let bridge = Bridge::start(&few, bus.clone()).await.unwrap();
    (0..100).for_each(|n| number(&bus, "metrics.n", n));
    let server = Server::start(dir.path(), Some(port), &[]).await;
    let sent = async {
        while bridge.counts().exported < 10 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, sent).await.expect("what waited is sent");
    assert_eq!((bridge.counts().exported, bridge.counts().dropped), (10, 90));
    let mut messages = listening(&server.client().await, "pilot.>").await;
    number(&bus, "metrics.n", 100);
    assert_eq!(&next(&mut messages).await.payload[..], b"100");
}

#[tokio::test]
async fn a_server_that_restarts_is_found_again_in_both_directions() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), None, &[]).await;
    let (port, bus) = (server.port, bus());
    let events = subscribe(&bus, "nats.*");
    let _bridge = Bridge::start(&settings(server.url()), bus.clone()).await.unwrap();
    until_imported(&server.client().await, "alerts.before", &events).await;
    drop(server);
    let server = Server::start(dir.path(), Some(port), &[]).await;
    let client = server.client().await;
    let mut messages = listening(&client, "pilot.>").await;
    let again = async {
        loop {
            let came = until_imported(&client, "alerts.after", &events).await;
            if came.iter().any(|event| event.topic == "nats.alerts.after") {
                return;
            }
        }
    };
    timeout(SOON, again).await.expect("it is imported again");
    number(&bus, "metrics.n", 1);
    assert_eq!(&next(&mut messages).await.payload[..], b"1");
}

#[tokio::test]
async fn jetstream_keeps_what_goes_out_and_what_came_while_we_were_away() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), None, &["-js"]).await;
    let context = jetstream::new(server.client().await);
    let alerts =
        jetstream::stream::Config { name: "ALERTS".into(), subjects: vec!["alerts.>".into()], ..Default::default() };
    let mut alerts = context.create_stream(alerts).await.unwrap();
    let durable = Settings { jetstream: Some(JetStream { stream: "PILOT".into() }), ..settings(server.url()) };
    let bus = bus();
    let events = subscribe(&bus, "nats.*");
    let bridge = Bridge::start(&durable, bus.clone()).await.unwrap();
    (0..500).for_each(|n| number(&bus, "metrics.n", n));
    let done = async {
        while bridge.counts().exported < 500 || alerts.info().await.unwrap().state.consumer_count < 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, done).await.expect("all is acknowledged");
    let mut stream = context.get_stream("PILOT").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 500);
    context.publish("alerts.one", "1".into()).await.unwrap().await.unwrap();
    assert_eq!(taken(&events).await[0].topic, "nats.alerts.one");
    let name = alerts.consumer_names().next().await.unwrap().unwrap();
    let mut consumer: jetstream::consumer::PullConsumer = alerts.get_consumer(&name).await.unwrap();
    let acknowledged = async {
        while consumer.info().await.unwrap().num_ack_pending > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, acknowledged).await.expect("what came is acknowledged");
    drop(bridge);
    let gone = async {
        while consumer.info().await.unwrap().num_waiting > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, gone).await.expect("nobody asks for more");
    context.publish("alerts.two", "2".into()).await.unwrap().await.unwrap();
    let _bridge = Bridge::start(&durable, bus.clone()).await.unwrap();
    let came = taken(&events).await;
    assert_eq!(came.iter().map(|event| event.topic.as_str()).collect::<Vec<_>>(), ["nats.alerts.two"]);
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), None, &["--user", "pilot", "--pass", "secret"]).await;
    let client =
        async_nats::ConnectOptions::with_user_and_password("pilot".into(), "secret".into()).connect(server.url());
    let mut messages = listening(&client.await.unwrap(), "pilot.>").await;
    let bus = bus();
    let known = Settings { user: Some("pilot".into()), password: Some("secret".into()), ..settings(server.url()) };
    let _bridge = Bridge::start(&known, bus.clone()).await.unwrap();
    number(&bus, "metrics.n", 1);
    assert_eq!(&next(&mut messages).await.payload[..], b"1");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let base = settings("nats://127.0.0.1:1".into());
    let bad_pattern = Export { pattern: "a..b".into(), subject_prefix: String::new(), peers: false };
    for settings in [
        Settings { url: "http://x".into(), ..base.clone() },
        Settings { credentials: Some("/no/such.creds".into()), ..base.clone() },
        Settings { user: Some("a".into()), token: Some("b".into()), ..base.clone() },
        Settings { export: vec![bad_pattern], ..base.clone() },
    ] {
        let error = Bridge::start(&settings, bus()).await.err().unwrap();
        assert_eq!(error.http_status(), 400, "{error}");
    }
    assert!(toml::from_str::<Settings>("url = 'nats://a'\nexports = []").is_err(), "unknown keys are refused");
    let read: Settings = toml::from_str("url = 'nats://a'\n[[export]]\npattern = '*'").unwrap();
    assert_eq!((read.queue, read.export[0].subject_prefix.as_str()), (65_536, ""));
}
