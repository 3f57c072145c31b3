use super::*;

#[tokio::test]
async fn a_stream_is_announced_taken_and_ends_in_each_direction_by_itself() {
    let node = start(Settings::default()).await;
    let mut lines = node.client.lines("/v1/streams/listen?port=1000").await.unwrap();
    let mut caller = node.call(1000).await;
    let announced = next(&mut lines).await;
    assert_eq!((&announced["node_id"], &announced["hostname"]), (&"0000.0000.0002".into(), &"beta".into()));
    assert_eq!((&announced["port"], &announced["ipv6"]), (&1000.into(), &"::1".into()));
    let path = format!("/v1/streams/take?stream={}", announced["stream"]);
    let mut taken = node.client.upgrade(&path, "pilot-stream").await.unwrap();
    let question: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let (sent, mut writer) = (question.clone(), caller);
    let sending = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
        writer
    });
    assert!(everything(&mut taken).await == question);
    caller = sending.await.unwrap();
    taken.write_all(b"\0answer").await.unwrap();
    taken.shutdown().await.unwrap();
    assert_eq!(everything(&mut caller).await, b"\0answer");
    let state = format!("/v1/streams/state?stream={}", announced["stream"]);
    assert_eq!(node.client.get(&state).await.unwrap()["broken"], false);
    let again = node.client.upgrade(&path, "pilot-stream").await.err().unwrap();
    assert_eq!(again.code, "not_found");
}

#[tokio::test]
async fn a_port_is_open_while_somebody_listens_and_can_be_opened_again_at_once() {
    let node = start(Settings::default()).await;
    let lines = node.client.lines("/v1/streams/listen?port=1000").await.unwrap();
    drop(node.call(1000).await);
    drop(lines);
    node.closed(1000).await;
    for _ in 0..20 {
        let listening = node.streams.listen(1000).unwrap();
        drop(node.call(1000).await);
        drop(listening);
        node.closed(1000).await;
    }
}

#[tokio::test]
async fn listeners_take_turns_and_what_one_leaves_goes_to_the_next() {
    let node = start(Settings::default()).await;
    let mut first = node.streams.listen(1000).unwrap();
    let mut second = node.streams.listen(1000).unwrap();
    let _callers = (node.call(1000).await, node.call(1000).await);
    let left = timeout(SOON, first.next()).await.unwrap().unwrap();
    let kept = timeout(SOON, second.next()).await.unwrap().unwrap();
    assert_ne!(left.stream, kept.stream);
    drop(first);
    assert_eq!(timeout(SOON, second.next()).await.unwrap().unwrap(), left);
    assert!(node.streams.take(left.stream).is_ok());
    drop(second);
    assert!(node.streams.take(kept.stream).is_err(), "it broke when nobody was left");
}

#[tokio::test]
async fn what_nobody_takes_breaks_and_does_not_end() {
    let node = start(Settings::default()).await;
    let mut listening = node.streams.listen(1000).unwrap();
    let mut caller = node.call(1000).await;
    assert!(timeout(SOON, listening.next()).await.unwrap().is_some());
    drop(listening);
    assert_broken(&mut caller).await;
}

#[tokio::test]
async fn a_program_connects_to_a_node_and_hears_at_once_when_nobody_listens() {
    let node = start(Settings::default()).await;
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let path = format!("/v1/streams/connect?node=beta&port={port}");
    let mut stream = node.client.upgrade(&path, "pilot-stream").await.unwrap();
    let (mut accepted, _) = listener.accept().await.unwrap();
    stream.write_all(b"question").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(everything(&mut accepted).await, b"question");
    accepted.write_all(b"answer").await.unwrap();
    drop((accepted, listener));
    assert_eq!(everything(&mut stream).await, b"answer");
    let refused = |path: String| async move { node.client.upgrade(&path, "pilot-stream").await.err().unwrap().code };
    assert_eq!(refused(path).await, "no_listener");
}

#[tokio::test]
async fn refusals_say_what_is_wrong() {
    let attach = vec![Attach { port: 80, service: Service::Forward(Destination::Unix("/nowhere".into())) }];
    let node = start(Settings { attach, ..Settings::default() }).await;
    for (path, code) in [
        ("/v1/streams/listen?port=1002", "port_in_use"),
        ("/v1/streams/listen?port=80", "port_in_use"),
        ("/v1/streams/listen?port=70000", "invalid_request"),
        ("/v1/streams/connect?node=stranger", "not_found"),
        ("/v1/streams/connect", "invalid_request"),
        ("/v1/streams/take?stream=1", "not_found"),
        ("/v1/streams/take?stream=x", "invalid_request"),
    ] {
        let refused = node.client.upgrade(path, "pilot-stream").await.err().unwrap();
        assert_eq!(refused.code, code, "{path}: {refused}");
    }
    let refused = node.client.get("/v1/streams/connect?node=beta").await.unwrap_err();
    assert!(refused.code == "invalid_request" && refused.hint.contains("pilot-stream"), "{refused:?}");
}

#[tokio::test]
async fn nodes_neither_listen_nor_take_nor_connect_here() {
    let node = start(Settings::default()).await;
    for path in ["listen", "take?stream=1", "connect?node=beta"] {
        let mut stream = TcpStream::connect(node.overlay).await.unwrap();
        let request = format!("GET /v1/streams/{path} HTTP/1.1\r\nHost: alpha\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let said = String::from_utf8(everything(&mut stream).await).unwrap();
        assert!(said.starts_with("HTTP/1.1 403") && said.contains("permission_denied"), "{said}");
    }
}

#[tokio::test]
async fn streams_break_with_the_trust_whether_they_wait_or_flow() {
    let node = start(Settings::default()).await;
    let mut listening = node.streams.listen(1000).unwrap();
    let (mut flowing, mut waiting) = (node.call(1000).await, node.call(1000).await);
    let announced = timeout(SOON, listening.next()).await.unwrap().unwrap();
    assert!(timeout(SOON, listening.next()).await.unwrap().is_some());
    let path = format!("/v1/streams/take?stream={}", announced.stream);
    let mut taken = node.client.upgrade(&path, "pilot-stream").await.unwrap();
    flowing.write_all(b"x").await.unwrap();
    assert_eq!(timeout(SOON, taken.read_u8()).await.unwrap().unwrap(), b'x');
    node.roster.send_replace(nobody());
    assert_broken(&mut flowing).await;
    assert_broken(&mut waiting).await;
    assert_eq!(everything(&mut taken).await, b"");
    let state = format!("/v1/streams/state?stream={}", announced.stream);
    assert_eq!(node.client.get(&state).await.unwrap()["broken"], true);
    assert_broken(&mut node.call(1000).await).await;
}

#[tokio::test]
async fn one_stream_too_many_of_a_node_breaks_and_a_place_is_free_again() {
    let node = start(Settings { streams_of_a_node: 1, ..Settings::default() }).await;
    let mut listening = node.streams.listen(1000).unwrap();
    let caller = node.call(1000).await;
    let announced = timeout(SOON, listening.next()).await.unwrap().unwrap();
    assert_broken(&mut node.call(1000).await).await;
    drop((node.streams.take(announced.stream).unwrap(), caller));
    let _caller = node.call(1000).await;
    assert!(timeout(SOON, listening.next()).await.unwrap().is_some());
}
