//! Submits: to another node through the outbox, or to this one.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Tasks, travel};
use crate::control::Error;
use crate::services::directory::{Caller, Member};
use crate::services::inbox::message::Draft;
use crate::services::time::now_millis;
use crate::store::inbox::{Direction, TaskQuery, TaskRecord};

/// Seconds after which a task is too late, if nothing else is said.
const DEFAULT_SECS: u64 = 86_400;
/// Seconds after which every task is too late.
const LONGEST_SECS: u64 = 30 * 86_400;

/// A task that somebody wants done.
#[derive(Debug, Deserialize)]
pub struct Submission {
    /// What to do.
    pub task: Box<RawValue>,
    /// Its ID; made where there is none.
    #[serde(default)]
    pub id: String,
    /// When it is too late, seconds from now; 0 means a day.
    #[serde(default)]
    pub deadline_secs: u64,
    /// On the local socket: who is to do it.
    #[serde(default)]
    pub node: String,
}

impl Submission {
    /// Reads one.
    ///
    /// # Errors
    /// `invalid_json` or `invalid_request`, with line and column.
    pub fn parse(text: &[u8]) -> Result<Submission, Error> {
        serde_json::from_slice(text).map_err(|error| {
            let code = if error.is_data() { "invalid_request" } else { "invalid_json" };
            Error::new(code, format!("this is no task: {error}"))
                .hint(r#"write {"task":…}; docs/services.md has the fields"#)
        })
    }

    fn lifetime(&self) -> Result<Duration, Error> {
        match self.deadline_secs {
            0 => Ok(Duration::from_secs(DEFAULT_SECS)),
            secs if secs <= LONGEST_SECS => Ok(Duration::from_secs(secs)),
            _ => Err(Error::new("bad_argument", "a deadline is 30 days away at most")),
        }
    }

    fn draft(&self, lifetime: Duration, longest: usize) -> Result<Draft, Error> {
        let deadline = now_millis().saturating_add(lifetime.as_millis() as u64);
        Draft::new(&self.id, "task", travel::submission(&self.task, deadline)?, 0, longest)
    }
}

impl Tasks {
    /// Takes a task of `caller`: for the node that a local program names, else for this one.
    ///
    /// # Errors
    /// What is wrong with it; `quota_exceeded`, `disk_full`; `wrong_state` for an ID that is used.
    pub async fn submit(&self, caller: &Caller, submission: Submission) -> Result<TaskRecord, Error> {
        match caller {
            Caller::Local(_) => {
                let worker = self.inbox.directory().find(&submission.node)?;
                self.submit_to(&worker, submission).await
            }
            Caller::Node(_) if !submission.node.is_empty() => {
                Err(Error::new("permission_denied", "tasks are not passed on to other nodes")
                    .hint("leave `node` out: the task is for the node that you call"))
            }
            Caller::Node(member) => self.take(member, submission).await,
        }
    }

    async fn submit_to(&self, worker: &Member, submission: Submission) -> Result<TaskRecord, Error> {
        let lifetime = submission.lifetime()?;
        let draft = submission.draft(lifetime, self.inbox.max_message())?;
        let id = draft.id.clone();
        let also = travel::departure(worker, &id, &draft.data, now_millis())?;
        self.inbox.dispatch(worker, draft, lifetime, Duration::ZERO, also).await?;
        self.one(&id, Some(Direction::Out)).await
    }

    async fn take(&self, submitter: &Member, submission: Submission) -> Result<TaskRecord, Error> {
        let draft = submission.draft(submission.lifetime()?, self.inbox.max_message())?;
        let id = draft.id.clone();
        self.inbox.deliver(submitter, draft).await?;
        let (direction, peer) = (Some(Direction::In), Some(submitter.key));
        super::only(self.list(TaskQuery { direction, peer, id: Some(id.clone()), state: None }).await?, &id)
    }
}
