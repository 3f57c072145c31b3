//! Two nodes on real sockets: what programs and peers see.

mod delivery;
mod dialects;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::*;
use crate::control::Client;
use crate::services::directory::testing::member;
use crate::services::directory::{Member, Roster};
use crate::services::door::{Door, Limits};
use crate::services::files::Files;
use crate::services::tasks::Tasks;

/// Where a node can be reached now.
pub type Whereabouts = Arc<Mutex<Option<SocketAddr>>>;

/// Connects to wherever the other node is.
pub fn dial(whereabouts: &Whereabouts) -> Dial {
    let whereabouts = whereabouts.clone();
    Arc::new(move |_: Ipv6Addr, _| {
        let address = *whereabouts.lock();
        Box::pin(async move { TcpStream::connect(address.ok_or(std::io::ErrorKind::NetworkUnreachable)?).await })
    })
}

/// A node: its state, its door on the loopback, its local socket.
pub struct Node {
    pub inbox: Inbox,
    pub work: Tasks,
    pub client: Client,
    pub address: SocketAddr,
    pub roster: watch::Sender<Arc<Roster>>,
    pub tasks: JoinSet<()>,
}

/// Node `number`, whose only peer is `peer`; `other` is where that one can be reached.
pub async fn node(folder: &Path, number: u8, peer: u8, other: &Whereabouts, settings: Settings) -> Node {
    let me = member(number, &format!("fd50::{number}"));
    let (roster, watched) = watch::channel(Arc::new(Roster::new(me, [member(peer, "::1")])));
    let directory = Directory::new(watched);
    let inbox = Inbox::open(settings, folder, directory.clone(), dial(other)).unwrap();
    let work = Tasks::new(inbox.clone());
    let files = Files::new(Default::default(), folder, inbox.clone());
    let router = inbox.router().merge(work.router()).merge(files.router());
    let door = Door::new(router, &[SERVICE], inbox.lines(), Limits::default()).await;
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let socket = folder.join("sock");
    let _ = std::fs::remove_file(&socket);
    let local = UnixListener::bind(&socket).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(door.clone().serve_overlay(vec![listener], directory.clone()));
    tasks.spawn(door.serve_local(local, directory));
    tasks.spawn(inbox.clone().run());
    tasks.spawn(work.clone().run());
    Node { inbox, work, client: Client::new(&socket), address, roster, tasks }
}

impl Node {
    /// Sends a message with the local socket's help.
    pub async fn send(&self, node: u8, id: &str, data: Value, wait_ms: u64) -> Result<Value, Error> {
        let to = format!("0000.0000.{node:04x}");
        let body = json!({"node": to, "type": "json", "id": id, "data": data, "wait_ms": wait_ms});
        self.client.post("/v1/messages/send", &body).await
    }

    /// IDs in the inbox, once there are `count` of them.
    pub async fn ids(&self, count: usize) -> Vec<String> {
        let mut stored = self.inbox.stored();
        let waiting = async {
            loop {
                stored.mark_unchanged();
                let found = self.client.get("/v1/inbox?limit=1000").await.unwrap();
                let messages = found["messages"].as_array().unwrap();
                if messages.len() >= count {
                    return messages.iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect();
                }
                stored.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the messages did not come")
    }

    /// The first message in the outbox for which `holds`.
    pub async fn outgoing(&self, holds: impl Fn(&Value) -> bool) -> Value {
        let mut stored = self.inbox.stored();
        let waiting = async {
            loop {
                stored.mark_unchanged();
                let found = self.client.get("/v1/outbox").await.unwrap();
                if let Some(message) = found["messages"].as_array().unwrap().iter().find(|message| holds(message)) {
                    return message.clone();
                }
                stored.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("there is no such message")
    }

    /// The task, once it is in this state.
    pub async fn task(&self, id: &str, state: &str) -> Value {
        let mut stored = self.inbox.stored();
        let waiting = async {
            loop {
                stored.mark_unchanged();
                match self.client.get(&format!("/v1/tasks/{id}")).await {
                    Ok(task) if task["state"] == state => return task,
                    Err(error) if error.code != "not_found" => panic!("{error:?}"),
                    _ => stored.changed().await.unwrap(),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the task does not get there")
    }

    /// Tells the node of its peers.
    pub fn set_peers(&self, peers: impl IntoIterator<Item = Member>) {
        let me = (*self.roster.borrow().me).clone();
        self.roster.send_replace(Arc::new(Roster::new(me, peers)));
    }
}

/// gRPC over the local socket in `folder`.
pub async fn channel(folder: &Path) -> tonic::transport::Channel {
    let socket = folder.join("sock");
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(hyper_util::rt::TokioIo::new) }
    });
    tonic::transport::Endpoint::from_static("http://pilot").connect_with_connector(connector).await.unwrap()
}

/// gRPC over the overlay.
pub async fn overlay(address: SocketAddr) -> tonic::transport::Channel {
    tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// Two nodes that trust each other.
pub struct Pair {
    pub one: Node,
    pub two: Node,
    /// Where `two` can be reached.
    pub two_at: Whereabouts,
    pub folders: [tempfile::TempDir; 2],
}

pub async fn pair(settings: Settings) -> Pair {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (one_at, two_at) = (Whereabouts::default(), Whereabouts::default());
    let one = node(folders[0].path(), 1, 2, &two_at, Settings::default()).await;
    let two = node(folders[1].path(), 2, 1, &one_at, settings).await;
    *one_at.lock() = Some(one.address);
    *two_at.lock() = Some(two.address);
    Pair { one, two, two_at, folders }
}
