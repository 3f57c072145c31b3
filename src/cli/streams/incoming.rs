//! Streams that come in, taken as soon as they are announced.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::broken;
use crate::control::{Client, Error, Lines};
use crate::services::streams::Announced;

/// Streams that are taken and wait for the one before them.
const AHEAD: usize = 64;

/// A stream that was taken.
pub struct Taken {
    /// Who sent it.
    pub from: Announced,
    /// Its bytes.
    pub stream: Box<dyn Both>,
}

/// Whether what came on a stream is all that was sent: its end on the local socket does not tell.
///
/// # Errors
/// `stream_broken` where it is not.
pub async fn is_whole(from: &Announced, client: &Client) -> Result<(), Error> {
    let state = client.get(&format!("/v1/streams/state?stream={}", from.stream)).await?;
    match state.get("broken").and_then(serde_json::Value::as_bool) {
        Some(true) => Err(broken(&"the connection to the node was lost")),
        _ => Ok(()),
    }
}

/// Reads and writes.
pub trait Both: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

/// The streams of a port, as they come.
pub struct Incoming {
    port: u16,
    taken: mpsc::Receiver<Result<Taken, Error>>,
}

impl Incoming {
    /// Listens on a port, for so many streams, or without end. At the most 64 are taken before they are asked for.
    ///
    /// # Errors
    /// The daemon's refusal.
    pub async fn open(client: &Client, port: u16, count: Option<usize>) -> Result<Incoming, Error> {
        let lines = client.lines(&format!("/v1/streams/listen?port={port}")).await?;
        let (sender, taken) = mpsc::channel(AHEAD);
        tokio::spawn(take_all(client.clone(), lines, count, sender));
        Ok(Incoming { port, taken })
    }

    /// The next stream; none when as many have come as were asked for.
    ///
    /// # Errors
    /// `timeout` when none came within `patience`; whatever ended the listening.
    pub async fn next(&mut self, patience: Option<Duration>) -> Result<Option<Taken>, Error> {
        let taken = match patience {
            None => self.taken.recv().await,
            Some(patience) => timeout(patience, self.taken.recv()).await.map_err(|_| {
                Error::new("timeout", format!("no stream came to port {} within {patience:?}", self.port))
                    .hint("wait longer with --timeout")
            })?,
        };
        taken.transpose()
    }
}

async fn take_all(client: Client, mut lines: Lines, count: Option<usize>, taken: mpsc::Sender<Result<Taken, Error>>) {
    for _ in 0..count.unwrap_or(usize::MAX) {
        // Not taken before there is room for it: others that listen can have it.
        let Ok(room) = taken.reserve().await else { return };
        let outcome = tokio::select! {
            outcome = take(&client, &mut lines) => outcome,
            () = taken.closed() => return,
        };
        let is_over = outcome.is_err();
        room.send(outcome);
        if is_over {
            return;
        }
    }
}

async fn take(client: &Client, lines: &mut Lines) -> Result<Taken, Error> {
    loop {
        let over = || Error::new("daemon_not_running", "pilotd went down").hint("start it again, then listen again");
        let line = lines.next().await?.ok_or_else(over)?;
        let from: Announced = serde_json::from_slice(&line).map_err(|error| {
            Error::new("internal", format!("the daemon's announcement is not understood: {error}"))
                .hint("are pilotctl and pilotd of the same version?")
        })?;
        match client.upgrade(&format!("/v1/streams/take?stream={}", from.stream), "pilot-stream").await {
            Ok(stream) => return Ok(Taken { from, stream: Box::new(stream) }),
            // Its caller or the trust in it has gone in the meantime.
            Err(error) if error.code == "not_found" => {}
            Err(error) => return Err(error),
        }
    }
}
