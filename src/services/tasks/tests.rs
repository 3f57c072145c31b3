//! Tasks between two nodes, as both of them see them.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::services::directory::Caller;
use crate::services::directory::testing::member;
use crate::services::door::{LineReader, LineWriter};
use crate::services::inbox::message::Draft;
use crate::services::inbox::tests::{Node, Pair, channel, overlay, pair};

async fn submit(pair: &Pair, id: &str, more: Value) -> Result<Value, Error> {
    let mut body = json!({"node": "0000.0000.0002", "id": id, "task": {"do": id}});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    pair.one.client.post("/v1/tasks", &body).await
}

async fn decide(node: &Node, id: &str, verb: &str, body: Value) -> Result<Value, Error> {
    node.client.post(&format!("/v1/tasks/{id}/{verb}"), &body).await
}

#[tokio::test]
async fn a_task_goes_there_and_its_result_comes_back() {
    let pair = pair(Default::default()).await;
    let submitted = submit(&pair, "t", json!({})).await.unwrap();
    assert_eq!((&submitted["state"], &submitted["to"]), (&json!("submitted"), &json!("0000.0000.0002")));
    let there = pair.two.task("t", "submitted").await;
    assert_eq!((&there["task"], &there["from"]), (&json!({"do": "t"}), &json!("0000.0000.0001")));
    assert_eq!(pair.two.ids(1).await, ["t"], "the inbox has it too");
    for (verb, body, state) in [
        ("accept", json!({}), "accepted"),
        ("finish", json!({"running": true}), "running"),
        ("finish", json!({"result": {"n": 1}}), "done"),
    ] {
        assert_eq!(decide(&pair.two, "t", verb, body).await.unwrap()["state"], state);
        pair.one.task("t", state).await;
    }
    assert_eq!(pair.one.task("t", "done").await["result"], json!({"n": 1}));
    assert_eq!(decide(&pair.two, "t", "accept", json!({})).await.unwrap_err().code, "wrong_state");
    assert_eq!(decide(&pair.two, "t", "finish", json!({})).await.unwrap()["state"], "done", "again is harmless");
    assert!(pair.one.ids(0).await.is_empty(), "news is no message");
}

#[tokio::test]
async fn a_task_is_declined_or_cancelled_and_the_other_side_hears_why() {
    let pair = pair(Default::default()).await;
    for id in ["no", "late"] {
        submit(&pair, id, json!({})).await.unwrap();
        pair.two.task(id, "submitted").await;
    }
    decide(&pair.two, "no", "decline", json!({"reason": "busy"})).await.unwrap();
    assert_eq!(pair.one.task("no", "declined").await["result"], "busy");
    decide(&pair.one, "late", "cancel", json!({})).await.unwrap();
    pair.two.task("late", "cancelled").await;
    assert_eq!(decide(&pair.two, "late", "finish", json!({})).await.unwrap_err().code, "wrong_state");
    assert_eq!(decide(&pair.one, "no", "cancel", json!({})).await.unwrap_err().code, "wrong_state");
    let error = decide(&pair.one, "no", "accept", json!({})).await.unwrap_err();
    assert_eq!(error.code, "not_found", "only the worker accepts");
    assert_eq!(submit(&pair, "no", json!({})).await.unwrap_err().code, "wrong_state", "an ID is used once");
    let listed = pair.one.client.get("/v1/tasks?direction=out&state=declined").await.unwrap();
    assert_eq!(listed["tasks"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn deadlines_pass_on_both_sides() {
    let pair = pair(Default::default()).await;
    submit(&pair, "t", json!({"deadline_secs": 1})).await.unwrap();
    pair.one.task("t", "expired").await;
    pair.two.task("t", "expired").await;
    assert_eq!(decide(&pair.two, "t", "accept", json!({})).await.unwrap_err().code, "wrong_state");
    assert_eq!(submit(&pair, "u", json!({"deadline_secs": 31 * 86_400})).await.unwrap_err().code, "bad_argument");
}

#[tokio::test]
async fn a_message_of_type_task_is_a_task_whatever_its_shape() {
    let pair = pair(Default::default()).await;
    let bare = json!({"task": "vector_search", "target": "knowledge_base"});
    let body = json!({"node": "0000.0000.0002", "type": "task", "id": "bare", "data": bare});
    pair.one.client.post("/v1/messages/send", &body).await.unwrap();
    assert_eq!(pair.two.task("bare", "submitted").await["task"], bare);
    assert_eq!(pair.one.task("bare", "submitted").await["task"], bare);
    let body = json!({"type": "task", "id": "own", "data": {"task": [1]}});
    pair.two.client.post("/v1/messages", &body).await.unwrap();
    assert_eq!(pair.two.task("own", "submitted").await["task"], json!([1]));
    let news = json!({"node": "0000.0000.0002", "type": "task", "data": {"update": {"id": "bare", "state": "done"}}});
    assert_eq!(pair.one.client.post("/v1/messages/send", &news).await.unwrap_err().code, "invalid_request");
}

#[tokio::test]
async fn nobody_but_its_two_nodes_moves_a_task_each_its_own_way() {
    let pair = pair(Default::default()).await;
    submit(&pair, "t", json!({})).await.unwrap();
    pair.two.task("t", "submitted").await;
    let news = async |node: &Node, sender: u8, state: &str| {
        let data = json!({"update": {"id": "t", "state": state}}).to_string();
        let draft = Draft::new("", "task", data.into(), 0, 1000).unwrap();
        node.inbox.deliver(&member(sender, "::1"), draft).await
    };
    news(&pair.one, 3, "done").await.unwrap();
    pair.one.task("t", "submitted").await;
    news(&pair.one, 2, "cancelled").await.unwrap();
    pair.one.task("t", "submitted").await;
    assert_eq!(news(&pair.one, 2, "submitted").await.unwrap_err().code, "invalid_request");
    news(&pair.one, 2, "done").await.unwrap();
    pair.one.task("t", "done").await;
    news(&pair.one, 2, "running").await.unwrap();
    pair.one.task("t", "done").await;
}

#[tokio::test]
async fn a_task_for_ourselves_comes_back_to_us() {
    let pair = pair(Default::default()).await;
    let body = json!({"node": "0000.0000.0001", "id": "t", "task": 1});
    pair.one.client.post("/v1/tasks", &body).await.unwrap();
    decide(&pair.one, "t", "finish", json!({"ok": false, "reason": "no"})).await.unwrap();
    assert_eq!(pair.one.task("t", "failed").await["result"], "no");
}

#[tokio::test]
async fn a_peer_submits_and_asks_for_its_own_tasks_only() {
    let pair = pair(Default::default()).await;
    pair.two.client.post("/v1/messages", &json!({"type": "task", "id": "private", "data": 1})).await.unwrap();
    let asked = async |request: &str| {
        let mut stream = TcpStream::connect(pair.two.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    };
    let tail = "Host: x\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let said =
        asked(&format!("POST /v1/tasks HTTP/1.1\r\n{tail}Content-Length: 22\r\n\r\n{{\"id\":\"mine\",\"task\":1}}"))
            .await;
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("\"state\":\"submitted\""), "{said}");
    for (path, status) in [("mine", "200"), ("private", "404"), ("follow", "403")] {
        let said = asked(&format!("GET /v1/tasks/{path} HTTP/1.1\r\n{tail}\r\n")).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {said}");
    }
    let said = asked(&format!("POST /v1/tasks/mine/finish HTTP/1.1\r\n{tail}Content-Length: 2\r\n\r\n{{}}")).await;
    assert!(said.starts_with("HTTP/1.1 403"), "{said}");
}

#[tokio::test]
async fn null_is_a_task_and_a_result() {
    let pair = pair(Default::default()).await;
    submit(&pair, "t", json!({"task": null})).await.unwrap();
    assert_eq!(pair.two.task("t", "submitted").await.get("task"), Some(&json!(null)));
    decide(&pair.two, "t", "finish", json!({"running": true, "result": "half"})).await.unwrap();
    assert_eq!(pair.one.task("t", "running").await["result"], "half");
    decide(&pair.two, "t", "finish", json!({"result": null})).await.unwrap();
    assert_eq!(pair.one.task("t", "done").await["result"], json!(null), "null takes the place of what there was");
    let said = lines(&pair, "{\"task\":null,\"id\":\"lines\"}\n").await;
    assert_eq!((&said[0]["data"]["state"], said[0]["data"].get("task")), (&json!("submitted"), Some(&json!(null))));
}

#[tokio::test]
async fn json_lines_submit_and_ask() {
    let pair = pair(Default::default()).await;
    pair.two.client.post("/v1/messages", &json!({"type": "task", "id": "private", "data": 1})).await.unwrap();
    let text = "{\"id\":\"t\",\"task\":{\"z\":1.50}}\n{\"id\":\"t\"}\n{\"id\":\"private\"}\nnonsense\n\
                {\"node\":\"0000.0000.0003\",\"task\":1}\n{\"task\":2}";
    let said = lines(&pair, text).await;
    let codes: Vec<_> = said.iter().map(|answer| answer["code"].as_str().unwrap_or("ok")).collect();
    assert_eq!(codes, ["ok", "ok", "not_found", "invalid_json", "permission_denied", "ok"], "{said:#?}");
    assert_eq!((&said[0], &said[0]["data"]["from"]), (&said[1], &json!("0000.0000.0001")));
    assert_eq!(pair.two.task("t", "submitted").await, said[0]["data"]);
}

#[tokio::test]
async fn grpc_is_the_same_tasks() {
    use crate::services::api::{self, tasks_client::TasksClient};
    let pair = pair(Default::default()).await;
    let mut one = TasksClient::new(channel(pair.folders[0].path()).await);
    let mut two = TasksClient::new(channel(pair.folders[1].path()).await);
    let request = |id: &str, task: &'static str| api::TaskRequest {
        node: "0000.0000.0002".into(),
        id: id.into(),
        task: task.into(),
        deadline_secs: 60,
    };
    let decision = |id: &str, reason: &str| api::TaskDecision { id: id.into(), reason: reason.into() };
    let result =
        |ok, running, result: &'static str| api::TaskResult { id: "t".into(), ok, running, result: result.into() };
    let mut changes =
        one.follow(api::TaskQuery { direction: "out".into(), ..Default::default() }).await.unwrap().into_inner();
    let mut next = async || {
        let change = tokio::time::timeout(std::time::Duration::from_secs(20), changes.message()).await.unwrap();
        change.unwrap().unwrap()
    };
    let submitted = one.submit(request("t", "{\"do\": 1}")).await.unwrap().into_inner();
    assert_eq!(
        (&*submitted.state, &submitted.task[..], &*submitted.to),
        ("submitted", &b"{\"do\": 1}"[..], "0000.0000.0002")
    );
    assert_eq!(next().await, submitted);
    pair.two.task("t", "submitted").await;
    let listed =
        two.list(api::TaskQuery { direction: "in".into(), ..Default::default() }).await.unwrap().into_inner().tasks;
    assert_eq!((listed.len(), &*listed[0].id, &*listed[0].from), (1, "t", "0000.0000.0001"));
    assert_eq!(two.accept(decision("t", "")).await.unwrap().into_inner().state, "accepted");
    assert_eq!(next().await.state, "accepted");
    assert_eq!(two.finish(result(false, true, "1")).await.unwrap().into_inner().state, "running");
    assert_eq!(&next().await.result[..], b"1");
    let broken = two.finish(result(true, false, "{")).await.unwrap_err();
    assert_eq!(broken.metadata().get("pilot-code").unwrap(), "invalid_json");
    assert_eq!(two.finish(result(true, false, "null")).await.unwrap().into_inner().state, "done");
    let done = next().await;
    assert_eq!((&*done.state, &done.result[..]), ("done", &b"null"[..]));
    assert_eq!(one.get(decision("t", "")).await.unwrap().into_inner(), done);

    for id in ["no", "late"] {
        one.submit(request(id, "1")).await.unwrap();
        pair.two.task(id, "submitted").await;
    }
    assert_eq!(&two.decline(decision("no", "busy")).await.unwrap().into_inner().result[..], b"\"busy\"");
    assert_eq!(one.cancel(decision("late", "")).await.unwrap().into_inner().state, "cancelled");

    let mut peer = TasksClient::new(overlay(pair.two.address).await);
    let own =
        peer.submit(api::TaskRequest { node: String::new(), ..request("own", "null") }).await.unwrap().into_inner();
    assert_eq!((&*own.from, &own.task[..]), ("0000.0000.0001", &b"null"[..]));
    assert_eq!(peer.get(decision("own", "")).await.unwrap().into_inner(), own);
    for refused in [
        peer.submit(request("x", "1")).await.map(drop),
        peer.list(api::TaskQuery::default()).await.map(drop),
        peer.follow(api::TaskQuery::default()).await.map(drop),
        peer.accept(decision("own", "")).await.map(drop),
        peer.finish(result(true, false, "1")).await.map(drop),
        peer.cancel(decision("own", "")).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().code(), tonic::Code::PermissionDenied);
    }
}

/// What node two answers to lines of node one.
async fn lines(pair: &Pair, text: &str) -> Vec<Value> {
    let (mut ours, theirs) = tokio::io::duplex(1 << 20);
    let (read, write) = tokio::io::split(theirs);
    let (read, write) = (LineReader::new(Box::new(read), 1 << 20), LineWriter::new(Box::new(write)));
    let lines = pair.two.work.lines();
    let serving = tokio::spawn(async move { lines.serve(Caller::Node(member(1, "::1").into()), read, write).await });
    ours.write_all(text.as_bytes()).await.unwrap();
    ours.shutdown().await.unwrap();
    let mut said = String::new();
    ours.read_to_string(&mut said).await.unwrap();
    serving.await.unwrap().unwrap();
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_follower_hears_each_change() {
    let pair = pair(Default::default()).await;
    let mut lines = pair.one.client.lines("/v1/tasks/follow").await.unwrap();
    submit(&pair, "t", json!({})).await.unwrap();
    let mut next = async || {
        let line = tokio::time::timeout(std::time::Duration::from_secs(20), lines.next()).await.unwrap();
        serde_json::from_slice::<Value>(&line.unwrap().unwrap()).unwrap()["state"].clone()
    };
    assert_eq!(next().await, "submitted");
    pair.two.task("t", "submitted").await;
    decide(&pair.two, "t", "accept", json!({})).await.unwrap();
    assert_eq!(next().await, "accepted");
}
