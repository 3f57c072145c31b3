//! The time as an input: every machine is told it, none reads it.

use std::time::{Duration, Instant};

/// What time it is, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Never goes back: timers, ages and deadlines use this one.
    pub monotonic: Instant,
    /// Milliseconds since 1970 UTC; may jump either way: only expiries, serials and display use it.
    pub unix_millis: u64,
}

impl Now {
    /// Whole seconds since 1970 UTC.
    pub fn unix_seconds(self) -> u64 {
        self.unix_millis / 1000
    }

    /// The time `elapsed` later on both clocks; a virtual clock steps with it.
    pub fn after(self, elapsed: Duration) -> Now {
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        Now { monotonic: self.monotonic + elapsed, unix_millis: self.unix_millis.saturating_add(millis) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_step_together() {
        let start = Now { monotonic: Instant::now(), unix_millis: 1_999 };
        let later = start.after(Duration::from_millis(1_500));
        assert_eq!(later.monotonic - start.monotonic, Duration::from_millis(1_500));
        assert_eq!(later.unix_millis, 3_499);
        assert_eq!((start.unix_seconds(), later.unix_seconds()), (1, 3));
    }
}
