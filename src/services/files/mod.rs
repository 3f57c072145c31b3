//! Files of any size, from trusted nodes into the folder `received`; beside the messages on port 1001.
//!
//! In: a file in pieces, under an ID of the sender's choice, so that it can go on after a break. Out: the file under
//! `received/NODE/NAME`, whole and checked, on disk before the sender is told, and a message of type `file` in the
//! inbox. What is not complete lies under `received/.partial/NODE/` and is removed after a week.

mod finish;
mod http;
mod name;
mod partial;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::inbox::{Inbox, refusal};
use crate::control::Error;
use crate::identity::PublicKey;
use crate::services::directory::Member;
use crate::store::inbox::ReceivedFile;
use partial::{Partial, Progress};

/// How often old pieces are looked for.
const SWEEP: Duration = Duration::from_secs(3_600);

/// What is taken.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The largest file, bytes.
    pub max_file: u64,
    /// Bytes of all files of one sender that are still in `received`.
    pub sender_bytes: u64,
    /// Files of one sender that are not complete.
    pub partial_files: usize,
    /// How long a file that is not complete is kept after its last piece.
    pub partial_age: Duration,
    /// How long a sender may be silent in the middle of a piece.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_file: 1 << 40,
            sender_bytes: 1 << 40,
            partial_files: 64,
            partial_age: Duration::from_secs(7 * 86_400),
            patience: Duration::from_secs(60),
        }
    }
}

/// A file that is being received: one request at a time works on it.
type Slot = Arc<tokio::sync::Mutex<Progress>>;

/// The files of this node; clones are the same.
#[derive(Clone)]
pub struct Files {
    settings: Settings,
    folder: PathBuf,
    inbox: Inbox,
    slots: Arc<Mutex<HashMap<(PublicKey, String), Slot>>>,
}

impl Files {
    /// Files in `received` of a state folder, told to `inbox`.
    pub fn new(settings: Settings, state: &Path, inbox: Inbox) -> Files {
        Files { settings, folder: state.join("received"), inbox, slots: Arc::default() }
    }

    /// What HTTP callers reach.
    pub fn router(&self) -> axum::Router {
        http::router(self.clone())
    }

    /// Removes what was begun and not completed, until the future is dropped.
    pub async fn run(self) {
        loop {
            let (folder, age) = (self.folder.clone(), self.settings.partial_age);
            // A sweep that fails is tried again; nothing depends on it.
            let _ = tokio::task::spawn_blocking(move || partial::sweep(&folder, age)).await;
            self.slots.lock().retain(|_, slot| Arc::strong_count(slot) > 1);
            tokio::time::sleep(SWEEP).await;
        }
    }

    /// Begins a file, or finds out how much of it is there.
    ///
    /// # Errors
    /// `bad_argument`, `too_large`, `quota_exceeded`, `disk_full`.
    pub async fn begin(&self, sender: &Member, id: &str, name: &str, size: u64) -> Result<u64, Error> {
        if let Some(done) = self.find(sender, id).await? {
            return Ok(done.size);
        }
        if size > self.settings.max_file {
            let most = self.settings.max_file;
            return Err(Error::new("too_large", format!("the file has {size} bytes, at most {most} are taken")));
        }
        self.check_share(sender, size).await?;
        let (partial, name, most) = (self.partial(sender, id), name::safe(name), self.settings.partial_files);
        blocking(move || partial.begin(&name, size, most)).await
    }

    async fn find(&self, sender: &Member, id: &str) -> Result<Option<ReceivedFile>, Error> {
        let (key, id) = (sender.key, id.to_owned());
        let found = self.inbox.store().read(move |connection| ReceivedFile::find(connection, &key, &id)).await;
        found.map_err(|fault| refusal(&fault))
    }

    /// Files that were taken away from `received` no longer count.
    async fn check_share(&self, sender: &Member, size: u64) -> Result<(), Error> {
        let key = sender.key;
        let all = self.inbox.store().read(move |connection| ReceivedFile::of_sender(connection, &key)).await;
        let all = all.map_err(|fault| refusal(&fault))?;
        let held = blocking(move || Ok(all.iter().filter(|file| file.path.exists()).map(|file| file.size).sum())).await;
        let held: u64 = held?;
        if held.saturating_add(size) <= self.settings.sender_bytes {
            return Ok(());
        }
        Err(Error::new("quota_exceeded", format!("{held} bytes of files of this sender are in the folder `received`"))
            .hint("it is free again when their owner moves or removes them"))
    }

    fn partial(&self, sender: &Member, id: &str) -> Partial {
        Partial::new(&self.folder, sender, id)
    }

    /// The right to work on a file.
    fn slot(&self, sender: &Member, id: &str) -> Result<tokio::sync::OwnedMutexGuard<Progress>, Error> {
        let slot = self.slots.lock().entry((sender.key, id.to_owned())).or_default().clone();
        slot.try_lock_owned().map_err(|_| {
            Error::new("wrong_state", format!("another request is writing file {id}")).hint("wait for it, or try again")
        })
    }

    fn forget(&self, sender: &Member, id: &str) {
        self.slots.lock().remove(&(sender.key, id.to_owned()));
    }
}

/// Work with files, off the async threads.
async fn blocking<T, F>(work: F) -> Result<T, Error>
where
    F: FnOnce() -> Result<T, Error> + Send + 'static,
    T: Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::new("internal", error.to_string()))?
}

/// What a caller is told when the disk does not do what it should.
fn failed(attempt: &str, error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Error::new("disk_full", format!("cannot {attempt}: the disk is full"))
                .hint("free some space in the state folder, then go on where it stopped")
        }
        _ => Error::new("internal", format!("cannot {attempt}: {error}")),
    }
}
