//! Files as their senders and receivers see them.

mod crash;
mod full;

use serde_json::{Value, json};

use super::*;
use crate::services::directory::testing::member;
use crate::services::directory::{Directory, Roster};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;

struct Fixture {
    folder: tempfile::TempDir,
    inbox: Inbox,
    files: Files,
    address: std::net::SocketAddr,
    _serving: JoinSet<()>,
    _roster: watch::Sender<Arc<Roster>>,
}

async fn start(settings: Settings) -> Fixture {
    start_in(tempfile::tempdir().unwrap(), settings).await
}

async fn start_in(folder: tempfile::TempDir, settings: Settings) -> Fixture {
    use crate::services::door::{Door, Limits};
    let (roster, watched) = watch::channel(Arc::new(Roster::new(member(2, "fd50::2"), [member(1, "::1")])));
    let directory = Directory::new(watched);
    let dial: crate::services::inbox::Dial =
        Arc::new(|_, _| Box::pin(async { Err(std::io::ErrorKind::NetworkUnreachable.into()) }));
    let inbox = Inbox::open(Default::default(), folder.path(), directory.clone(), dial).unwrap();
    let files = Files::new(settings, folder.path(), inbox.clone());
    let door = Door::new(inbox.router().merge(files.router()), &[], inbox.lines(), Limits::default()).await;
    let listener = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(door.serve_overlay(vec![listener], directory));
    Fixture { folder, inbox, files, address, _serving: serving, _roster: roster }
}

impl Fixture {
    async fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Value {
        let mut stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        serde_json::from_str(said.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ask("POST", path, "application/json", body.to_string().as_bytes()).await
    }

    async fn put(&self, id: &str, offset: usize, body: &[u8]) -> Value {
        self.ask("PUT", &format!("/v1/files/{id}?offset={offset}"), "application/octet-stream", body).await
    }

    /// Sends a whole file; gives the answer to `finish`.
    async fn send(&self, id: &str, name: &str, data: &[u8]) -> Value {
        self.post("/v1/files", json!({"id": id, "name": name, "size": data.len()})).await;
        self.put(id, 0, data).await;
        self.finish(id, data).await
    }

    async fn finish(&self, id: &str, data: &[u8]) -> Value {
        let hash = blake3::hash(data).to_hex();
        self.post(&format!("/v1/files/{id}/finish"), json!({"blake3": hash.as_str()})).await
    }

    fn received(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.path().join("received/0000.0000.0001").join(name)).ok()
    }
}

#[tokio::test]
async fn a_file_arrives_in_pieces_and_the_inbox_tells_of_it_once() {
    let node = start(Settings::default()).await;
    let data: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    let begun = node.post("/v1/files", json!({"id": "f", "name": "../x.bin", "size": data.len()})).await;
    assert_eq!(begun["data"]["offset"], 0);
    assert_eq!(node.put("f", 0, &data[..60_000]).await["data"]["offset"], 60_000);
    let wrong = node.put("f", 0, &data).await;
    assert!(wrong["code"] == "wrong_offset" && wrong["message"].as_str().unwrap().contains("60000"), "{wrong}");
    assert_eq!(node.finish("f", &data).await["code"], "wrong_offset");
    let resumed = node.post("/v1/files", json!({"id": "f", "name": "../x.bin", "size": data.len()})).await;
    assert_eq!(resumed["data"]["offset"], 60_000);
    assert_eq!(node.put("f", 60_000, &data[60_000..]).await["data"]["offset"], 100_000);
    let done = node.finish("f", &data).await;
    assert_eq!(
        (&done["status"], &done["data"]["name"], &done["data"]["path"]),
        (&json!("ok"), &json!("x.bin"), &json!(null))
    );
    assert_eq!(node.finish("f", &data).await, done, "again is harmless");
    assert_eq!(node.received("x.bin").unwrap(), data);
    let messages = node.inbox.list(Default::default()).await.unwrap();
    assert_eq!(messages.len(), 1);
    let told: Value = serde_json::from_slice(&messages[0].data).unwrap();
    assert_eq!(std::fs::read(told["path"].as_str().unwrap()).unwrap(), data);
    let rest: Vec<_> =
        std::fs::read_dir(node.folder.path().join("received/.partial/0000.0000.0001")).unwrap().collect();
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn names_never_meet_and_a_wrong_hash_leaves_nothing() {
    let node = start(Settings::default()).await;
    for (id, data) in [("1", "one"), ("2", "two")] {
        assert_eq!(node.send(id, "a.txt", data.as_bytes()).await["status"], "ok");
    }
    assert_eq!(node.received("a.txt").unwrap(), b"one");
    assert_eq!(node.received("a (2).txt").unwrap(), b"two");
    node.post("/v1/files", json!({"id": "3", "name": "a.txt", "size": 3})).await;
    node.put("3", 0, b"bad").await;
    assert_eq!(node.finish("3", b"good").await["code"], "wrong_hash");
    assert_eq!(node.received("a (3).txt"), None);
    assert_eq!(node.put("3", 0, b"x").await["code"], "not_found");
    assert_eq!(node.send("3", "a.txt", b"").await["status"], "ok", "an empty file is a file");
}

#[tokio::test]
async fn limits_hold_before_and_while_a_file_comes() {
    let settings = Settings { max_file: 10, sender_bytes: 15, partial_files: 1, ..Settings::default() };
    let node = start(settings).await;
    let begin = async |id: &str, size: u64| node.post("/v1/files", json!({"id": id, "name": "x", "size": size})).await;
    assert_eq!(begin("a", 11).await["code"], "too_large");
    assert_eq!(begin("no/id", 1).await["code"], "bad_argument");
    assert_eq!(begin("a", 5).await["status"], "ok");
    assert_eq!(begin("b", 5).await["code"], "quota_exceeded");
    assert_eq!(node.put("a", 0, b"123456").await["code"], "too_large");
    assert_eq!(node.send("a", "x", b"12345").await["status"], "ok");
    assert_eq!(node.send("b", "x", b"1234567890").await["status"], "ok");
    assert_eq!(begin("c", 1).await["code"], "quota_exceeded");
    std::fs::remove_file(node.folder.path().join("received/0000.0000.0001/x")).unwrap();
    assert_eq!(begin("c", 1).await["status"], "ok", "what was taken away does not count");
}

#[tokio::test]
async fn a_file_is_written_by_one_request_at_a_time_and_old_pieces_go() {
    let node = start(Settings::default()).await;
    node.post("/v1/files", json!({"id": "f", "name": "x", "size": 5})).await;
    let writing = node.files.slot(&member(1, "::1"), "f").unwrap();
    assert_eq!(node.put("f", 0, b"1").await["code"], "wrong_state");
    drop(writing);
    assert_eq!(node.put("f", 0, b"1").await["status"], "ok");
    partial::sweep(&node.files.folder, Duration::from_secs(1_000)).unwrap();
    assert_eq!(node.put("f", 1, b"2").await["status"], "ok");
    partial::sweep(&node.files.folder, Duration::ZERO).unwrap();
    assert_eq!(node.put("f", 2, b"3").await["code"], "not_found");
}
