//! Who has how much in the inbox, counted as it changes.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use crate::identity::{NodeId, PublicKey};

/// Messages and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many.
    pub messages: u64,
    /// How large together.
    pub bytes: u64,
}

impl Usage {
    /// With one more of `bytes`.
    pub fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }

    /// Without `other`.
    pub fn subtract(&mut self, other: Usage) {
        self.messages = self.messages.saturating_sub(other.messages);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// One sender.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    /// Its number in the database.
    pub number: i64,
    /// What it has in the inbox.
    pub usage: Usage,
}

/// The counts of the whole database.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// By the key of the sender.
    pub senders: HashMap<PublicKey, Sender>,
    /// The inbox.
    pub inbox: Usage,
    /// The outbox.
    pub outbox: Usage,
}

impl Totals {
    /// Counts what is in the database.
    pub fn load(connection: &Connection) -> rusqlite::Result<Totals> {
        let mut totals = Totals { outbox: outbox(connection)?, ..Totals::default() };
        let mut statement = connection.prepare(
            "SELECT number, key, count(seq), coalesce(sum(length(data)), 0)
             FROM sender LEFT JOIN message ON message.sender = sender.number GROUP BY number",
        )?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let key = super::key(row, "key")?;
            let usage = Usage { messages: row.get::<_, i64>(2)? as u64, bytes: row.get::<_, i64>(3)? as u64 };
            totals.inbox.messages += usage.messages;
            totals.inbox.bytes += usage.bytes;
            totals.senders.insert(key, Sender { number: row.get(0)?, usage });
        }
        Ok(totals)
    }

    /// The sender with `key`, entered where it is new.
    pub fn sender(&mut self, connection: &Connection, key: PublicKey, node: NodeId) -> rusqlite::Result<Sender> {
        if let Some(known) = self.senders.get(&key) {
            return Ok(*known);
        }
        connection
            .prepare_cached("INSERT INTO sender (key, node) VALUES (?1, ?2)")?
            .execute(params![key.as_bytes(), node.to_u64().cast_signed()])?;
        let sender = Sender { number: connection.last_insert_rowid(), usage: Usage::default() };
        self.senders.insert(key, sender);
        Ok(sender)
    }

    /// Counts a message of a known sender.
    pub fn add(&mut self, key: &PublicKey, bytes: usize) {
        self.inbox.add(bytes);
        if let Some(sender) = self.senders.get_mut(key) {
            sender.usage.add(bytes);
        }
    }

    /// Counts messages that went, of the sender with `number`.
    pub fn subtract(&mut self, number: i64, gone: Usage) {
        self.inbox.subtract(gone);
        if let Some(sender) = self.senders.values_mut().find(|sender| sender.number == number) {
            sender.usage.subtract(gone);
        }
    }
}

fn outbox(connection: &Connection) -> rusqlite::Result<Usage> {
    connection.query_row("SELECT count(*), coalesce(sum(length(data)), 0) FROM outbox", (), |row| {
        Ok(Usage { messages: row.get::<_, i64>(0)? as u64, bytes: row.get::<_, i64>(1)? as u64 })
    })
}
