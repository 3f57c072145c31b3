//! The bus: from publishers to everybody who wants to know, in one step.
//!
//! In: batches of checked events, with where they come from. Out: runs of them in the queues of subscribers, each of
//! whom is woken once a batch. One short lock keeps numbers, memory and queues in the same order; nobody waits in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::event::{Offer, Stamp};
use super::queue::Budget;
use super::retention::Retention;
use super::run::{RUN_BYTES, Run};
use super::sequence::{Reservation, Sequence};
use super::settings::Settings;
use super::subscriber::{Origin, Route, Subscriber};
use super::topics::Topics;
use super::wishes::{Wanted, Wishes};
use crate::control::Error;
use crate::identity::NodeId;

/// Subscribers to whom a publisher writes by itself, at most; others are served by their own tasks.
const HERE: usize = 16;

/// How publishing went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The number of the last event; 0 where it was handed in by a peer.
    pub seq: u64,
    /// How many events were taken.
    pub count: u64,
}

/// Where an event lies in a batch.
#[derive(Clone, Copy, Debug)]
pub struct Mark<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its first byte.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
}

/// Encoded events on their way out.
struct Batch<'a> {
    origin: Origin,
    bytes: Bytes,
    marks: &'a [Mark<'a>],
    /// The number of the first event; 0 where they are not numbered by us.
    first: u64,
    now: u64,
}

/// The events of a batch that go the same way.
#[derive(Default)]
struct Open {
    start: usize,
    end: usize,
    count: usize,
    /// Place of the first in the batch.
    index: usize,
    route: Arc<Route>,
    ring: Option<usize>,
}

/// What publishing changes.
pub(super) struct State {
    pub(super) wishes: Wishes,
    pub(super) topics: Topics,
    pub(super) retention: Retention,
    sequence: Sequence,
    now: u64,
}

/// Publishers on one side, subscribers on the other.
pub struct Bus {
    pub(super) state: Mutex<State>,
    pub(super) budget: Arc<Budget>,
    pub(super) settings: Settings,
    /// Counts changes of what local subscribers want of peers.
    pub(super) changes: watch::Sender<u64>,
    me: NodeId,
    published: AtomicU64,
}

impl Bus {
    /// The bus of node `me`, whose events are numbered from `first` on.
    pub fn new(settings: Settings, me: NodeId, first: u64, reservation: Arc<dyn Reservation>) -> Arc<Bus> {
        let state = State {
            wishes: Wishes::default(),
            topics: Topics::new(settings.last_topics, settings.last_bytes),
            retention: Retention::new(settings.rules()),
            sequence: Sequence::new(first, reservation),
            now: 0,
        };
        let budget = Budget::new(settings.queues_bytes, settings.queue_share);
        let changes = watch::Sender::new(0);
        Arc::new(Bus { state: Mutex::new(state), budget, settings, changes, me, published: AtomicU64::new(0) })
    }

    /// The node whose bus it is.
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// Events published on this node so far.
    pub fn published(&self) -> u64 {
        self.published.load(Relaxed)
    }

    /// The number that the next event gets.
    pub fn next_seq(&self) -> u64 {
        self.state.lock().sequence.next()
    }

    /// Publishes what this node's programs say, or hands out what a peer handed in, at `now` microseconds since 1970.
    ///
    /// # Errors
    /// No numbers could be reserved; nothing is published.
    pub fn publish(self: &Arc<Bus>, origin: Origin, events: &[Offer<'_>], now: u64) -> Result<Published, Error> {
        let (source, count) = match &origin {
            Origin::Local => (self.me, events.len() as u64),
            Origin::Peer(peer) | Origin::Link(peer, _) => (*peer, 0),
        };
        if events.is_empty() {
            return Ok(Published::default());
        }
        let mut woken = Vec::new();
        let mut state = self.state.lock();
        let first = if count == 0 { 0 } else { state.sequence.take(count)? };
        let now = state.advance(now);
        let (bytes, marks) = encode(events, &Stamp::new(source, now), first);
        state.distribute(&Batch { origin, bytes, marks: &marks, first, now }, &mut woken);
        let due = state.sequence.due();
        drop(state);
        hand_over(&woken);
        if let Some((until, reservation)) = due {
            self.reserve(until, reservation);
        }
        self.published.fetch_add(count, Relaxed);
        Ok(Published { seq: (first + count).saturating_sub(1), count: events.len() as u64 })
    }

    /// Passes on what a peer published, as it lies in `bytes`.
    pub fn pass(&self, origin: Origin, bytes: Bytes, marks: &[Mark<'_>]) {
        let mut woken = Vec::new();
        let mut state = self.state.lock();
        let now = state.now;
        state.distribute(&Batch { origin, bytes, marks, first: 0, now }, &mut woken);
        drop(state);
        hand_over(&woken);
    }

    /// Tells those who follow a peer that some of its events were lost on their way here.
    pub fn tell_missed(&self, peer: NodeId, count: u64) {
        let state = self.state.lock();
        let concerned = state.wishes.members().filter(|one| one.scope.follows(peer));
        concerned.for_each(|one| one.queue.push_missed(count));
    }

    /// Reserves in a thread of its own: a disk may take its time, and publishers have none.
    fn reserve(self: &Arc<Bus>, until: u64, reservation: Arc<dyn Reservation>) {
        let bus = self.clone();
        let reserving = move || {
            let outcome = reservation.reserve(until).map(|()| until);
            if let Err(error) = &outcome {
                tracing::warn!("numbers for events could not be reserved, trying again: {error}");
            }
            bus.state.lock().sequence.reserved(outcome.ok());
        };
        if std::thread::Builder::new().name("event-numbers".to_owned()).spawn(reserving).is_err() {
            self.state.lock().sequence.reserved(None);
        }
    }

    /// Subscriptions now.
    pub fn subscribers(&self) -> usize {
        self.state.lock().wishes.subscribers()
    }

    /// What is wanted of a peer now.
    pub fn wanted_of(&self, peer: NodeId) -> Vec<Wanted> {
        self.state.lock().wishes.of_peer(peer)
    }

    /// Says when what is wanted of peers may have changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Bytes that are remembered for `since`.
    pub fn remembered(&self) -> usize {
        self.state.lock().retention.bytes()
    }

    /// The last event of each topic that matches, as elements.
    pub fn last(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Bytes> {
        self.state.lock().topics.last(is_wanted)
    }
}

/// Sees to it that subscribers get what waits for them: few of them here, more by their own tasks at the same time.
fn hand_over(woken: &[Arc<Subscriber>]) {
    let (here, elsewhere) = woken.split_at(woken.len().min(HERE));
    elsewhere.iter().for_each(|one| one.queue.wake());
    here.iter().for_each(|one| one.queue.hand_over());
}

fn encode<'a>(events: &[Offer<'a>], stamp: &Stamp, first: u64) -> (Bytes, Vec<Mark<'a>>) {
    let mut out = Vec::with_capacity(events.iter().map(Offer::room).sum());
    let mut marks = Vec::with_capacity(events.len());
    for (event, index) in events.iter().zip(0..) {
        let start = out.len();
        event.put_stamped(stamp, if first == 0 { 0 } else { first + index }, &mut out);
        marks.push(Mark { topic: event.topic, start, end: out.len() });
    }
    (out.into(), marks)
}

/// Whether both are the same text; events of a topic that follow each other often share it.
#[inline]
fn is_same(one: &str, other: &str) -> bool {
    std::ptr::eq(one, other) || one == other
}

impl State {
    /// The time, which never goes back: what is remembered stays in its order.
    fn advance(&mut self, now: u64) -> u64 {
        self.now = self.now.max(now);
        self.now
    }

    fn distribute(&mut self, batch: &Batch<'_>, woken: &mut Vec<Arc<Subscriber>>) {
        self.topics.shrink();
        let mut open = Open::default();
        let mut touched = Vec::new();
        let mut current: Option<(&str, usize)> = None;
        for (index, mark) in batch.marks.iter().enumerate() {
            let place = match current {
                Some((topic, place)) if is_same(topic, mark.topic) => place,
                _ => {
                    self.note_newest(current, index, batch, &mut touched);
                    self.turn_to(mark.topic, &mut open, batch, woken)
                }
            };
            current = Some((mark.topic, place));
            self.extend(&mut open, mark, index, batch, woken);
        }
        self.note_newest(current, batch.marks.len(), batch, &mut touched);
        self.close(&mut open, batch, woken);
        self.keep_newest(&touched, batch);
    }

    /// Finds the way of a topic; where it is another than that of the open run, the run is closed.
    fn turn_to(&mut self, topic: &str, open: &mut Open, batch: &Batch<'_>, woken: &mut Vec<Arc<Subscriber>>) -> usize {
        let place = self.topics.place(topic);
        let Some(known) = self.topics.at(place) else { return place };
        if known.generation != self.wishes.generation() {
            known.route = self.wishes.route(topic);
            known.generation = self.wishes.generation();
            known.ring = self.retention.place(topic);
        }
        let (route, ring) = (known.route.clone(), known.ring);
        let is_same = open.ring == ring && (Arc::ptr_eq(&open.route, &route) || open.route == route);
        if !is_same {
            self.close(open, batch, woken);
            (open.route, open.ring) = (route, ring);
        }
        place
    }

    fn extend(
        &mut self,
        open: &mut Open,
        mark: &Mark<'_>,
        index: usize,
        batch: &Batch<'_>,
        woken: &mut Vec<Arc<Subscriber>>,
    ) {
        let is_full = mark.end - open.start > RUN_BYTES || mark.start != open.end || open.route.is_dealt();
        if open.count > 0 && is_full {
            self.close(open, batch, woken);
        }
        if open.count == 0 {
            (open.start, open.index) = (mark.start, index);
        }
        open.end = mark.end;
        open.count += 1;
    }

    fn close(&mut self, open: &mut Open, batch: &Batch<'_>, woken: &mut Vec<Arc<Subscriber>>) {
        if open.count == 0 {
            return;
        }
        let (bytes, count) = (batch.bytes.slice(open.start..open.end), std::mem::take(&mut open.count));
        let run = Run { bytes, count, whole: batch.bytes.len() };
        let ring = open.ring.filter(|_| batch.origin == Origin::Local);
        if let Some(ring) = ring {
            self.retention.keep(ring, &run, batch.first + open.index as u64, batch.now);
        }
        open.route.give(&batch.origin, ring.is_some(), |one, turn| {
            if one.queue.push(&run, turn) {
                woken.push(one.clone());
            }
        });
    }

    /// Notes that the event before place `end` of the batch is the last of its topic so far.
    fn note_newest(&mut self, current: Option<(&str, usize)>, end: usize, batch: &Batch<'_>, touched: &mut Vec<usize>) {
        let Some((topic, place)) = current else { return };
        if batch.origin != Origin::Local || !super::topic::has_public_tokens(topic) {
            return;
        }
        if let Some(known) = self.topics.at(place)
            && known.newest.replace(end - 1).is_none()
        {
            touched.push(place);
        }
    }

    fn keep_newest(&mut self, touched: &[usize], batch: &Batch<'_>) {
        for place in touched {
            let newest = self.topics.at(*place).and_then(|known| known.newest.take());
            let Some((index, mark)) = newest.and_then(|index| Some((index, batch.marks.get(index)?))) else { continue };
            let element = batch.bytes.get(mark.start..mark.end).unwrap_or_default();
            self.topics.set_last(*place, batch.first + index as u64, element);
        }
    }
}
