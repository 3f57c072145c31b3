//! The tables of `inbox.db`.

use rusqlite::Connection;

/// Pages of the log after which it is moved into the database: rarely enough that big batches are not each moved.
const CHECKPOINT_PAGES: u32 = 4_000;

/// The schema, one step for each format that was ever released.
///
/// Large columns come last: rows can then be looked through without reading them. `seen` outlives `message`: it is
/// what makes a retry harmless after the message was read and cleared. Its key is the sender and the ID as it is, no
/// hash: IDs that grow with time, as ours do, are then neighbours, and a batch of a thousand touches few pages.
pub const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE sender (number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, node INTEGER NOT NULL) STRICT;
    CREATE TABLE message (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, sender INTEGER NOT NULL, read INTEGER NOT NULL, kind TEXT NOT NULL,
        sent INTEGER NOT NULL, received INTEGER NOT NULL, id TEXT NOT NULL, data BLOB NOT NULL
    ) STRICT;
    CREATE TABLE seen (
        sender INTEGER NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (sender, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT, receiver BLOB NOT NULL, node INTEGER NOT NULL, id TEXT NOT NULL,
        kind TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL, attempts INTEGER NOT NULL,
        is_given_up INTEGER NOT NULL, problem TEXT NOT NULL, data BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX outbox_by_receiver ON outbox (receiver, id);
    CREATE INDEX outbox_in_order ON outbox (receiver, number);
    CREATE INDEX outbox_by_end ON outbox (expires);
    CREATE TABLE received (
        number INTEGER PRIMARY KEY, sender BLOB NOT NULL, node INTEGER NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL,
        size INTEGER NOT NULL, hash TEXT NOT NULL, path TEXT NOT NULL, at INTEGER NOT NULL, UNIQUE (sender, id)
    ) STRICT;
    CREATE TABLE task (
        number INTEGER PRIMARY KEY AUTOINCREMENT, direction TEXT NOT NULL, peer BLOB NOT NULL, node INTEGER NOT NULL,
        id TEXT NOT NULL, state TEXT NOT NULL, rank INTEGER NOT NULL, submitted INTEGER NOT NULL,
        deadline INTEGER NOT NULL, changed INTEGER NOT NULL, task BLOB NOT NULL, result BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX task_by_peer ON task (direction, peer, id);
    CREATE INDEX task_by_id ON task (id);
    CREATE INDEX task_by_end ON task (rank, deadline);
"];

/// Sets what is not kept in the file.
pub fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}
