//! The state folder of a node: two keys, a database and a lock.

use super::database::{self, DatabaseError};
use super::files::{self, FileError};
use super::keys::{self, KeyError};
use super::lock::{Lock, LockError};
use super::rows;
use crate::identity::{Identity, TunnelSecret};
use crate::peer::record::{Change, Records};
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The open state folder; no other process uses it while this lives.
pub struct Store {
    connection: Connection,
    path: PathBuf,
    _lock: Lock,
}

/// What the folder held when it was opened.
#[derive(Debug)]
pub struct State {
    /// Who we are.
    pub identity: Identity,
    /// The key of our tunnels.
    pub tunnel: TunnelSecret,
    /// The serial of the tunnel key: when it was made, in milliseconds since 1970.
    pub tunnel_serial: u64,
    /// Trust and settings.
    pub records: Records,
    /// Where a damaged `state.db` went: `records` is empty then, and the user must be told loudly.
    pub kept_aside: Option<PathBuf>,
}

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or the folder could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Others may change what is in the folder.
    #[error(
        "{} can be written by other users, who could replace our identity: run chmod go-w on it, or name a folder of \
         our own with --state", folder.display()
    )]
    Writable {
        /// The state folder.
        folder: PathBuf,
    },
    /// Another process uses the folder.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A private key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Store {
    /// Opens the state in `folder`, made with fresh keys if there is none.
    pub fn open(folder: &Path) -> Result<(Store, State), StoreError> {
        let lock = claim(folder)?;
        let identity = keys::identity(folder)?;
        let (tunnel, tunnel_serial) = keys::tunnel(folder)?;
        let path = folder.join("state.db");
        let opened = database::open(&path, &rows::MIGRATIONS, rows::load)?;
        let state = State { identity, tunnel, tunnel_serial, records: opened.content, kept_aside: opened.kept_aside };
        Ok((Store { connection: opened.connection, path, _lock: lock }, state))
    }

    /// Makes one change durable; after an error the state is what it was.
    pub fn apply(&self, change: &Change) -> Result<(), StoreError> {
        rows::apply(&self.connection, change).map_err(|source| {
            let path = self.path.clone();
            DatabaseError::Engine { attempt: "save a change in", path, source }.into()
        })
    }
}

fn claim(folder: &Path) -> Result<Lock, StoreError> {
    files::make_directory(folder)?;
    let folder_error = |error| FileError::new("read the mode of", folder, error);
    let mode = fs::metadata(folder).map_err(folder_error)?.permissions().mode();
    if mode & 0o022 != 0 {
        return Err(StoreError::Writable { folder: folder.to_owned() });
    }
    Ok(Lock::acquire(&folder.join("lock"), "pilotd")?)
}

#[cfg(test)]
mod tests;
