//! `pilotctl listen [PORT]`: streams to standard output one after the other, or each to a command of its own.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::incoming::{Incoming, Taken, is_whole};
use super::received::{from, with_data};
use super::terminal::{Input, Output, converse};
use super::{Session, broken};
use crate::cli::format;
use crate::control::{Client, Error};
use crate::services::streams::process::{Process, introduce};
use crate::services::streams::{DEFAULT_PORT, splice};

/// How long standard input is waited for once a caller has ended: it may be a terminal, or never end at all.
const PATIENCE: Duration = Duration::from_millis(100);
/// Commands that run at once.
const MAX_COMMANDS: usize = 64;

/// Where to listen, and what for.
#[derive(Debug, Args)]
pub struct ListenArguments {
    /// On which port
    #[arg(default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// End after so many streams
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// End when none comes for so long; exit code 4 when none or not as many as --count have come
    #[arg(long, value_name = "TIME", value_parser = format::parse_duration)]
    pub timeout: Option<Duration>,
    /// Run this line by the shell for each stream, at its standard input and output
    #[arg(long, value_name = "LINE", conflicts_with = "command")]
    pub exec: Option<String>,
    /// Run this command for each stream; it finds the caller in PILOT_CALLER_ID, PILOT_CALLER_NAME, PILOT_CALLER_IPV6
    #[arg(last = true)]
    pub command: Vec<String>,
}

pub async fn run(session: &Session, arguments: ListenArguments) -> Result<ExitCode, Error> {
    let mut incoming = Incoming::open(&session.client, arguments.port, arguments.count).await?;
    let words = words(&arguments);
    let serving = async {
        if words.is_empty() {
            in_turn(session, &mut incoming, &arguments).await
        } else {
            by_command(session, &mut incoming, &arguments, &words).await
        }
    };
    // Interrupted, we end by a return, which kills the commands.
    tokio::select! {
        outcome = serving => outcome.map(|()| ExitCode::SUCCESS),
        code = interrupted() => Ok(code),
    }
}

fn words(arguments: &ListenArguments) -> Vec<String> {
    match &arguments.exec {
        Some(line) => ["sh", "-c", line].map(str::to_owned).to_vec(),
        None => arguments.command.clone(),
    }
}

/// The exit code of a program that a signal ended, once one has come.
async fn interrupted() -> ExitCode {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => ExitCode::from(130),
        _ = terminate.recv() => ExitCode::from(143),
    }
}

/// The next stream; none when it is time to end.
async fn next(incoming: &mut Incoming, arguments: &ListenArguments, has_served: bool) -> Result<Option<Taken>, Error> {
    match incoming.next(arguments.timeout).await {
        Err(error) if error.code == "timeout" && has_served && arguments.count.is_none() => Ok(None),
        outcome => outcome,
    }
}

async fn in_turn(session: &Session, incoming: &mut Incoming, arguments: &ListenArguments) -> Result<(), Error> {
    let (mut input, mut stdout) = (Input::new(), Output::stdout());
    let mut has_served = false;
    while let Some(mut taken) = next(incoming, arguments, has_served).await? {
        has_served = true;
        let mut kept = Output::Memory(Vec::new());
        let output = if session.json { &mut kept } else { &mut stdout };
        let conversed = converse(&mut taken.stream, &mut input, output, Some(PATIENCE)).await;
        let whole = match conversed {
            Ok(_) => is_whole(&taken.from, &session.client).await,
            Err(error) => Err(error),
        };
        match whole {
            Ok(()) => {}
            Err(error) if arguments.count == Some(1) => return Err(error),
            // The next caller is served whatever this one did.
            Err(error) => eprintln!("pilotctl: {}: {}", taken.from.node_id, error.message),
        }
        if let (true, Output::Memory(received)) = (session.json, kept) {
            session.print(&with_data(from(&taken.from), received).to_string());
        }
    }
    Ok(())
}

async fn by_command(
    session: &Session,
    incoming: &mut Incoming,
    arguments: &ListenArguments,
    words: &[String],
) -> Result<(), Error> {
    let mut running = JoinSet::new();
    let mut has_served = false;
    while let Some(taken) = next(incoming, arguments, has_served).await? {
        has_served = true;
        if running.len() >= MAX_COMMANDS {
            report(session, running.join_next().await);
        }
        while let Some(ended) = running.try_join_next() {
            report(session, Some(ended));
        }
        running.spawn(command(words.to_vec(), taken, session.client.clone()));
    }
    while let Some(ended) = running.join_next().await {
        report(session, Some(ended));
    }
    Ok(())
}

type Ended = Result<Result<Value, Error>, tokio::task::JoinError>;

fn report(session: &Session, ended: Option<Ended>) {
    match ended {
        Some(Ok(Ok(object))) if session.json => session.print(&object.to_string()),
        Some(Ok(Err(error))) => eprintln!("pilotctl: {}", error.message),
        _ => {}
    }
}

/// Runs the command for one stream; gives how it ended.
async fn command(words: Vec<String>, mut taken: Taken, client: Client) -> Result<Value, Error> {
    let (program, rest) = words.split_first().ok_or_else(|| Error::new("bad_argument", "no command is named"))?;
    let mut command = Command::new(program);
    command.args(rest);
    introduce(&mut command, &taken.from);
    let cannot = |error| Error::new("bad_argument", format!("cannot run {program}: {error}"));
    let mut process = Process::start(command).map_err(cannot)?;
    let mut local = process.local().map_err(cannot)?;
    splice(&mut taken.stream, &mut local, process.exited()).await.map_err(|error| broken(&error))?;
    is_whole(&taken.from, &client).await?;
    drop((local, taken.stream));
    let status = process.finish().await.map_err(cannot)?;
    let mut object = from(&taken.from);
    object["exit_code"] = json!(status.code());
    Ok(object)
}
