//! `pilotctl outbox`: the messages that wait to be delivered, and why.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use super::Session;
use super::format::{bytes, foreign, table};
use crate::control::{Error, query};

/// `outbox` alone lists.
#[derive(Debug, Args)]
pub struct OutboxArguments {
    /// What to do
    #[command(subcommand)]
    pub action: Option<OutboxAction>,
    /// Only messages to this node
    #[arg(long, value_name = "NODE", allow_hyphen_values = true)]
    pub node: Option<String>,
}

/// What to do with messages that wait.
#[derive(Debug, Subcommand)]
pub enum OutboxAction {
    /// Take messages back; one that is on its way may still arrive
    Cancel {
        /// Their IDs
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

#[derive(Deserialize)]
struct Messages {
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    id: String,
    to: String,
    to_name: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    size: u64,
    expires: String,
    attempts: u32,
    problem: Option<String>,
    given_up: bool,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

pub async fn run(session: &Session, arguments: OutboxArguments) -> Result<ExitCode, Error> {
    if let Some(OutboxAction::Cancel { ids }) = arguments.action {
        let answer = session.client.post_raw("/v1/outbox/cancel", json!({"ids": ids}).to_string()).await?;
        return session.show_raw(&answer, |_, count: Count| format!("{} taken back", count.count));
    }
    let path = format!("/v1/outbox{}", query(arguments.node.map(|node| ("node", node))));
    let answer = session.client.get_raw(&path).await?;
    session.show_raw(&answer, |_, found: Messages| human(&found.messages))
}

fn human(messages: &[Message]) -> String {
    if messages.is_empty() {
        return "nothing waits: every message was delivered".into();
    }
    let rows: Vec<Vec<String>> = messages.iter().map(row).collect();
    table(&["TO", "TYPE", "SIZE", "ID", "EXPIRES", "TRIES", "STATE"], &rows)
}

fn row(message: &Message) -> Vec<String> {
    let problem = message.problem.as_deref().map_or_else(|| "waits".to_owned(), foreign);
    vec![
        message.to_name.as_deref().map_or_else(|| message.to.clone(), foreign),
        message.kind.clone(),
        bytes(message.size),
        message.id.clone(),
        message.expires.clone(),
        message.attempts.to_string(),
        if message.given_up { format!("given up: {problem}") } else { problem },
    ]
}
