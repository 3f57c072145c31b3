//! Messages that survive crashes: port 1001, and the local socket.
//!
//! In: messages of trusted nodes, which are on disk before they are acknowledged; messages of local programs for other
//! nodes, which wait in the outbox until they are delivered or expire. Out: the inbox, to local programs alone.
//!
//! A message of type `task` is also carried out by the [`tasks`](super::tasks), in the same transaction.

mod delivery;
mod follow;
mod grpc;
mod http;
mod lines;
pub mod message;
mod receive;
mod refusal;
mod send;
#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

pub use delivery::Dial;
pub use receive::Receipt;
pub use refusal::refusal;
pub(super) use send::Also;
pub use send::{Sent, State};

use super::directory::Directory;
use super::door;
use crate::control::Error;
use crate::store::inbox::{InboxStore, Limits};
use delivery::{Answers, Wakes};

/// The TCP port.
pub const PORT: u16 = 1001;
/// The gRPC service behind it.
pub const SERVICE: &str = "pilot.v1.Inbox";
/// Days after which a message that was not delivered is given up, if its sender does not say otherwise.
const DEFAULT_DAYS: u64 = 7;
/// Days for which a message is kept at most. IDs are remembered for longer.
const LONGEST_DAYS: u64 = 30;
const DAY_SECS: u64 = 86_400;

/// What the inbox bears.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How much it keeps.
    pub limits: Limits,
    /// The longest message, bytes.
    pub max_message: usize,
    /// Messages on the way to one receiver that it has not acknowledged.
    pub in_flight: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { limits: Limits::default(), max_message: 1 << 20, in_flight: 256 }
    }
}

/// What happened since the start.
#[derive(Default)]
struct Counters {
    received: AtomicU64,
    duplicates: AtomicU64,
    refused: AtomicU64,
    queued: AtomicU64,
    delivered: AtomicU64,
    given_up: AtomicU64,
    expired: AtomicU64,
}

fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// The inbox and outbox of this node; clones are the same.
#[derive(Clone)]
pub struct Inbox {
    settings: Settings,
    store: InboxStore,
    directory: Directory,
    dial: Dial,
    wakes: Arc<Wakes>,
    answers: Arc<Answers>,
    counters: Arc<Counters>,
}

impl Inbox {
    /// Opens the inbox in a state folder. `dial` reaches other nodes.
    ///
    /// # Errors
    /// `start_failed`: the database cannot be opened. A damaged one is kept aside, which is logged.
    pub fn open(settings: Settings, folder: &Path, directory: Directory, dial: Dial) -> Result<Inbox, Error> {
        let opened = InboxStore::open(folder, settings.limits)
            .map_err(|error| Error::new("start_failed", format!("the inbox: {error}")))?;
        if let Some(path) = opened.kept_aside {
            tracing::error!("the inbox database was damaged: it is kept at {}, a new one is begun", path.display());
        }
        Ok(Inbox {
            settings,
            store: opened.store,
            directory,
            dial,
            wakes: Arc::default(),
            answers: Arc::default(),
            counters: Arc::default(),
        })
    }

    /// What HTTP and gRPC callers reach.
    pub fn router(&self) -> axum::Router {
        http::router(self.clone()).merge(door::grpc(grpc::service(self.clone())))
    }

    /// What those reach who speak JSON lines.
    pub fn lines(&self) -> Arc<dyn door::Lines> {
        Arc::new(lines::Deliveries(self.clone()))
    }

    /// Delivers what is in the outbox, and forgets what is over, until the future is dropped.
    pub async fn run(self) {
        delivery::run(self).await;
    }

    /// Counts what becomes durable: changes when there may be a new message.
    pub fn stored(&self) -> watch::Receiver<u64> {
        self.store.changes()
    }

    /// The database, for services that keep their records beside the messages.
    pub(super) fn store(&self) -> &InboxStore {
        &self.store
    }

    /// Who there is.
    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The longest message, bytes.
    pub(super) fn max_message(&self) -> usize {
        self.settings.max_message
    }

    /// What happened since the start, as JSON.
    pub fn counters(&self) -> serde_json::Value {
        let counters = &self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        serde_json::json!({
            "received": read(&counters.received), "duplicates": read(&counters.duplicates),
            "refused": read(&counters.refused), "queued": read(&counters.queued),
            "delivered": read(&counters.delivered), "given_up": read(&counters.given_up),
            "expired": read(&counters.expired)})
    }
}
