//! `pilotctl send NODE [PORT] --data D | --file F`: bytes one way; done when the other side has them all and closes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::terminal::{Output, receive};
use super::{Session, broken, reach};
use crate::cli::format;
use crate::control::Error;
use crate::services::streams::DEFAULT_PORT;

/// Bytes moved at once.
const BUFFER: usize = 256 << 10;

/// What to send where.
#[derive(Debug, Args)]
pub struct SendArguments {
    /// To which node
    #[arg(allow_hyphen_values = true)]
    pub node: String,
    /// To which of its ports
    #[arg(default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// The bytes themselves
    #[arg(long, value_name = "TEXT", conflicts_with = "file", required_unless_present = "file")]
    pub data: Option<String>,
    /// A file that holds them; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How long the node may take to be reached
    #[arg(long, default_value = "15s", value_name = "TIME", value_parser = format::parse_duration)]
    pub timeout: Duration,
}

pub async fn run(session: &Session, arguments: SendArguments) -> Result<ExitCode, Error> {
    let (mut source, length) = source(&arguments).await?;
    let mut stream = reach(session, &arguments.node, arguments.port, arguments.timeout).await?;
    let (mut from_node, mut to_node) = stream.split();
    let bar = bar(length);
    let sending = deliver(&mut source, &mut to_node, &bar);
    let mut answer = Output::Nowhere;
    let (sent, _) = tokio::try_join!(sending, receive(&mut from_node, &mut answer))?;
    bar.finish_and_clear();
    let human = format!("{} sent to {}", format::bytes(sent), arguments.node);
    session.finish(&json!({"node": arguments.node, "port": arguments.port, "sent": sent}), &human);
    Ok(ExitCode::SUCCESS)
}

type Source = Box<dyn AsyncRead + Unpin>;

/// What is to be sent, and how much it is where that is known.
async fn source(arguments: &SendArguments) -> Result<(Source, Option<u64>), Error> {
    if let Some(data) = &arguments.data {
        return Ok((Box::new(std::io::Cursor::new(data.clone().into_bytes())), None));
    }
    let path = arguments.file.clone().unwrap_or_default();
    if path.as_os_str() == "-" {
        return Ok((Box::new(tokio::io::stdin()), None));
    }
    let unreadable =
        |error| Error::new("bad_argument", format!("cannot read {}: {error}", path.display())).hint("check --file");
    let file = File::open(&path).await.map_err(unreadable)?;
    let length = file.metadata().await.map_err(unreadable)?.len();
    Ok((Box::new(file), Some(length)))
}

/// Shown on a terminal only.
fn bar(length: Option<u64>) -> ProgressBar {
    let Some(length) = length else { return ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

async fn deliver(
    source: &mut Source,
    to_node: &mut (impl AsyncWrite + Unpin),
    bar: &ProgressBar,
) -> Result<u64, Error> {
    let mut buffer = vec![0; BUFFER];
    let mut sent = 0;
    loop {
        let length = source.read(&mut buffer).await.map_err(|error| broken(&format!("cannot read on: {error}")))?;
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
            to_node.shutdown().await.map_err(|error| broken(&error))?;
            return Ok(sent);
        };
        to_node.write_all(bytes).await.map_err(|error| broken(&error))?;
        sent += length as u64;
        bar.inc(length as u64);
    }
}
