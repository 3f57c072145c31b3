//! How far each subscriber has come: what paces the publisher, and what proves that nothing was lost.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::Notify;

use crate::payload::{self, PROBE};

/// How long nothing may arrive before what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shared by the publisher and every subscriber of one measurement.
pub struct Progress {
    slots: Vec<Slot>,
    publisher_waits: AtomicBool,
    advanced: Notify,
    failure: Mutex<Option<String>>,
    latencies: Mutex<Vec<u32>>,
    measures_latency: AtomicBool,
    epoch: Instant,
}

/// A subscriber's count, on a cache line of its own.
#[repr(align(128))]
#[derive(Default)]
struct Slot {
    received: AtomicU64,
    is_reached: AtomicBool,
}

impl Progress {
    /// For a number of subscribers.
    pub fn new(subscribers: usize) -> Arc<Progress> {
        Arc::new(Progress {
            slots: (0..subscribers).map(|_| Slot::default()).collect(),
            publisher_waits: AtomicBool::new(false),
            advanced: Notify::new(),
            failure: Mutex::new(None),
            latencies: Mutex::new(Vec::new()),
            measures_latency: AtomicBool::new(false),
            epoch: Instant::now(),
        })
    }

    /// What time stamps in payloads count from.
    pub fn epoch(&self) -> Instant {
        self.epoch
    }

    /// One for each subscriber, in order.
    pub fn sinks(self: &Arc<Progress>) -> Vec<Sink> {
        (0..self.slots.len()).map(|slot| Sink { progress: self.clone(), slot, received: 0 }).collect()
    }

    /// From now on subscribers note how old each event is.
    pub fn measure_latency(&self) {
        self.measures_latency.store(true, Ordering::Relaxed);
    }

    /// The ages noted so far, nanoseconds, sorted.
    pub fn latencies(&self) -> Vec<u32> {
        let mut taken = self.latencies.lock().map(|mut all| std::mem::take(&mut *all)).unwrap_or_default();
        taken.sort_unstable();
        taken
    }

    /// How many events the slowest subscriber has.
    pub fn slowest(&self) -> u64 {
        self.slots.iter().map(|slot| slot.received.load(Ordering::Acquire)).min().unwrap_or(0)
    }

    /// Waits until every subscriber has `count` events.
    ///
    /// # Errors
    /// A subscriber failed, or nothing has arrived for ten seconds.
    pub async fn reaches(&self, count: u64) -> Result<()> {
        let mut seen = (self.slowest(), Instant::now());
        while self.slowest() < count {
            self.publisher_waits.store(true, Ordering::SeqCst);
            if self.slowest() < count {
                // A subscriber that looked at the flag just before it was set does not wake us.
                let _ = tokio::time::timeout(Duration::from_millis(2), self.advanced.notified()).await;
            }
            self.publisher_waits.store(false, Ordering::Relaxed);
            self.check()?;
            let now = self.slowest();
            if now > seen.0 {
                seen = (now, Instant::now());
            } else if seen.1.elapsed() > PATIENCE {
                bail!("the slowest subscriber has {now} of {count} events, and no more come: lost");
            }
        }
        self.check()
    }

    /// Whether a probe has reached every subscriber.
    pub fn is_everybody_reached(&self) -> bool {
        self.slots.iter().all(|slot| slot.is_reached.load(Ordering::Acquire))
    }

    fn check(&self) -> Result<()> {
        match self.failure.lock() {
            Ok(failure) => failure.as_ref().map_or(Ok(()), |failure| bail!("{failure}")),
            Err(_) => bail!("a subscriber panicked"),
        }
    }
}

/// Where one subscriber hands in what it receives.
pub struct Sink {
    progress: Arc<Progress>,
    slot: usize,
    received: u64,
}

impl Sink {
    /// Counts a payload; a gap, a repetition or a wrong order fails the measurement.
    #[inline]
    pub fn take(&mut self, payload: &[u8]) {
        match payload::number(payload) {
            Some(number) if number == self.received => self.count(payload),
            None if payload == PROBE => self.reached(),
            found => self.fail(format!("subscriber {} expected event {}, got {found:?}", self.slot, self.received)),
        }
    }

    /// Fails the measurement.
    pub fn fail(&self, why: String) {
        if let Ok(mut failure) = self.progress.failure.lock() {
            failure.get_or_insert(why);
        }
    }

    fn reached(&self) {
        if let Some(slot) = self.progress.slots.get(self.slot) {
            slot.is_reached.store(true, Ordering::Release);
        }
    }

    #[inline]
    fn count(&mut self, payload: &[u8]) {
        self.received += 1;
        if self.progress.measures_latency.load(Ordering::Relaxed) {
            self.note_age(payload);
        }
        if let Some(slot) = self.progress.slots.get(self.slot) {
            slot.received.store(self.received, Ordering::Release);
        }
        if self.progress.publisher_waits.load(Ordering::Relaxed) {
            self.progress.advanced.notify_one();
        }
    }

    fn note_age(&self, payload: &[u8]) {
        let Some(sent) = payload::sent_at(payload).filter(|sent| *sent > 0) else { return };
        let age = payload::nanos_since(self.progress.epoch).saturating_sub(sent);
        if let Ok(mut latencies) = self.progress.latencies.lock() {
            latencies.push(u32::try_from(age).unwrap_or(u32::MAX));
        }
    }
}
