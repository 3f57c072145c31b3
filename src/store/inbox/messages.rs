//! Messages: what comes in, what is listed, read and cleared.

use bytes::Bytes;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::senders::{Sender, Usage};
use super::{Batch, Fault, Kind, TaskStep, number, signed};
use crate::identity::{NodeId, PublicKey};

/// A message that comes in.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Whose it is, proven.
    pub sender: PublicKey,
    /// Its node ID.
    pub node: NodeId,
    /// Chosen by the sender: one that was seen before is a retry.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub data: Bytes,
    /// When it was made, milliseconds since 1970.
    pub sent: u64,
    /// Now, milliseconds since 1970.
    pub received: u64,
    /// What it does to a task, in the same transaction.
    pub task: Option<TaskStep>,
    /// Whether it is listed in the inbox, or only carried out and remembered.
    pub is_kept: bool,
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has this place; 0 where it is not kept.
    Stored(u64),
    /// It was here before.
    Duplicate,
    /// A limit is reached: it was not taken.
    Refused(Fault),
}

/// A message in the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its place.
    pub seq: u64,
    /// Whose it is.
    pub sender: PublicKey,
    /// Its node ID.
    pub node: NodeId,
    /// Chosen by the sender.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub data: Bytes,
    /// When it was made, milliseconds since 1970.
    pub sent: u64,
    /// When it came, milliseconds since 1970.
    pub received: u64,
    /// Whether it was acknowledged.
    pub is_read: bool,
}

/// Which messages; what is not set matches everything.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Of this sender.
    pub from: Option<PublicKey>,
    /// Of this type.
    pub kind: Option<Kind>,
    /// After this place.
    pub after: u64,
    /// Only those not acknowledged.
    pub unread: bool,
    /// With one of these IDs; empty for all.
    pub ids: Vec<String>,
    /// At most this many.
    pub limit: usize,
    /// No further message once this many bytes are together.
    pub bytes: usize,
}

/// Which messages to clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// Those with these IDs.
    Ids(Vec<String>),
    /// Those in these places.
    Places(Vec<u64>),
    /// Those that were acknowledged.
    Read,
    /// All.
    All,
}

impl Batch<'_> {
    /// Takes messages in their order. Behind one that a limit refuses none of them is taken: the sender comes again
    /// with the rest in the same order.
    ///
    /// # Errors
    /// The engine fails; nothing of the transaction is kept then.
    pub fn deliver(&mut self, deliveries: &[Delivery]) -> Result<Vec<Outcome>, Fault> {
        let mut outcomes = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let outcome = match outcomes.last() {
                Some(Outcome::Refused(fault)) => Outcome::Refused(Fault::clone(fault)),
                _ => self.take(delivery)?,
            };
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    fn take(&mut self, delivery: &Delivery) -> Result<Outcome, Fault> {
        let sender = self.totals.sender(self.connection, delivery.sender, delivery.node)?;
        if let Some(fault) = self.excess(delivery, sender)? {
            let was_here = self.has_seen(sender.number, &delivery.id)?;
            return Ok(if was_here { Outcome::Duplicate } else { Outcome::Refused(fault) });
        }
        if !self.see(sender.number, &delivery.id, delivery.received)? {
            return Ok(Outcome::Duplicate);
        }
        if let Some(step) = &delivery.task {
            self.step_task(step)?;
        }
        if !delivery.is_kept {
            return Ok(Outcome::Stored(0));
        }
        self.insert(sender.number, delivery)?;
        self.totals.add(&delivery.sender, delivery.data.len());
        Ok(Outcome::Stored(self.connection.last_insert_rowid().cast_unsigned()))
    }

    /// The limit that stands against a message.
    fn excess(&self, delivery: &Delivery, sender: Sender) -> Result<Option<Fault>, Fault> {
        if let Some(step) = &delivery.task
            && let Some(fault) = self.too_many_tasks(step)?
        {
            return Ok(Some(fault));
        }
        if !delivery.is_kept {
            return Ok(None);
        }
        let (limits, size) = (self.limits, delivery.data.len() as u64);
        let Usage { messages, bytes } = sender.usage;
        if messages >= limits.sender_messages || bytes + size > limits.sender_bytes {
            return Ok(Some(Fault::SenderQuota { messages, bytes }));
        }
        let Usage { messages, bytes } = self.totals.inbox;
        let is_full = messages >= limits.messages || bytes + size > limits.bytes;
        Ok(is_full.then_some(Fault::InboxQuota { messages, bytes }))
    }

    fn insert(&self, sender: i64, delivery: &Delivery) -> rusqlite::Result<usize> {
        self.connection
            .prepare_cached(
                "INSERT INTO message (sender, read, kind, sent, received, id, data) VALUES (?1, 0, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                sender,
                delivery.kind,
                signed(delivery.sent),
                signed(delivery.received),
                delivery.id,
                delivery.data.as_ref()
            ])
    }

    /// Marks messages as read; gives how many were not before.
    ///
    /// # Errors
    /// The engine fails.
    pub fn acknowledge(&mut self, ids: &[String]) -> Result<u64, Fault> {
        let list = params_from_iter(ids);
        let statement = format!("UPDATE message SET read = 1 WHERE read = 0 AND id IN ({})", marks(ids.len()));
        Ok(self.connection.execute(&statement, list)? as u64)
    }

    /// Removes messages for good; gives how many.
    ///
    /// # Errors
    /// The engine fails.
    pub fn clear(&mut self, chosen: &Chosen) -> Result<u64, Fault> {
        let (condition, values) = chosen.condition();
        let gone = self.usage_of(&condition, &values)?;
        let deleted =
            self.connection.execute(&format!("DELETE FROM message WHERE {condition}"), params_from_iter(&values))?;
        for (sender, usage) in gone {
            self.totals.subtract(sender, usage);
        }
        Ok(deleted as u64)
    }

    fn usage_of(&self, condition: &str, values: &[Value]) -> rusqlite::Result<Vec<(i64, Usage)>> {
        let statement =
            format!("SELECT sender, count(*), sum(length(data)) FROM message WHERE {condition} GROUP BY sender");
        let mut statement = self.connection.prepare(&statement)?;
        let rows = statement.query_map(params_from_iter(values), |row| {
            Ok((row.get(0)?, Usage { messages: row.get::<_, i64>(1)? as u64, bytes: row.get::<_, i64>(2)? as u64 }))
        })?;
        rows.collect()
    }
}

impl Chosen {
    fn condition(&self) -> (String, Vec<Value>) {
        match self {
            Chosen::Ids(ids) => {
                (format!("id IN ({})", marks(ids.len())), ids.iter().cloned().map(Value::Text).collect())
            }
            Chosen::Places(places) => {
                let values = places.iter().map(|place| Value::Integer(signed(*place))).collect();
                (format!("seq IN ({})", marks(places.len())), values)
            }
            Chosen::Read => ("read = 1".to_owned(), Vec::new()),
            Chosen::All => ("true".to_owned(), Vec::new()),
        }
    }
}

/// `?,?,?`
fn marks(count: usize) -> String {
    vec!["?"; count].join(",")
}

impl Query {
    /// The messages that match, oldest first.
    ///
    /// # Errors
    /// The engine fails.
    pub fn run(&self, connection: &Connection) -> rusqlite::Result<Vec<StoredMessage>> {
        let (statement, values) = self.statement();
        let mut statement = connection.prepare_cached(&statement)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let message = message(row)?;
            bytes += message.data.len();
            found.push(message);
            if bytes >= self.bytes {
                break;
            }
        }
        Ok(found)
    }

    fn statement(&self) -> (String, Vec<Value>) {
        let mut statement = "SELECT message.*, key, node FROM message JOIN sender ON sender.number = message.sender
            WHERE seq > ?"
            .to_owned();
        let mut values = vec![Value::Integer(signed(self.after))];
        if let Some(from) = &self.from {
            statement.push_str(" AND message.sender = (SELECT number FROM sender WHERE key = ?)");
            values.push(Value::Blob(from.as_bytes().to_vec()));
        }
        if let Some(kind) = self.kind {
            statement.push_str(" AND kind = ?");
            values.push(Value::Text(kind.as_str().to_owned()));
        }
        if self.unread {
            statement.push_str(" AND read = 0");
        }
        if !self.ids.is_empty() {
            statement.push_str(&format!(" AND id IN ({})", marks(self.ids.len())));
            values.extend(self.ids.iter().cloned().map(Value::Text));
        }
        statement.push_str(" ORDER BY seq LIMIT ?");
        values.push(Value::Integer(signed(self.limit as u64)));
        (statement, values)
    }
}

fn message(row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
    Ok(StoredMessage {
        seq: number(row, "seq")?,
        sender: super::key(row, "key")?,
        node: super::node(row, "node")?,
        id: row.get("id")?,
        kind: row.get("kind")?,
        data: row.get::<_, Vec<u8>>("data")?.into(),
        sent: number(row, "sent")?,
        received: number(row, "received")?,
        is_read: row.get("read")?,
    })
}
