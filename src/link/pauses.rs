//! The pauses between attempts: growing, random, and short again after a good connection.

use std::time::{Duration, Instant};

use rand_core::{OsRng, RngCore};

/// The longest pause before the first new attempt; it doubles with each.
const FIRST: Duration = Duration::from_millis(200);
/// The longest pause before any attempt.
const LAST: Duration = Duration::from_secs(10);
/// A connection that lived this long was a good one: the pauses start anew.
const GOOD_LIFE: Duration = Duration::from_secs(30);

/// How long to wait before the next attempt.
pub struct Pauses {
    next: Duration,
}

impl Pauses {
    /// The first pause is the shortest.
    pub fn new() -> Pauses {
        Pauses { next: FIRST }
    }

    /// The pause after an attempt that began at `started`: any length up to the bound, so that many nodes do not come
    /// back at the same moment (full jitter).
    pub fn after(&mut self, started: Instant) -> Duration {
        if started.elapsed() >= GOOD_LIFE {
            self.next = FIRST;
        }
        let share = f64::from(OsRng.next_u32()) / f64::from(u32::MAX);
        let pause = self.next.mul_f64(share);
        self.next = (self.next * 2).min(LAST);
        pause
    }
}
