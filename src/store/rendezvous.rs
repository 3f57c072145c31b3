//! What a rendezvous server remembers: registrations and mailboxes, in `rendezvous.db`.
//!
//! Comes in: the directory's [`Change`]s, durable on return. Goes out: the same as [`Saved`] at the next start.
//! A damaged file goes aside: its content is what nodes say again at their next login, apart from what waits in
//! mailboxes.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};

use super::database::{self, DatabaseError, unreadable};
use crate::identity::{Network, NodeId, PublicKey};
use crate::rendezvous::directory::{Change, Content, Item, Registration, Saved};

/// The file in the state folder.
pub const FILE_NAME: &str = "rendezvous.db";

/// The schema, one step for each format that was ever released.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE node (
        key BLOB PRIMARY KEY, id BLOB NOT NULL, network INTEGER NOT NULL, hostname TEXT, seen INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE item (
        number INTEGER PRIMARY KEY, network INTEGER NOT NULL, target TEXT NOT NULL, sender BLOB NOT NULL,
        is_statement INTEGER NOT NULL, content BLOB NOT NULL, expires INTEGER NOT NULL
    ) STRICT;
"];

/// The open database of one server.
pub struct RendezvousStore {
    connection: Connection,
    path: PathBuf,
}

/// What was found at the start.
pub struct Opened {
    /// The open database.
    pub store: RendezvousStore,
    /// Its content.
    pub saved: Saved,
    /// Where a damaged former database is now, if there was one: `saved` is empty then.
    pub kept_aside: Option<PathBuf>,
}

impl RendezvousStore {
    /// Opens the database in a folder, or makes it.
    pub fn open(folder: &Path) -> Result<Opened, DatabaseError> {
        let path = folder.join(FILE_NAME);
        let opened = database::open(&path, &MIGRATIONS, load)?;
        let connection = opened.connection;
        Ok(Opened { store: RendezvousStore { connection, path }, saved: opened.content, kept_aside: opened.kept_aside })
    }

    /// Makes changes durable, all or none.
    pub fn apply(&mut self, changes: &[Change]) -> Result<(), DatabaseError> {
        apply(&mut self.connection, changes).map_err(|source| DatabaseError::Engine {
            attempt: "save changes in",
            path: self.path.clone(),
            source,
        })
    }
}

fn load(connection: &Connection) -> rusqlite::Result<Saved> {
    let mut nodes = connection.prepare("SELECT * FROM node ORDER BY key")?;
    let mut items = connection.prepare("SELECT * FROM item ORDER BY number")?;
    Ok(Saved {
        registrations: nodes.query_map((), node)?.collect::<Result<_, _>>()?,
        items: items.query_map((), item)?.collect::<Result<_, _>>()?,
    })
}

fn node(row: &Row<'_>) -> rusqlite::Result<Registration> {
    let hostname: Option<String> = row.get("hostname")?;
    Ok(Registration {
        key: key(row, "key")?,
        id: NodeId::from_bytes(row.get("id")?),
        network: Network(row.get("network")?),
        hostname: hostname.map(|text| text.parse().map_err(unreadable)).transpose()?,
        seen: number(row, "seen")?,
    })
}

fn item(row: &Row<'_>) -> rusqlite::Result<(u64, Item)> {
    let target: String = row.get("target")?;
    let bytes = row.get("content")?;
    let item = Item {
        network: Network(row.get("network")?),
        target: target.parse().map_err(unreadable)?,
        sender: key(row, "sender")?,
        content: if row.get("is_statement")? { Content::Statement(bytes) } else { Content::Envelope(bytes) },
        expires: number(row, "expires")?,
    };
    Ok((number(row, "number")?, item))
}

fn key(row: &Row<'_>, column: &str) -> rusqlite::Result<PublicKey> {
    PublicKey::from_bytes(row.get(column)?).map_err(unreadable)
}

fn number(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(unreadable)
}

/// SQLite's numbers are signed; ours are times and counts, far from either end.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn apply(connection: &mut Connection, changes: &[Change]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for change in changes {
        carry_out(&transaction, change)?;
    }
    transaction.commit()
}

fn carry_out(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<usize> {
    let execute = |statement, values: &[&dyn rusqlite::ToSql]| transaction.prepare_cached(statement)?.execute(values);
    match change {
        Change::Register(node) => put_node(transaction, node),
        Change::Forget(key) => execute("DELETE FROM node WHERE key = ?1", params![key.as_bytes()]),
        Change::Store(number, item) => put_item(transaction, *number, item),
        Change::Remove(number) => execute("DELETE FROM item WHERE number = ?1", params![signed(*number)]),
    }
}

fn put_node(transaction: &Transaction<'_>, node: &Registration) -> rusqlite::Result<usize> {
    let hostname = node.hostname.as_ref().map(|name| name.as_str());
    transaction.prepare_cached("INSERT OR REPLACE INTO node VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        node.key.as_bytes(),
        node.id.to_bytes(),
        node.network.0,
        hostname,
        signed(node.seen)
    ])
}

fn put_item(transaction: &Transaction<'_>, number: u64, item: &Item) -> rusqlite::Result<usize> {
    transaction.prepare_cached("INSERT OR REPLACE INTO item VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(params![
        signed(number),
        item.network.0,
        item.target.to_string(),
        item.sender.as_bytes(),
        matches!(item.content, Content::Statement(_)),
        item.content.bytes(),
        signed(item.expires)
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Identity, Target};
    use rand_core::OsRng;

    fn someone() -> PublicKey {
        Identity::generate(&mut OsRng).public_key()
    }

    fn registration(hostname: Option<&str>) -> Registration {
        Registration {
            key: someone(),
            id: NodeId::from_bytes([1, 2, 3, 4, 5, 6]),
            network: Network(65535),
            hostname: hostname.map(|name| name.parse().unwrap()),
            seen: 1_800_000_000,
        }
    }

    fn items() -> Vec<(u64, Item)> {
        let id = NodeId::from_bytes([0xff; 6]);
        let name = "worker".parse().unwrap();
        let targets = [Target::Key(someone()), Target::Node(id), Target::Name(name)];
        let contents = [Content::Envelope(vec![0; 300]), Content::Statement(vec![]), Content::Statement(vec![9])];
        let item = |(target, content)| Item { network: Network(3), target, sender: someone(), content, expires: 5 };
        (1..).zip(targets.into_iter().zip(contents).map(item)).collect()
    }

    #[test]
    fn what_was_saved_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let (named, nameless) = (registration(Some("worker")), registration(None));
        let gone = registration(None);
        let items = items();
        let mut changes: Vec<_> = [&named, &nameless, &gone].map(|node| Change::Register(node.clone())).into();
        changes.extend(items.iter().map(|(number, item)| Change::Store(*number, item.clone())));
        changes.extend([Change::Forget(gone.key), Change::Remove(2)]);

        let mut opened = RendezvousStore::open(folder.path()).unwrap();
        assert_eq!(opened.saved, Saved::default());
        opened.store.apply(&changes).unwrap();
        drop(opened);

        let saved = RendezvousStore::open(folder.path()).unwrap().saved;
        let mut expected = vec![named, nameless];
        expected.sort_by_key(|node| node.key);
        assert_eq!(saved.registrations, expected);
        assert_eq!(saved.items, [items[0].clone(), items[2].clone()]);
    }

    #[test]
    fn a_row_that_names_nobody_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let mut opened = RendezvousStore::open(folder.path()).unwrap();
        opened.store.apply(&[Change::Register(registration(None))]).unwrap();
        let statement = "UPDATE node SET hostname = 'No Name'";
        opened.store.connection.execute(statement, ()).unwrap();
        drop(opened);
        let opened = RendezvousStore::open(folder.path()).unwrap();
        assert_eq!(opened.saved, Saved::default());
        assert!(opened.kept_aside.is_some());
    }
}
