//! The same inbox by HTTP, JSON lines and gRPC; who may read; what is refused.

use futures_util::StreamExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::*;
use crate::services::api;
use crate::services::api::inbox_client::InboxClient;

async fn raw(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    said
}

fn posted(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn json_lines_deliver_and_each_is_answered() {
    let pair = pair(Settings::default()).await;
    let mut stream = TcpStream::connect(pair.two.address).await.unwrap();
    let lines = "{\"type\":\"text\",\"data\":\"hi\",\"id\":\"a\"}\n{oops\n{\"data\":{\"z\":1.50,\n\"id\":\"b\"}\n\
                 {\"id\":\"a\",\"data\":\"hi\"}\n{\"id\":\"c\",\"data_base64\":\"AAE=\"}\n";
    stream.write_all(lines.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let statuses: Vec<_> = said.iter().map(|answer| answer["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["ok", "error", "error", "error", "ok", "ok"], "{said:?}");
    assert_eq!((&said[0]["data"]["duplicate"], &said[4]["data"]["duplicate"]), (&json!(false), &json!(true)));
    assert!(said[1]["message"].as_str().unwrap().contains("line 1 column 2"), "{}", said[1]);
    assert_eq!(pair.two.ids(2).await, ["a", "c"]);
}

#[tokio::test]
async fn http_delivers_to_the_letter_and_reads_nothing_back_over_the_overlay() {
    let pair = pair(Settings::default()).await;
    let said =
        raw(pair.two.address, &posted("/v1/messages", r#"{"type":"json","id":"a","data":{"z": 1.50,"a":1}}"#)).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with(r#"{"id":"a","duplicate":false}}"#), "{said}");
    let list = pair.two.client.get_raw("/v1/inbox").await.unwrap();
    assert!(list.get().contains(r#""data":{"z": 1.50,"a":1}"#), "{list}");
    for path in ["/v1/inbox", "/v1/inbox/follow", "/v1/outbox"] {
        let said = raw(pair.two.address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
        assert!(said.starts_with("HTTP/1.1 403"), "{path}: {said}");
    }
    for path in ["/v1/messages/send", "/v1/inbox/ack", "/v1/inbox/clear", "/v1/outbox/cancel"] {
        let said = raw(pair.two.address, &posted(path, r#"{"ids":["a"],"all":true,"node":"x","data":1}"#)).await;
        assert!(said.starts_with("HTTP/1.1 403"), "{path}: {said}");
    }
    assert_eq!(pair.two.ids(1).await, ["a"]);
}

#[tokio::test]
async fn null_is_data_in_every_dialect() {
    let pair = pair(Settings::default()).await;
    let (two, null) = (&pair.two, json!(null));
    two.client.post("/v1/messages", &json!({"id": "http", "data": null})).await.unwrap();
    assert_eq!(pair.one.send(2, "sent", null.clone(), 10_000).await.unwrap()["state"], "delivered");
    let mut stream = TcpStream::connect(two.address).await.unwrap();
    stream.write_all(b"{\"id\":\"lines\",\"data\":null}\n").await.unwrap();
    assert!(BufReader::new(stream).lines().next_line().await.unwrap().unwrap().contains("\"ok\""));
    let mut grpc = InboxClient::new(channel(pair.folders[1].path()).await);
    let message = api::Message { id: "grpc".into(), r#type: "json".into(), data: "null".into(), ..Default::default() };
    grpc.deliver(message).await.unwrap();
    let listed = two.client.get("/v1/inbox").await.unwrap();
    let of = |message: &Value| (message["id"].clone(), message["type"].clone(), message.get("data").cloned());
    let said: Vec<_> = listed["messages"].as_array().unwrap().iter().map(of).collect();
    assert_eq!(said, ["http", "sent", "lines", "grpc"].map(|id| (json!(id), json!("json"), Some(null.clone()))));
}

#[tokio::test]
async fn bad_messages_are_refused_with_what_is_wrong() {
    let pair = pair(Settings::default()).await;
    for (body, code, text) in [
        (json!({"type": "news", "data": 1}), "bad_argument", "text, json, binary"),
        (json!({"type": "text", "data": 1}), "invalid_request", "string"),
        (json!({"type": "json"}), "invalid_request", "no `data`"),
        (json!({"data": "x", "id": "no spaces"}), "bad_argument", "no message ID"),
        (json!({"data": "x", "id": "x".repeat(65)}), "bad_argument", "no message ID"),
        (json!({"data": 1, "data_base64": ""}), "invalid_request", "not both"),
        (json!({"type": "text", "data": null}), "invalid_request", "string"),
        (json!({"type": "binary", "data_base64": "?"}), "invalid_request", "data_base64"),
        (json!({"type": "json", "data_base64": "ewp9fQ=="}), "invalid_json", "line 2 column 2"),
        (json!({"data": "x".repeat((1 << 20) + 1)}), "too_large", "1048576"),
    ] {
        let error = pair.two.client.post("/v1/messages", &body).await.unwrap_err();
        assert!(error.code == code && error.message.contains(text), "{error:?}");
    }
    assert_eq!(pair.two.client.get("/v1/inbox").await.unwrap(), json!({"messages": []}));
}

#[tokio::test]
async fn messages_are_acknowledged_filtered_and_cleared() {
    let pair = pair(Settings::default()).await;
    for (id, data) in [("a", json!("x")), ("b", json!({}))] {
        pair.two.client.post("/v1/messages", &json!({"id": id, "data": data})).await.unwrap();
    }
    let client = &pair.two.client;
    assert_eq!(client.post("/v1/inbox/ack", &json!({"ids": ["a", "none"]})).await.unwrap(), json!({"count": 1}));
    let found = async |query: &str| {
        let found = client.get(&format!("/v1/inbox?{query}")).await.unwrap();
        found["messages"].as_array().unwrap().iter().map(|message| message["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(found("unread=true").await, ["b"]);
    assert_eq!(found("type=text").await, ["a"]);
    assert_eq!(found("id=b").await, ["b"]);
    assert_eq!(found("after=1&limit=5").await, ["b"]);
    assert_eq!(found("from=0000.0000.0001").await, Vec::<Value>::new());
    assert_eq!(client.get("/v1/inbox?nonsense=1").await.unwrap_err().code, "invalid_request");
    assert_eq!(client.post("/v1/inbox/clear", &json!({})).await.unwrap_err().code, "invalid_request");
    assert_eq!(client.post("/v1/inbox/clear", &json!({"read": true})).await.unwrap(), json!({"count": 1}));
    assert_eq!(found("").await, ["b"]);
}

#[tokio::test]
async fn a_follower_gets_every_message_once_whether_it_was_there_or_comes() {
    let pair = pair(Settings::default()).await;
    let sender = member(9, "fd50::9");
    let deliver = async |from: u32, to: u32| {
        for number in from..to {
            let draft = message::Draft::new(&number.to_string(), "text", "x".into(), 0, 10).unwrap();
            pair.two.inbox.deliver(&sender, draft).await.unwrap();
        }
    };
    deliver(0, 50).await;
    let mut lines = pair.two.client.lines("/v1/inbox/follow").await.unwrap();
    let follow = async {
        let mut ids = Vec::new();
        while ids.len() < 150 {
            let line: Value = serde_json::from_slice(&lines.next().await.unwrap().unwrap()).unwrap();
            ids.push(line["id"].as_str().unwrap().parse::<u32>().unwrap());
        }
        ids
    };
    let both = async { tokio::join!(deliver(50, 150), follow).1 };
    let ids = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    assert_eq!(ids, (0..150).collect::<Vec<_>>());
}

#[tokio::test]
async fn server_sent_events_carry_the_place_and_go_on_behind_it() {
    let pair = pair(Settings::default()).await;
    for id in ["a", "b"] {
        pair.two.client.post("/v1/messages", &json!({"id": id, "data": id})).await.unwrap();
    }
    let socket = pair.folders[1].path().join("sock");
    let mut stream = BufReader::new(tokio::net::UnixStream::connect(socket).await.unwrap());
    let request = "GET /v1/inbox/follow HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nLast-Event-ID: 1\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = String::new();
    while !line.starts_with("id: ") {
        line.clear();
        assert!(stream.read_line(&mut line).await.unwrap() > 0);
    }
    assert_eq!(line, "id: 2\n");
    line.clear();
    stream.read_line(&mut line).await.unwrap();
    let message: Value = serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((&message["id"], &message["data"]), (&json!("b"), &json!("b")));
}

#[tokio::test]
async fn grpc_delivers_streams_and_reads_only_on_the_local_socket() {
    let pair = pair(Settings::default()).await;
    let mut overlay =
        crate::services::inbox::delivery::connect::connect(&dial(&pair.two_at), Ipv6Addr::LOCALHOST).await.unwrap();
    let message = |id: &str, kind: &str| api::Message {
        id: id.into(),
        r#type: kind.into(),
        data: "{}".into(),
        ..api::Message::default()
    };
    let messages = vec![message("a", "json"), message("b", "nonsense"), message("a", "json"), message("c", "binary")];
    let mut receipts = overlay.deliver_stream(futures_util::stream::iter(messages)).await.unwrap().into_inner();
    let mut said = Vec::new();
    while let Some(receipt) = receipts.next().await {
        let receipt = receipt.unwrap();
        said.push((receipt.id, receipt.duplicate, receipt.refused.map(|refused| refused.code)));
    }
    let refused = Some("bad_argument".to_owned());
    let expected = [("a", false, None), ("b", false, refused), ("a", true, None), ("c", false, None)];
    assert_eq!(said, expected.map(|(id, duplicate, refused)| (id.to_owned(), duplicate, refused)));
    let status = overlay.list(api::InboxQuery::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied);

    let mut local = InboxClient::new(channel(pair.folders[1].path()).await);
    let mut following = local.follow(api::InboxQuery::default()).await.unwrap().into_inner();
    let first = following.next().await.unwrap().unwrap();
    assert_eq!((first.id.as_str(), first.from.as_str(), first.seq), ("a", "0000.0000.0001", 1));
    let ids = api::MessageIds { ids: vec!["a".into(), "none".into()] };
    assert_eq!(local.acknowledge(ids.clone()).await.unwrap().into_inner().count, 1);
    assert_eq!(overlay.acknowledge(ids).await.unwrap_err().code(), tonic::Code::PermissionDenied);
    let unread = local.list(api::InboxQuery { unread: true, ..Default::default() }).await.unwrap().into_inner();
    assert_eq!(unread.messages.iter().map(|message| &*message.id).collect::<Vec<_>>(), ["c"]);
    let cleared = local.clear(api::InboxQuery { r#type: "binary".into(), ..Default::default() }).await.unwrap();
    assert_eq!(cleared.into_inner().count, 1);
    assert_eq!(local.list(api::InboxQuery::default()).await.unwrap().into_inner().messages.len(), 1);
}

/// Whether `shown` has the members that `docs/openapi.json` names, and no others.
fn check_documented(schema: &str, shown: &Value) {
    let document: Value = serde_json::from_str(include_str!("../../../../docs/openapi.json")).unwrap();
    let schema = &document["components"]["schemas"][schema];
    let (known, shown) = (schema["properties"].as_object().unwrap(), shown.as_object().unwrap());
    for name in shown.keys() {
        assert!(known.contains_key(name), "{name} is not in the document");
    }
    for name in schema["required"].as_array().unwrap() {
        assert!(shown.contains_key(name.as_str().unwrap()), "{name} is not shown");
    }
}

#[tokio::test]
async fn what_is_shown_is_what_the_openapi_document_says() {
    let pair = pair(Settings::default()).await;
    let (one, two) = (&pair.one.client, &pair.two.client);
    let there = pair.two_at.lock().take();
    pair.one.send(2, "waits", json!(1), 0).await.unwrap();
    check_documented("OutgoingMessage", &pair.one.outgoing(|message| message["id"] == "waits").await);
    *pair.two_at.lock() = there;
    one.post("/v1/tasks", &json!({"node": "0000.0000.0002", "id": "t", "task": 1})).await.unwrap();
    check_documented("Task", &pair.two.task("t", "submitted").await);
    two.post("/v1/files", &json!({"id": "f", "name": "x", "size": 0})).await.unwrap();
    let finish = json!({"blake3": blake3::hash(b"").to_hex().as_str()});
    two.post("/v1/files/f/finish", &finish).await.unwrap();
    check_documented("ReceivedFile", &two.get("/v1/received").await.unwrap()["files"][0]);
    two.post("/v1/messages", &json!({"data_base64": "AA=="})).await.unwrap();
    let messages = two.get("/v1/inbox").await.unwrap()["messages"].take();
    messages.as_array().unwrap().iter().for_each(|message| check_documented("Message", message));
    assert!(messages.as_array().unwrap().len() >= 3);
}

#[tokio::test]
async fn grpc_sends_through_the_outbox() {
    let pair = pair(Settings::default()).await;
    let mut local = InboxClient::new(channel(pair.folders[0].path()).await);
    let message =
        |id: &str| api::Message { id: id.into(), r#type: "text".into(), data: "hi".into(), ..Default::default() };
    let request = |id: &str, node: &str, wait_millis| api::SendRequest {
        node: node.into(),
        message: Some(message(id)),
        expires_secs: 60,
        wait_millis,
    };
    let there = pair.two_at.lock().take();
    let sent = local.send(request("b", "0000.0000.0002", 0)).await.unwrap().into_inner();
    assert_eq!((&*sent.id, &*sent.state), ("b", "queued"));
    let mut listed = async |node: &str| {
        let found = local.outbox(api::OutboxQuery { node: node.into() }).await.unwrap().into_inner().messages;
        found.into_iter().map(|one| (one.id, one.to, one.r#type, one.size)).collect::<Vec<_>>()
    };
    let waiting = ("b".to_owned(), "0000.0000.0002".to_owned(), "text".to_owned(), 2);
    assert_eq!(listed("").await, std::slice::from_ref(&waiting));
    assert_eq!(listed("0000.0000.0002").await, [waiting]);
    *pair.two_at.lock() = there;
    let sent = local.send(request("a", "0000.0000.0002", 20_000)).await.unwrap().into_inner();
    assert_eq!((&*sent.id, &*sent.state), ("a", "delivered"));
    assert_eq!(pair.two.ids(2).await.len(), 2);
    let unknown = local.send(request("b", "0000.0000.0009", 0)).await.unwrap_err();
    assert_eq!(unknown.metadata().get("pilot-code").unwrap(), "not_found");
    let nothing = api::SendRequest { message: None, ..request("b", "0000.0000.0002", 0) };
    assert_eq!(local.send(nothing).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    let mut overlay = InboxClient::new(overlay(pair.two.address).await);
    for refused in [
        overlay.send(request("c", "0000.0000.0001", 0)).await.map(drop),
        overlay.outbox(api::OutboxQuery::default()).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().code(), tonic::Code::PermissionDenied);
    }
}
