//! `pilotctl task execute ID -- COMMAND…`: runs a command for a task and gives what it prints as the result.

use std::process::{ExitCode, Stdio};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::Session;
use super::task::{Task, get, parsed, path};
use crate::control::Error;

/// The longest result, bytes: what a message takes, with room for its envelope.
const MAX_RESULT: u64 = (1 << 20) - 4096;

pub async fn run(session: &Session, id: &str, command: &[String]) -> Result<ExitCode, Error> {
    let task = parsed(&get(session, id).await?)?;
    // Before anything runs: a task that is over is not done again.
    session.client.post_raw(&path(id, "/finish"), "{\"running\":true}".into()).await?;
    let outcome = carry_out(&task, command).await;
    let body = match outcome {
        Ok((ok, output)) => format!("{{\"ok\":{ok},\"result\":{}}}", as_json(&output)),
        Err(error) => format!("{{\"ok\":false,\"result\":{}}}", Value::from(error.message)),
    };
    let answer = session.client.post_raw(&path(id, "/finish"), body).await?;
    let state = parsed(&answer)?.state;
    session.show_raw(&answer, |_, task: Task| format!("task {} is {}", task.id, task.state))?;
    Ok(if state == "done" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the command succeeded, and what it printed.
async fn carry_out(task: &Task, command: &[String]) -> Result<(bool, Vec<u8>), Error> {
    let mut child = start(command)?;
    let input = task.task.as_ref().map_or_else(String::new, |task| task.get().to_owned());
    let (fed, output) = (feed(&mut child, input), read(&mut child));
    let ((), output) = tokio::join!(fed, output);
    let output = output?;
    let failed = |error: std::io::Error| Error::new("internal", format!("the command cannot be waited for: {error}"));
    let status = child.wait().await.map_err(failed)?;
    Ok((status.success(), output))
}

fn start(command: &[String]) -> Result<Child, Error> {
    let [program, arguments @ ..] = command else {
        return Err(Error::new("bad_argument", "there is no command"));
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command.spawn().map_err(|error| Error::new("bad_argument", format!("cannot run {program}: {error}")))
}

/// A command that does not read its task is none the worse for it.
fn feed(child: &mut Child, input: String) -> impl Future<Output = ()> + use<> {
    let stdin = child.stdin.take();
    async move {
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    }
}

fn read(child: &mut Child) -> impl Future<Output = Result<Vec<u8>, Error>> + use<> {
    let stdout = child.stdout.take();
    async move {
        let mut output = Vec::new();
        let Some(stdout) = stdout else { return Ok(output) };
        let read = stdout.take(MAX_RESULT + 1).read_to_end(&mut output).await;
        read.map_err(|error| Error::new("internal", format!("the command cannot be read from: {error}")))?;
        if output.len() as u64 > MAX_RESULT {
            return Err(Error::new("too_large", format!("the command printed more than {MAX_RESULT} bytes")));
        }
        Ok(output)
    }
}

/// JSON as it is, anything else as a string.
fn as_json(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    match serde_json::from_str::<&serde_json::value::RawValue>(&text) {
        Ok(json) => json.get().to_owned(),
        Err(_) => Value::from(text.trim_end_matches('\n')).to_string(),
    }
}
