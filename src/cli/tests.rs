//! Commands against two real nodes: what they change, and their exit codes.

use serde_json::json;

use super::*;
use crate::services::inbox::tests::{Node, Pair, pair};

/// Runs a command line at a node of `pair`.
async fn at(pair: &Pair, node: usize, line: &[&str]) -> Result<ExitCode, Error> {
    let socket = pair.folders[node].path().join("sock");
    let words = ["pilotctl", "--json"].into_iter().chain(line.iter().copied());
    let parsed = Arguments::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
    carry_out(&Session::new(true, socket), parsed.command).await
}

async fn count(node: &Node) -> usize {
    node.client.get("/v1/inbox").await.unwrap()["messages"].as_array().unwrap().len()
}

const TWO: &str = "0000.0000.0002";

#[tokio::test]
async fn messages_are_sent_read_and_cleared() {
    let pair = pair(Default::default()).await;
    let data = r#"{"status":"operational"}"#;
    at(&pair, 0, &["send-message", TWO, "--data", data, "--type", "json", "--id", "a", "--wait", "10s"]).await.unwrap();
    at(&pair, 0, &["send-message", TWO, "--data", "-dash", "--id", "b", "--wait", "10s"]).await.unwrap();
    assert_eq!(pair.two.ids(2).await, ["a", "b"]);
    let error = at(&pair, 0, &["send-message", TWO, "--data", "{no", "--type", "json"]).await.unwrap_err();
    assert!(error.exit_code() == 2 && error.message.contains("line 1 column 2"), "{error:?}");
    at(&pair, 1, &["inbox"]).await.unwrap();
    at(&pair, 1, &["inbox", "--follow", "--count", "2", "--timeout", "20s"]).await.unwrap();
    let error = at(&pair, 1, &["inbox", "--follow", "--count", "3", "--timeout", "50ms"]).await.unwrap_err();
    assert_eq!(error.exit_code(), 4);
    at(&pair, 1, &["inbox", "read", "a"]).await.unwrap();
    at(&pair, 1, &["inbox", "clear", "--read"]).await.unwrap();
    assert_eq!(pair.two.ids(1).await, ["b"]);
    at(&pair, 1, &["inbox", "clear", "b"]).await.unwrap();
    assert_eq!(count(&pair.two).await, 0);
    assert_eq!(at(&pair, 1, &["inbox", "read", "a"]).await.unwrap_err().exit_code(), 6);
}

#[tokio::test]
async fn what_waits_is_listed_and_taken_back() {
    let pair = pair(Default::default()).await;
    *pair.two_at.lock() = None;
    at(&pair, 0, &["send-message", TWO, "--data", "x", "--id", "a", "--wait", "0s"]).await.unwrap();
    at(&pair, 0, &["outbox", "--node", TWO]).await.unwrap();
    at(&pair, 0, &["outbox", "cancel", "a"]).await.unwrap();
    assert_eq!(pair.one.client.get("/v1/outbox").await.unwrap(), json!({"messages": []}));
}

#[tokio::test]
async fn a_task_is_executed_by_a_command() {
    let pair = pair(Default::default()).await;
    at(&pair, 0, &["task", "submit", TWO, r#"{"b":2.50,"a":1}"#, "--id", "t"]).await.unwrap();
    pair.two.task("t", "submitted").await;
    at(&pair, 1, &["task", "accept", "t"]).await.unwrap();
    at(&pair, 1, &["task", "execute", "t", "--", "cat"]).await.unwrap();
    at(&pair, 0, &["task", "results", "t", "--wait", "--timeout", "20s"]).await.unwrap();
    let answer = pair.one.client.get_raw("/v1/tasks/t").await.unwrap();
    assert!(answer.get().contains(r#""result":{"b":2.50,"a":1}"#), "{answer}");
    at(&pair, 0, &["task", "submit", TWO, "1", "--id", "u"]).await.unwrap();
    pair.two.task("u", "submitted").await;
    at(&pair, 1, &["task", "execute", "u", "--", "sh", "-c", "echo broken; exit 3"]).await.unwrap();
    assert_eq!(pair.one.task("u", "failed").await["result"], "broken");
    assert_eq!(at(&pair, 1, &["task", "execute", "u", "--", "true"]).await.unwrap_err().code, "wrong_state");
    at(&pair, 0, &["task", "submit", TWO, "1", "--id", "v", "--deadline", "1h"]).await.unwrap();
    pair.two.task("v", "submitted").await;
    at(&pair, 1, &["task", "decline", "v", "too", "busy"]).await.unwrap();
    assert_eq!(pair.one.task("v", "declined").await["result"], "too busy");
    at(&pair, 0, &["task", "list", "--out", "--state", "declined"]).await.unwrap();
}
