//! Work for other nodes: port 1003, and the local socket.
//!
//! Tasks travel as messages of type `task`, through the outbox and inbox of both sides, and are as durable. A new task
//! is `{"task":TASK,"deadline_unix_millis":N}`, or TASK alone; the ID of the message is that of the task, and it stays
//! in the inbox to be read. News of a task is `{"update":{"id":ID,"state":STATE,"result":RESULT}}`: from the worker
//! `accepted`, `running`, `done`, `failed` or `declined`, from the submitter `cancelled`. News is not kept in the inbox:
//! it moves the record. Only the two nodes of a task can move it, each its own way, and it never goes back.
//!
//! Each side ends a task by itself when its deadline has passed; records of tasks that are over are kept for 31 days.

mod decide;
mod expire;
mod follow;
mod grpc;
mod http;
mod lines;
mod state;
mod submit;
#[cfg(test)]
mod tests;
mod travel;
mod view;

use std::sync::Arc;

pub use decide::Decision;
pub use state::State;
pub use submit::Submission;
pub use travel::{arrival, departure};

use super::door;
use super::inbox::{Inbox, refusal};
use crate::control::Error;
use crate::services::directory::Caller;
use crate::store::inbox::{Direction, TaskQuery, TaskRecord};

/// The TCP port.
pub const PORT: u16 = 1003;
/// The gRPC service behind it.
pub const SERVICE: &str = "pilot.v1.Tasks";

/// The tasks of this node; clones are the same.
#[derive(Clone)]
pub struct Tasks {
    inbox: Inbox,
}

impl Tasks {
    /// Tasks that travel through `inbox`, and are kept beside it.
    pub fn new(inbox: Inbox) -> Tasks {
        Tasks { inbox }
    }

    /// What HTTP and gRPC callers reach.
    pub fn router(&self) -> axum::Router {
        http::router(self.clone()).merge(door::grpc(grpc::service(self.clone())))
    }

    /// What those reach who speak JSON lines.
    pub fn lines(&self) -> Arc<dyn door::Lines> {
        Arc::new(lines::Submissions(self.clone()))
    }

    /// Ends what is too late, and forgets what is over, until the future is dropped.
    pub async fn run(self) {
        expire::run(self).await;
    }

    /// The tasks that match, oldest first; the last thousand of them.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list(&self, query: TaskQuery) -> Result<Vec<TaskRecord>, Error> {
        self.inbox.store().read(move |connection| query.run(connection)).await.map_err(|fault| refusal(&fault))
    }

    /// The task that a caller means: any of ours for local programs, its own for a node.
    ///
    /// # Errors
    /// `not_found`; `ambiguous` where several nodes have one of this ID.
    pub async fn get(&self, caller: &Caller, id: &str) -> Result<TaskRecord, Error> {
        match caller {
            Caller::Local(_) => self.one(id, None).await,
            Caller::Node(member) => {
                let (direction, peer) = (Some(Direction::In), Some(member.key));
                only(self.list(TaskQuery { direction, peer, id: Some(id.to_owned()), state: None }).await?, id)
            }
        }
    }

    async fn one(&self, id: &str, direction: Option<Direction>) -> Result<TaskRecord, Error> {
        only(self.list(TaskQuery { direction, id: Some(id.to_owned()), ..TaskQuery::default() }).await?, id)
    }
}

fn only(mut found: Vec<TaskRecord>, id: &str) -> Result<TaskRecord, Error> {
    // A task for ourselves is there twice; what we submitted is what came back.
    if let [one, other] = &found[..]
        && one.peer == other.peer
    {
        found.retain(|record| record.direction == Direction::Out);
    }
    let first = found.pop().ok_or_else(|| {
        Error::new("not_found", format!("there is no task {id:?}")).hint("`pilotctl task list` shows them")
    })?;
    match found.pop() {
        None => Ok(first),
        Some(_) => Err(Error::new("ambiguous", format!("several nodes have a task {id}"))
            .hint("submit tasks without an ID: one is made that nobody else has")),
    }
}
