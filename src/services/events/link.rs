//! The conversation of a link: what a driver and a peer speak, as frames and as the gRPC method `Link`.
//!
//! In: `LinkRequest`s, several at once. Out: `EventBatch`es: events, answers to `flush`, refusals. Reading never waits
//! for writing: a caller that does not read loses events of its own subscription, and nothing else.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock, Weak};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::Notify;

use super::ask::{Ask, MAX_GROUPS, wanted};
use super::batch::{flushed, refused};
use super::compact::compacted;
use super::dial::{READ, make_room};
use super::event::{STAMP_ROOM, Stamp};
use super::facade::Events;
use super::feed::{self, Feed};
use super::frame::take_frame;
use super::outlet::FrameOutlet;
use super::queue::{Outlet, Segment};
use super::run::RUN_BYTES;
use super::subscriber::Scope;
use super::subscription::Wish;
use super::wire::{Fields, Value};
use super::wishes::Wanted;
use crate::control::Error;
use crate::services::api;
use crate::services::directory::Caller;

/// Answers that wait to be written; with more, no further requests are read.
const ANSWERS: usize = 1_024;
/// Bytes of events that are published at once: a run of [`RUN_BYTES`] is a part that is worth to be shared.
const BATCH: usize = 4 * RUN_BYTES;
/// Bytes of events that are taken from the queue at once.
const AT_ONCE: usize = 256 << 10;

/// One conversation.
pub(super) struct Conversation {
    events: Events,
    caller: Caller,
    feed: OnceLock<Feed>,
    /// Where publishers may write by themselves.
    outlet: OnceLock<Weak<dyn Outlet>>,
    answers: Mutex<VecDeque<Bytes>>,
    /// There is something to write.
    news: Notify,
    /// There is room for answers.
    room: Notify,
    /// How our own events are stamped, for a caller that reads short batches and has a tunnel in between.
    short: OnceLock<Stamp>,
}

impl Conversation {
    /// A conversation with `caller`, in which nothing was said.
    pub fn new(events: Events, caller: Caller) -> Conversation {
        let (feed, outlet, answers) = (OnceLock::new(), OnceLock::new(), Mutex::default());
        let (news, room, short) = (Notify::new(), Notify::new(), OnceLock::new());
        Conversation { events, caller, feed, outlet, answers, news, room, short }
    }

    /// Does what requests say, in their order; events of several requests are published together.
    ///
    /// # Errors
    /// Bytes that are no request: the conversation is over.
    pub fn take(&self, requests: &[Bytes]) -> Result<(), Error> {
        let (mut bodies, mut room) = (Vec::new(), 0);
        for request in requests {
            let mut flush = 0;
            for field in Fields::of(request) {
                let field = field?;
                match (field.number, field.value) {
                    (1, Value::Bytes(body)) => {
                        bodies.push(body);
                        room += body.len() + STAMP_ROOM;
                        if room >= BATCH {
                            self.publish(&mut bodies);
                            room = 0;
                        }
                    }
                    (2, Value::Bytes(bytes)) => {
                        self.publish(&mut bodies);
                        self.tell(api::Interest::decode(bytes).map_err(undecoded).and_then(|i| self.interest(&i)));
                    }
                    (3, Value::Number(number)) => flush = number,
                    (5, Value::Number(1)) => self.shorten(),
                    (4, Value::Bytes(bytes)) => {
                        self.publish(&mut bodies);
                        let ask = api::SubscribeRequest::decode(bytes).map_err(undecoded);
                        self.tell(ask.and_then(|ask| self.subscribe(&ask)));
                    }
                    _ => {}
                }
            }
            if flush != 0 {
                self.publish(&mut bodies);
                self.answer(flushed(flush));
            }
        }
        self.publish(&mut bodies);
        Ok(())
    }

    /// Through a tunnel every byte costs more than shortening it; on this machine none does.
    fn shorten(&self) {
        let me = self.events.me();
        if self.caller.member().id != me {
            self.short.get_or_init(|| Stamp::new(me, 0));
        }
    }

    fn shortened(&self, mut segments: Vec<Segment>) -> Vec<Segment> {
        if let Some(stamp) = self.short.get() {
            for segment in segments.iter_mut().filter(|segment| segment.count > 1) {
                segment.bytes = compacted(&segment.bytes, stamp.source());
            }
        }
        segments
    }

    fn publish(&self, bodies: &mut Vec<&[u8]>) {
        if !bodies.is_empty() {
            let intake = self.events.take_in(&self.caller, bodies.drain(..));
            intake.refused.iter().for_each(|error| self.answer(refused(error)));
        }
    }

    fn tell(&self, outcome: Result<(), Error>) {
        if let Err(error) = outcome {
            self.answer(refused(&error));
        }
    }

    fn answer(&self, batch: Bytes) {
        self.answers.lock().push_back(batch);
        self.news.notify_one();
    }

    fn subscribe(&self, request: &api::SubscribeRequest) -> Result<(), Error> {
        if self.feed.get().is_some() {
            return Err(Error::new("invalid_request", "this link has a subscription already")
                .hint("open another link, or use `interest`, which can be replaced"));
        }
        self.begin(self.events.subscribe(&self.caller, &Ask::of(request)?)?);
        Ok(())
    }

    fn interest(&self, interest: &api::Interest) -> Result<(), Error> {
        let wanted = all_wanted(interest)?;
        if let Some(feed) = self.feed.get() {
            return feed.subscription().replace(wanted);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let is_ours = self.caller.member().id == self.events.me();
        let scope = if is_ours { Scope::All } else { Scope::Own };
        let wish = Wish { is_link: true, ..Wish::new(wanted, scope) };
        self.begin(Feed::new(self.events.inner.bus.subscribe(wish)?));
        Ok(())
    }

    fn begin(&self, feed: Feed) {
        if let Some(outlet) = self.outlet.get() {
            feed.subscription().queue().write_by(outlet.clone());
        }
        // Only one request is looked at at a time, and there was no feed.
        let _ = self.feed.set(feed);
        self.news.notify_one();
    }

    /// Whether answers wait that are to be written before more is read.
    pub async fn has_room(&self) {
        while self.answers.lock().len() > ANSWERS {
            self.room.notified().await;
        }
    }

    /// Waits for something to be written, and gives it, as batches.
    ///
    /// # Errors
    /// The subscription has ended; what is to be said about it is the error.
    pub async fn next(&self) -> Result<Vec<Segment>, Error> {
        loop {
            let taken = self.take_now()?;
            if !taken.is_empty() {
                return Ok(taken);
            }
            self.ready().await;
        }
    }

    /// What there is to be written, as batches; nothing where nothing is.
    ///
    /// # Errors
    /// As [`Conversation::next`].
    pub fn take_now(&self) -> Result<Vec<Segment>, Error> {
        let mut out = self.rest();
        if !out.is_empty() {
            self.room.notify_one();
        }
        match self.feed.get().map(|feed| feed.try_take(AT_ONCE)) {
            Some(Ok(taken)) => out.extend(self.shortened(taken)),
            Some(Err(ended)) if out.is_empty() => return Err(feed::ended(ended)),
            Some(Err(_)) | None => {}
        }
        Ok(out)
    }

    /// Returns when there may be something to be written. Cancel safe.
    pub async fn ready(&self) {
        match self.feed.get() {
            None => self.news.notified().await,
            Some(feed) => tokio::select! {
                () = self.news.notified() => {}
                () = feed.ready() => {}
            },
        }
    }

    /// Whether its subscription still reads what is remembered.
    pub fn is_in_the_past(&self) -> bool {
        self.feed.get().is_some_and(Feed::is_in_the_past)
    }

    /// What waits to be answered, when nothing more is asked.
    pub fn rest(&self) -> Vec<Segment> {
        std::mem::take(&mut *self.answers.lock()).into_iter().map(Segment::whole).collect()
    }
}

fn undecoded(error: prost::DecodeError) -> Error {
    Error::new("invalid_request", format!("not understood: {error}"))
}

fn all_wanted(interest: &api::Interest) -> Result<Vec<Wanted>, Error> {
    let mut all = Vec::with_capacity(interest.wanted.len());
    for one in &interest.wanted {
        all.extend(wanted([one.pattern.as_str()].into_iter(), &one.group)?);
    }
    let mut groups: Vec<_> = all.iter().filter_map(|one| one.group.clone()).collect();
    groups.sort();
    groups.dedup();
    match groups.len() {
        0..=MAX_GROUPS => Ok(all),
        more => Err(Error::new("too_many", format!("{more} queue groups, more than {MAX_GROUPS}"))),
    }
}

/// Speaks frames on a connection until one side is done.
pub(super) async fn serve_frames<S>(conversation: Arc<Conversation>, stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (read, write) = tokio::io::split(stream);
    let outlet = Arc::new(FrameOutlet::new(conversation.clone(), write));
    let weak: Weak<FrameOutlet<_>> = Arc::downgrade(&outlet);
    // A conversation is served once.
    let _ = conversation.outlet.set(weak);
    tokio::select! {
        read = read_frames(&conversation, read) => {
            read?;
            // Whoever is done asking still gets the answers.
            outlet.finish(conversation.rest()).await
        }
        written = outlet.run() => written,
    }
}

async fn read_frames(conversation: &Conversation, mut read: impl AsyncRead + Unpin) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(READ);
    let mut frames = Vec::new();
    loop {
        while let Some(frame) = take_frame(&mut buffer).map_err(io::Error::other)? {
            frames.push(frame);
        }
        conversation.take(&frames).map_err(io::Error::other)?;
        frames.clear();
        conversation.has_room().await;
        make_room(&mut buffer);
        if read.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}
