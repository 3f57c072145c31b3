//! Whole nodes and their callers, in every dialect.

use bytes::{Bytes, BytesMut};
use prost::Message;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::{Channel, Endpoint};

use super::world::{Talk, World, roster, soon, until};
use crate::services::api;
use crate::services::api::events_client::EventsClient;
use crate::services::events::event::NewEvent;
use crate::services::events::frame::{put_frame, take_frame};
use crate::services::events::subscriber::Scope;
use crate::services::events::subscription::Wish;
use crate::services::events::topic::Pattern;
use crate::services::events::wishes::Wanted;

mod across;

const SUBSCRIBE_ALL: &str = r#"{"subscribe":"*"}"#;

async fn frames(mut stream: TcpStream) -> TcpStream {
    let ask = "GET /v1/events/link HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: pilot-events\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let head = head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn grpc(world: &World, from: u8, to: u8) -> EventsClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", world.port(from, to))).unwrap();
    EventsClient::new(endpoint.connect().await.unwrap())
}

async fn send(stream: &mut TcpStream, request: &api::LinkRequest) {
    let mut out = BytesMut::new();
    put_frame(&mut out, &request.encode_to_vec());
    stream.write_all(&out).await.unwrap();
}

async fn receive(stream: &mut TcpStream, buffer: &mut BytesMut) -> api::EventBatch {
    loop {
        if let Some(frame) = take_frame(buffer).unwrap() {
            return api::EventBatch::decode(frame).unwrap();
        }
        assert!(soon(stream.read_buf(buffer)).await.unwrap() > 0, "the connection ended");
    }
}

fn event(topic: &str, data: &str) -> api::Event {
    api::Event { topic: topic.into(), data: Bytes::copy_from_slice(data.as_bytes()), ..Default::default() }
}

fn asks(pattern: &str) -> api::SubscribeRequest {
    api::SubscribeRequest { patterns: vec![pattern.into()], ..Default::default() }
}

#[tokio::test]
async fn one_event_reaches_every_dialect_to_the_letter() {
    let world = World::new();
    let node = world.start(1, &[2]).await;
    let mut lines = node.lines().await;
    lines.say_and_flush(SUBSCRIBE_ALL).await;
    let mut ndjson = node.client().lines("/v1/events?pattern=metrics.*").await.unwrap();
    let mut sse = world.connect(2, 1).await;
    sse.write_all(b"GET /v1/events?pattern=* HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n").await.unwrap();
    let mut grpc = grpc(&world, 2, 1).await;
    let mut stream = grpc.subscribe(asks("metrics.cpu")).await.unwrap().into_inner();
    let mut link = frames(world.connect(2, 1).await).await;
    send(&mut link, &api::LinkRequest { subscribe: Some(asks("*.cpu")), flush: 5, ..Default::default() }).await;
    let mut buffer = BytesMut::new();
    assert_eq!(receive(&mut link, &mut buffer).await.flushed, 5);
    node.until("subscribers", 5).await;

    let data = r#"{"host":"agent-a", "percent":73.20}"#;
    let body = format!(r#"{{"topic":"metrics.cpu","data":{data}}}"#);
    assert_eq!(node.client().post_raw("/v1/events", body).await.unwrap().get(), r#"{"count":1,"seq":1}"#);
    let expected = lines.line().await;
    assert!(expected.starts_with(r#"{"topic":"metrics.cpu","seq":1,"source":"0000.0000.0001","#), "{expected}");
    assert!(expected.ends_with(&format!("\"data\":{data}}}")), "{expected}");
    assert_eq!(ndjson.next().await.unwrap().unwrap(), expected);
    let batch = soon(stream.message()).await.unwrap().unwrap();
    assert_eq!((&batch.events[0].data[..], batch.events[0].seq), (data.as_bytes(), 1));
    assert_eq!(receive(&mut link, &mut buffer).await, batch);
    let mut text = String::new();
    while !text.contains("\n\nid") && !text.ends_with("}\n\n\r\n") {
        let mut some = [0; 4096];
        let read = soon(sse.read(&mut some)).await.unwrap();
        text.push_str(str::from_utf8(&some[..read]).unwrap());
    }
    assert!(text.contains(&format!("id: 1\ndata: {expected}\n\n")), "{text}");
}

#[tokio::test]
async fn every_dialect_publishes_and_refusals_end_nothing() {
    let world = World::new();
    let node = world.start(1, &[2]).await;
    let mut seen = node.lines().await;
    seen.say_and_flush(SUBSCRIBE_ALL).await;

    let mut lines = Talk::new(world.connect(2, 1).await);
    lines.say("{\"topic\":\"a..b\",\"data\":1}\n{\"topic\":\"lines\",\"data\":1}\n{\"what\":1}\n{\"flush\":1}\n").await;
    let mut codes = Vec::new();
    for _ in 0..3 {
        let said = lines.json().await;
        codes.push(said["code"].as_str().unwrap_or("flushed").to_owned());
    }
    codes.sort();
    assert_eq!(codes, ["flushed", "invalid_request", "invalid_topic"]);
    let first = seen.json().await;
    assert_eq!(
        (&first["topic"], &first["seq"], &first["source"]),
        (&json!("lines"), &json!(0), &json!("0000.0000.0002"))
    );

    let mut link = frames(world.connect(2, 1).await).await;
    let publish = vec![event("frames", "1"), event("b*d", "2"), event("frames", "3")];
    send(&mut link, &api::LinkRequest { publish, flush: 9, ..Default::default() }).await;
    let mut buffer = BytesMut::new();
    let (refused, flushed) = (receive(&mut link, &mut buffer).await, receive(&mut link, &mut buffer).await);
    assert_eq!((refused.refused.unwrap().code.as_str(), flushed.flushed), ("invalid_topic", 9));
    assert_eq!([seen.json().await["data"].clone(), seen.json().await["data"].clone()], [json!(1), json!(3)]);

    let mut grpc = grpc(&world, 2, 1).await;
    let request = api::PublishRequest { event: Some(event("grpc", "4")), node: String::new() };
    assert_eq!(grpc.publish(request).await.unwrap().into_inner(), api::Published { count: 1, ..Default::default() });
    let events = vec![event("grpc", "5"), event("b*d", ""), event("grpc", "6")];
    let batch = api::EventBatch { events, ..Default::default() };
    let published = grpc.publish_stream(tokio_stream::iter([batch.clone(), batch])).await.unwrap().into_inner();
    assert_eq!((published.count, published.refused), (4, 2));
    assert_eq!(published.refusals.iter().map(|one| &*one.code).collect::<Vec<_>>(), ["invalid_topic"; 2]);
    let batch = api::EventBatch { events: vec![event("b*d", ""); 20], ..Default::default() };
    let refused = grpc.publish_stream(tokio_stream::iter([batch])).await.unwrap_err();
    assert_eq!(refused.metadata().get("pilot-code").unwrap(), "invalid_topic");
    let refused = grpc.publish(api::PublishRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    for data in [4, 5, 6, 5, 6] {
        assert_eq!(seen.json().await["data"], json!(data));
    }

    let body = "{\"topic\":\"http\",\"data\":7}\nnot json\n{\"topic\":\"http\",\"data\":8}";
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut http = world.connect(2, 1).await;
    http.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    soon(http.read_to_string(&mut text)).await.unwrap();
    let answer: Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!((&answer["data"]["count"], &answer["data"]["refused_count"]), (&json!(2), &json!(1)), "{text}");
    assert_eq!(answer["data"]["refused"][0]["code"], "invalid_json");
    assert_eq!([seen.json().await["data"].clone(), seen.json().await["data"].clone()], [json!(7), json!(8)]);
}

#[tokio::test]
async fn null_is_data_in_every_dialect() {
    let world = World::new();
    let node = world.start(1, &[2]).await;
    let mut seen = node.lines().await;
    seen.say_and_flush(SUBSCRIBE_ALL).await;
    let null = json!({"topic": "http", "data": null});
    assert_eq!(node.client().post("/v1/events", &null).await.unwrap()["count"], 1);
    node.lines().await.say_and_flush(r#"{"topic":"lines","data":null}"#).await;
    let request = api::PublishRequest { event: Some(event("grpc", "null")), node: String::new() };
    grpc(&world, 2, 1).await.publish(request).await.unwrap();
    let client = node.client();
    let asking =
        tokio::spawn(
            async move { client.post("/v1/events/request", &json!({"topic": "question", "data": null})).await },
        );
    let mut reply_to = json!(null);
    for topic in ["http", "lines", "grpc", "question"] {
        let mut event = seen.json().await;
        assert_eq!((&event["topic"], event.get("data")), (&json!(topic), Some(&json!(null))));
        reply_to = event["reply_to"].take();
    }
    node.client().post("/v1/events", &json!({"topic": reply_to, "data": null})).await.unwrap();
    assert_eq!(soon(asking).await.unwrap().unwrap().get("data"), Some(&json!(null)));
}

#[tokio::test]
async fn a_blank_line_behind_an_event_keeps_nobody_waiting() {
    let world = World::new();
    let node = world.start(1, &[]).await;
    let (mut seen, mut lines) = (node.lines().await, node.lines().await);
    seen.say_and_flush(SUBSCRIBE_ALL).await;
    lines.say("{\"topic\":\"a\",\"data\":1}\n \n\n").await;
    assert_eq!(seen.json().await["data"], 1);
}

#[tokio::test]
async fn refusals_are_told_in_their_order_also_in_front_of_a_subscription() {
    let world = World::new();
    let node = world.start(1, &[]).await;
    let mut lines = node.lines().await;
    lines
        .say(concat!(
            "{\"topic\":\"a..1\",\"data\":1}\n{\"topic\":\"seen by nobody\"}\n{\"topic\":\"a..2\",\"data\":1}\n",
            "{\"subscribe\":\"*\"}\n{\"topic\":\"a..3\",\"data\":1}\n{\"topic\":\"a\",\"data\":1}\n{\"flush\":1}\n"
        ))
        .await;
    let mut said = Vec::new();
    for _ in 0..6 {
        let line = lines.json().await;
        said.extend(line.get("data").is_none().then(|| line.to_string()));
    }
    let expected = ["a..1", "no `data`", "a..2", "a..3", "flushed"];
    assert!(said.len() == 5 && said.iter().zip(expected).all(|(line, part)| line.contains(part)), "{said:#?}");
}

#[tokio::test]
async fn a_client_that_never_reads_loses_only_its_own_events() {
    let world = World::new();
    let node = world.start(1, &[2]).await;
    let mut deaf = frames(world.connect(2, 1).await).await;
    let ask = api::SubscribeRequest { queue: 10, ..asks("*") };
    send(&mut deaf, &api::LinkRequest { subscribe: Some(ask), ..Default::default() }).await;
    node.until("subscribers", 1).await;
    let mut grpc = grpc(&world, 2, 1).await;
    let mut stream = grpc.subscribe(asks("*")).await.unwrap().into_inner();
    let data = "x".repeat(100_000);
    for sent in 1..=200 {
        node.events.publish(&NewEvent { topic: "a", data: data.as_bytes(), ..NewEvent::default() }).unwrap();
        let batch = soon(stream.message()).await.unwrap().unwrap();
        assert_eq!((batch.events.len(), batch.events[0].seq), (1, sent));
    }
    until("the deaf client misses events", || node.counter("missed") > 0).await;
    let (mut buffer, mut seen) = (BytesMut::new(), 0);
    while seen < 200 {
        let batch = receive(&mut deaf, &mut buffer).await;
        seen += batch.missed.map_or(0, |missed| missed.count);
        if let Some(event) = batch.events.last() {
            seen += batch.events.len() as u64;
            assert_eq!(event.seq, seen);
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_options_is_said_in_every_dialect() {
    let world = World::new();
    let node = world.start(1, &[2]).await;
    let error = |path: &'static str| {
        let client = node.client();
        async move { client.get(path).await.unwrap_err().code }
    };
    assert_eq!(error("/v1/events?pattern=a..b").await, "invalid_topic");
    assert_eq!(error("/v1/events").await, "bad_argument");
    assert_eq!(error("/v1/events?pattern=*&colour=red").await, "bad_argument");
    assert_eq!(error("/v1/events/last").await, "bad_argument");
    let mut grpc = grpc(&world, 2, 1).await;
    let refused = grpc.subscribe(api::SubscribeRequest::default()).await.unwrap_err();
    assert_eq!(refused.metadata().get("pilot-code").unwrap(), "bad_argument");
    let refused = grpc.subscribe(api::SubscribeRequest { node: "x".into(), ..asks("*") }).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    let mut link = frames(world.connect(2, 1).await).await;
    send(&mut link, &api::LinkRequest { subscribe: Some(asks("b*d")), ..Default::default() }).await;
    let mut buffer = BytesMut::new();
    assert_eq!(receive(&mut link, &mut buffer).await.refused.unwrap().code, "invalid_topic");
}

#[tokio::test]
async fn the_last_events_are_told_and_a_count_ends_a_subscription() {
    let world = World::new();
    let node = world.start(1, &[2]).await;
    let mut talk = Talk::new(world.connect(1, 1).await);
    talk.say_and_flush("{\"topic\":\"a\",\"data\":1}\n{\"topic\":\"a\",\"data\":2}\n{\"topic\":\"b\",\"data\":3}")
        .await;
    let last = node.client().get("/v1/events/last?pattern=*").await.unwrap();
    let data: Vec<_> = last["events"].as_array().unwrap().iter().map(|event| event["data"].clone()).collect();
    assert_eq!(data, [json!(2), json!(3)]);
    let mut lines = node.client().lines("/v1/events?pattern=*&since=0&count=2").await.unwrap();
    let mut seen = Vec::new();
    while let Some(line) = soon(lines.next()).await.unwrap() {
        seen.push(serde_json::from_slice::<Value>(&line).unwrap()["seq"].clone());
    }
    assert_eq!(seen, [json!(1), json!(2)]);
    talk.say("{\"subscribe\":\"*\",\"since\":2,\"count\":1}\n").await;
    talk.done().await;
    assert_eq!(talk.json().await["seq"], 3);
    assert_eq!(talk.line().await, "");
}

#[tokio::test]
async fn server_sent_events_go_on_where_they_were() {
    let world = World::new();
    let node = world.start(1, &[2]).await;
    let publish = |data: &str| {
        node.events.publish(&NewEvent { topic: "a", data: data.as_bytes(), ..NewEvent::default() }).unwrap();
    };
    ["1", "2", "3"].into_iter().for_each(publish);
    let first_id = async |caller: u8, query: &str| {
        let mut sse = if caller == 1 { node.lines().await } else { Talk::new(world.connect(caller, 1).await) };
        let ask = format!("GET /v1/events?pattern=a{query} HTTP/1.1\r\nHost: a\r\n");
        sse.say(&format!("{ask}Accept: text/event-stream\r\nLast-Event-ID: 2\r\n\r\n")).await;
        if query.is_empty() && caller == 1 {
            node.until("subscribers", 1).await;
            publish("4");
        }
        for _ in 0..20 {
            let line = sse.line().await;
            if let Some(id) = line.strip_prefix("id: ") {
                return id.to_owned();
            }
        }
        panic!("there is no event");
    };
    assert_eq!(first_id(2, "").await, "3");
    assert_eq!(first_id(2, "&since=0").await, "3", "who comes back comes back with the first address");
    assert_eq!(first_id(1, "&node=0000.0000.0001").await, "3");
    node.until("subscribers", 0).await;
    assert_eq!(first_id(1, "").await, "4", "of several publishers a number says nothing");
}
