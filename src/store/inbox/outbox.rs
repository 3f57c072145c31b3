//! The outbox: messages that wait for their receivers, each receiver's in the order in which they were sent.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::senders::Usage;
use super::{Batch, Fault, Kind, number, signed};
use crate::identity::{NodeId, PublicKey};

/// Messages whose attempts are counted: those that a connection would have carried first.
const COUNTED: u32 = 256;

/// A message to be put into the outbox.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Who is to get it.
    pub receiver: PublicKey,
    /// Its node ID.
    pub node: NodeId,
    /// Its ID; unique for a receiver.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub data: Bytes,
    /// When it was made, milliseconds since 1970.
    pub created: u64,
    /// When it is given up, milliseconds since 1970.
    pub expires: u64,
}

/// A message in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its place.
    pub number: i64,
    /// Who is to get it.
    pub receiver: PublicKey,
    /// Its node ID.
    pub node: NodeId,
    /// Its ID.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// What it says; empty in lists.
    pub data: Bytes,
    /// How long `data` is.
    pub size: u64,
    /// When it was made, milliseconds since 1970.
    pub created: u64,
    /// When it is given up, milliseconds since 1970.
    pub expires: u64,
    /// How often delivery was tried.
    pub attempts: u32,
    /// Why the last try failed.
    pub problem: String,
    /// Whether it is tried no more: the receiver will never take it.
    pub is_given_up: bool,
}

impl Batch<'_> {
    /// Puts a message at the end; gives its place. One that waits already under its ID keeps its place.
    ///
    /// # Errors
    /// The outbox is full, or the engine fails.
    pub fn enqueue(&mut self, message: &Outgoing) -> Result<i64, Fault> {
        if let Some(number) = self.waiting(message)? {
            return Ok(number);
        }
        let Usage { messages, bytes } = self.totals.outbox;
        let size = message.data.len();
        if messages >= self.limits.outbox_messages || bytes + size as u64 > self.limits.outbox_bytes {
            return Err(Fault::OutboxQuota { messages, bytes });
        }
        self.put(message)?;
        self.totals.outbox.add(size);
        Ok(self.connection.last_insert_rowid())
    }

    fn waiting(&self, message: &Outgoing) -> rusqlite::Result<Option<i64>> {
        let mut statement =
            self.connection.prepare_cached("SELECT number FROM outbox WHERE receiver = ?1 AND id = ?2")?;
        statement.query_row(params![message.receiver.as_bytes(), message.id], |row| row.get(0)).optional()
    }

    fn put(&self, message: &Outgoing) -> rusqlite::Result<usize> {
        self.connection
            .prepare_cached(
                "INSERT INTO outbox (receiver, node, id, kind, created, expires, attempts, is_given_up, problem, data)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, '', ?7)",
            )?
            .execute(params![
                message.receiver.as_bytes(),
                message.node.to_u64().cast_signed(),
                message.id,
                message.kind,
                signed(message.created),
                signed(message.expires),
                message.data.as_ref()
            ])
    }

    /// Removes messages that were delivered; gives how many there were.
    ///
    /// # Errors
    /// The engine fails.
    pub fn delivered(&mut self, numbers: &[i64]) -> Result<u64, Fault> {
        let list = vec!["?"; numbers.len()].join(",");
        self.remove(&format!("number IN ({list})"), numbers)
    }

    /// Removes messages by ID, whoever was to get them; gives how many there were.
    ///
    /// # Errors
    /// The engine fails.
    pub fn cancel(&mut self, ids: &[String]) -> Result<u64, Fault> {
        let list = vec!["?"; ids.len()].join(",");
        self.remove(&format!("id IN ({list})"), ids)
    }

    /// Removes messages whose time is over; gives how many there were.
    ///
    /// # Errors
    /// The engine fails.
    pub fn expire(&mut self, now: u64) -> Result<u64, Fault> {
        self.remove("expires <= ?", &[signed(now)])
    }

    fn remove<V: rusqlite::ToSql>(&mut self, condition: &str, values: &[V]) -> Result<u64, Fault> {
        let count = format!("SELECT count(*), coalesce(sum(length(data)), 0) FROM outbox WHERE {condition}");
        let gone = self.connection.prepare_cached(&count)?.query_row(params_from_iter(values), |row| {
            Ok(Usage { messages: row.get::<_, i64>(0)? as u64, bytes: row.get::<_, i64>(1)? as u64 })
        })?;
        let delete = format!("DELETE FROM outbox WHERE {condition}");
        self.connection.prepare_cached(&delete)?.execute(params_from_iter(values))?;
        self.totals.outbox.subtract(gone);
        Ok(gone.messages)
    }

    /// Notes why the first messages to a receiver could not be delivered.
    ///
    /// # Errors
    /// The engine fails.
    pub fn note_problem(&mut self, receiver: &PublicKey, problem: &str) -> Result<(), Fault> {
        self.connection
            .prepare_cached(
                "UPDATE outbox SET attempts = attempts + 1, problem = ?2 WHERE number IN (
                     SELECT number FROM outbox WHERE receiver = ?1 AND is_given_up = 0 ORDER BY number LIMIT ?3)",
            )?
            .execute(params![receiver.as_bytes(), problem, COUNTED])?;
        Ok(())
    }

    /// Notes that a receiver will never take a message: it stays, to be seen, until it expires.
    ///
    /// # Errors
    /// The engine fails.
    pub fn give_up(&mut self, number: i64, problem: &str) -> Result<(), Fault> {
        self.connection
            .prepare_cached(
                "UPDATE outbox SET attempts = attempts + 1, problem = ?2, is_given_up = 1 WHERE number = ?1",
            )?
            .execute(params![number, problem])?;
        Ok(())
    }
}

impl Waiting {
    /// Who has messages waiting.
    ///
    /// # Errors
    /// The engine fails.
    pub fn receivers(connection: &Connection) -> rusqlite::Result<Vec<PublicKey>> {
        let mut statement = connection.prepare_cached("SELECT DISTINCT receiver FROM outbox WHERE is_given_up = 0")?;
        statement.query_map((), |row| super::key(row, "receiver"))?.collect()
    }

    /// The messages for a receiver behind place `after`, in order; no further one once `bytes` are together.
    ///
    /// # Errors
    /// The engine fails.
    pub fn next(
        connection: &Connection,
        receiver: &PublicKey,
        after: i64,
        now: u64,
        bytes: usize,
    ) -> rusqlite::Result<Vec<Waiting>> {
        let mut statement = connection.prepare_cached(
            "SELECT *, length(data) AS size FROM outbox
             WHERE receiver = ?1 AND number > ?2 AND is_given_up = 0 AND expires > ?3 ORDER BY number LIMIT 256",
        )?;
        let mut rows = statement.query(params![receiver.as_bytes(), after, signed(now)])?;
        let (mut found, mut together) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let data: Vec<u8> = row.get("data")?;
            together += data.len();
            found.push(waiting(row, data.into())?);
            if together >= bytes {
                break;
            }
        }
        Ok(found)
    }

    /// All messages, or those to one receiver, oldest first, without their data.
    ///
    /// # Errors
    /// The engine fails.
    pub fn list(connection: &Connection, receiver: Option<&PublicKey>, limit: u32) -> rusqlite::Result<Vec<Waiting>> {
        let mut statement = connection.prepare_cached(
            "SELECT number, receiver, node, id, kind, created, expires, attempts, is_given_up, problem,
                 length(data) AS size FROM outbox WHERE ?1 IS NULL OR receiver = ?1 ORDER BY number LIMIT ?2",
        )?;
        let rows =
            statement.query_map(params![receiver.map(PublicKey::as_bytes), limit], |row| waiting(row, Bytes::new()))?;
        rows.collect()
    }

    /// When the next message expires.
    ///
    /// # Errors
    /// The engine fails.
    pub fn next_end(connection: &Connection) -> rusqlite::Result<Option<u64>> {
        let end: Option<i64> = connection.query_row("SELECT min(expires) FROM outbox", (), |row| row.get(0))?;
        Ok(end.map(i64::cast_unsigned))
    }
}

fn waiting(row: &Row<'_>, data: Bytes) -> rusqlite::Result<Waiting> {
    Ok(Waiting {
        number: row.get("number")?,
        receiver: super::key(row, "receiver")?,
        node: super::node(row, "node")?,
        id: row.get("id")?,
        kind: row.get("kind")?,
        data,
        size: number(row, "size")?,
        created: number(row, "created")?,
        expires: number(row, "expires")?,
        attempts: row.get("attempts")?,
        problem: row.get("problem")?,
        is_given_up: row.get("is_given_up")?,
    })
}
