//! Moves a task on, and tells the other side, in one transaction.

use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{State, Tasks, travel};
use crate::control::Error;
use crate::services::inbox::message::{Draft, new_id};
use crate::services::time::now_millis;
use crate::store::inbox::{Direction, Fault, Kind, TaskQuery, TaskRecord};

/// How long news waits for its receiver.
const KEEP: Duration = Duration::from_secs(7 * 86_400);

/// What a local program decides.
#[derive(Debug)]
pub struct Decision {
    /// Which task.
    pub id: String,
    /// How it stands from now on.
    pub state: State,
    /// What came of it, or why: JSON.
    pub result: Option<Box<RawValue>>,
}

impl Decision {
    /// A decision with a reason, which may be empty.
    ///
    /// # Errors
    /// The reason cannot be written as JSON.
    pub fn because(id: &str, state: State, reason: &str) -> Result<Decision, Error> {
        let result = (!reason.is_empty()).then(|| serde_json::value::to_raw_value(reason)).transpose();
        let result = result.map_err(|error| Error::new("internal", error.to_string()))?;
        Ok(Decision { id: id.to_owned(), state, result })
    }
}

impl Tasks {
    /// Moves a task of ours; deciding the same again changes nothing.
    ///
    /// # Errors
    /// `not_found`; `wrong_state` where it is further already; `quota_exceeded`, `disk_full`.
    pub async fn decide(&self, decision: Decision) -> Result<TaskRecord, Error> {
        let Decision { id, state, result } = decision;
        let direction = if state.is_of_worker() { Direction::In } else { Direction::Out };
        let record = self.one(&id, Some(direction)).await?;
        if record.state == state.as_str() {
            return Ok(record);
        }
        if record.rank >= state.rank() || record.rank >= State::OVER {
            return Err(wrong(&record, state));
        }
        self.tell(&record, state, result).await?;
        let query =
            TaskQuery { direction: Some(direction), peer: Some(record.peer), id: Some(id.clone()), state: None };
        super::only(self.list(query).await?, &id)
    }

    async fn tell(&self, record: &TaskRecord, state: State, result: Option<Box<RawValue>>) -> Result<(), Error> {
        let roster = self.inbox.directory().roster();
        let peer = roster.member(record.node).filter(|member| member.key == record.peer).cloned();
        let peer = peer.ok_or_else(|| {
            Error::new(
                "not_found",
                format!("node {}, the other side of the task, is not trusted any more", record.node),
            )
        })?;
        let draft = Draft {
            id: new_id(),
            kind: Kind::Task,
            data: travel::news(&record.id, state, result.as_deref())?,
            sent: 0,
        };
        if draft.data.len() > self.inbox.max_message() {
            return Err(Error::new("too_large", format!("the result has {} bytes", draft.data.len()))
                .hint("send it as a file: `pilotctl send-file`"));
        }
        let result = result.map_or_else(Bytes::new, |result| Bytes::copy_from_slice(result.get().as_bytes()));
        let step = travel::step(record.direction, &peer, &record.id, state, result, now_millis());
        let also = move |batch: &mut crate::store::inbox::Batch<'_>| match batch.step_task(&step)? {
            true => Ok(()),
            false => Err(Fault::Conflict("the task has moved on meanwhile".into())),
        };
        self.inbox.dispatch(&peer, draft, KEEP, Duration::ZERO, Box::new(also)).await.map(drop)
    }
}

fn wrong(record: &TaskRecord, state: State) -> Error {
    Error::new("wrong_state", format!("task {} is {}: it cannot become {state}", record.id, record.state))
        .hint("`pilotctl task results ID` shows what came of it")
}
