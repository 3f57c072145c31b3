//! Standard input and output as the other end of a stream.

use std::io::IsTerminal;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Stdin, Stdout};
use tokio::sync::watch;
use tokio::time::timeout;

use super::broken;
use crate::control::Error;

/// Bytes moved at once.
const BUFFER: usize = 256 << 10;

/// How many bytes went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// From standard input.
    pub sent: u64,
    /// To the output.
    pub received: u64,
}

/// Standard input, for one stream after the other.
pub struct Input {
    stdin: Stdin,
    has_ended: bool,
}

impl Input {
    /// The standard input of this process.
    pub fn new() -> Input {
        Input { stdin: tokio::io::stdin(), has_ended: false }
    }

    /// Whether a person types it, and not a program.
    pub fn is_typed() -> bool {
        std::io::stdin().is_terminal()
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if self.has_ended {
            return Ok(0);
        }
        let length = self.stdin.read(buffer).await;
        let length = length.map_err(|error| Error::new("internal", format!("cannot read standard input: {error}")))?;
        self.has_ended = length == 0;
        Ok(length)
    }
}

/// Where received bytes go.
pub enum Output {
    /// To standard output.
    Stdout(Stdout),
    /// Into memory, up to a limit.
    Memory(Vec<u8>),
    /// Nowhere: standard output was closed by its reader, or nobody asked.
    Nowhere,
}

/// The most that is kept in memory, bytes.
pub const MAX_KEPT: usize = 64 << 20;

impl Output {
    /// The standard output of this process.
    pub fn stdout() -> Output {
        Output::Stdout(tokio::io::stdout())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            // Who reads no more of what we print may still want what we send to arrive.
            Output::Stdout(stdout) => {
                if put(stdout, bytes).await.is_err() {
                    *self = Output::Nowhere;
                }
            }
            Output::Memory(kept) if kept.len() + bytes.len() > MAX_KEPT => {
                let message = format!("more than {MAX_KEPT} bytes came, too many for one JSON object");
                return Err(Error::new("too_large", message).hint("leave --json out and redirect the output"));
            }
            Output::Memory(kept) => kept.extend_from_slice(bytes),
            Output::Nowhere => {}
        }
        Ok(())
    }
}

async fn put(stdout: &mut Stdout, bytes: &[u8]) -> std::io::Result<()> {
    stdout.write_all(bytes).await?;
    stdout.flush().await
}

/// Carries `input` to the stream and the stream to `output`, until both have ended.
///
/// With a `patience`, input is not waited for any longer than that once the other side has ended.
///
/// # Errors
/// `stream_broken` where not everything was delivered, `too_large` where memory does not hold it.
pub async fn converse(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    input: &mut Input,
    output: &mut Output,
    patience: Option<Duration>,
) -> Result<Counts, Error> {
    let (mut from_node, mut to_node) = tokio::io::split(stream);
    let (progress, mut progressed) = watch::channel(0);
    let sending = send(input, &mut to_node, progress);
    let receiving = async {
        let received = receive(&mut from_node, output).await?;
        match patience {
            Some(patience) => while matches!(timeout(patience, progressed.changed()).await, Ok(Ok(()))) {},
            None => while progressed.changed().await.is_ok() {},
        }
        Ok(Counts { sent: *progressed.borrow(), received })
    };
    tokio::pin!(receiving);
    tokio::select! {
        counts = &mut receiving => counts,
        sent = sending => {
            let refused = sent?;
            let counts = receiving.await?;
            refused.map_or(Ok(counts), Err)
        }
    }
}

/// Sends the whole input; gives why not all of it was taken.
async fn send(
    input: &mut Input,
    to_node: &mut (impl AsyncWrite + Unpin),
    progress: watch::Sender<u64>,
) -> Result<Option<Error>, Error> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = input.read(&mut buffer).await?;
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
            // Where this fails the stream has broken, which reading from it tells.
            let _ = to_node.shutdown().await;
            return Ok(None);
        };
        if let Err(error) = to_node.write_all(bytes).await {
            return Ok(Some(broken(&error)));
        }
        progress.send_modify(|sent| *sent += length as u64);
    }
}

/// Receives until the other side has ended; gives how much it was.
///
/// # Errors
/// As [`converse`].
pub async fn receive(from_node: &mut (impl AsyncRead + Unpin), output: &mut Output) -> Result<u64, Error> {
    let mut buffer = vec![0; BUFFER];
    let mut received = 0;
    loop {
        let length = from_node.read(&mut buffer).await.map_err(|error| broken(&error))?;
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
            return Ok(received);
        };
        output.write(bytes).await?;
        received += length as u64;
    }
}
