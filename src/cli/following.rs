//! Answers that go on: one line each, until there are enough or the time is over.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::Session;
use crate::control::Error;

/// For those who set no end.
const FOREVER: Duration = Duration::from_secs(86_400 * 365);

/// What to follow, and how far.
pub struct Follow {
    /// The path that answers with lines.
    pub path: String,
    /// How many.
    pub count: Option<u64>,
    /// How long.
    pub timeout: Option<Duration>,
}

/// Prints each line as it comes: the JSON as it is, or `human`.
///
/// # Errors
/// The daemon's refusal; `timeout` where the count is not reached in time.
pub async fn follow<T: DeserializeOwned>(
    session: &Session,
    how: Follow,
    human: impl Fn(&Session, T) -> String,
) -> Result<ExitCode, Error> {
    let end = Instant::now() + how.timeout.unwrap_or(FOREVER);
    let mut lines = session.client.lines(&how.path).await?;
    let mut left = how.count.unwrap_or(u64::MAX);
    while left > 0 {
        let line = match timeout_at(end, lines.next()).await {
            Ok(line) => line?,
            Err(_) if how.count.is_none() => break,
            Err(_) => return Err(Error::new("timeout", format!("{left} more did not come in time"))),
        };
        let Some(line) = line else { break };
        let told = match missed(&line) {
            Some(missed) => tell_missed(session, missed, &line),
            None => {
                left -= 1;
                print(session, &line, &human)?
            }
        };
        if told.is_err() {
            // Whoever read has seen enough.
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How many a line says were lost: it stands in their place, and is none of those that are counted.
fn missed(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Missed {
        missed: u64,
    }
    line.starts_with(b"{\"missed\"").then(|| serde_json::from_slice::<Missed>(line).ok()).flatten().map(|it| it.missed)
}

fn tell_missed(session: &Session, missed: u64, line: &[u8]) -> std::io::Result<()> {
    if session.json {
        return put(line);
    }
    writeln!(std::io::stderr(), "pilotctl: {missed} were missed: this subscriber was too slow")
}

fn put(line: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(line)?;
    out.write_all(b"\n")?;
    out.flush()
}

fn print<T: DeserializeOwned>(
    session: &Session,
    line: &[u8],
    human: &impl Fn(&Session, T) -> String,
) -> Result<std::io::Result<()>, Error> {
    if let Ok(refused) = serde_json::from_slice::<Error>(line)
        && !refused.code.is_empty()
    {
        return Err(refused);
    }
    let text = if session.json {
        line.to_vec()
    } else {
        let view = serde_json::from_slice(line).map_err(|error| Error::new("internal", error.to_string()))?;
        human(session, view).into_bytes()
    };
    Ok(put(&text))
}

/// Prints bytes as they are.
///
/// # Errors
/// Nobody reads them, or they cannot be written.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|error| Error::new("bad_argument", format!("cannot write to standard output: {error}")))
}
