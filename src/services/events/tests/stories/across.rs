//! Events between nodes.

use super::*;

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
    let publish = |node: &super::super::world::Node, data: &str| {
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
