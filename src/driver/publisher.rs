//! The publishing side of a link: many events in, few writes out.
//!
//! An event goes at once when the link is idle. What is published while another write is under way, or close behind
//! the last one, waits in a buffer and goes together. A publisher that is faster than the node waits for room.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prost::Message;
use tokio::sync::Notify;

use super::draft::Draft;
use super::frames::{FrameBuffer, FrameReader};
use super::route::{Route, Writing};
use crate::control::Error;
use crate::services::api::LinkRequest;
use crate::services::events::batch::{Item, items};

/// Where the conversation in frames begins.
pub(super) const LINK: &str = "/v1/events/link";
/// Its name in the upgrade.
pub(super) const PROTOCOL: &str = "pilot-events";
/// Bytes that wait at most before publishers do.
const ENOUGH: usize = 1 << 20;
/// So much is written by the publisher itself: it is warm, and the writer need not be woken.
const LARGE: usize = 32 << 10;
/// A link on which nothing was written for this long is idle: an event is not worth a task of its own.
const IDLE: Duration = Duration::from_micros(20);

/// Publishes on one node; opens the link when there is something to say, and again after it broke.
pub(super) struct Publisher {
    link: Arc<Link>,
}

struct Link {
    route: Route,
    state: Mutex<State>,
    opening: tokio::sync::Mutex<()>,
    /// For the writer: there is something to write, or nothing more will come.
    wake: Notify,
    /// For publishers: something was written, flushed or refused, or the link broke.
    moved: Notify,
}

#[derive(Default)]
struct State {
    socket: Option<Arc<Writing>>,
    /// Which connection it is: counts them.
    generation: u64,
    waiting: FrameBuffer,
    /// Bytes in the hands of the writer; nobody else may write then.
    being_written: usize,
    written_at: Option<Instant>,
    /// What went wrong with earlier events, not told yet.
    problem: Option<Error>,
    flush: u64,
    flushed: u64,
    is_closing: bool,
}

impl Publisher {
    /// Opens nothing yet.
    pub fn new(route: Route) -> Publisher {
        let link = Link {
            route,
            state: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            moved: Notify::new(),
        };
        Publisher { link: Arc::new(link) }
    }

    /// Publishes; returns when the event is on its way, or waits with others in a buffer that is not full.
    ///
    /// # Errors
    /// What is wrong with the event; what went wrong with an earlier one, in place of publishing this one; what
    /// [`Route::upgrade`] says where the link has to be opened.
    pub async fn send(&self, draft: &Draft<'_>) -> Result<(), Error> {
        let length = draft.checked_length()?;
        loop {
            match self.link.state.lock().push(length, |out| draft.encode(out))? {
                Pushed::Closed => {}
                Pushed::Done => return Ok(()),
                Pushed::Wake => {
                    self.link.wake.notify_one();
                    return Ok(());
                }
                Pushed::Full => break,
            }
            self.link.open().await?;
        }
        self.link.wake.notify_one();
        self.link.room().await;
        Ok(())
    }

    /// Waits until the node has published everything.
    ///
    /// # Errors
    /// What went wrong with an event since the last error; `daemon_not_running` or `unreachable` where the link broke.
    pub async fn flush(&self) -> Result<(), Error> {
        let Some((generation, number)) = self.link.state.lock().ask_for_flush()? else { return Ok(()) };
        self.link.wake.notify_one();
        loop {
            let moved = self.link.moved.notified();
            if self.link.state.lock().has_flushed(generation, number, &self.link.route)? {
                return Ok(());
            }
            moved.await;
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let mut state = self.link.state.lock();
        state.is_closing = true;
        if state.being_written == 0 {
            // What the kernel does not take now is left to the writer, as long as there is a runtime.
            let _ = state.write();
        }
        drop(state);
        self.link.wake.notify_one();
    }
}

/// What became of something that was pushed.
enum Pushed {
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
    #[inline]
    fn push(&mut self, length: usize, encode: impl FnOnce(&mut bytes::BytesMut)) -> Result<Pushed, Error> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        if self.socket.is_none() {
            return Ok(Pushed::Closed);
        }
        let was_empty = self.waiting.is_empty();
        encode(self.waiting.room(length));
        if self.being_written == 0 && (self.waiting.len() >= LARGE || was_empty && self.is_idle()) {
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

    fn has_room(&self) -> bool {
        self.socket.is_none() || self.waiting.len() + self.being_written < ENOUGH / 2
    }

    fn is_idle(&self) -> bool {
        self.written_at.is_none_or(|at| at.elapsed() >= IDLE)
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
    fn ask_for_flush(&mut self) -> Result<Option<(u64, u64)>, Error> {
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

    fn has_flushed(&mut self, generation: u64, number: u64, route: &Route) -> Result<bool, Error> {
        match self.problem.take() {
            Some(problem) => Err(problem),
            None if self.generation == generation && self.socket.is_some() => Ok(self.flushed >= number),
            None => Err(route.unreachable(&io::ErrorKind::ConnectionReset.into())),
        }
    }

    /// Takes what waits, for the writer; the buffer that it gives is the next one.
    fn take(&mut self, spare: FrameBuffer) -> FrameBuffer {
        let taken = std::mem::replace(&mut self.waiting, spare);
        self.being_written = taken.len();
        taken
    }
}

impl Link {
    async fn open(self: &Arc<Link>) -> Result<(), Error> {
        let _one_at_a_time = self.opening.lock().await;
        if self.state.lock().socket.is_some() {
            return Ok(());
        }
        let (socket, begun) = self.route.upgrade(LINK, PROTOCOL).await?;
        let (reading, writing) = socket.split();
        let socket = Arc::new(writing);
        let mut state = self.state.lock();
        let generation = state.generation + 1;
        *state = State { generation, socket: Some(socket.clone()), is_closing: state.is_closing, ..State::default() };
        drop(state);
        let reader = FrameReader::new(reading, begun);
        let reading = tokio::spawn(self.clone().read(reader, generation));
        let link = self.clone();
        tokio::spawn(async move {
            let written = link.write(&socket, generation).await;
            link.end(generation, written.err());
            reading.abort();
        });
        Ok(())
    }

    /// Waits until publishers may go on.
    async fn room(&self) {
        loop {
            let moved = self.moved.notified();
            if self.state.lock().has_room() {
                return;
            }
            moved.await;
        }
    }

    /// Writes what waits, until the link has ended or its publisher is gone.
    async fn write(&self, socket: &Writing, generation: u64) -> io::Result<()> {
        let mut buffer = FrameBuffer::default();
        loop {
            {
                let mut state = self.state.lock();
                if state.generation != generation || state.socket.is_none() {
                    return Ok(());
                }
                if state.waiting.is_empty() && state.is_closing {
                    return Ok(());
                }
                buffer = state.take(buffer);
            }
            if buffer.is_empty() {
                self.wake.notified().await;
                continue;
            }
            socket.write_all(buffer.sealed()).await?;
            buffer.consume(usize::MAX);
            let mut state = self.state.lock();
            (state.being_written, state.written_at) = (0, Some(Instant::now()));
            drop(state);
            self.moved.notify_waiters();
        }
    }

    /// Takes what the node says, until it says no more.
    async fn read(self: Arc<Link>, mut reader: FrameReader, generation: u64) {
        let error = loop {
            match reader.frame().await {
                Ok(Some(frame)) => self.heed(&frame),
                Ok(None) => break io::ErrorKind::UnexpectedEof.into(),
                Err(error) => break error,
            }
        };
        self.end(generation, Some(error));
    }

    fn heed(&self, frame: &[u8]) {
        let mut state = self.state.lock();
        for item in items(frame).map_while(Result::ok) {
            match item {
                Item::Flushed(number) => state.flushed = state.flushed.max(number),
                Item::Refused(error) => {
                    state.problem.get_or_insert(error);
                }
                _ => {}
            }
        }
        drop(state);
        self.moved.notify_waiters();
    }

    /// The link is no more; what had not gone out is lost.
    fn end(&self, generation: u64, error: Option<io::Error>) {
        let mut state = self.state.lock();
        if state.generation == generation && state.socket.take().is_some() {
            let is_lost = state.being_written > 0 || !state.waiting.is_empty();
            state.waiting.consume(usize::MAX);
            state.being_written = 0;
            if let Some(error) = error.filter(|_| is_lost) {
                state.problem.get_or_insert(self.route.unreachable(&error));
            }
        }
        drop(state);
        self.wake.notify_one();
        self.moved.notify_waiters();
    }
}
