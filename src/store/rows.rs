//! Records as rows of `state.db`, and back.
//!
//! Keys, nonces and secrets are blobs; names, targets and URLs are text as users write them; numbers of 64 bits are
//! stored with the same bits as SQLite's signed ones. A peer's grant of everything is no text, like terms that say nothing
//! of grants. A row that does not read back is damage.

use super::database::unreadable;
use crate::identity::{NodeId, PublicKey, TunnelCertificate, TunnelKey};
use crate::peer::Grant;
use crate::peer::record::{Change, InviteRecord, PeerRecord, PendingRecord, Records, RequestRecord, Terms, Via};
use rusqlite::{Connection, Row, params};
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;
use zeroize::Zeroizing;

/// The schema, one step for each format that was ever released.
pub const MIGRATIONS: [&str; 3] = [
    FIRST,
    "
    ALTER TABLE peer ADD COLUMN may_open TEXT;
    ALTER TABLE peer ADD COLUMN expires_unix_ms INTEGER;
",
    "
    ALTER TABLE request ADD COLUMN may_open TEXT;
    ALTER TABLE request ADD COLUMN lifetime_ms INTEGER;
    ALTER TABLE invite ADD COLUMN may_open TEXT;
    ALTER TABLE invite ADD COLUMN lifetime_ms INTEGER;
    ALTER TABLE invite ADD COLUMN admitted BLOB NOT NULL DEFAULT x'';
",
];

const FIRST: &str = "
    CREATE TABLE peer (
        key BLOB PRIMARY KEY, id INTEGER NOT NULL, hostname TEXT, since_unix_ms INTEGER NOT NULL, via TEXT NOT NULL,
        tunnel_key BLOB, tunnel_serial INTEGER, tunnel_signature BLOB, initiation_floor BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE pending (
        key BLOB PRIMARY KEY, id INTEGER NOT NULL, hostname TEXT, reason TEXT NOT NULL, at_unix_ms INTEGER NOT NULL,
        nonce BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE request (
        nonce BLOB PRIMARY KEY, target TEXT NOT NULL, reason TEXT NOT NULL, at_unix_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE invite (
        secret BLOB PRIMARY KEY, expires INTEGER NOT NULL, uses_left INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// Everything in the database.
pub fn load(connection: &Connection) -> rusqlite::Result<Records> {
    Ok(Records {
        peers: all(connection, "SELECT * FROM peer ORDER BY key", peer)?,
        pending: all(connection, "SELECT * FROM pending ORDER BY key", pending)?,
        requests: all(connection, "SELECT * FROM request ORDER BY nonce", request)?,
        invites: all(connection, "SELECT * FROM invite ORDER BY secret", invite)?,
        hostname: setting(connection, "hostname")?,
        rendezvous: setting(connection, "rendezvous")?,
    })
}

/// Carries out one change, as one transaction.
pub fn apply(connection: &Connection, change: &Change) -> rusqlite::Result<()> {
    let execute = |statement, values: &[&dyn rusqlite::ToSql]| connection.execute(statement, values);
    match change {
        Change::PutPeer(record) => put_peer(connection, record),
        Change::RemovePeer(key) => execute("DELETE FROM peer WHERE key = ?1", params![key.as_bytes()]),
        Change::SetFloor { key, floor } => {
            let statement = "UPDATE peer SET initiation_floor = ?2 WHERE key = ?1";
            execute(statement, params![key.as_bytes(), floor])
        }
        Change::PutPending(record) => put_pending(connection, record),
        Change::RemovePending(key) => execute("DELETE FROM pending WHERE key = ?1", params![key.as_bytes()]),
        Change::PutRequest(record) => put_request(connection, record),
        Change::RemoveRequest(nonce) => execute("DELETE FROM request WHERE nonce = ?1", params![nonce]),
        Change::PutInvite(record) => put_invite(connection, record),
        Change::RemoveInvite(record) => {
            execute("DELETE FROM invite WHERE secret = ?1", params![record.secret.as_slice()])
        }
        Change::SetHostname(name) => set(connection, "hostname", name.as_ref()),
        Change::SetRendezvous(url) => set(connection, "rendezvous", url.as_ref()),
    }
    .map(drop)
}

fn put_peer(connection: &Connection, record: &PeerRecord) -> rusqlite::Result<usize> {
    let tunnel = record.tunnel.as_ref();
    connection.execute(
        "INSERT OR REPLACE INTO peer VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            record.key.as_bytes(),
            record.id.to_u64().cast_signed(),
            text(record.hostname.as_ref()),
            record.since_unix_ms.cast_signed(),
            via_text(record.via),
            tunnel.map(|tunnel| *tunnel.key.as_bytes()),
            tunnel.map(|tunnel| tunnel.serial.cast_signed()),
            tunnel.map(|tunnel| tunnel.signature),
            record.initiation_floor,
            text(Some(&record.grant).filter(|grant| **grant != Grant::All)),
            record.expires_unix_ms.map(u64::cast_signed),
        ],
    )
}

fn peer(row: &Row<'_>) -> rusqlite::Result<PeerRecord> {
    Ok(PeerRecord {
        key: key(row, "key")?,
        id: id(row)?,
        hostname: parsed(row.get("hostname")?)?,
        since_unix_ms: number(row, "since_unix_ms")?,
        via: via(row)?,
        tunnel: tunnel(row)?,
        initiation_floor: row.get("initiation_floor")?,
        grant: parsed(row.get("may_open")?)?.unwrap_or_default(),
        expires_unix_ms: row.get::<_, Option<i64>>("expires_unix_ms")?.map(i64::cast_unsigned),
    })
}

fn tunnel(row: &Row<'_>) -> rusqlite::Result<Option<TunnelCertificate>> {
    let Some(key) = row.get("tunnel_key")? else {
        return Ok(None);
    };
    Ok(Some(TunnelCertificate {
        key: TunnelKey::from_bytes(key),
        serial: number(row, "tunnel_serial")?,
        signature: row.get("tunnel_signature")?,
    }))
}

fn put_pending(connection: &Connection, record: &PendingRecord) -> rusqlite::Result<usize> {
    connection.execute(
        "INSERT OR REPLACE INTO pending VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            record.key.as_bytes(),
            record.id.to_u64().cast_signed(),
            text(record.hostname.as_ref()),
            record.reason,
            record.at_unix_ms.cast_signed(),
            record.nonce,
        ],
    )
}

fn pending(row: &Row<'_>) -> rusqlite::Result<PendingRecord> {
    Ok(PendingRecord {
        key: key(row, "key")?,
        id: id(row)?,
        hostname: parsed(row.get("hostname")?)?,
        reason: row.get("reason")?,
        at_unix_ms: number(row, "at_unix_ms")?,
        nonce: row.get("nonce")?,
    })
}

fn put_request(connection: &Connection, record: &RequestRecord) -> rusqlite::Result<usize> {
    connection.execute(
        "INSERT OR REPLACE INTO request VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            record.nonce,
            record.target.to_string(),
            record.reason,
            record.at_unix_ms.cast_signed(),
            text(record.terms.grant.as_ref()),
            lifetime_ms(&record.terms),
        ],
    )
}

fn request(row: &Row<'_>) -> rusqlite::Result<RequestRecord> {
    let target: String = row.get("target")?;
    Ok(RequestRecord {
        nonce: row.get("nonce")?,
        target: target.parse().map_err(unreadable)?,
        reason: row.get("reason")?,
        at_unix_ms: number(row, "at_unix_ms")?,
        terms: terms(row)?,
    })
}

fn put_invite(connection: &Connection, record: &InviteRecord) -> rusqlite::Result<usize> {
    connection.execute(
        "INSERT OR REPLACE INTO invite VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            record.secret.as_slice(),
            record.expires.cast_signed(),
            record.uses_left,
            text(record.terms.grant.as_ref()),
            lifetime_ms(&record.terms),
            record.admitted.as_flattened(),
        ],
    )
}

fn invite(row: &Row<'_>) -> rusqlite::Result<InviteRecord> {
    Ok(InviteRecord {
        secret: Zeroizing::new(row.get("secret")?),
        expires: number(row, "expires")?,
        uses_left: row.get("uses_left")?,
        admitted: admitted(row)?,
        terms: terms(row)?,
    })
}

/// Keys of 32 bytes, one after the other.
fn admitted(row: &Row<'_>) -> rusqlite::Result<Vec<[u8; 32]>> {
    let bytes: Vec<u8> = row.get("admitted")?;
    match bytes.as_chunks() {
        (keys, []) => Ok(keys.to_vec()),
        (_, rest) => Err(unreadable(format!("{} bytes are no key", rest.len()))),
    }
}

fn terms(row: &Row<'_>) -> rusqlite::Result<Terms> {
    let millis: Option<i64> = row.get("lifetime_ms")?;
    Ok(Terms {
        grant: parsed(row.get("may_open")?)?,
        lifetime: millis.map(i64::cast_unsigned).map(Duration::from_millis),
    })
}

fn lifetime_ms(terms: &Terms) -> Option<i64> {
    let millis = terms.lifetime.map(|lifetime| u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX));
    millis.map(u64::cast_signed)
}

fn set(connection: &Connection, name: &str, value: Option<&impl Display>) -> rusqlite::Result<usize> {
    match value {
        Some(value) => {
            connection.execute("INSERT OR REPLACE INTO setting VALUES (?1, ?2)", params![name, value.to_string()])
        }
        None => connection.execute("DELETE FROM setting WHERE name = ?1", [name]),
    }
}

fn setting<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    connection: &Connection,
    name: &str,
) -> rusqlite::Result<Option<T>> {
    let mut statement = connection.prepare("SELECT value FROM setting WHERE name = ?1")?;
    let value = statement.query_map([name], |row| row.get(0))?.next().transpose()?;
    parsed(value)
}

fn all<T>(
    connection: &Connection,
    query: &str,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(query)?.query_map((), read)?.collect()
}

fn key(row: &Row<'_>, column: &str) -> rusqlite::Result<PublicKey> {
    PublicKey::from_bytes(row.get(column)?).map_err(unreadable)
}

fn id(row: &Row<'_>) -> rusqlite::Result<NodeId> {
    NodeId::from_u64(number(row, "id")?).map_err(unreadable)
}

fn number(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    row.get(column).map(i64::cast_unsigned)
}

fn text(value: Option<&impl Display>) -> Option<String> {
    value.map(ToString::to_string)
}

fn parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    text: Option<String>,
) -> rusqlite::Result<Option<T>> {
    text.map(|text| text.parse().map_err(unreadable)).transpose()
}

fn via_text(via: Via) -> &'static str {
    match via {
        Via::Handshake => "handshake",
        Via::Invite => "invite",
        Via::Key => "key",
    }
}

fn via(row: &Row<'_>) -> rusqlite::Result<Via> {
    match row.get::<_, String>("via")?.as_str() {
        "handshake" => Ok(Via::Handshake),
        "invite" => Ok(Via::Invite),
        "key" => Ok(Via::Key),
        other => Err(unreadable(format!("no way to trust: {other}"))),
    }
}
