//! `pilotctl subscribe`: events as they come.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::Session;
use super::format::foreign;
use crate::control::{Error, query};

/// `subscribe PATTERN` or `subscribe NODE PATTERN`.
#[derive(Debug, Args)]
pub struct SubscribeArguments {
    /// The pattern: `*` is one token, at the end one or more; or, when two words are given, the one node to listen to
    #[arg(value_name = "PATTERN")]
    pub first: String,
    /// The pattern
    #[arg(value_name = "PATTERN", hide = true)]
    pub second: Option<String>,
    /// Begin after this sequence number, or this long ago, as far back as publishers remember
    #[arg(long, value_name = "SEQ|TIME")]
    pub since: Option<String>,
    /// Begin with the last event of each topic
    #[arg(long)]
    pub last: bool,
    /// One of the subscribers of a group gets each event
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// When this subscriber is too slow: drop-oldest, drop-newest or disconnect [default: drop-oldest]
    #[arg(long, value_name = "POLICY")]
    pub overflow: Option<String>,
    /// Events that wait for this subscriber at most
    #[arg(long, value_name = "N")]
    pub queue: Option<u32>,
    /// End after this many events
    #[arg(long, short, value_name = "N")]
    pub count: Option<u64>,
    /// End after this time; exit code 4 when --count events have not come until then
    #[arg(long, short, value_name = "TIME", value_parser = super::format::parse_duration)]
    pub timeout: Option<Duration>,
}

pub async fn run(session: &Session, arguments: SubscribeArguments) -> Result<ExitCode, Error> {
    let (count, patience) = (arguments.count, arguments.timeout);
    let follow = follow(session, path(arguments), count);
    match patience {
        None => follow.await.map(|()| ExitCode::SUCCESS),
        Some(patience) => match tokio::time::timeout(patience, follow).await {
            Ok(outcome) => outcome.map(|()| ExitCode::SUCCESS),
            Err(_) if count.is_none() => Ok(ExitCode::SUCCESS),
            Err(_) => Err(Error::new("timeout", format!("not as many events within {patience:?}"))),
        },
    }
}

fn path(arguments: SubscribeArguments) -> String {
    let SubscribeArguments { first, second, since, last, group, overflow, queue, count, .. } = arguments;
    let (node, pattern) = match second {
        Some(pattern) => (Some(first), pattern),
        None => (None, first),
    };
    let fields = [
        ("pattern", Some(pattern)),
        ("node", node),
        ("since", since),
        ("last", last.then(|| "true".to_owned())),
        ("group", group),
        ("overflow", overflow),
        ("queue", queue.map(|queue| queue.to_string())),
        ("count", count.map(|count| count.to_string())),
    ];
    let fields = fields.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    format!("/v1/events{}", query(fields))
}

/// Ends with the subscription, after `count` events, or when nobody reads what is printed.
async fn follow(session: &Session, path: String, count: Option<u64>) -> Result<(), Error> {
    let mut lines = session.client.lines(&path).await?;
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0
        && let Some(line) = lines.next().await?
    {
        let event: Value = serde_json::from_slice(&line).unwrap_or_default();
        if event["status"] == "error" {
            return Err(refused(&event));
        }
        let told = match event["missed"].as_u64() {
            Some(missed) => tell_missed(session, missed, &line),
            None => {
                left -= 1;
                tell(session, &event, &line)
            }
        };
        if told.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn refused(answer: &Value) -> Error {
    serde_json::from_value(answer.clone()).unwrap_or_else(|_| Error::new("internal", answer.to_string()))
}

fn tell(session: &Session, event: &Value, line: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if session.json {
        out.write_all(line)?;
    } else {
        let topic = foreign(event["topic"].as_str().unwrap_or_default());
        write!(out, "{}  {}", session.colour(36, &topic), shown(event))?;
    }
    out.write_all(b"\n")?;
    out.flush()
}

fn tell_missed(session: &Session, missed: u64, line: &[u8]) -> std::io::Result<()> {
    if session.json {
        let mut out = std::io::stdout().lock();
        out.write_all(line)?;
        out.write_all(b"\n")?;
        return out.flush();
    }
    writeln!(std::io::stderr(), "pilotctl: {missed} events were missed: this subscriber was too slow")
}

/// The data of an event, for a person: one line, without anything that steers a terminal.
pub fn shown(event: &Value) -> String {
    match (&event["data"], &event["data_base64"]) {
        (_, Value::String(bytes)) => format!("base64:{bytes}"),
        (Value::String(text), _) if event["content_type"] != "application/json" => foreign(text),
        (data, _) => foreign(&data.to_string()),
    }
}
