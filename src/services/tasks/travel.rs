//! Tasks as messages, and messages as what they do to tasks.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::State;
use crate::control::{Error, given};
use crate::services::directory::Member;
use crate::services::inbox::Also;
use crate::store::inbox::{Direction, TaskRecord, TaskStep};

const DAY_MILLIS: u64 = 86_400_000;
/// A task for which nothing else is said is too late after a day.
const DEFAULT_DEADLINE: u64 = DAY_MILLIS;
/// No task is kept for longer.
const LONGEST_DEADLINE: u64 = 30 * DAY_MILLIS;

/// What a message of type `task` does.
pub struct Arrival {
    /// The step of its record.
    pub step: TaskStep,
    /// Whether it is a new task: those stay in the inbox.
    pub is_new: bool,
}

/// A new task that says more than what to do.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Submission<'a> {
    #[serde(borrow)]
    task: &'a RawValue,
    deadline_unix_millis: Option<u64>,
}

/// News of a task.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct News<'a> {
    #[serde(borrow)]
    update: Update<'a>,
}

#[derive(Serialize, Deserialize)]
struct Update<'a> {
    id: String,
    state: String,
    #[serde(borrow, default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
}

/// What message `id` with `data` of `sender` does.
///
/// # Errors
/// `invalid_request` for news that its sender cannot have.
pub fn arrival(sender: &Member, id: &str, data: &Bytes, now: u64) -> Result<Arrival, Error> {
    if let Ok(news) = serde_json::from_slice::<News<'_>>(data) {
        return Ok(Arrival { step: moved(sender, &news.update, now)?, is_new: false });
    }
    let record = record(Direction::In, sender, id, data, now);
    Ok(Arrival { step: TaskStep::Begin(Box::new(record)), is_new: true })
}

fn moved(sender: &Member, update: &Update<'_>, now: u64) -> Result<TaskStep, Error> {
    let state: State =
        update.state.parse().map_err(|error| Error::new("invalid_request", format!("news of a task: {error}")))?;
    let direction = match state {
        State::Cancelled => Direction::In,
        state if state.is_of_worker() => Direction::Out,
        _ => return Err(Error::new("invalid_request", format!("nobody is told that a task is {state}"))),
    };
    let result = update.result.map_or_else(Bytes::new, |result| Bytes::copy_from_slice(result.get().as_bytes()));
    Ok(step(direction, sender, &update.id, state, result, now))
}

/// The step of the task `id` with `peer` to `state`.
pub fn step(direction: Direction, peer: &Member, id: &str, state: State, result: Bytes, now: u64) -> TaskStep {
    TaskStep::Move {
        direction,
        peer: peer.key,
        id: id.to_owned(),
        state: state.as_str().to_owned(),
        rank: state.rank(),
        result,
        changed: now,
    }
}

/// What happens beside a message of type `task` that a program of ours sends to `receiver`: a task of our own begins.
///
/// # Errors
/// `invalid_request` for news: they are made by `pilotctl task`.
pub fn departure(receiver: &Member, id: &str, data: &Bytes, now: u64) -> Result<Also, Error> {
    if serde_json::from_slice::<News<'_>>(data).is_ok() {
        return Err(Error::new("invalid_request", "news of a task is not sent as a message")
            .hint("`pilotctl task --help` has the verbs for it"));
    }
    let record = record(Direction::Out, receiver, id, data, now);
    Ok(Box::new(move |batch| batch.submit_task(&record)))
}

/// The record of a task that begins.
pub fn record(direction: Direction, peer: &Member, id: &str, data: &Bytes, now: u64) -> TaskRecord {
    let said = serde_json::from_slice::<Submission<'_>>(data).ok();
    let deadline = said.as_ref().and_then(|said| said.deadline_unix_millis).unwrap_or(now + DEFAULT_DEADLINE);
    let task = said.map_or_else(|| data.clone(), |said| Bytes::copy_from_slice(said.task.get().as_bytes()));
    TaskRecord {
        direction,
        peer: peer.key,
        node: peer.id,
        id: id.to_owned(),
        state: State::Submitted.as_str().to_owned(),
        rank: State::Submitted.rank(),
        task,
        result: Bytes::new(),
        submitted: now,
        deadline: deadline.min(now + LONGEST_DEADLINE),
        changed: now,
    }
}

/// The message of a new task.
pub fn submission(task: &RawValue, deadline: u64) -> Result<Bytes, Error> {
    written(&Submission { task, deadline_unix_millis: Some(deadline) })
}

/// The message of news.
pub fn news(id: &str, state: State, result: Option<&RawValue>) -> Result<Bytes, Error> {
    written(&News { update: Update { id: id.to_owned(), state: state.as_str().to_owned(), result } })
}

fn written(value: &impl Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| Error::new("internal", error.to_string()))
}
