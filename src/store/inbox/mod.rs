//! The durable inbox, outbox, received files and tasks of a node: `inbox.db`.
//!
//! Comes in: [`InboxStore::write`], steps that are durable when they are answered: all that wait at one moment become
//! one transaction and one sync of the disk. [`InboxStore::read`], which sees what is durable. Goes out: rows as the
//! types below, and a [`Fault`] for what the limits or the disk do not allow.
//!
//! Whom to accept messages from, what they may say and when to send them is left to the services.

mod fault;
mod files;
mod kind;
mod messages;
mod outbox;
mod schema;
mod seen;
mod senders;
mod tasks;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;

pub use fault::Fault;
pub use files::ReceivedFile;
pub use kind::Kind;
pub use messages::{Chosen, Delivery, Outcome, Query, StoredMessage};
pub use outbox::{Outgoing, Waiting};
pub use tasks::{Direction, TaskQuery, TaskRecord, TaskStep};
pub use writer::Batch;

use super::database::{self, DatabaseError};
use writer::Writer;

/// The file in the state folder.
pub const FILE_NAME: &str = "inbox.db";

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages in the inbox from one sender.
    pub sender_messages: u64,
    /// Bytes in the inbox from one sender.
    pub sender_bytes: u64,
    /// Messages in the inbox.
    pub messages: u64,
    /// Bytes in the inbox.
    pub bytes: u64,
    /// Messages in the outbox.
    pub outbox_messages: u64,
    /// Bytes in the outbox.
    pub outbox_bytes: u64,
    /// Tasks of one peer, each way.
    pub peer_tasks: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            sender_messages: 100_000,
            sender_bytes: 256 << 20,
            messages: 1_000_000,
            bytes: 1 << 30,
            outbox_messages: 100_000,
            outbox_bytes: 256 << 20,
            peer_tasks: 10_000,
        }
    }
}

/// The open database; clones are the same.
#[derive(Clone)]
pub struct InboxStore {
    writer: Writer,
    reader: Arc<Mutex<Connection>>,
}

/// What was found at the start.
pub struct Opened {
    /// The open database.
    pub store: InboxStore,
    /// Where a damaged former database is now, if there was one: the new one is empty then.
    pub kept_aside: Option<PathBuf>,
}

impl InboxStore {
    /// Opens the database in a folder, or makes it.
    ///
    /// # Errors
    /// It cannot be opened, made or understood.
    pub fn open(folder: &Path, limits: Limits) -> Result<Opened, DatabaseError> {
        let path = folder.join(FILE_NAME);
        let opened = database::open(&path, &schema::MIGRATIONS, senders::Totals::load)?;
        let fail = |source| DatabaseError::Engine { attempt: "open", path: path.clone(), source };
        schema::tune(&opened.connection).map_err(fail)?;
        let reader = Connection::open(&path).map_err(fail)?;
        schema::tune(&reader).map_err(fail)?;
        reader.pragma_update(None, "query_only", true).map_err(fail)?;
        let writer = Writer::start(opened.connection, opened.content, limits)
            .map_err(|error| database::DatabaseError::File(super::files::FileError::new("write", &path, error)))?;
        let store = InboxStore { writer, reader: Arc::new(Mutex::new(reader)) };
        Ok(Opened { store, kept_aside: opened.kept_aside })
    }

    /// Carries `step` out together with all others that wait; it is durable when this returns `Ok`.
    ///
    /// A step that gives a [`Fault`] of the limits must not have changed anything. `bytes` is about how much memory it
    /// holds: what waits is bounded. Dropping the future does not undo the step.
    ///
    /// # Errors
    /// What the step says; `DiskFull` or `Engine` where the transaction failed: nothing of it is kept.
    pub async fn write<T, F>(&self, bytes: usize, step: F) -> Result<T, Fault>
    where
        F: FnOnce(&mut Batch<'_>) -> Result<T, Fault> + Send + 'static,
        T: Send + 'static,
    {
        self.writer.write(bytes, step).await
    }

    /// Counts transactions: changes when something new can be read.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.writer.changes()
    }

    /// Reads what is durable, off the async threads.
    ///
    /// # Errors
    /// The engine fails.
    pub async fn read<T, F>(&self, query: F) -> Result<T, Fault>
    where
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let reader = self.reader.clone();
        let read = tokio::task::spawn_blocking(move || query(&reader.lock()));
        read.await.map_err(|_| Fault::Stopped)?.map_err(Fault::from)
    }
}

/// SQLite's numbers are signed; ours are times and counts, far from either end.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of a row: times and counts are never negative.
fn number(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(database::unreadable)
}

/// A key of a row.
fn key(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<crate::identity::PublicKey> {
    crate::identity::PublicKey::from_bytes(row.get(column)?).map_err(database::unreadable)
}

/// A node ID of a row.
fn node(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<crate::identity::NodeId> {
    crate::identity::NodeId::from_u64(number(row, column)?).map_err(database::unreadable)
}
