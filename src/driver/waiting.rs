//! What waits to be written to a link, and what became of what was.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use prost::Message;

use super::frames::FrameBuffer;
use super::route::{Route, Writing};
use crate::control::Error;
use crate::services::api::LinkRequest;

/// Bytes that wait at most before publishers do.
const ENOUGH: usize = 1 << 20;
/// So much is written by the publisher itself: it is warm, and the writer need not be woken.
const LARGE: usize = 32 << 10;
/// So often a publisher may write a single event by itself: to wake a task for it costs more than to write it, as long
/// as not too many follow each other.
const PACE: Duration = Duration::from_micros(20);
/// Single events that may be written faster than that: what a publisher has been late with.
const BURST: u128 = 8;

/// The state of a link, under its lock.
#[derive(Default)]
pub(super) struct State {
    /// Where to write; none while there is no connection.
    pub socket: Option<Arc<Writing>>,
    /// Which connection it is: counts them.
    pub generation: u64,
    /// What nobody has begun to write.
    pub waiting: FrameBuffer,
    /// Bytes in the hands of the writer; nobody else may write then.
    pub being_written: usize,
    /// When something was written last.
    pub written_at: Option<Instant>,
    /// Single events that may be written at once, as of then.
    credit: u128,
    /// What went wrong with earlier events, not told yet.
    pub problem: Option<Error>,
    /// The last flush that was asked for.
    flush: u64,
    /// The last answer to a flush.
    pub flushed: u64,
    /// Whether the publisher is gone.
    pub is_closing: bool,
}

/// What became of something that was pushed.
pub(super) enum Pushed {
    /// There is no link.
    Closed,
    /// It is on its way, or with what is.
    Done,
    /// It waits for the writer, who sleeps.
    Wake,
    /// It waits, with so much before it that the publisher waits, too.
    Full,
}

impl State {
    /// There is a connection again, and nothing waits; gives its generation.
    pub fn open(&mut self, socket: Arc<Writing>) -> u64 {
        let former = std::mem::take(self);
        self.socket = Some(socket);
        self.generation = former.generation + 1;
        (self.problem, self.is_closing) = (former.problem, former.is_closing);
        self.generation
    }

    /// Puts something of at most `length` bytes behind what waits, and writes where that is the best that can be done.
    ///
    /// # Errors
    /// What went wrong with something earlier; nothing is pushed then.
    #[inline]
    pub fn push(&mut self, length: usize, encode: impl FnOnce(&mut BytesMut)) -> Result<Pushed, Error> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        if self.socket.is_none() {
            return Ok(Pushed::Closed);
        }
        let was_empty = self.waiting.is_empty();
        encode(self.waiting.room(length));
        if self.being_written == 0 && (self.waiting.len() >= LARGE || was_empty && self.may_write()) {
            // An error shows also to the reader of the link, who tells it.
            let _ = self.write();
        }
        Ok(match self.waiting.len() {
            0 => Pushed::Done,
            waiting if waiting + self.being_written >= ENOUGH => Pushed::Full,
            _ if was_empty && self.being_written == 0 => Pushed::Wake,
            _ => Pushed::Done,
        })
    }

    /// Whether publishers may go on.
    pub fn has_room(&self) -> bool {
        self.socket.is_none() || self.waiting.len() + self.being_written < ENOUGH / 2
    }

    /// Whether the publisher may write a single event now; if so, that is counted.
    fn may_write(&mut self) -> bool {
        let earned = self.written_at.map_or(BURST, |at| at.elapsed().as_nanos() / PACE.as_nanos());
        let credit = (self.credit + earned).min(BURST);
        self.credit = credit.saturating_sub(1);
        credit > 0
    }

    /// No more comes: sends what waits. What the kernel does not take now is left to the writer, as long as there is a
    /// runtime.
    pub fn close(&mut self) {
        self.is_closing = true;
        if self.being_written == 0 {
            let _ = self.write();
        }
    }

    /// Writes as much as the kernel takes now.
    fn write(&mut self) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        self.written_at = Some(Instant::now());
        let written = match socket.try_write(self.waiting.sealed()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            written => written?,
        };
        self.waiting.consume(written);
        Ok(())
    }

    /// Asks the node to say when it is done; none where nothing was ever said to it.
    pub fn ask_for_flush(&mut self) -> Result<Option<(u64, u64)>, Error> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        if self.socket.is_none() {
            return Ok(None);
        }
        self.flush += 1;
        let request = LinkRequest { flush: self.flush, ..LinkRequest::default() }.encode_to_vec();
        self.waiting.room(request.len()).extend_from_slice(&request);
        Ok(Some((self.generation, self.flush)))
    }

    /// Whether the answer to a flush is here.
    pub fn has_flushed(&mut self, generation: u64, number: u64, route: &Route) -> Result<bool, Error> {
        match self.problem.take() {
            Some(problem) => Err(problem),
            None if self.generation == generation && self.socket.is_some() => Ok(self.flushed >= number),
            None => Err(route.unreachable(&io::ErrorKind::ConnectionReset.into())),
        }
    }

    /// Takes what waits, for the writer; the buffer that it gives is the next one.
    pub fn take(&mut self, spare: FrameBuffer) -> FrameBuffer {
        let taken = std::mem::replace(&mut self.waiting, spare);
        self.being_written = taken.len();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::super::route::Socket;
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn few_events_in_a_row_are_written_by_their_publisher_and_many_wait_for_the_writer() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (_reading, writing) = Socket::Unix(ours).split();
        // From now on the kernel is known to take something.
        writing.write_all(b"begun").await.unwrap();
        let mut state = State::default();
        state.open(Arc::new(writing));
        for _ in 0..BURST {
            assert!(matches!(state.push(1, |out| out.extend_from_slice(b"x")), Ok(Pushed::Done)));
        }
        let mut seen = vec![0; 5 + 5 * BURST as usize];
        theirs.read_exact(&mut seen).await.unwrap();
        assert!(seen.ends_with(b"\0\0\0\x01x"));
        let is_left_to_the_writer = |_| matches!(state.push(1, |out| out.extend_from_slice(b"x")), Ok(Pushed::Wake));
        assert!((0..10_000).any(is_left_to_the_writer));
    }
}
