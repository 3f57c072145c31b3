//! What waits for one subscriber: bounded, in order, and exact about what was lost.
//!
//! In: runs of events from publishers, who never wait. Out: segments of at most some 64 KiB, cut between events, to
//! the one who writes them to the subscriber. Large runs are shared with other queues, small ones are gathered.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::batch::{element_len, put_missed};
use super::run::{RUN_BYTES, Run, Turn};
use crate::services::api::Overflow;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events.
    pub events: usize,
    /// Bytes; one event always fits.
    pub bytes: usize,
    /// What happens above.
    pub overflow: Overflow,
}

/// What waits in all queues together.
#[derive(Debug)]
pub struct Budget {
    /// Bytes that wait.
    used: AtomicUsize,
    /// Bytes that may wait before every queue is held to its share.
    limit: usize,
    /// Bytes in one queue when the limit is reached.
    share: usize,
    /// Events put into queues.
    pub delivered: AtomicU64,
    /// Events lost from queues.
    pub missed: AtomicU64,
}

impl Budget {
    /// A budget of `limit` bytes; above it, `share` bytes a queue.
    pub fn new(limit: usize, share: usize) -> Arc<Budget> {
        let (used, delivered, missed) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Budget { used, limit, share, delivered, missed })
    }

    fn allowed(&self, wanted: usize) -> usize {
        if self.used.load(Relaxed) < self.limit { wanted } else { wanted.min(self.share) }
    }
}

/// Events that leave the queue together.
#[derive(Clone, Debug, Default)]
pub struct Segment {
    /// Events lost just before these.
    pub missed: u64,
    /// The events, as elements of a batch.
    pub bytes: Bytes,
    /// How many.
    pub count: usize,
    /// For which groups, on a link between nodes.
    pub turn: Option<Arc<Turn>>,
}

impl Segment {
    /// A batch that is complete.
    pub fn whole(batch: Bytes) -> Segment {
        Segment { bytes: batch, ..Segment::default() }
    }

    /// What stands in front of the elements to make it a batch; mostly nothing.
    pub fn preamble(&self) -> BytesMut {
        let mut out = BytesMut::new();
        if self.missed > 0 {
            put_missed(&mut out, self.missed);
        }
        if let Some(turn) = &self.turn {
            turn.groups.iter().for_each(|group| super::wire::put_bytes(&mut out, 3, group.as_bytes()));
            super::wire::put_number(&mut out, 4, u64::from(turn.is_exclusive));
        }
        out
    }

    /// The whole batch.
    pub fn into_batch(self) -> Bytes {
        let mut out = self.preamble();
        if out.is_empty() {
            return self.bytes;
        }
        out.extend_from_slice(&self.bytes);
        out.freeze()
    }
}

/// Why nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The subscriber was too slow, and had asked to be cut off then.
    Overflow,
    /// Whoever filled the queue is done.
    Closed,
}

#[derive(Debug)]
enum Chunk {
    Shared(Bytes),
    Gathered(BytesMut),
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Chunk::Shared(bytes) => bytes,
            Chunk::Gathered(bytes) => bytes,
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Chunk::Shared(bytes) => bytes.advance(count),
            Chunk::Gathered(bytes) => bytes.advance(count),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Chunk::Shared(bytes) => bytes,
            Chunk::Gathered(bytes) => bytes.freeze(),
        }
    }
}

#[derive(Debug)]
struct Waiting {
    missed: u64,
    chunk: Chunk,
    count: usize,
    turn: Option<Arc<Turn>>,
}

#[derive(Debug, Default)]
struct Held {
    waiting: VecDeque<Waiting>,
    events: usize,
    bytes: usize,
    /// Lost after everything that waits.
    lost: u64,
    ended: Option<Ended>,
}

impl Held {
    /// Drops the oldest events until at most `events` and `bytes` wait; says how many.
    fn shrink_to(&mut self, events: usize, bytes: usize) -> u64 {
        let mut dropped = 0;
        while self.events > events || self.bytes > bytes {
            let Some(front) = self.waiting.front_mut() else { break };
            let is_whole = self.events - front.count >= events || self.bytes - front.chunk.as_slice().len() >= bytes;
            let (count, length) = match is_whole {
                true => (front.count, front.chunk.as_slice().len()),
                false => (1, element_len(front.chunk.as_slice())),
            };
            front.chunk.advance(length);
            front.count -= count;
            front.missed += count as u64;
            dropped += count as u64;
            self.events -= count;
            self.bytes -= length;
            self.forget_empty_front();
        }
        dropped
    }

    fn forget_empty_front(&mut self) {
        if self.waiting.front().is_some_and(|front| front.count == 0)
            && let Some(gone) = self.waiting.pop_front()
        {
            let after = self.waiting.front_mut().map_or(&mut self.lost, |next| &mut next.missed);
            *after += gone.missed;
        }
    }

    fn append(&mut self, run: &Run, turn: Option<&Arc<Turn>>) {
        self.events += run.count;
        self.bytes += run.bytes.len();
        let missed = std::mem::take(&mut self.lost);
        if run.is_to_be_shared() {
            self.begin(missed, Chunk::Shared(run.bytes.clone()), run.count, turn);
            return;
        }
        match self.waiting.back_mut() {
            Some(Waiting { chunk: Chunk::Gathered(gathered), count, turn: held, .. })
                if missed == 0 && gathered.len() + run.bytes.len() <= RUN_BYTES && held.as_ref() == turn =>
            {
                gathered.extend_from_slice(&run.bytes);
                *count += run.count;
            }
            _ => self.begin(missed, Chunk::Gathered(BytesMut::from(&run.bytes[..])), run.count, turn),
        }
    }

    fn begin(&mut self, missed: u64, chunk: Chunk, count: usize, turn: Option<&Arc<Turn>>) {
        self.waiting.push_back(Waiting { missed, chunk, count, turn: turn.cloned() });
    }

    fn take(&mut self, most: usize) -> Vec<Segment> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while bytes < most
            && let Some(next) = self.waiting.pop_front()
        {
            let Waiting { missed, chunk, count, turn } = next;
            let segment = Segment { missed, bytes: chunk.into_bytes(), count, turn };
            bytes += segment.bytes.len();
            self.events -= count;
            taken.push(segment);
        }
        self.bytes -= bytes;
        if self.waiting.is_empty() && self.lost > 0 {
            taken.push(Segment { missed: std::mem::take(&mut self.lost), ..Segment::default() });
        }
        taken
    }
}

/// Where a publisher may write by itself what it has just queued.
pub trait Outlet: Send + Sync {
    /// Takes what waits and writes it, if that is possible at once; says whether all that was taken is written.
    fn write_now(&self) -> bool;
}

/// More than this is left to the subscriber's own task: another processor may take it.
const SHORT: usize = 2 << 10;

/// The queue of one subscriber.
#[derive(Debug)]
pub struct Queue {
    held: Mutex<Held>,
    ready: Notify,
    outlet: OnceLock<Weak<dyn Outlet>>,
    limits: Limits,
    budget: Arc<Budget>,
}

impl Queue {
    /// An empty queue.
    pub fn new(limits: Limits, budget: Arc<Budget>) -> Queue {
        Queue { held: Mutex::default(), ready: Notify::new(), outlet: OnceLock::new(), limits, budget }
    }

    /// Adds a run, at the cost of older or newer events where there is no room. The subscriber is told by
    /// [`Queue::wake`]; whether that is needed is the answer.
    pub fn push(&self, run: &Run, turn: Option<&Arc<Turn>>) -> bool {
        let mut held = self.held.lock();
        if held.ended.is_some() {
            return false;
        }
        let (was_idle, before) = (held.events == 0 && held.lost == 0, held.bytes);
        let missed = self.admit(&mut held, run, turn);
        self.account(before, held.bytes);
        drop(held);
        self.budget.delivered.fetch_add(run.count as u64, Relaxed);
        if missed > 0 {
            self.budget.missed.fetch_add(missed, Relaxed);
        }
        was_idle
    }

    fn admit(&self, held: &mut Held, run: &Run, turn: Option<&Arc<Turn>>) -> u64 {
        let (events, bytes) = (self.limits.events.max(1), self.budget.allowed(self.limits.bytes));
        if held.events + run.count <= events && held.bytes + run.bytes.len() <= bytes {
            held.append(run, turn);
            return 0;
        }
        match self.limits.overflow {
            Overflow::DropOldest => {
                let mut missed =
                    held.shrink_to(events.saturating_sub(run.count), bytes.saturating_sub(run.bytes.len()));
                let (skipped, rest) = split(run, run.count.saturating_sub(events), usize::MAX);
                missed += skipped.count as u64;
                held.lost += skipped.count as u64;
                held.append(&rest, turn);
                missed
            }
            Overflow::DropNewest => {
                let room = bytes.saturating_sub(held.bytes);
                let (fits, rest) = split(run, events.saturating_sub(held.events), room);
                if fits.count > 0 {
                    held.append(&fits, turn);
                }
                held.lost += rest.count as u64;
                rest.count as u64
            }
            Overflow::Disconnect => {
                let missed = held.events + run.count;
                *held = Held { ended: Some(Ended::Overflow), ..Held::default() };
                missed as u64
            }
        }
    }

    fn account(&self, before: usize, after: usize) {
        if after >= before {
            self.budget.used.fetch_add(after - before, Relaxed);
        } else {
            self.budget.used.fetch_sub(before - after, Relaxed);
        }
    }

    /// Adds that events were lost elsewhere on their way to this subscriber.
    pub fn push_missed(&self, count: u64) {
        self.held.lock().lost += count;
        self.budget.missed.fetch_add(count, Relaxed);
        self.wake();
    }

    /// Names the outlet for [`Queue::hand_over`], once.
    pub fn write_by(&self, outlet: Weak<dyn Outlet>) {
        let _ = self.outlet.set(outlet);
    }

    /// Has what waits written here and now where it is little and that is possible; else wakes the subscriber.
    pub fn hand_over(&self) {
        let outlet = self.outlet.get().filter(|_| self.held.lock().bytes <= SHORT).and_then(Weak::upgrade);
        if !outlet.is_some_and(|outlet| outlet.write_now()) || !self.is_empty() {
            self.wake();
        }
    }

    fn is_empty(&self) -> bool {
        let held = self.held.lock();
        held.events == 0 && held.lost == 0
    }

    /// Wakes the subscriber.
    pub fn wake(&self) {
        self.ready.notify_one();
    }

    /// Ends the queue once what waits is taken.
    pub fn close(&self) {
        self.held.lock().ended.get_or_insert(Ended::Closed);
        self.wake();
    }

    /// Forgets what waits, and takes nothing more: nobody reads it.
    pub fn discard(&self) {
        let mut held = self.held.lock();
        self.account(held.bytes, 0);
        *held = Held { ended: Some(Ended::Closed), ..Held::default() };
    }

    /// Takes what waits, about `most` bytes of it; nothing where nothing does.
    ///
    /// # Errors
    /// Nothing more comes.
    pub fn try_take(&self, most: usize) -> Result<Vec<Segment>, Ended> {
        let mut held = self.held.lock();
        let before = held.bytes;
        let taken = held.take(most);
        self.account(before, held.bytes);
        match held.ended {
            Some(ended) if taken.is_empty() => Err(ended),
            _ => Ok(taken),
        }
    }

    /// Returns when there may be something to take. Cancel safe.
    pub async fn ready(&self) {
        self.ready.notified().await;
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let waiting = self.held.get_mut().bytes;
        self.account(waiting, 0);
    }
}

/// The first `events` of `run`, as far as they fit in `bytes`, and the rest.
fn split(run: &Run, events: usize, bytes: usize) -> (Run, Run) {
    let (mut count, mut at) = (0, 0);
    while count < events.min(run.count) {
        let next = at + element_len(run.bytes.get(at..).unwrap_or_default());
        if next > bytes {
            break;
        }
        (count, at) = (count + 1, next);
    }
    let part = |bytes: Bytes, count| Run { bytes, count, whole: run.whole };
    (part(run.bytes.slice(..at), count), part(run.bytes.slice(at..), run.count - count))
}

#[cfg(test)]
mod tests;
