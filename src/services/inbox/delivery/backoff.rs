//! How long to wait before the next try: twice as long each time, and never in step with others.

use std::time::Duration;

/// Before the second try.
const FIRST: Duration = Duration::from_millis(500);
/// Before every later one.
const LONGEST: Duration = Duration::from_secs(60);

/// The waits of one receiver.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It went well: the next failure is the first.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure: between half of the full wait and all of it, as `random` says.
    pub fn next(&mut self, random: u8) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(7)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        full / 2 + full / 2 * u32::from(random) / 255
    }
}

/// A byte of chance; without a source of it, the middle.
pub fn chance() -> u8 {
    let mut byte = [127];
    // The wait is right without it, only less spread.
    let _ = getrandom::fill(&mut byte);
    byte[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..9).map(|_| backoff.next(255).as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        backoff.reset();
        assert_eq!(backoff.next(0), Duration::from_millis(250));
    }
}
