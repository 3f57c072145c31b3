//! `pilotctl recv [PORT]`: what one stream brings, or several one after the other.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::io::AsyncWriteExt;

use super::Session;
use super::incoming::{Incoming, Taken, is_whole};
use super::received::{from, with_data};
use super::terminal::{Output, receive};
use crate::cli::format;
use crate::control::Error;
use crate::services::streams::DEFAULT_PORT;

/// What to receive.
#[derive(Debug, Args)]
pub struct RecvArguments {
    /// On which port
    #[arg(default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// How many streams
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub count: usize,
    /// Give up when none comes for so long
    #[arg(long, value_name = "TIME", value_parser = format::parse_duration)]
    pub timeout: Option<Duration>,
}

pub async fn run(session: &Session, arguments: RecvArguments) -> Result<ExitCode, Error> {
    let mut incoming = Incoming::open(&session.client, arguments.port, Some(arguments.count)).await?;
    let mut stdout = Output::stdout();
    while let Some(taken) = incoming.next(arguments.timeout).await? {
        one(session, taken, &mut stdout).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn one(session: &Session, mut taken: Taken, stdout: &mut Output) -> Result<(), Error> {
    let mut kept = Output::Memory(Vec::new());
    receive(&mut taken.stream, if session.json { &mut kept } else { stdout }).await?;
    is_whole(&taken.from, &session.client).await?;
    // Tells the sender that all of it is here; one that is gone needs not be told.
    let _ = taken.stream.shutdown().await;
    if let (true, Output::Memory(received)) = (session.json, kept) {
        session.print(&with_data(from(&taken.from), received).to_string());
    }
    Ok(())
}
