//! Turns the crank of the directory machine on a thread of its own, where waiting for the disk delays nobody else.
//!
//! Comes in: events of the links, derived node IDs, the time, questions for counters. Goes out: what the machine asks
//! for. All inputs at hand are taken together and saved in one transaction; only then is anything sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep_until;
use tracing::error;

use super::StartError;
use super::udp::Forwarding;
use crate::identity::{NodeId, PublicKey};
use crate::link::server::ServerEvent;
use crate::rendezvous::directory::{Change, Counters, Directory, MAX_DERIVING, Output, SessionId, Settings};
use crate::store::lock::Lock;
use crate::store::rendezvous::{Opened, RendezvousStore};
use crate::wire::Now;
use crate::wire::rendezvous::ServerMessage;

/// The most events that are taken together.
const BATCH: usize = 256;
/// Questions for counters that wait.
const QUESTIONS: usize = 16;

/// A question for the counters: where the answer goes.
pub type Question = oneshot::Sender<Counters>;

/// The machine with what it needs around it.
pub struct DirectoryLoop {
    directory: Directory,
    store: RendezvousStore,
    forwarding: Arc<Forwarding>,
    outgoing: BTreeMap<SessionId, mpsc::Sender<ServerMessage>>,
    to_derive: mpsc::Sender<PublicKey>,
    derived: mpsc::Receiver<(PublicKey, NodeId)>,
    questions: mpsc::Receiver<Question>,
    changes: Vec<Change>,
    pending: Vec<Output>,
    deadline: Instant,
    _lock: Lock,
}

impl DirectoryLoop {
    /// A directory with what was saved; derivations run among `tasks`. Questions go to the sender that is returned.
    pub fn new(
        settings: Settings,
        opened: Opened,
        forwarding: Arc<Forwarding>,
        lock: Lock,
        tasks: &mut JoinSet<()>,
    ) -> (DirectoryLoop, mpsc::Sender<Question>) {
        let (asking, questions) = mpsc::channel(QUESTIONS);
        let (to_derive, keys) = mpsc::channel(MAX_DERIVING);
        let (results, derived) = mpsc::channel(MAX_DERIVING);
        tasks.spawn(derive_each(keys, results));
        let directory = DirectoryLoop {
            directory: Directory::new(settings, opened.saved, now()),
            store: opened.store,
            forwarding,
            outgoing: BTreeMap::new(),
            to_derive,
            derived,
            questions,
            changes: Vec::new(),
            pending: Vec::new(),
            deadline: Instant::now(),
            _lock: lock,
        };
        (directory, asking)
    }

    /// Runs until all senders of `links` are gone; the database is closed and the lock free when the thread ends.
    pub fn run_on_thread(self, links: mpsc::Receiver<ServerEvent>) -> Result<JoinHandle<()>, StartError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(StartError::Thread)?;
        let thread = std::thread::Builder::new().name("directory".into());
        thread.spawn(move || runtime.block_on(self.run(links))).map_err(StartError::Thread)
    }

    async fn run(mut self, mut links: mpsc::Receiver<ServerEvent>) {
        loop {
            let deadline = self.deadline.into();
            tokio::select! {
                event = links.recv() => match event {
                    Some(event) => self.take_batch(event, &mut links),
                    None => return,
                },
                Some((key, node)) = self.derived.recv() => self.directory.handle_derived(now(), key, node),
                Some(question) = self.questions.recv() => {
                    // Who no longer waits for the answer needs none.
                    let _ = question.send(self.directory.counters());
                }
                () = sleep_until(deadline) => self.directory.handle_timeout(now()),
            }
            self.drain();
            self.carry_out();
        }
    }

    fn take_batch(&mut self, first: ServerEvent, links: &mut mpsc::Receiver<ServerEvent>) {
        self.take(first);
        for _ in 1..BATCH {
            let Ok(event) = links.try_recv() else {
                return;
            };
            self.drain();
            self.take(event);
        }
    }

    fn take(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Connected { session, key, outgoing } => {
                self.outgoing.insert(session, outgoing);
                self.directory.connected(now(), session, key);
            }
            ServerEvent::Message(session, message) => self.directory.message(now(), session, message),
            ServerEvent::Disconnected(session) => {
                self.outgoing.remove(&session);
                self.directory.disconnected(now(), session);
            }
        }
    }

    /// Empties the machine after one input.
    fn drain(&mut self) {
        loop {
            match self.directory.poll_output() {
                Output::Save(change) => self.changes.push(change),
                Output::Wait { deadline, .. } => {
                    self.deadline = deadline;
                    return;
                }
                output => self.pending.push(output),
            }
        }
    }

    /// Saves first. Should the disk fail, connected nodes are served on; what was not saved is lost at a restart.
    fn carry_out(&mut self) {
        if !self.changes.is_empty() {
            if let Err(failure) = self.store.apply(&self.changes) {
                error!("{} changes of the directory are not saved: {failure}", self.changes.len());
            }
            self.changes.clear();
        }
        for output in std::mem::take(&mut self.pending) {
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Send(session, message) => {
                if let Some(outgoing) = self.outgoing.get(&session) {
                    // A full queue is that of a node which does not read: durable items come again at its next login.
                    let _ = outgoing.try_send(message);
                }
            }
            Output::Close(session) => {
                self.outgoing.remove(&session);
            }
            Output::OpenRelay(key, credential) => self.forwarding.relay().open(Instant::now(), key, credential),
            Output::CloseRelay(session) => self.forwarding.relay().close(session),
            Output::Derive(key) => {
                // The queue holds as many as the directory asks for at once.
                let _ = self.to_derive.try_send(key);
            }
            Output::Save(_) | Output::Wait { .. } => {}
        }
    }
}

/// One at a time: each takes 19 MiB and some 15 ms.
async fn derive_each(mut keys: mpsc::Receiver<PublicKey>, results: mpsc::Sender<(PublicKey, NodeId)>) {
    while let Some(key) = keys.recv().await {
        let Ok(node) = spawn_blocking(move || NodeId::derive(&key)).await else {
            return;
        };
        if results.send((key, node)).await.is_err() {
            return;
        }
    }
}

fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { monotonic: Instant::now(), unix_millis: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) }
}
