//! A subscription: what a subscriber wants, and what it takes.
//!
//! In: a [`Wish`]. Out: segments of events, first what is remembered, then what happens. What happens while a
//! subscriber still reads the past is read from there too, so that nothing is twice and nothing is left out. Dropped, it
//! is gone: nobody publishes into a queue that nobody reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::BytesMut;
use parking_lot::Mutex;

use super::batch::elements;
use super::bus::{Bus, State};
use super::event::EventView;
use super::queue::{Ended, Limits, Queue, Segment};
use super::retention::Piece;
use super::run::{RUN_BYTES, Run};
use super::subscriber::{Scope, Subscriber};
use super::trie::Trie;
use super::wishes::Wanted;
use crate::control::Error;
use crate::services::api::Overflow;

/// Patterns of one subscription.
pub const MAX_PATTERNS: usize = 1_024;
/// Patterns of everything that a node wants of another.
pub const MAX_INTEREST: usize = 10_000;
/// Remembered events that are looked through at once, bytes.
const STRIDE: usize = 4 * RUN_BYTES;

/// From where on events of the past are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// After this number.
    Seq(u64),
    /// From this time on, microseconds since 1970.
    Time(u64),
}

/// What a subscriber wants.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The patterns.
    pub wanted: Vec<Wanted>,
    /// Of which nodes.
    pub scope: Scope,
    /// Events of the past.
    pub since: Option<Since>,
    /// The time, microseconds since 1970.
    pub now: u64,
    /// Whether the last event of each topic comes first.
    pub last: bool,
    /// Events that wait at most; 0 for the default.
    pub queue: u32,
    /// What happens above.
    pub overflow: Overflow,
    /// Whether it is a node that deals out to queue groups of its own.
    pub is_link: bool,
}

impl Wish {
    /// The wish for `wanted` from now on.
    pub fn new(wanted: Vec<Wanted>, scope: Scope) -> Wish {
        Wish {
            wanted,
            scope,
            since: None,
            now: 0,
            last: false,
            queue: 0,
            overflow: Overflow::DropOldest,
            is_link: false,
        }
    }
}

/// Where a subscriber is in the past.
struct Replay {
    after: u64,
    wanted: Trie<()>,
}

/// One subscriber's place at the bus.
pub struct Subscription {
    bus: Arc<Bus>,
    subscriber: Arc<Subscriber>,
    wanted: Mutex<Vec<Wanted>>,
    replay: Mutex<Option<Replay>>,
}

impl Bus {
    /// Makes a subscription.
    ///
    /// # Errors
    /// `too_many` subscriptions or patterns, `bad_argument` for a queue that is too long.
    pub fn subscribe(self: &Arc<Bus>, wish: Wish) -> Result<Subscription, Error> {
        let limits = self.limits(&wish)?;
        check_count(wish.wanted.len(), if wish.is_link { MAX_INTEREST } else { MAX_PATTERNS })?;
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.wishes.subscribers() >= self.settings.subscriptions {
            let most = self.settings.subscriptions;
            return Err(Error::new("too_many", format!("{most} subscriptions are open already"))
                .hint("one subscription takes up to 1024 patterns"));
        }
        let subscriber = Arc::new(Subscriber {
            id: state.wishes.number(),
            queue: Queue::new(limits, self.budget.clone()),
            scope: wish.scope,
            is_link: wish.is_link,
            is_catching_up: AtomicBool::new(false),
        });
        if wish.last {
            queue_last(state, &subscriber, &wish.wanted);
        }
        let replay = wish.since.and_then(|since| begin(state, since, wish.now, &wish.wanted));
        subscriber.is_catching_up.store(replay.is_some(), Relaxed);
        state.wishes.enter(&subscriber, &wish.wanted);
        drop(guard);
        self.say_changed(wish.scope);
        let (wanted, replay) = (Mutex::new(wish.wanted), Mutex::new(replay));
        Ok(Subscription { bus: self.clone(), subscriber, wanted, replay })
    }

    fn limits(&self, wish: &Wish) -> Result<Limits, Error> {
        let (events, longest) = (wish.queue as usize, self.settings.longest_queue);
        if events > longest {
            return Err(Error::new("bad_argument", format!("a queue of {events} events, more than {longest}")));
        }
        let events = if events == 0 { self.settings.queue_events } else { events };
        Ok(Limits { events, bytes: self.settings.queue_bytes, overflow: wish.overflow })
    }

    fn say_changed(&self, scope: Scope) {
        if matches!(scope, Scope::All | Scope::From(_)) {
            self.changes.send_modify(|count| *count += 1);
        }
    }
}

fn check_count(count: usize, most: usize) -> Result<(), Error> {
    match count {
        0 => Err(Error::new("bad_argument", "a subscription needs a pattern").hint("`*` is everything")),
        _ if count > most => Err(Error::new("too_many", format!("{count} patterns, more than {most}"))),
        _ => Ok(()),
    }
}

fn queue_last(state: &mut State, subscriber: &Arc<Subscriber>, wanted: &[Wanted]) {
    let is_wanted = |topic: &str| wanted.iter().any(|one| one.pattern.matches(topic));
    for bytes in state.topics.last(is_wanted) {
        subscriber.queue.push(&Run { whole: bytes.len(), bytes, count: 1 }, None);
    }
    subscriber.queue.wake();
}

fn begin(state: &mut State, since: Since, now: u64, wanted: &[Wanted]) -> Option<Replay> {
    // What is too old is still there where nothing was published since.
    state.retention.expire(now);
    let after = match since {
        Since::Seq(seq) => seq,
        Since::Time(time) => state.retention.before(time)?,
    };
    let mut trie = Trie::default();
    wanted.iter().for_each(|one| trie.insert(&one.pattern, ()));
    Some(Replay { after, wanted: trie })
}

impl Subscription {
    /// The queue, for those who bring events by another way than the bus.
    pub fn queue(&self) -> &Queue {
        &self.subscriber.queue
    }

    /// Wants something else from now on.
    ///
    /// # Errors
    /// `too_many` patterns; what was wanted before still is.
    pub fn replace(&self, wanted: Vec<Wanted>) -> Result<(), Error> {
        if wanted.len() > MAX_INTEREST {
            check_count(wanted.len(), MAX_INTEREST)?;
        }
        let mut held = self.wanted.lock();
        let mut state = self.bus.state.lock();
        state.wishes.remove(&self.subscriber, &held);
        state.wishes.add(&self.subscriber, &wanted);
        drop(state);
        *held = wanted;
        self.bus.say_changed(self.subscriber.scope);
        Ok(())
    }

    /// Takes what is there, about `most` bytes; nothing where nothing is.
    ///
    /// # Errors
    /// Nothing more comes.
    pub fn try_take(&self, most: usize) -> Result<Vec<Segment>, Ended> {
        let mut taken = self.replayed();
        match self.subscriber.queue.try_take(most) {
            Ok(live) => taken.extend(live),
            Err(ended) if taken.is_empty() => return Err(ended),
            Err(_) => {}
        }
        Ok(taken)
    }

    /// Waits for something, and takes about `most` bytes of it. Cancel safe.
    ///
    /// # Errors
    /// Nothing more comes.
    pub async fn take(&self, most: usize) -> Result<Vec<Segment>, Ended> {
        loop {
            let taken = self.try_take(most)?;
            if !taken.is_empty() {
                return Ok(taken);
            }
            self.ready().await;
        }
    }

    /// Returns when there may be something to take. Cancel safe.
    pub async fn ready(&self) {
        match self.is_in_the_past() {
            true => tokio::task::yield_now().await,
            false => self.subscriber.queue.ready().await,
        }
    }

    /// Whether it still reads what is remembered.
    pub fn is_in_the_past(&self) -> bool {
        self.replay.lock().is_some()
    }

    /// The next events of the past that are wanted; at its end the queue takes over, in the same moment.
    fn replayed(&self) -> Vec<Segment> {
        let mut held = self.replay.lock();
        let Some(replay) = held.as_mut() else { return Vec::new() };
        let mut taken = Vec::new();
        let state = self.bus.state.lock();
        let mut seen = 0;
        while seen < STRIDE {
            let Some(piece) = state.retention.next_after(replay.after) else {
                self.subscriber.is_catching_up.store(false, Relaxed);
                *held = None;
                break;
            };
            let missed = state.retention.forgotten_between(replay.after, piece.first);
            seen += piece.bytes.len().max(1);
            taken.extend(wanted_of(piece, replay, missed));
            replay.after = piece.last;
        }
        taken
    }
}

/// What is wanted of a piece: all of it as it is, or a copy of some.
fn wanted_of(piece: &Piece, replay: &Replay, missed: u64) -> Option<Segment> {
    let mut some = BytesMut::new();
    let (mut count, mut total) = (0, 0);
    for (place, body) in elements(&piece.bytes) {
        total += 1;
        let Ok(event) = EventView::parse(body) else { continue };
        let mut is_wanted = false;
        replay.wanted.matches(event.topic, &mut |()| is_wanted = true);
        if is_wanted && event.seq > replay.after {
            count += 1;
            some.extend_from_slice(piece.bytes.get(place).unwrap_or_default());
        }
    }
    let bytes = if count == total { piece.bytes.clone() } else { some.freeze() };
    (count > 0 || missed > 0).then_some(Segment { missed, bytes, count, turn: None })
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.bus.state.lock();
        state.wishes.leave(&self.subscriber, self.wanted.get_mut());
        drop(state);
        self.subscriber.queue.discard();
        self.bus.say_changed(self.subscriber.scope);
    }
}
