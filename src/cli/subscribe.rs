//! `pilotctl subscribe`: events as they come.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::Session;
use super::following::{Follow, follow};
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
    let (count, timeout) = (arguments.count, arguments.timeout);
    let how = Follow { path: path(arguments), count, timeout };
    follow(session, how, |session, event: Value| {
        let topic = foreign(event["topic"].as_str().unwrap_or_default());
        format!("{}  {}", session.colour(36, &topic), shown(&event))
    })
    .await
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

/// The data of an event, for a person: one line, without anything that steers a terminal.
pub fn shown(event: &Value) -> String {
    match (&event["data"], &event["data_base64"]) {
        (_, Value::String(bytes)) => format!("base64:{bytes}"),
        (Value::String(text), _) if event["content_type"] != "application/json" => foreign(text),
        (data, _) => foreign(&data.to_string()),
    }
}
