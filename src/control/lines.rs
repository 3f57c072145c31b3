//! An answer that goes on: one JSON text a line, for as long as the caller reads.

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use tokio::task::JoinSet;

use super::Error;

/// The longest line that is read, bytes: a message of 1 MiB in base64, with room to spare.
const MAX_LINE: usize = 8 << 20;

/// The lines of an answer, as they come. The request ends when this is dropped.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    read: BytesMut,
    /// Bytes of `read` in which no newline is.
    searched: usize,
    _connection: JoinSet<()>,
}

impl Lines {
    pub(super) fn new(body: Incoming, connection: JoinSet<()>) -> Lines {
        Lines { body, read: BytesMut::new(), searched: 0, _connection: connection }
    }

    /// The next line that is not empty, without its newline; nothing when the answer is complete.
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    ///
    /// # Errors
    /// `daemon_not_running` when the connection breaks, `internal` for a line of more than 8 MiB.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            while let Some(line) = self.complete() {
                if !line.is_empty() {
                    return Ok(Some(line));
                }
            }
            if self.read.len() > MAX_LINE {
                return Err(Error::new("internal", "the daemon sent a line of more than 8 MiB"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.read.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
                Some(Err(error)) => {
                    return Err(Error::new("daemon_not_running", format!("pilotd broke off: {error}")));
                }
                None => return Ok((!self.read.is_empty()).then(|| self.read.split().freeze())),
            }
        }
    }

    fn complete(&mut self) -> Option<Bytes> {
        let found = self.read.iter().skip(self.searched).position(|byte| *byte == b'\n');
        let Some(end) = found.map(|at| at + self.searched) else {
            self.searched = self.read.len();
            return None;
        };
        self.searched = 0;
        let line = self.read.split_to(end).freeze();
        self.read.advance(1);
        Some(line)
    }
}
