//! `pilotctl send-message NODE`: a message into the inbox of another node, through our durable outbox.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::Value;

use super::{Session, payload};
use crate::control::Error;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MessageType {
    /// JSON; refused where it is none
    Json,
    /// UTF-8 text
    Text,
    /// Any bytes
    Binary,
    /// A task, as `pilotctl task submit` sends it: JSON
    Task,
}

/// To whom, and what.
#[derive(Debug, Args)]
pub struct SendMessageArguments {
    /// Whom
    #[arg(allow_hyphen_values = true)]
    pub node: String,
    /// The data; - reads standard input
    #[arg(
        long,
        value_name = "DATA",
        allow_hyphen_values = true,
        conflicts_with = "file",
        required_unless_present = "file"
    )]
    pub data: Option<String>,
    /// A file with the data; - is standard input
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// What the data is [default: what it looks like]
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<MessageType>,
    /// Names the message: sending it again with the same ID is harmless
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// How long it is kept for a receiver that is away, at most 30d [default: 7d]
    #[arg(long, value_name = "TIME", value_parser = super::format::parse_duration)]
    pub expires: Option<Duration>,
    /// How long to wait for the delivery
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = super::format::parse_duration)]
    pub wait: Duration,
}

#[derive(Deserialize)]
struct Sent {
    id: String,
    state: String,
}

pub async fn run(session: &Session, arguments: SendMessageArguments) -> Result<ExitCode, Error> {
    let body = body(&arguments)?;
    let answer = session.client.post_raw("/v1/messages/send", body).await?;
    session.show_raw(&answer, |_, sent: Sent| match sent.state.as_str() {
        "delivered" => format!("delivered to {}: {}", arguments.node, sent.id),
        state => format!("{state} for {}: {}, delivered when it is there", arguments.node, sent.id),
    })
}

fn body(arguments: &SendMessageArguments) -> Result<String, Error> {
    let data = match (&arguments.file, &arguments.data) {
        (Some(path), _) => payload::read_file(path)?,
        (None, data) => payload::read(data.as_deref().unwrap_or_default())?,
    };
    let (kind, name) = match arguments.kind {
        None => named(payload::Kind::of(&data)),
        Some(MessageType::Json) => named(payload::Kind::Json),
        Some(MessageType::Text) => named(payload::Kind::Text),
        Some(MessageType::Binary) => named(payload::Kind::Binary),
        Some(MessageType::Task) => (payload::Kind::Json, "task"),
    };
    let mut body = format!(
        "{{\"node\":{},\"type\":\"{name}\",{},\"wait_ms\":{}",
        Value::from(arguments.node.as_str()),
        payload::members(&data, kind)?,
        arguments.wait.as_millis()
    );
    if let Some(id) = &arguments.id {
        body.push_str(&format!(",\"id\":{}", Value::from(id.as_str())));
    }
    if let Some(expires) = arguments.expires {
        body.push_str(&format!(",\"expires_secs\":{}", expires.as_secs().max(1)));
    }
    body.push('}');
    Ok(body)
}

fn named(kind: payload::Kind) -> (payload::Kind, &'static str) {
    match kind {
        payload::Kind::Json => (kind, "json"),
        payload::Kind::Text => (kind, "text"),
        payload::Kind::Binary => (kind, "binary"),
    }
}
