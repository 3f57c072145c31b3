//! Tasks: work for other nodes, and for this one.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::inbox::read;
use crate::control::{Client, Error, Lines, query};

/// The tasks of this node, both ways.
#[derive(Clone, Debug)]
pub struct Tasks {
    client: Client,
}

/// A task to submit: `NewTask::json(&value)?.deadline(Duration::from_secs(60))`.
#[derive(Clone, Debug, Serialize)]
pub struct NewTask {
    task: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_secs: Option<u64>,
}

impl NewTask {
    /// A value, as JSON.
    ///
    /// # Errors
    /// `invalid_request` for a value that JSON cannot express.
    pub fn json(value: &impl Serialize) -> Result<NewTask, Error> {
        Ok(NewTask { task: raw(value)?, id: None, deadline_secs: None })
    }

    /// With an ID of the submitter's choice, which no other task of its may have.
    pub fn id(mut self, id: impl Into<String>) -> NewTask {
        self.id = Some(id.into());
        self
    }

    /// Too late after this time.
    pub fn deadline(mut self, after: Duration) -> NewTask {
        self.deadline_secs = Some(after.as_secs().max(1));
        self
    }
}

/// A task as this node knows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Task {
    /// Chosen by the submitter, or made.
    pub id: String,
    /// Node ID of the submitter.
    pub from: String,
    /// Node ID of the worker.
    pub to: String,
    /// `submitted`, `accepted`, `running`, `done`, `failed`, `declined`, `cancelled` or `expired`.
    pub state: String,
    /// When it was submitted, RFC 3339.
    pub submitted: String,
    /// When it is too late, RFC 3339.
    pub deadline: String,
    /// When its state changed, RFC 3339.
    pub changed: String,
    task: Box<RawValue>,
    result: Box<RawValue>,
}

impl Task {
    /// What to do: the submitter's JSON to the letter.
    pub fn task(&self) -> &str {
        self.task.get()
    }

    /// What came of it, or why nothing did: the worker's JSON to the letter; `null` while there is nothing.
    pub fn result(&self) -> &str {
        self.result.get()
    }

    /// What to do, read as JSON.
    ///
    /// # Errors
    /// `invalid_request` where it is not what `T` expects.
    pub fn task_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.parsed("task", &self.task)
    }

    /// What came of it, read as JSON.
    ///
    /// # Errors
    /// `invalid_request` where it is not what `T` expects.
    pub fn result_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.parsed("result", &self.result)
    }

    /// Whether nothing more comes of it.
    pub fn is_over(&self) -> bool {
        !matches!(&*self.state, "submitted" | "accepted" | "running")
    }

    fn parsed<T: DeserializeOwned>(&self, what: &str, json: &RawValue) -> Result<T, Error> {
        serde_json::from_str(json.get()).map_err(|error| {
            Error::new("invalid_request", format!("the {what} of task {} is not as expected: {error}", self.id))
        })
    }
}

/// Which tasks: `WhichTasks::incoming().state("submitted")`.
#[derive(Clone, Debug, Default)]
pub struct WhichTasks {
    fields: Vec<(&'static str, String)>,
}

impl WhichTasks {
    /// Every task.
    pub fn all() -> WhichTasks {
        WhichTasks::default()
    }

    /// Those for this node.
    pub fn incoming() -> WhichTasks {
        WhichTasks::all().with("direction", "in")
    }

    /// Those that this node has submitted.
    pub fn outgoing() -> WhichTasks {
        WhichTasks::all().with("direction", "out")
    }

    /// Only in this state.
    pub fn state(self, state: impl Into<String>) -> WhichTasks {
        self.with("state", state)
    }

    /// Only with this node.
    pub fn node(self, node: impl Into<String>) -> WhichTasks {
        self.with("node", node)
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> WhichTasks {
        self.fields.push((name, value.into()));
        self
    }
}

#[derive(Serialize)]
struct Submitting<'a> {
    node: &'a str,
    #[serde(flatten)]
    task: &'a NewTask,
}

#[derive(Deserialize)]
struct Listed {
    tasks: Vec<Task>,
}

impl Tasks {
    pub(super) fn new(client: Client) -> Tasks {
        Tasks { client }
    }

    pub(super) async fn submit(&self, node: &str, task: &NewTask) -> Result<Task, Error> {
        let body = serde_json::to_string(&Submitting { node, task });
        self.post("/v1/tasks", body.map_err(|error| Error::new("internal", error.to_string()))?).await
    }

    /// The tasks that match, oldest first.
    ///
    /// # Errors
    /// The daemon's refusal; `daemon_not_running` or `permission_denied`.
    pub async fn list(&self, which: WhichTasks) -> Result<Vec<Task>, Error> {
        let data = self.client.get_raw(&format!("/v1/tasks{}", query(which.fields))).await?;
        Ok(read::<Listed>(data.get().as_bytes())?.tasks)
    }

    /// The tasks that match, and then each change of one as it comes.
    ///
    /// # Errors
    /// As [`Tasks::list`].
    pub async fn follow(&self, which: WhichTasks) -> Result<Changes, Error> {
        let lines = self.client.lines(&format!("/v1/tasks/follow{}", query(which.fields))).await?;
        Ok(Changes { lines })
    }

    /// One task.
    ///
    /// # Errors
    /// `not_found`, `ambiguous`; as [`Tasks::list`].
    pub async fn get(&self, id: &str) -> Result<Task, Error> {
        read(self.client.get_raw(&path(id, "")).await?.get().as_bytes())
    }

    /// One task, once it is over.
    ///
    /// # Errors
    /// As [`Tasks::get`]; `daemon_not_running` when the daemon ends meanwhile.
    pub async fn wait(&self, id: &str) -> Result<Task, Error> {
        let mut changes = self.follow(WhichTasks::all()).await?;
        loop {
            let task = self.get(id).await?;
            if task.is_over() {
                return Ok(task);
            }
            if changes.next().await?.is_none() {
                return Err(Error::new("daemon_not_running", "the daemon has ended before the task"));
            }
        }
    }

    /// Takes a task on.
    ///
    /// # Errors
    /// `wrong_state` where it is further already; as [`Tasks::get`].
    pub async fn accept(&self, id: &str) -> Result<Task, Error> {
        self.decide(id, "accept", &json!({})).await
    }

    /// Refuses a task.
    ///
    /// # Errors
    /// As [`Tasks::accept`].
    pub async fn decline(&self, id: &str, reason: &str) -> Result<Task, Error> {
        self.decide(id, "decline", &json!({"reason": reason})).await
    }

    /// Says that a task is being worked on.
    ///
    /// # Errors
    /// As [`Tasks::accept`].
    pub async fn running(&self, id: &str) -> Result<Task, Error> {
        self.decide(id, "finish", &json!({"running": true})).await
    }

    /// Gives the result of a task.
    ///
    /// # Errors
    /// `invalid_request` for a value that JSON cannot express; as [`Tasks::accept`].
    pub async fn finish(&self, id: &str, result: &impl Serialize) -> Result<Task, Error> {
        self.end(id, true, result).await
    }

    /// Says why a task failed.
    ///
    /// # Errors
    /// As [`Tasks::finish`].
    pub async fn fail(&self, id: &str, why: &impl Serialize) -> Result<Task, Error> {
        self.end(id, false, why).await
    }

    /// Withdraws a task that this node has submitted.
    ///
    /// # Errors
    /// As [`Tasks::accept`].
    pub async fn cancel(&self, id: &str) -> Result<Task, Error> {
        self.decide(id, "cancel", &json!({})).await
    }

    async fn end(&self, id: &str, ok: bool, result: &impl Serialize) -> Result<Task, Error> {
        let result = raw(result)?;
        self.post(&path(id, "/finish"), format!("{{\"ok\":{ok},\"result\":{result}}}")).await
    }

    async fn decide(&self, id: &str, verb: &str, body: &Value) -> Result<Task, Error> {
        self.post(&path(id, &format!("/{verb}")), body.to_string()).await
    }

    async fn post(&self, path: &str, body: String) -> Result<Task, Error> {
        read(self.client.post_raw(path, body).await?.get().as_bytes())
    }
}

fn raw(value: &impl Serialize) -> Result<Box<RawValue>, Error> {
    serde_json::value::to_raw_value(value)
        .map_err(|error| Error::new("invalid_request", format!("the value is no JSON: {error}")))
}

/// The path of a task; an ID of other characters than IDs have leads nowhere else.
fn path(id: &str, verb: &str) -> String {
    let escaped = query([("", id)]);
    format!("/v1/tasks/{}{verb}", escaped.strip_prefix("?=").unwrap_or(&escaped))
}

/// Changes of tasks, as they come.
#[derive(Debug)]
pub struct Changes {
    lines: Lines,
}

impl Changes {
    /// The next task that has changed; none when the daemon has ended. Cancel safe.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> Result<Option<Task>, Error> {
        match self.lines.next().await? {
            Some(line) => read(&line).map(Some),
            None => Ok(None),
        }
    }

    /// The next task that has changed; none when none has in time.
    ///
    /// # Errors
    /// As [`Changes::next`].
    pub async fn next_within(&mut self, patience: Duration) -> Result<Option<Task>, Error> {
        tokio::time::timeout(patience, self.next()).await.unwrap_or(Ok(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::inbox::tests::pair;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_task_is_submitted_taken_on_and_answered() {
        let pair = pair(Default::default()).await;
        let (ours, theirs) = (Tasks::new(pair.one.client.clone()), Tasks::new(pair.two.client.clone()));
        let mut arriving = theirs.follow(WhichTasks::incoming().state("submitted")).await.unwrap();
        let task = NewTask::json(&json!({"find": "x"})).unwrap().id("t").deadline(Duration::from_secs(60));
        let submitted = ours.submit("0000.0000.0002", &task).await.unwrap();
        assert_eq!((&*submitted.id, &*submitted.state, submitted.result()), ("t", "submitted", "null"));
        let arrived = arriving.next_within(SOON).await.unwrap().unwrap();
        assert_eq!((arrived.task(), arrived.from.as_str()), (r#"{"find":"x"}"#, "0000.0000.0001"));
        assert_eq!(arrived.task_as::<Value>().unwrap()["find"], "x");
        theirs.accept("t").await.unwrap();
        assert_eq!(theirs.running("t").await.unwrap().state, "running");
        let (finished, over) = tokio::join!(theirs.finish("t", &[1.5]), ours.wait("t"));
        assert!(!finished.unwrap().state.is_empty());
        let over = over.unwrap();
        assert_eq!((&*over.state, over.result_as::<Vec<f64>>().unwrap()), ("done", vec![1.5]));
        assert_eq!(over.result_as::<String>().unwrap_err().code, "invalid_request");
        assert_eq!(ours.cancel("t").await.unwrap_err().code, "wrong_state");
    }

    #[tokio::test]
    async fn a_task_is_declined_fails_or_is_cancelled() {
        let pair = pair(Default::default()).await;
        let (ours, theirs) = (Tasks::new(pair.one.client.clone()), Tasks::new(pair.two.client.clone()));
        let mut arriving = theirs.follow(WhichTasks::incoming().node("0000.0000.0001")).await.unwrap();
        for id in ["declined", "failed", "cancelled"] {
            ours.submit("0000.0000.0002", &NewTask::json(&1).unwrap().id(id)).await.unwrap();
            assert_eq!(arriving.next_within(SOON).await.unwrap().unwrap().id, id);
        }
        theirs.decline("declined", "busy").await.unwrap();
        theirs.fail("failed", &"no such thing").await.unwrap();
        ours.cancel("cancelled").await.unwrap();
        for (id, result) in [("declined", r#""busy""#), ("failed", r#""no such thing""#), ("cancelled", "null")] {
            let over = tokio::time::timeout(SOON, ours.wait(id)).await.unwrap().unwrap();
            assert_eq!((&*over.state, over.result()), (id, result));
        }
        assert_eq!(ours.list(WhichTasks::outgoing().state("failed")).await.unwrap().len(), 1);
        assert_eq!(ours.get("../inbox").await.unwrap_err().code, "not_found");
    }
}
