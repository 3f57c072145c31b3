//! From outbox to inbox.

use super::*;

#[tokio::test]
async fn a_message_to_a_node_that_is_there_is_delivered_and_one_to_ourselves_too() {
    let pair = pair(Settings::default()).await;
    let sent = pair.one.send(2, "a", json!({"b": 1}), 10_000).await.unwrap();
    assert_eq!(sent, json!({"id": "a", "state": "delivered"}));
    let found = pair.two.client.get("/v1/inbox").await.unwrap();
    let message = &found["messages"][0];
    assert_eq!(message["from"], "0000.0000.0001");
    assert_eq!(
        (&message["type"], &message["data"], &message["read"]),
        (&json!("json"), &json!({"b": 1}), &json!(false))
    );
    assert_eq!(pair.one.client.get("/v1/outbox").await.unwrap(), json!({"messages": []}));
    assert_eq!(pair.one.send(1, "b", json!(2), 0).await.unwrap()["state"], "delivered");
    assert_eq!(pair.one.ids(1).await, ["b"]);
    assert_eq!(pair.one.send(2, "a", json!({"b": 1}), 10_000).await.unwrap()["state"], "delivered", "a retry");
    assert_eq!(pair.two.ids(1).await, ["a"]);
}

#[tokio::test]
async fn what_was_sent_while_the_receiver_was_away_comes_when_it_is_back_in_order_also_after_a_restart() {
    let mut pair = pair(Settings::default()).await;
    let back = pair.two_at.lock().take();
    assert_eq!(pair.one.send(2, "0", json!(0), 0).await.unwrap()["state"], "queued");
    let failed = pair.one.outgoing(|message| message["attempts"] != 0).await;
    assert!(failed["problem"].as_str().unwrap().contains("cannot connect"), "{failed}");
    pair.one.tasks.shutdown().await;
    let folder = pair.folders[0].path();
    let one = node(folder, 1, 2, &pair.two_at, Settings::default()).await;
    for number in 1..600 {
        one.send(2, &number.to_string(), json!(number), 0).await.unwrap();
    }
    let is_tried_often = |message: &Value| message["id"] == "0" && message["attempts"].as_u64() >= Some(10);
    one.outgoing(is_tried_often).await;
    one.set_peers([Member { is_online: false, ..member(2, "::1") }]);
    *pair.two_at.lock() = back;
    one.set_peers([member(2, "::1")]);
    let expected: Vec<_> = (0..600).map(|number: u32| number.to_string()).collect();
    assert_eq!(pair.two.ids(600).await, expected);
}

#[tokio::test]
async fn what_the_receiver_will_never_take_is_given_up_and_can_be_seen_and_cancelled() {
    let pair = pair(Settings { max_message: 10, ..Settings::default() }).await;
    let refused = pair.one.send(2, "long", json!("0123456789"), 10_000).await.unwrap_err();
    assert_eq!(refused.code, "too_large");
    assert_eq!(pair.one.send(2, "short", json!(1), 10_000).await.unwrap()["state"], "delivered");
    let kept = pair.one.outgoing(|message| message["given_up"] == true).await;
    assert!(kept["id"] == "long" && kept["problem"].as_str().unwrap().contains("too_large"), "{kept}");
    let cancelled = pair.one.client.post("/v1/outbox/cancel", &json!({"ids": ["long"]})).await.unwrap();
    assert_eq!(cancelled, json!({"count": 1}));
}

#[tokio::test]
async fn a_full_inbox_is_tried_again_and_order_is_kept() {
    let mut settings = Settings::default();
    settings.limits.sender_messages = 3;
    let pair = pair(settings).await;
    for number in 0..6 {
        pair.one.send(2, &number.to_string(), json!(number), 0).await.unwrap();
    }
    let waiting = pair.one.outgoing(|message| message["problem"].is_string()).await;
    assert!(waiting["problem"].as_str().unwrap().contains("quota_exceeded"), "{waiting}");
    assert_eq!(pair.two.ids(3).await, ["0", "1", "2"]);
    pair.two.client.post("/v1/inbox/clear", &json!({"all": true})).await.unwrap();
    assert_eq!(pair.two.ids(3).await, ["3", "4", "5"]);
}

#[tokio::test]
async fn a_message_expires_and_one_to_a_node_without_trust_says_so() {
    let pair = pair(Settings::default()).await;
    *pair.two_at.lock() = None;
    let body = json!({"node": "0000.0000.0002", "data": "x", "id": "short", "expires_secs": 1, "wait_ms": 0});
    pair.one.client.post("/v1/messages/send", &body).await.unwrap();
    pair.one.send(2, "long", json!(1), 0).await.unwrap();
    pair.one.set_peers([]);
    let expired = |message: &Value| message["id"] == "long" && message["problem"].is_string();
    let distrusted = pair.one.outgoing(|message| {
        expired(message) && message["problem"].as_str().is_some_and(|text| text.contains("not trusted any more"))
    });
    distrusted.await;
    let mut stored = pair.one.inbox.stored();
    loop {
        stored.mark_unchanged();
        let left = pair.one.client.get("/v1/outbox").await.unwrap();
        if left["messages"].as_array().unwrap().len() == 1 {
            break;
        }
        tokio::time::timeout(Duration::from_secs(20), stored.changed()).await.expect("it expires").unwrap();
    }
    assert_eq!(pair.one.inbox.counters()["expired"], 1);
    let unknown = pair.one.send(2, "more", json!(1), 0).await.unwrap_err();
    assert_eq!(unknown.code, "not_found");
    let body = json!({"node": "0000.0000.0001", "data": "x", "expires_secs": 31 * 86_400});
    assert_eq!(pair.one.client.post("/v1/messages/send", &body).await.unwrap_err().code, "bad_argument");
}

#[test]
fn a_full_disk_is_said_and_loses_nothing_that_was_acknowledged() {
    crate::store::small_disk::SmallDisk::with(4 << 10, |disk| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let two = node(disk.path(), 2, 1, &Whereabouts::default(), Settings::default()).await;
            std::fs::write(disk.path().join("kept free"), vec![1; 1 << 20]).unwrap();
            let deliver = async |number: u32| {
                let body = json!({"id": number.to_string(), "data": "x".repeat(100_000)});
                two.client.post("/v1/messages", &body).await
            };
            let mut taken = Vec::new();
            let refused = loop {
                match deliver(taken.len() as u32).await {
                    Ok(receipt) => taken.push(receipt["id"].as_str().unwrap().to_owned()),
                    Err(error) => break error,
                }
            };
            assert_eq!((refused.code.as_str(), taken.is_empty()), ("disk_full", false), "{refused}");
            assert_eq!(two.ids(taken.len()).await, taken, "reading goes on");
            std::fs::remove_file(disk.path().join("kept free")).unwrap();
            let receipt = deliver(taken.len() as u32).await.unwrap();
            assert_eq!(receipt["duplicate"], false, "what was refused was not kept");
            taken.push(receipt["id"].as_str().unwrap().to_owned());
            assert_eq!(two.ids(taken.len()).await, taken);
        });
    });
}
