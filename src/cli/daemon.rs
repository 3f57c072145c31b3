//! `pilotctl daemon start|stop|status`.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use serde_json::json;

use super::arguments::{DaemonAction, StartArguments};
use super::{Session, format};
use crate::control::views::Info;
use crate::control::{Client, Error, Request};

pub async fn run(session: &Session, action: DaemonAction) -> Result<ExitCode, Error> {
    match action {
        DaemonAction::Start(arguments) => start(session, &arguments).await,
        DaemonAction::Stop => stop(session).await,
        DaemonAction::Status { check } => status(session, check).await,
    }
}

/// `pilotd up` returns once its daemon is ready, so that is all there is to start.
async fn start(session: &Session, arguments: &StartArguments) -> Result<ExitCode, Error> {
    if let Ok(info) = session.call::<Info>(&Request::Info).await {
        session.finish(&info, &format!("already running: {info}"));
        return Ok(ExitCode::SUCCESS);
    }
    let outcome = command(session, arguments).stdin(Stdio::null()).stdout(Stdio::null()).output();
    let output = outcome.map_err(|error| {
        Error::new("start_failed", format!("cannot run pilotd: {error}")).hint("is pilotd installed beside pilotctl?")
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new("start_failed", said.trim().trim_start_matches("pilotd: ").to_owned()));
    }
    let info = session.call::<Info>(&Request::Info).await?;
    session.finish(&info, &info.to_string());
    Ok(ExitCode::SUCCESS)
}

/// The token goes by the environment, where other users do not see it; and the daemon is to run in the background
/// also when we are run by a supervisor.
fn command(session: &Session, arguments: &StartArguments) -> Command {
    let mut command = Command::new(beside_us());
    command.arg("up").arg("--socket").arg(&session.socket).env_remove("NOTIFY_SOCKET").env_remove("INVOCATION_ID");
    if let Some(token) = &arguments.join {
        command.env("PILOT_JOIN", token);
    }
    for (flag, value) in [("--hostname", &arguments.hostname), ("--rendezvous", &arguments.rendezvous)] {
        if let Some(value) = value {
            command.arg(flag).arg(value);
        }
    }
    for (flag, value) in [("--state", &arguments.state), ("--config", &arguments.config)] {
        if let Some(value) = value {
            command.arg(flag).arg(value);
        }
    }
    command
}

/// The pilotd of this installation, or else the one in PATH.
fn beside_us() -> PathBuf {
    let beside = std::env::current_exe().map(|path| path.with_file_name("pilotd")).unwrap_or_default();
    if beside.exists() { beside } else { "pilotd".into() }
}

async fn stop(session: &Session) -> Result<ExitCode, Error> {
    let done = Client::new(&session.socket).stop().await?;
    session.finish(&done, &done.done);
    Ok(ExitCode::SUCCESS)
}

async fn status(session: &Session, check: bool) -> Result<ExitCode, Error> {
    match session.call::<Info>(&Request::Info).await {
        Ok(info) => {
            if !check {
                let human = format!("running for {}: {info}", format::age(info.uptime_secs));
                session.finish(
                    &json!({"running": true, "uptime_secs": info.uptime_secs, "node_id": info.node_id}),
                    &human,
                );
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if check => Ok(ExitCode::from(error.exit_code())),
        Err(error) => Err(error),
    }
}
