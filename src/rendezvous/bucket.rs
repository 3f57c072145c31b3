//! A token bucket: how much may pass now, and how long the rest must wait.
//!
//! Kept as one point in time (the generic cell rate algorithm, ITU-T I.371 annex A), so that no rounding adds up.

use std::time::{Duration, Instant};

/// How much may pass: steadily, and at once after a pause. Units are the caller's (bytes, messages).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Units a second in the long run.
    pub per_second: u64,
    /// Units at once after a pause.
    pub burst: u64,
}

impl Rate {
    /// How long `units` take at the steady rate.
    fn time(self, units: u64) -> Duration {
        let nanos = u128::from(units) * 1_000_000_000 / u128::from(self.per_second.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The state of one flow under a [`Rate`].
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// When the bucket is full again, if nothing more passes.
    full_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn full(now: Instant) -> Bucket {
        Bucket { full_at: now }
    }

    /// Lets `units` pass, or says how long until they may.
    pub fn take(&mut self, now: Instant, units: u64, rate: Rate) -> Result<(), Duration> {
        let full_at = self.full_at.max(now) + rate.time(units);
        let debt = full_at.saturating_duration_since(now);
        match debt.checked_sub(rate.time(rate.burst)) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at = full_at;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 50, burst: 200 };

    #[test]
    fn a_burst_passes_then_the_steady_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        for _ in 0..200 {
            assert_eq!(bucket.take(start, 1, RATE), Ok(()));
        }
        assert_eq!(bucket.take(start, 1, RATE), Err(Duration::from_millis(20)));
        let passed = (1..=1000)
            .filter(|&ms| {
                let now = start + Duration::from_millis(ms);
                bucket.take(now, 1, RATE).is_ok()
            })
            .count();
        assert_eq!(passed, 50);
    }

    #[test]
    fn a_long_pause_fills_no_more_than_the_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(bucket.take(later, 200, RATE), Ok(()));
        assert!(bucket.take(later, 1, RATE).is_err());
    }

    #[test]
    fn a_refusal_costs_nothing() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        assert!(bucket.take(start, 201, RATE).is_err());
        assert_eq!(bucket.take(start, 200, RATE), Ok(()));
    }
}
