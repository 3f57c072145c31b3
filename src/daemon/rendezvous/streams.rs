//! The relay over TLS: the streams of nodes whose UDP does not pass.
//!
//! Comes in: accepted streams, and frames for them from the relay. Goes out: their frames to the relay. A stream must
//! bind soon, and again and again; one that reads slowly loses the newest frames and holds nobody up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::udp::Forwarding;
use crate::identity::PublicKey;
use crate::link::{Carried, Incoming, Outlet};
use crate::rendezvous::relay::Endpoint;
use crate::wire::Drop;

/// How long a stream may take to bind a session.
const BINDING: Duration = Duration::from_secs(10);
/// How long a stream lives after its last Bind; nodes bind every 15 s while they use it.
const UNUSED: Duration = Duration::from_secs(120);

/// The open streams, one a node.
#[derive(Default)]
pub struct Streams {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last: u64,
    by_node: HashMap<PublicKey, (u64, Outlet)>,
}

impl Streams {
    /// Takes a stream in: its number. It ends the former one of the same node.
    fn add(&self, key: PublicKey, outgoing: Outlet) -> u64 {
        let mut open = self.open.lock();
        open.last += 1;
        let number = open.last;
        open.by_node.insert(key, (number, outgoing));
        number
    }

    /// Ends a stream, if it is still the node's.
    fn remove(&self, key: &PublicKey, number: u64) {
        let mut open = self.open.lock();
        if open.by_node.get(key).is_some_and(|(current, _)| *current == number) {
            open.by_node.remove(key);
        }
    }

    /// Queues a frame, if the stream is open and the sender's share of it has room; never waits.
    pub fn send(&self, number: u64, key: &PublicKey, sender: Endpoint, frame: &[u8]) -> Result<(), Drop> {
        let open = self.open.lock();
        let stream = open.by_node.get(key).filter(|(current, _)| *current == number);
        let (_, outgoing) = stream.ok_or(Drop::StreamFull)?;
        outgoing.send(sender, frame.to_vec())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.open.lock().by_node.len()
    }
}

/// Serves the streams that come in, each by a task of its own.
pub async fn serve(forwarding: Arc<Forwarding>, mut accepted: mpsc::Receiver<Carried>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            carried = accepted.recv() => match carried {
                Some(carried) => drop(tasks.spawn(carry(forwarding.clone(), carried))),
                None => return,
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

async fn carry(forwarding: Arc<Forwarding>, carried: Carried) {
    let Carried { key, outgoing, incoming } = carried;
    let number = forwarding.streams().add(key, outgoing);
    read_all(&forwarding, Endpoint::Stream { number, key }, incoming).await;
    forwarding.streams().remove(&key, number);
}

/// Until the node or a newer stream of it ends the stream, or it does not bind in time.
async fn read_all(forwarding: &Forwarding, from: Endpoint, mut incoming: Incoming) {
    let mut until = Instant::now() + BINDING;
    while let Ok(Some(frames)) = timeout_at(until, incoming.next()).await {
        for mut frame in frames {
            if forwarding.forward(from, &mut frame) == Some(from) {
                until = Instant::now() + UNUSED;
            }
        }
    }
}
