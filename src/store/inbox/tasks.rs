//! Tasks, both ways: records whose state only moves on.
//!
//! How far a state is, its rank, is said by whoever moves it: a record moves to a state of higher rank, never back.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Batch, Fault, number, signed};
use crate::identity::{NodeId, PublicKey};

/// Tasks that a list gives at most.
const LISTED: u32 = 1_000;

/// Which way a task went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To this node.
    In,
    /// From this node.
    Out,
}

impl Direction {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }
}

/// A task, as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    /// Which way it went.
    pub direction: Direction,
    /// Who submitted it, or is to do it.
    pub peer: PublicKey,
    /// Its node ID.
    pub node: NodeId,
    /// Chosen by the submitter.
    pub id: String,
    /// How it stands.
    pub state: String,
    /// How far that is.
    pub rank: u8,
    /// What to do.
    pub task: Bytes,
    /// What came of it.
    pub result: Bytes,
    /// When it was submitted, milliseconds since 1970.
    pub submitted: u64,
    /// When it is too late, milliseconds since 1970.
    pub deadline: u64,
    /// When its state changed, milliseconds since 1970.
    pub changed: u64,
}

/// What happens to a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskStep {
    /// It is new.
    Begin(Box<TaskRecord>),
    /// It moves.
    Move {
        /// Which way it went.
        direction: Direction,
        /// Who is at its other end.
        peer: PublicKey,
        /// Which.
        id: String,
        /// How it stands then.
        state: String,
        /// How far that is.
        rank: u8,
        /// What came of it; empty leaves what there is.
        result: Bytes,
        /// When, milliseconds since 1970.
        changed: u64,
    },
}

/// Which tasks; what is not set matches everything.
#[derive(Clone, Debug, Default)]
pub struct TaskQuery {
    /// In this state.
    pub state: Option<String>,
    /// Which went this way.
    pub direction: Option<Direction>,
    /// Of this peer.
    pub peer: Option<PublicKey>,
    /// With this ID.
    pub id: Option<String>,
}

impl Batch<'_> {
    /// Why no further task of a peer is taken.
    pub(super) fn too_many_tasks(&self, step: &TaskStep) -> rusqlite::Result<Option<Fault>> {
        let TaskStep::Begin(record) = step else { return Ok(None) };
        let tasks: i64 = self
            .connection
            .prepare_cached("SELECT count(*) FROM task WHERE direction = ?1 AND peer = ?2")?
            .query_row(params![record.direction.as_str(), record.peer.as_bytes()], |row| row.get(0))?;
        let tasks = tasks.cast_unsigned();
        Ok((tasks >= self.limits.peer_tasks).then_some(Fault::TaskQuota { tasks }))
    }

    /// Carries a step out; whether it changed anything: a task begins once, and moves only on.
    ///
    /// # Errors
    /// The engine fails.
    pub fn step_task(&mut self, step: &TaskStep) -> Result<bool, Fault> {
        match step {
            TaskStep::Begin(record) => self.begin(record),
            TaskStep::Move { direction, peer, id, state, rank, result, changed } => Ok(self
                .connection
                .prepare_cached(
                    "UPDATE task SET state = ?4, rank = ?5, changed = ?7,
                         result = CASE WHEN length(?6) > 0 THEN ?6 ELSE result END
                     WHERE direction = ?1 AND peer = ?2 AND id = ?3 AND rank < ?5",
                )?
                .execute(params![
                    direction.as_str(),
                    peer.as_bytes(),
                    id,
                    state,
                    rank,
                    result.as_ref(),
                    signed(*changed)
                ])?
                > 0),
        }
    }

    fn begin(&self, record: &TaskRecord) -> Result<bool, Fault> {
        let mut statement = self.connection.prepare_cached(
            "INSERT OR IGNORE INTO task
                 (direction, peer, node, id, state, rank, submitted, deadline, changed, task, result)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?;
        let inserted = statement.execute(params![
            record.direction.as_str(),
            record.peer.as_bytes(),
            record.node.to_u64().cast_signed(),
            record.id,
            record.state,
            record.rank,
            signed(record.submitted),
            signed(record.deadline),
            signed(record.changed),
            record.task.as_ref(),
            record.result.as_ref()
        ])?;
        Ok(inserted > 0)
    }

    /// Begins a task of our own.
    ///
    /// # Errors
    /// There are too many of this peer, there is one with this ID, or the engine fails.
    pub fn submit_task(&mut self, record: &TaskRecord) -> Result<(), Fault> {
        if let Some(fault) = self.too_many_tasks(&TaskStep::Begin(Box::new(record.clone())))? {
            return Err(fault);
        }
        if self.begin(record)? {
            Ok(())
        } else {
            Err(Fault::Conflict(format!("there is a task {} already", record.id)))
        }
    }

    /// Moves tasks of a rank below `below` whose deadline has passed; gives how many.
    ///
    /// # Errors
    /// The engine fails.
    pub fn expire_tasks(&mut self, now: u64, state: &str, below: u8) -> Result<u64, Fault> {
        Ok(self
            .connection
            .prepare_cached("UPDATE task SET state = ?2, rank = ?3, changed = ?1 WHERE rank < ?3 AND deadline <= ?1")?
            .execute(params![signed(now), state, below])? as u64)
    }

    /// Forgets tasks that reached at least `rank` and have not changed since `before`; gives how many.
    ///
    /// # Errors
    /// The engine fails.
    pub fn forget_tasks(&mut self, rank: u8, before: u64) -> Result<u64, Fault> {
        Ok(self
            .connection
            .prepare_cached("DELETE FROM task WHERE rank >= ?1 AND changed < ?2")?
            .execute(params![rank, signed(before)])? as u64)
    }

    /// A task, with what this transaction did to it.
    ///
    /// # Errors
    /// The engine fails.
    pub fn task(&self, direction: Direction, peer: &PublicKey, id: &str) -> Result<Option<TaskRecord>, Fault> {
        let mut statement =
            self.connection.prepare_cached("SELECT * FROM task WHERE direction = ?1 AND peer = ?2 AND id = ?3")?;
        Ok(statement.query_row(params![direction.as_str(), peer.as_bytes(), id], record).optional()?)
    }
}

impl TaskQuery {
    /// The tasks that match, oldest first; the last thousand of them.
    ///
    /// # Errors
    /// The engine fails.
    pub fn run(&self, connection: &Connection) -> rusqlite::Result<Vec<TaskRecord>> {
        let mut statement = connection.prepare_cached(
            "SELECT * FROM (SELECT * FROM task WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR direction = ?2)
                 AND (?3 IS NULL OR peer = ?3) AND (?4 IS NULL OR id = ?4) ORDER BY number DESC LIMIT ?5)
             ORDER BY number",
        )?;
        let rows = statement.query_map(
            params![
                self.state,
                self.direction.map(Direction::as_str),
                self.peer.as_ref().map(PublicKey::as_bytes),
                self.id,
                LISTED
            ],
            record,
        )?;
        rows.collect()
    }

    /// When the next task of a rank below `below` is too late.
    ///
    /// # Errors
    /// The engine fails.
    pub fn next_end(connection: &Connection, below: u8) -> rusqlite::Result<Option<u64>> {
        let end: Option<i64> =
            connection.query_row("SELECT min(deadline) FROM task WHERE rank < ?1", [below], |row| row.get(0))?;
        Ok(end.map(i64::cast_unsigned))
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<TaskRecord> {
    let direction: String = row.get("direction")?;
    Ok(TaskRecord {
        direction: if direction == "in" { Direction::In } else { Direction::Out },
        peer: super::key(row, "peer")?,
        node: super::node(row, "node")?,
        id: row.get("id")?,
        state: row.get("state")?,
        rank: row.get("rank")?,
        task: row.get::<_, Vec<u8>>("task")?.into(),
        result: row.get::<_, Vec<u8>>("result")?.into(),
        submitted: number(row, "submitted")?,
        deadline: number(row, "deadline")?,
        changed: number(row, "changed")?,
    })
}
