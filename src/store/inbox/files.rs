//! Files that came: what they are called and where they lie.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Batch, Fault, number, signed};
use crate::identity::{NodeId, PublicKey};

/// A file that came, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedFile {
    /// Whose it is.
    pub sender: PublicKey,
    /// Its node ID.
    pub node: NodeId,
    /// Chosen by the sender.
    pub id: String,
    /// As the sender calls it.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of the whole, hex.
    pub hash: String,
    /// Where it lies.
    pub path: PathBuf,
    /// When it came, milliseconds since 1970.
    pub at: u64,
}

impl Batch<'_> {
    /// Enters a file that came; one that was entered before stays as it is.
    ///
    /// # Errors
    /// The engine fails.
    pub fn put_file(&mut self, file: &ReceivedFile) -> Result<(), Fault> {
        self.connection
            .prepare_cached(
                "INSERT OR IGNORE INTO received (sender, node, id, name, size, hash, path, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                file.sender.as_bytes(),
                file.node.to_u64().cast_signed(),
                file.id,
                file.name,
                signed(file.size),
                file.hash,
                file.path.to_string_lossy(),
                signed(file.at)
            ])?;
        Ok(())
    }
}

impl ReceivedFile {
    /// The file that a sender calls `id`, if it came.
    ///
    /// # Errors
    /// The engine fails.
    pub fn find(connection: &Connection, sender: &PublicKey, id: &str) -> rusqlite::Result<Option<ReceivedFile>> {
        let mut statement = connection.prepare_cached("SELECT * FROM received WHERE sender = ?1 AND id = ?2")?;
        statement.query_row(params![sender.as_bytes(), id], file).optional()
    }

    /// All files of a sender.
    ///
    /// # Errors
    /// The engine fails.
    pub fn of_sender(connection: &Connection, sender: &PublicKey) -> rusqlite::Result<Vec<ReceivedFile>> {
        let mut statement = connection.prepare_cached("SELECT * FROM received WHERE sender = ?1")?;
        statement.query_map([sender.as_bytes()], file)?.collect()
    }

    /// The last `limit` files that came, oldest first.
    ///
    /// # Errors
    /// The engine fails.
    pub fn list(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<ReceivedFile>> {
        let mut statement = connection
            .prepare_cached("SELECT * FROM (SELECT * FROM received ORDER BY number DESC LIMIT ?1) ORDER BY number")?;
        statement.query_map([limit], file)?.collect()
    }
}

fn file(row: &Row<'_>) -> rusqlite::Result<ReceivedFile> {
    Ok(ReceivedFile {
        sender: super::key(row, "sender")?,
        node: super::node(row, "node")?,
        id: row.get("id")?,
        name: row.get("name")?,
        size: number(row, "size")?,
        hash: row.get("hash")?,
        path: PathBuf::from(row.get::<_, String>("path")?),
        at: number(row, "at")?,
    })
}
