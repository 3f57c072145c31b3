//! Which IDs each sender has used: what makes retries harmless, also after a message was read and cleared.

use rusqlite::{OptionalExtension, params};

use super::{Batch, Fault, signed};

/// Rows that one step looks through: others wait no longer than some milliseconds for it.
const CHUNK: u32 = 5_000;

impl Batch<'_> {
    /// Remembers an ID; whether it is new.
    pub(super) fn see(&self, sender: i64, id: &str, now: u64) -> rusqlite::Result<bool> {
        let mut statement =
            self.connection.prepare_cached("INSERT OR IGNORE INTO seen (sender, id, at) VALUES (?1, ?2, ?3)")?;
        Ok(statement.execute(params![sender, id, signed(now)])? > 0)
    }

    pub(super) fn has_seen(&self, sender: i64, id: &str) -> rusqlite::Result<bool> {
        let mut statement = self.connection.prepare_cached("SELECT 1 FROM seen WHERE sender = ?1 AND id = ?2")?;
        statement.exists(params![sender, id])
    }

    /// Forgets IDs that are older than `before`, in a stretch of them that begins behind `cursor`. Gives where the
    /// next stretch begins; nothing when all were looked through.
    ///
    /// # Errors
    /// The engine fails.
    pub fn forget_seen(&mut self, before: u64, cursor: (i64, String)) -> Result<Option<(i64, String)>, Fault> {
        let next: Option<(i64, String)> = self
            .connection
            .prepare_cached(
                "SELECT sender, id FROM seen WHERE (sender, id) > (?1, ?2) ORDER BY sender, id LIMIT 1 OFFSET ?3",
            )?
            .query_row(params![cursor.0, cursor.1, CHUNK], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (sender, id) = next.clone().unwrap_or((i64::MAX, String::new()));
        self.connection
            .prepare_cached("DELETE FROM seen WHERE (sender, id) > (?1, ?2) AND (sender, id) <= (?3, ?4) AND at < ?5")?
            .execute(params![cursor.0, cursor.1, sender, id, signed(before)])?;
        Ok(next)
    }
}
