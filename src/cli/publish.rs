//! `pilotctl publish` and `request`: events from the command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::Session;
use super::payload::{self, Kind};
use super::subscribe::shown;
use crate::control::{Error, query};

/// `publish TOPIC DATA`, `publish TOPIC --data DATA`, or `publish NODE TOPIC --data DATA`.
#[derive(Debug, Args)]
pub struct PublishArguments {
    /// The topic; or with --data or --file, when two words are given, the one node that gets it
    #[arg(value_name = "TOPIC")]
    pub first: String,
    /// The data; or with --data or --file the topic
    #[arg(value_name = "DATA", allow_hyphen_values = true)]
    pub second: Option<String>,
    /// The data; - reads standard input
    #[arg(long, value_name = "DATA", allow_hyphen_values = true, conflicts_with = "file")]
    pub data: Option<String>,
    /// A file with the data; - is standard input
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// What the data is [default: what it looks like]
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<Kind>,
    /// Its media type, in place of the one of --type
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// A note beside the data; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE")]
    pub headers: Vec<String>,
}

/// As `publish`, and a time.
#[derive(Debug, Args)]
pub struct RequestArguments {
    /// What is asked
    #[command(flatten)]
    pub event: PublishArguments,
    /// How long to wait for the first reply
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = super::format::parse_duration)]
    pub timeout: Duration,
}

/// Where an event goes, and what it is as JSON.
struct Outgoing {
    node: Option<String>,
    topic: String,
    /// The members of the JSON object but for its last bracket.
    members: String,
}

#[derive(Deserialize)]
struct Published {
    seq: u64,
}

pub async fn run(session: &Session, arguments: PublishArguments) -> Result<ExitCode, Error> {
    let Outgoing { node, topic, members } = outgoing(arguments)?;
    let path = format!("/v1/events{}", query(node.iter().map(|node| ("node", node))));
    let data = session.client.post_raw(&path, format!("{{{members}}}")).await?;
    session.show_raw(&data, |_, published: Published| match node {
        Some(node) => format!("published {topic} at {node}"),
        None => format!("published {topic}, seq {}", published.seq),
    })
}

pub async fn request(session: &Session, arguments: RequestArguments) -> Result<ExitCode, Error> {
    let Outgoing { node, members, .. } = outgoing(arguments.event)?;
    let path = format!("/v1/events/request{}", query(node.iter().map(|node| ("node", node))));
    let body = format!("{{{members},\"timeout_ms\":{}}}", arguments.timeout.as_millis());
    let data = session.client.post_raw(&path, body).await?;
    session.show_raw(&data, |_, reply: Value| shown(&reply))
}

fn outgoing(arguments: PublishArguments) -> Result<Outgoing, Error> {
    let PublishArguments { first, second, data, file, kind, content_type, headers } = arguments;
    let apart = match (&data, &file) {
        (Some(text), _) => Some(payload::read(text)?),
        (None, Some(path)) => Some(payload::read_file(path)?),
        (None, None) => None,
    };
    let (node, topic, data) = match (apart, second) {
        (Some(data), Some(topic)) => (Some(first), topic, data),
        (Some(data), None) => (None, first, data),
        (None, Some(data)) => (None, first, data.into_bytes()),
        (None, None) => {
            return Err(Error::new("bad_argument", "there is no data to publish")
                .hint("pilotctl publish TOPIC DATA, or --data - to read standard input"));
        }
    };
    let kind = kind.unwrap_or_else(|| Kind::of(&data));
    let content_type = content_type.as_deref().unwrap_or(kind.content_type());
    let mut members = format!("\"topic\":{},\"content_type\":{}", Value::from(&*topic), Value::from(content_type));
    members.push_str(&format!(",{}", payload::members(&data, kind)?));
    if !headers.is_empty() {
        members.push_str(&format!(",\"headers\":{}", noted(&headers)?));
    }
    Ok(Outgoing { node, topic, members })
}

fn noted(headers: &[String]) -> Result<Value, Error> {
    let pairs = headers.iter().map(|header| {
        let pair = header.split_once('=').map(|(name, value)| (name.to_owned(), Value::from(value)));
        pair.ok_or_else(|| Error::new("bad_argument", format!("--header {header:?}: write NAME=VALUE")))
    });
    pairs.collect::<Result<serde_json::Map<_, _>, _>>().map(Value::Object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Arguments;
    use clap::Parser;

    fn parsed(line: &[&str]) -> Outgoing {
        let arguments = Arguments::try_parse_from([&["pilotctl", "publish"], line].concat()).unwrap();
        let crate::cli::Command::Publish(arguments) = arguments.command else { panic!("not publish") };
        outgoing(arguments).unwrap()
    }

    #[test]
    fn two_words_are_topic_and_data_unless_the_data_comes_apart() {
        let here = parsed(&["metrics.cpu", r#"{"percent":73.2}"#]);
        assert_eq!((here.node, here.topic.as_str()), (None, "metrics.cpu"));
        assert!(here.members.ends_with(r#","data":{"percent":73.2}"#), "{}", here.members);
        let there = parsed(&["alpha", "metrics.cpu", "--data", "-5"]);
        assert_eq!((there.node.as_deref(), there.topic.as_str()), (Some("alpha"), "metrics.cpu"));
        let here = parsed(&["metrics.cpu", "--data", "hello", "--header", "unit=%"]);
        assert_eq!(here.node, None);
        assert_eq!(
            here.members,
            r#""topic":"metrics.cpu","content_type":"text/plain","data":"hello","headers":{"unit":"%"}"#
        );
    }
}
