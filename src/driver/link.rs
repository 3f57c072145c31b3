//! A connection for publishing: opened when it is needed, written and read by a task each.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::frames::{FrameBuffer, FrameReader};
use super::route::{Route, Writing};
use super::waiting::State;
use crate::control::Error;
use crate::services::events::batch::{Item, items};

/// Where the conversation in frames begins.
pub(super) const LINK: &str = "/v1/events/link";
/// Its name in the upgrade.
pub(super) const PROTOCOL: &str = "pilot-events";

/// What publishers, writer and reader share.
pub(super) struct Link {
    /// To which node.
    pub route: Route,
    /// What waits, and what became of the rest.
    pub state: Mutex<State>,
    opening: tokio::sync::Mutex<()>,
    /// For the writer: there is something to write, or nothing more will come.
    pub wake: Notify,
    /// For publishers: something was written, flushed or refused, or the link broke.
    pub moved: Notify,
}

impl Link {
    /// Opens nothing yet.
    pub fn new(route: Route) -> Link {
        Link {
            route,
            state: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            moved: Notify::new(),
        }
    }

    /// Connects, if there is no connection.
    ///
    /// # Errors
    /// As [`Route::upgrade`].
    pub async fn open(self: &Arc<Link>) -> Result<(), Error> {
        let _one_at_a_time = self.opening.lock().await;
        if self.state.lock().socket.is_some() {
            return Ok(());
        }
        let (socket, begun) = self.route.upgrade(LINK, PROTOCOL).await?;
        let (reading, writing) = socket.split();
        let socket = Arc::new(writing);
        let generation = self.state.lock().open(socket.clone());
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
    pub async fn room(&self) {
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
