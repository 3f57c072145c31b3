//! `pilotctl task`: work for other nodes, and work from them.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Session;
use super::execute;
use super::format::{foreign, table};
use crate::control::{Error, query};

/// What to do with tasks.
#[derive(Debug, Subcommand)]
pub enum TaskAction {
    /// Submit a task to a node; it waits here while the node is away
    Submit(SubmitArguments),
    /// List tasks, both ways
    List {
        /// Only tasks for this node
        #[arg(long = "in", conflicts_with = "out")]
        incoming: bool,
        /// Only tasks that this node submitted
        #[arg(long)]
        out: bool,
        /// Only tasks in this state
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
    },
    /// Take a task on
    Accept {
        /// Which
        id: String,
    },
    /// Refuse a task
    Decline {
        /// Which
        id: String,
        /// Why
        reason: Vec<String>,
    },
    /// Run a command for a task: its JSON on standard input, standard output is the result
    Execute {
        /// Which
        id: String,
        /// The command, which is done when it ends with exit code 0 and has failed otherwise
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Give the result of a task
    Finish {
        /// Which
        id: String,
        /// The result; - reads standard input
        #[arg(long, value_name = "JSON", default_value = "null", allow_hyphen_values = true)]
        result: String,
        /// It was tried in vain
        #[arg(long)]
        failed: bool,
    },
    /// What came of a task; exit code 1 when it was not done
    Results {
        /// Which
        id: String,
        /// Until it is over
        #[arg(long)]
        wait: bool,
        /// With --wait: how long at most
        #[arg(long, value_name = "TIME", requires = "wait", value_parser = super::format::parse_duration)]
        timeout: Option<Duration>,
    },
    /// Withdraw a task that this node submitted
    Cancel {
        /// Which
        id: String,
    },
}

/// To whom, and what.
#[derive(Debug, Args)]
pub struct SubmitArguments {
    /// Whom
    #[arg(allow_hyphen_values = true)]
    pub node: String,
    /// The task; - reads standard input
    #[arg(value_name = "JSON", allow_hyphen_values = true)]
    pub task: String,
    /// When it is too late, at most 30d [default: 1d]
    #[arg(long, value_name = "TIME", value_parser = super::format::parse_duration)]
    pub deadline: Option<Duration>,
    /// Names the task [default: made]
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Until it is over; shows what came of it
    #[arg(long)]
    pub wait: bool,
}

/// A task as the daemon tells it.
#[derive(Debug, Deserialize)]
pub struct Task {
    /// Its ID.
    pub id: String,
    from: String,
    to: String,
    /// How it stands.
    pub state: String,
    /// What to do.
    pub task: Option<Box<RawValue>>,
    result: Option<Box<RawValue>>,
    changed: String,
}

pub async fn run(session: &Session, action: TaskAction) -> Result<ExitCode, Error> {
    match action {
        TaskAction::Submit(arguments) => submit(session, arguments).await,
        TaskAction::List { incoming, out, state } => list(session, incoming, out, state).await,
        TaskAction::Accept { id } => decide(session, &id, "accept", &json!({})).await,
        TaskAction::Decline { id, reason } => {
            decide(session, &id, "decline", &json!({"reason": reason.join(" ")})).await
        }
        TaskAction::Execute { id, command } => execute::run(session, &id, &command).await,
        TaskAction::Finish { id, result, failed } => finish(session, &id, &result, !failed).await,
        TaskAction::Results { id, wait: true, timeout } => waited(session, &id, timeout).await,
        TaskAction::Results { id, .. } => conclude(session, &get(session, &id).await?),
        TaskAction::Cancel { id } => decide(session, &id, "cancel", &json!({})).await,
    }
}

/// The JSON of `text`, or of standard input for `-`, to the letter.
fn json_of(text: &str) -> Result<String, Error> {
    let data = super::payload::read(text)?;
    let members = super::payload::members(&data, super::payload::Kind::Json)?;
    Ok(members.strip_prefix("\"data\":").unwrap_or(&members).to_owned())
}

async fn submit(session: &Session, arguments: SubmitArguments) -> Result<ExitCode, Error> {
    let SubmitArguments { node, task, deadline, id, wait } = arguments;
    let deadline = deadline.map_or(0, |deadline| deadline.as_secs().max(1));
    let body = format!(
        "{{\"node\":{},\"id\":{},\"deadline_secs\":{deadline},\"task\":{}}}",
        Value::from(node),
        Value::from(id.unwrap_or_default()),
        json_of(&task)?
    );
    let answer = session.client.post_raw("/v1/tasks", body).await?;
    if wait {
        return waited(session, &parsed(&answer)?.id, None).await;
    }
    session.show_raw(&answer, |_, task: Task| format!("task {} is {}", task.id, task.state))
}

async fn list(session: &Session, incoming: bool, out: bool, state: Option<String>) -> Result<ExitCode, Error> {
    #[derive(Deserialize)]
    struct Listed {
        tasks: Vec<Task>,
    }
    let direction = if incoming { Some("in") } else { out.then_some("out") };
    let fields = [("direction", direction.map(str::to_owned)), ("state", state)];
    let fields = fields.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    let answer = session.client.get_raw(&format!("/v1/tasks{}", query(fields))).await?;
    session.show_raw(&answer, |_, listed: Listed| human(&listed.tasks))
}

fn human(tasks: &[Task]) -> String {
    if tasks.is_empty() {
        return "no tasks".into();
    }
    let row = |task: &Task| {
        let what = task.task.as_ref().map_or_else(String::new, |task| foreign(task.get()));
        let what = what.chars().take(60).collect();
        vec![task.id.clone(), task.from.clone(), task.to.clone(), task.state.clone(), task.changed.clone(), what]
    };
    table(&["ID", "FROM", "TO", "STATE", "CHANGED", "TASK"], &tasks.iter().map(row).collect::<Vec<_>>())
}

async fn finish(session: &Session, id: &str, result: &str, ok: bool) -> Result<ExitCode, Error> {
    let body = format!("{{\"ok\":{ok},\"result\":{}}}", json_of(result)?);
    let answer = session.client.post_raw(&path(id, "/finish"), body).await?;
    session.show_raw(&answer, |_, task: Task| format!("task {} is {}", task.id, task.state))
}

async fn decide(session: &Session, id: &str, verb: &str, body: &Value) -> Result<ExitCode, Error> {
    let answer = session.client.post_raw(&path(id, &format!("/{verb}")), body.to_string()).await?;
    session.show_raw(&answer, |_, task: Task| format!("task {} is {}", task.id, task.state))
}

/// The path of a task; an ID of other characters than IDs have leads nowhere else.
pub fn path(id: &str, verb: &str) -> String {
    let escaped = query([("", id)]);
    format!("/v1/tasks/{}{verb}", escaped.strip_prefix("?=").unwrap_or(&escaped))
}

/// A task as the daemon knows it.
///
/// # Errors
/// `not_found`, `ambiguous`.
pub async fn get(session: &Session, id: &str) -> Result<Box<RawValue>, Error> {
    session.client.get_raw(&path(id, "")).await
}

/// The task of an answer.
///
/// # Errors
/// `internal` where it is none.
pub fn parsed(answer: &RawValue) -> Result<Task, Error> {
    serde_json::from_str(answer.get()).map_err(|error| Error::new("internal", error.to_string()))
}

async fn waited(session: &Session, id: &str, timeout: Option<Duration>) -> Result<ExitCode, Error> {
    let over = until_over(session, id);
    let answer = match timeout {
        None => over.await?,
        Some(patience) => tokio::time::timeout(patience, over)
            .await
            .map_err(|_| Error::new("timeout", format!("task {id} is not over after {patience:?}")))??,
    };
    conclude(session, &answer)
}

/// Each change is a reason to look.
async fn until_over(session: &Session, id: &str) -> Result<Box<RawValue>, Error> {
    let mut changes = session.client.lines("/v1/tasks/follow").await?;
    loop {
        let answer = get(session, id).await?;
        if is_over(&parsed(&answer)?.state) {
            return Ok(answer);
        }
        if changes.next().await?.is_none() {
            return Err(Error::new("daemon_not_running", "pilotd is stopping"));
        }
    }
}

fn is_over(state: &str) -> bool {
    !matches!(state, "submitted" | "accepted" | "running")
}

/// Shows the result; a task that is over and not done is a failure.
fn conclude(session: &Session, answer: &RawValue) -> Result<ExitCode, Error> {
    let state = parsed(answer)?.state;
    session.show_raw(answer, |_, task: Task| match &task.result {
        Some(result) if task.state == "done" => result.get().to_owned(),
        Some(result) => format!("{}: {}", task.state, foreign(result.get())),
        None => task.state,
    })?;
    Ok(if is_over(&state) && state != "done" { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
