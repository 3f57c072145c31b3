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
async fn an_event_of_a_peer_crosses_once_and_links_come_back_after_a_restart() {
    let world = World::new();
    let (alpha, beta) = (world.start(1, &[2]).await, world.start(2, &[1]).await);
    let (mut one, mut two) = (alpha.lines().await, alpha.lines().await);
    one.say_and_flush(r#"{"subscribe":"metrics.*"}"#).await;
    two.say_and_flush(r#"{"subscribe":["metrics.cpu","metrics.*"]}"#).await;
    beta.until("subscribers", 1).await;
    beta.events.publish(&NewEvent { topic: "metrics.cpu", data: b"1", ..NewEvent::default() }).unwrap();
    for talk in [&mut one, &mut two] {
        let event = talk.json().await;
        assert_eq!((&event["source"], &event["seq"]), (&json!("0000.0000.0002"), &json!(1)));
    }
    assert_eq!(alpha.counter("received"), 1);
    drop(beta);
    let beta = world.start_with(2, &[1], Default::default(), 100).await;
    beta.until("subscribers", 1).await;
    beta.events.publish(&NewEvent { topic: "metrics.mem", data: b"2", ..NewEvent::default() }).unwrap();
    assert_eq!(one.json().await["seq"], 100);
    drop((one, two));
    // Nobody is told of a client that left until something is written to it.
    beta.events.publish(&NewEvent { topic: "metrics.cpu", data: b"3", ..NewEvent::default() }).unwrap();
    alpha.until("links", 0).await;
    beta.until("subscribers", 0).await;
}

#[tokio::test]
async fn peers_of_the_future_are_followed_and_those_of_the_past_are_not() {
    let world = World::new();
    let (alpha, beta) = (world.start(1, &[]).await, world.start(2, &[1]).await);
    let mut talk = alpha.lines().await;
    talk.say_and_flush(SUBSCRIBE_ALL).await;
    alpha.roster.send_replace(roster(1, &[2]));
    beta.until("subscribers", 1).await;
    beta.events.publish(&NewEvent { topic: "a", data: b"1", ..NewEvent::default() }).unwrap();
    assert_eq!(talk.json().await["data"], 1);
    alpha.roster.send_replace(roster(1, &[]));
    beta.until("subscribers", 0).await;
    assert_eq!(alpha.counter("links"), 0);
}

#[tokio::test]
async fn a_subscription_can_name_one_node_and_nobody_else_may() {
    let world = World::new();
    let (alpha, beta, gamma) = (world.start(1, &[2, 3]).await, world.start(2, &[1]).await, world.start(3, &[1]).await);
    let mut talk = alpha.lines().await;
    talk.say_and_flush(r#"{"subscribe":"*","node":"0000.0000.0002"}"#).await;
    beta.until("subscribers", 1).await;
    assert_eq!(gamma.counter("subscribers"), 0);
    gamma.events.publish(&NewEvent { topic: "a", data: b"3", ..NewEvent::default() }).unwrap();
    alpha.events.publish(&NewEvent { topic: "a", data: b"1", ..NewEvent::default() }).unwrap();
    beta.events.publish(&NewEvent { topic: "a", data: b"2", ..NewEvent::default() }).unwrap();
    assert_eq!(talk.json().await["data"], 2);
    let mut stranger = Talk::new(world.connect(2, 1).await);
    stranger.say("{\"subscribe\":\"*\",\"node\":\"0000.0000.0003\"}\n").await;
    assert_eq!(stranger.json().await["code"], "permission_denied");
}

#[tokio::test]
async fn what_is_handed_to_a_node_stays_there() {
    let world = World::new();
    let (alpha, beta) = (world.start(1, &[2]).await, world.start(2, &[1, 3]).await);
    let (mut here, mut further) = (beta.lines().await, Talk::new(world.connect(3, 2).await));
    here.say_and_flush(SUBSCRIBE_ALL).await;
    further.say_and_flush(SUBSCRIBE_ALL).await;
    let path = "/v1/events?node=0000.0000.0002";
    let taken = alpha.client().post(path, &json!({"topic":"a","data":1})).await.unwrap();
    assert_eq!(taken, json!({"seq":0,"count":1}));
    let event = here.json().await;
    assert_eq!((&event["source"], &event["seq"]), (&json!("0000.0000.0001"), &json!(0)));
    beta.events.publish(&NewEvent { topic: "a", data: b"2", ..NewEvent::default() }).unwrap();
    assert_eq!(further.json().await["data"], 2);
    let refused = alpha.client().post(path, &json!({"topic":"a b","data":1})).await.unwrap_err();
    assert_eq!(refused.code, "invalid_topic");
    let body = "{\"topic\":\"a\",\"data\":3}\n{\"topic\":\"b*d\",\"data\":4}\n{\"topic\":\"a\",\"data\":5}";
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\n");
    let mut http = alpha.lines().await;
    http.say(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
    while http.line().await != "\r" {}
    let answer = http.json().await;
    assert_eq!((&answer["data"]["count"], &answer["data"]["refused_count"]), (&json!(2), &json!(1)), "{answer}");
    for data in [2, 3, 5] {
        assert_eq!(here.json().await["data"], data);
    }
    let unknown = alpha.client().post("/v1/events?node=0000.0000.0009", &json!({"topic":"a","data":1})).await;
    assert_eq!(unknown.unwrap_err().code, "not_found");
}

#[tokio::test]
async fn more_than_a_frame_is_handed_over_in_several() {
    let world = World::new();
    let (alpha, beta) = (world.start(1, &[2]).await, world.start(2, &[1]).await);
    let mut elements = BytesMut::new();
    let data = "x".repeat(600_000);
    for _ in 0..3 {
        NewEvent { topic: "a", data: data.as_bytes(), ..NewEvent::default() }.put(&mut elements);
    }
    let peer = alpha.events.inner.directory.roster().peers.values().next().unwrap().clone();
    assert_eq!(alpha.events.hand(&peer, elements.freeze()).await.unwrap().count, 3);
    assert_eq!(beta.counter("handed_in"), 3);
}

#[tokio::test]
async fn a_question_is_answered_across_nodes() {
    let world = World::new();
    let (alpha, beta) = (world.start(1, &[2]).await, world.start(2, &[1]).await);
    let mut replier = beta.lines().await;
    replier.say_and_flush(r#"{"subscribe":"question"}"#).await;
    alpha.until("subscribers", 1).await;
    for path in ["/v1/events/request", "/v1/events/request?node=0000.0000.0002"] {
        let client = alpha.client();
        let asking = tokio::spawn(async move { client.post(path, &json!({"topic":"question","data":1})).await });
        let question = replier.json().await;
        let reply_to = question["reply_to"].as_str().unwrap();
        replier.say_and_flush(&json!({"topic": reply_to, "data": {"answer": 42}}).to_string()).await;
        let reply = soon(asking).await.unwrap().unwrap();
        assert_eq!((&reply["data"]["answer"], &reply["source"]), (&json!(42), &json!("0000.0000.0002")));
    }
    let nobody = json!({"topic":"nobody","data":1,"timeout_ms":10});
    assert_eq!(alpha.client().post("/v1/events/request", &nobody).await.unwrap_err().code, "timeout");
    let mut grpc = grpc(&world, 1, 2).await;
    let request = api::EventRequest { event: Some(event("question", "1")), ..Default::default() };
    let asking = tokio::spawn(async move { grpc.request(request).await });
    let reply_to = replier.json().await["reply_to"].as_str().unwrap().to_owned();
    replier.say_and_flush(&json!({"topic": reply_to, "data": 43}).to_string()).await;
    assert_eq!(&soon(asking).await.unwrap().unwrap().into_inner().data[..], b"43");
}

#[tokio::test]
async fn the_past_of_peers_is_asked_for_and_goes_on_where_it_was() {
    let world = World::new();
    let (alpha, beta) = (world.start(1, &[2]).await, world.start(2, &[1]).await);
    let publish = |node: &super::world::Node, data: &str| {
        node.events.publish(&NewEvent { topic: "a", data: data.as_bytes(), ..NewEvent::default() }).unwrap();
    };
    publish(&alpha, "1");
    publish(&beta, "2");
    publish(&beta, "3");
    let (mut all, mut of_beta, mut last) = (alpha.lines().await, alpha.lines().await, alpha.lines().await);
    all.say("{\"subscribe\":\"*\",\"since\":\"60s\"}\n").await;
    of_beta.say("{\"subscribe\":\"*\",\"since\":1,\"node\":\"0000.0000.0002\"}\n").await;
    last.say("{\"subscribe\":\"*\",\"last\":true,\"node\":\"0000.0000.0002\"}\n").await;
    let mut seen: Vec<Value> = Vec::new();
    for _ in 0..3 {
        seen.push(all.json().await["data"].clone());
    }
    seen.sort_by_key(Value::as_u64);
    assert_eq!(seen, [json!(1), json!(2), json!(3)]);
    assert_eq!((of_beta.json().await["data"].clone(), last.json().await["data"].clone()), (json!(3), json!(3)));
    publish(&beta, "4");
    for talk in [&mut all, &mut of_beta, &mut last] {
        assert_eq!(talk.json().await["data"], 4);
    }
    drop(beta);
    let beta = world.start_with(2, &[1], Default::default(), 1_000).await;
    publish(&beta, "5");
    for talk in [&mut all, &mut of_beta, &mut last] {
        assert_eq!(talk.json().await["data"], 5);
    }
}

#[tokio::test]
async fn one_of_a_group_on_several_nodes_gets_each_event() {
    let world = World::new();
    let (alpha, beta) = (world.start(1, &[2]).await, world.start(2, &[1]).await);
    let mut members = [alpha.lines().await, alpha.lines().await, beta.lines().await];
    for member in &mut members {
        member.say_and_flush(r#"{"subscribe":"work","group":"g"}"#).await;
    }
    beta.until("subscribers", 2).await;
    for number in 0..40 {
        let data = number.to_string();
        beta.events.publish(&NewEvent { topic: "work", data: data.as_bytes(), ..NewEvent::default() }).unwrap();
    }
    let mut seen = Vec::new();
    for (member, share) in members.iter_mut().zip([10, 10, 20]) {
        for _ in 0..share {
            seen.push(member.json().await["data"].as_u64().unwrap());
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..40).collect::<Vec<_>>());
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
async fn a_link_by_grpc_is_the_same_conversation() {
    let world = World::new();
    let _node = world.start(1, &[2]).await;
    let mut grpc = grpc(&world, 1, 1).await;
    let interest = api::Interest { wanted: vec![api::Wanted { pattern: "a.*".into(), group: String::new() }] };
    let publish = vec![event("a.b", "1"), event("c", "2")];
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    sender.send(api::LinkRequest { interest: Some(interest), ..Default::default() }).await.unwrap();
    sender.send(api::LinkRequest { publish, flush: 3, ..Default::default() }).await.unwrap();
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut batches = grpc.link(requests).await.unwrap().into_inner();
    let (mut events, mut flushed) = (Vec::new(), 0);
    while events.is_empty() || flushed == 0 {
        let batch = soon(batches.message()).await.unwrap().unwrap();
        flushed += batch.flushed;
        events.extend(batch.events);
    }
    assert_eq!((events.len(), events[0].topic.as_str(), flushed), (1, "a.b", 3));
    drop(sender);
    while soon(batches.message()).await.unwrap().is_some() {}
}

#[tokio::test]
async fn a_peer_speaks_for_itself_alone_and_says_what_it_lost() {
    let world = World::new();
    let liar = TcpListener::bind("[::1]:0").await.unwrap();
    world.pretend(1, 2, liar.local_addr().unwrap());
    let alpha = world.start(1, &[2]).await;
    let mut seen = alpha.lines().await;
    seen.say_and_flush(SUBSCRIBE_ALL).await;
    let (mut link, _) = soon(liar.accept()).await.unwrap();
    head(&mut link).await;
    link.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await.unwrap();
    let of = |source: &str, data: &str| api::Event {
        source: source.into(),
        seq: 7,
        time_unix_micros: 1,
        ..event("a", data)
    };
    let (forged, honest) = (of("0000.0000.0003", "1"), of("0000.0000.0002", "2"));
    let batches = [
        api::EventBatch { events: vec![forged, event("a", "nobody's"), honest], ..Default::default() },
        api::EventBatch { missed: Some(api::Missed { count: 5 }), ..Default::default() },
        api::EventBatch { events: vec![of("0000.0000.0002", "3")], ..Default::default() },
    ];
    let mut sent = BytesMut::new();
    batches.iter().for_each(|batch| put_frame(&mut sent, &batch.encode_to_vec()));
    link.write_all(&sent).await.unwrap();
    assert_eq!(seen.json().await["data"], 2);
    assert_eq!(seen.json().await, json!({"missed": 5}));
    assert_eq!(seen.json().await["data"], 3);
    assert_eq!((alpha.counter("foreign"), alpha.counter("received")), (2, 2));
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

#[tokio::test]
async fn more_patterns_than_a_peer_takes_are_asked_for_as_all() {
    let world = World::new();
    let (alpha, beta) = (world.start(1, &[2]).await, world.start(2, &[1]).await);
    let subscribe = |patterns: Vec<String>, group: Option<&str>| {
        let wanted = patterns.iter().map(|one| Pattern::parse(one).unwrap());
        let wanted = wanted.map(|pattern| Wanted { pattern, group: group.map(Into::into) }).collect();
        alpha.events.inner.bus.subscribe(Wish::new(wanted, Scope::All)).unwrap()
    };
    let many = |first: usize| (first..first + 1_000).map(|number| format!("t.{number}")).collect();
    let _others: Vec<_> = (0..10).map(|thousand| subscribe(many(1_000 * thousand), None)).collect();
    for (topic, group) in [("t.10999", None), ("work", Some("g")), ("_private.a", None)] {
        let patterns = if group.is_some() { vec![topic.to_owned()] } else { many(10_000) };
        let wanting = subscribe(patterns.into_iter().chain([topic.to_owned()]).take(1_024).collect(), group);
        until(&format!("an event on {topic} comes"), || {
            beta.events.publish(&NewEvent { topic, data: b"1", ..NewEvent::default() }).unwrap();
            !wanting.try_take(1).unwrap().is_empty()
        })
        .await;
    }
    assert_eq!((beta.counter("subscribers"), beta.counter("refused")), (1, 0));
}
