//! The subscribing side: a connection of its own, read by whoever asks for the next event.
//!
//! When the connection breaks the subscription connects again, for ever, with growing pauses. Where it is of one node
//! it goes on after the last event that it has, as far back as that node remembers; of all nodes it goes on with what
//! is published then, and what was published meanwhile is lost. [`Subscription::interruptions`] counts both.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use prost::Message;

use super::event::{Batch, Event};
use super::events::Events;
use super::frames::{FrameBuffer, FrameReader};
use super::link::{LINK, PROTOCOL};
use super::route::{Route, Writing};
use crate::control::Error;
use crate::services::api::{LinkRequest, SubscribeRequest};
use crate::services::backoff::Backoff;
use crate::services::events::batch::{Item, items};
use crate::services::events::compact::expanded;
use crate::services::events::wire::{Fields, Value};

/// The first pause before connecting again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Refusals that time may heal.
const PASSING: [&str; 4] = ["daemon_not_running", "unreachable", "timeout", "too_many"];

type Opening = Pin<Box<dyn Future<Output = Result<Opened, Error>> + Send>>;

/// A connection that is subscribed, and the first frame that it gave.
struct Opened {
    reader: FrameReader,
    /// Kept: a node takes its end for that of the subscription.
    writing: Writing,
    frame: Bytes,
}

/// The events that match, as they come: a [`Stream`], or [`next`](Subscription::next) in a loop.
///
/// It ends when the node refuses it for good; [`error`](Subscription::error) says why.
pub struct Subscription {
    events: Events,
    request: SubscribeRequest,
    state: Connection,
    batch: Arc<Batch>,
    /// How far the batch has been read.
    at: usize,
    /// Where the event is that was given out last.
    last: Range<u32>,
    missed: u64,
    last_seq: u64,
    interruptions: u64,
    error: Option<Error>,
}

enum Connection {
    Open { reader: FrameReader, _writing: Writing },
    Opening(Opening),
    Ended,
}

impl Subscription {
    /// Subscribes; returns once the node knows.
    pub(super) async fn open(events: Events, request: SubscribeRequest) -> Result<Subscription, Error> {
        let opened = open(events.route().clone(), request.clone()).await?;
        let batch = Arc::new(Batch { bytes: expanded(opened.frame), events: events.clone() });
        let state = Connection::Open { reader: opened.reader, _writing: opened.writing };
        let (missed, last_seq, interruptions) = (0, 0, 0);
        Ok(Subscription {
            events,
            request,
            state,
            batch,
            at: 0,
            last: 0..0,
            missed,
            last_seq,
            interruptions,
            error: None,
        })
    }

    /// The next event; none when the subscription has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll_event(context)).await
    }

    /// How often the connection broke and was made anew.
    pub fn interruptions(&self) -> u64 {
        self.interruptions
    }

    /// Why the subscription has ended.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            if let Some(event) = self.next_here() {
                return Poll::Ready(Some(event));
            }
            match &mut self.state {
                Connection::Ended => return Poll::Ready(None),
                Connection::Open { reader, .. } => match ready!(reader.poll_frame(context)) {
                    Ok(Some(frame)) => self.begin(frame),
                    Ok(None) | Err(_) => self.interrupted(),
                },
                Connection::Opening(opening) => match ready!(opening.as_mut().poll(context)) {
                    Ok(opened) => {
                        self.state = Connection::Open { reader: opened.reader, _writing: opened.writing };
                        self.begin(opened.frame);
                    }
                    Err(error) => self.end(error),
                },
            }
        }
    }

    fn begin(&mut self, frame: Bytes) {
        self.last_seq = self.last_seq.max(self.last().seq());
        self.batch = Arc::new(Batch { bytes: expanded(frame), events: self.events.clone() });
        (self.at, self.last) = (0, 0..0);
    }

    /// The event that was given out last.
    fn last(&self) -> Event {
        Event::new(self.batch.clone(), self.last.clone(), 0)
    }

    /// The next event of the batch that is here.
    #[inline]
    fn next_here(&mut self) -> Option<Event> {
        loop {
            let from = self.at;
            let field = Fields::of(self.batch.bytes.get(from..)?).next()?.ok()?;
            self.at += field.whole.len();
            match field.value {
                Value::Bytes(body) if field.number == 1 => {
                    self.last = u32::try_from(self.at - body.len()).ok()?..u32::try_from(self.at).ok()?;
                    return Some(Event::new(self.batch.clone(), self.last.clone(), std::mem::take(&mut self.missed)));
                }
                _ => self.heed(from),
            }
        }
    }

    /// Takes in what is no event.
    fn heed(&mut self, from: usize) {
        let batch = self.batch.clone();
        match items(batch.bytes.get(from..self.at).unwrap_or_default()).next() {
            Some(Ok(Item::Missed(count))) => self.missed += count,
            // A daemon that ends says so; the next one may be up soon.
            Some(Ok(Item::Refused(error))) if error.code == "daemon_not_running" => self.interrupted(),
            Some(Ok(Item::Refused(error))) => self.end(error),
            _ => {}
        }
    }

    fn end(&mut self, error: Error) {
        self.state = Connection::Ended;
        self.error = Some(error);
    }

    fn interrupted(&mut self) {
        self.interruptions += 1;
        self.last_seq = self.last_seq.max(self.last().seq());
        let mut request = SubscribeRequest { last: false, since_millis: None, ..self.request.clone() };
        let is_of_one = matches!(self.events.route(), Route::Overlay(_)) || !request.node.is_empty();
        request.since_seq = Some(self.last_seq).filter(|seq| is_of_one && *seq > 0);
        self.state = Connection::Opening(Box::pin(open_again(self.events.route().clone(), request)));
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.get_mut().poll_event(context)
    }
}

/// Connects and subscribes, as often as it takes.
async fn open_again(route: Route, request: SubscribeRequest) -> Result<Opened, Error> {
    let mut pauses = Backoff::new(PAUSES.0, PAUSES.1);
    loop {
        tokio::time::sleep(pauses.next_wait()).await;
        match open(route.clone(), request.clone()).await {
            Err(error) if PASSING.contains(&error.code.as_str()) => {}
            done => return done,
        }
    }
}

/// Connects, subscribes, and waits for a sign that the node knows: the answer to a flush, or what was subscribed to.
async fn open(route: Route, request: SubscribeRequest) -> Result<Opened, Error> {
    let (socket, begun) = route.upgrade(LINK, PROTOCOL).await?;
    let broken = |error: io::Error| route.unreachable(&error);
    let (reading, writing) = socket.split();
    writing.write_all(&hello(request)).await.map_err(broken)?;
    let mut reader = FrameReader::new(reading, begun);
    let frame = reader.frame().await.map_err(broken)?;
    let frame = frame.ok_or_else(|| broken(io::ErrorKind::UnexpectedEof.into()))?;
    if let Some(Ok(Item::Refused(error))) = items(&frame).next() {
        return Err(error);
    }
    Ok(Opened { reader, writing, frame })
}

fn hello(request: SubscribeRequest) -> Vec<u8> {
    let mut buffer = FrameBuffer::default();
    for request in [
        LinkRequest { subscribe: Some(request), reads_more: true, ..LinkRequest::default() },
        LinkRequest { flush: 1, ..LinkRequest::default() },
    ] {
        buffer.room(request.encoded_len()).extend_from_slice(&request.encode_to_vec());
        // A frame of its own: what is refused is then this one.
        let _ = buffer.sealed();
    }
    buffer.sealed().to_vec()
}
