//! Tasks as they are shown.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::services::api;
use crate::services::directory::Member;
use crate::services::inbox::message::one_line;
use crate::services::time::rfc3339;
use crate::store::inbox::{Direction, TaskRecord};

/// A task as JSON.
#[derive(Debug, Serialize)]
pub struct TaskView {
    id: String,
    from: String,
    to: String,
    state: String,
    task: Option<Box<RawValue>>,
    result: Option<Box<RawValue>>,
    submitted: String,
    deadline: String,
    changed: String,
}

/// Submitter and worker; `me` is one of them.
fn ends(record: &TaskRecord, me: &Member) -> (String, String) {
    match record.direction {
        Direction::In => (record.node.to_string(), me.id.to_string()),
        Direction::Out => (me.id.to_string(), record.node.to_string()),
    }
}

impl TaskView {
    /// How `record` is shown by `me`.
    pub fn new(record: &TaskRecord, me: &Member) -> TaskView {
        let (from, to) = ends(record, me);
        TaskView {
            id: record.id.clone(),
            from,
            to,
            state: record.state.clone(),
            task: one_line(&record.task),
            result: one_line(&record.result),
            submitted: rfc3339(record.submitted),
            deadline: rfc3339(record.deadline),
            changed: rfc3339(record.changed),
        }
    }
}

/// A task for gRPC.
pub fn to_api(record: TaskRecord, me: &Member) -> api::Task {
    let (from, to) = ends(&record, me);
    api::Task {
        id: record.id,
        from,
        to,
        state: record.state,
        task: record.task,
        result: record.result,
        submitted_unix_millis: record.submitted,
        deadline_unix_millis: record.deadline,
        changed_unix_millis: record.changed,
    }
}
