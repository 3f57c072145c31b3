//! `pilotctl inbox`: lists, follows, reads, acknowledges and clears the messages that came.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Session;
use super::following::{Follow, follow};
use super::format::{bytes, foreign, table};
use crate::control::{Error, query};

/// `inbox` alone lists.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct InboxArguments {
    /// What to do
    #[command(subcommand)]
    pub action: Option<InboxAction>,
    /// Which messages
    #[command(flatten)]
    pub list: ListArguments,
}

/// What to do with messages.
#[derive(Debug, Subcommand)]
pub enum InboxAction {
    /// List messages, oldest first
    List(ListArguments),
    /// Print what a message says, and mark it as read
    Read {
        /// Its ID
        id: String,
    },
    /// Mark messages as read
    Ack {
        /// Their IDs
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Remove messages for good
    Clear {
        /// Their IDs
        #[arg(required_unless_present_any = ["read", "all"])]
        ids: Vec<String>,
        /// Those that are read
        #[arg(long, conflicts_with_all = ["ids", "all"])]
        read: bool,
        /// All of them
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
}

/// Which messages to list.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// From this node
    #[arg(long, value_name = "NODE", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Of this type: text, json, binary, task or file
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Only those that are not read
    #[arg(long)]
    pub unread: bool,
    /// Behind this place
    #[arg(long, value_name = "SEQ")]
    pub after: Option<u64>,
    /// At most this many [default: 100]
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Then print each new message as it comes
    #[arg(long)]
    pub follow: bool,
    /// With --follow: end after this many
    #[arg(long, value_name = "N", requires = "follow")]
    pub count: Option<u64>,
    /// With --follow: end after this time; exit code 4 if --count is not reached by then
    #[arg(long, value_name = "TIME", requires = "follow", value_parser = super::format::parse_duration)]
    pub timeout: Option<Duration>,
}

#[derive(Deserialize)]
struct Messages {
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    id: String,
    from: String,
    from_name: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    data: Option<Box<RawValue>>,
    data_base64: Option<String>,
    size: u64,
    seq: u64,
    received: String,
    read: bool,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

pub async fn run(session: &Session, arguments: InboxArguments) -> Result<ExitCode, Error> {
    match arguments.action.unwrap_or(InboxAction::List(arguments.list)) {
        InboxAction::List(list) if list.follow => follow_inbox(session, list).await,
        InboxAction::List(list) => {
            let answer = session.client.get_raw(&path("/v1/inbox", &list)).await?;
            session.show_raw(&answer, |session, found: Messages| human(session, &found.messages))
        }
        InboxAction::Read { id } => read(session, id).await,
        InboxAction::Ack { ids } => change(session, "/v1/inbox/ack", json!({"ids": ids}), "marked as read").await,
        InboxAction::Clear { ids, read, all } => {
            change(session, "/v1/inbox/clear", json!({"ids": ids, "read": read, "all": all}), "removed").await
        }
    }
}

fn path(path: &str, list: &ListArguments) -> String {
    let fields = [
        ("from", list.from.clone()),
        ("type", list.kind.clone()),
        ("unread", list.unread.then(|| "true".to_owned())),
        ("after", list.after.map(|after| after.to_string())),
        ("limit", list.limit.map(|limit| limit.to_string())),
    ];
    let fields = fields.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    format!("{path}{}", query(fields))
}

async fn follow_inbox(session: &Session, list: ListArguments) -> Result<ExitCode, Error> {
    let how = Follow { path: path("/v1/inbox/follow", &list), count: list.count, timeout: list.timeout };
    follow(session, how, |session, message: Message| line(session, &message)).await
}

async fn change(session: &Session, path: &str, body: Value, done: &str) -> Result<ExitCode, Error> {
    let answer = session.client.post_raw(path, body.to_string()).await?;
    session.show_raw(&answer, |_, count: Count| format!("{} {done}", count.count))
}

/// Shows a message whole, and acknowledges it once it is shown.
async fn read(session: &Session, id: String) -> Result<ExitCode, Error> {
    let answer = session.client.get_raw(&format!("/v1/inbox{}", query([("id", &id)]))).await?;
    let found: Messages =
        serde_json::from_str(answer.get()).map_err(|error| Error::new("internal", error.to_string()))?;
    let Some(message) = found.messages.first() else {
        return Err(Error::new("not_found", format!("there is no message {id}")).hint("`pilotctl inbox` lists them"));
    };
    if session.json {
        session.show_raw(&answer, |_, _: Value| String::new())?;
    } else {
        super::following::print_bytes(&content(message)?)?;
    }
    session.client.post("/v1/inbox/ack", &json!({"ids": [id]})).await?;
    Ok(ExitCode::SUCCESS)
}

/// What a message says: text and JSON with a line end, bytes as they are.
fn content(message: &Message) -> Result<Vec<u8>, Error> {
    use base64::Engine;
    match &message.data_base64 {
        Some(text) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|error| Error::new("internal", error.to_string())),
        None => Ok(format!("{}\n", readable(message)).into_bytes()),
    }
}

/// The text of a text, the JSON of everything else to the letter.
fn readable(message: &Message) -> String {
    let raw = message.data.as_ref().map_or("null", |raw| raw.get());
    match serde_json::from_str(raw) {
        Ok(Value::String(text)) if message.kind == "text" => text,
        _ => raw.to_owned(),
    }
}

fn human(session: &Session, messages: &[Message]) -> String {
    if messages.is_empty() {
        return "no messages".into();
    }
    let rows: Vec<Vec<String>> = messages.iter().map(|message| row(session, message)).collect();
    table(&["SEQ", "RECEIVED", "FROM", "TYPE", "SIZE", "ID", "DATA"], &rows)
}

fn row(session: &Session, message: &Message) -> Vec<String> {
    let seq = message.seq.to_string();
    vec![
        if message.read { seq } else { session.colour(1, &seq) },
        message.received.clone(),
        sender(message),
        message.kind.clone(),
        bytes(message.size),
        message.id.clone(),
        summary(message),
    ]
}

fn line(session: &Session, message: &Message) -> String {
    format!("{}  {}  {}  {}", message.received, session.colour(36, &sender(message)), message.kind, summary(message))
}

fn sender(message: &Message) -> String {
    message.from_name.as_deref().map_or_else(|| message.from.clone(), foreign)
}

/// The beginning of what a message says, on one line.
fn summary(message: &Message) -> String {
    let text = match &message.data_base64 {
        Some(_) => "(bytes)".to_owned(),
        None => foreign(&readable(message)),
    };
    if text.chars().count() <= 60 { text } else { text.chars().take(59).chain(['…']).collect() }
}
