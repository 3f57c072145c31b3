//! How long to wait before the next try: twice as long each time, and never in step with others.

use std::time::Duration;

/// The waits for one other side.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits of `first` after one failure, doubling up to `longest`, which is at most 128 times as long.
    pub fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { first, longest, failures: 0 }
    }

    /// It went well: the next failure is the first.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure: between half of the full wait and all of it, by chance.
    pub fn next_wait(&mut self) -> Duration {
        let mut byte = [127];
        // The wait is right without it, only less spread.
        let _ = getrandom::fill(&mut byte);
        let [random] = byte;
        self.after(random)
    }

    /// The last wait was cut short by a request to try at once: such tries, however many, do not make waits longer.
    pub fn cut_short(&mut self) {
        self.failures = self.failures.saturating_sub(1);
    }

    fn after(&mut self, random: u8) -> Duration {
        let full = self.first.saturating_mul(1 << self.failures.min(7)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        full / 2 + full / 2 * u32::from(random) / 255
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
        let waits: Vec<_> = (0..9).map(|_| backoff.after(255).as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        backoff.reset();
        assert_eq!(backoff.after(0), Duration::from_millis(250));
    }

    #[test]
    fn tries_that_were_asked_for_do_not_make_waits_longer() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
        backoff.after(255);
        for _ in 0..100 {
            backoff.after(255);
            backoff.cut_short();
        }
        assert_eq!(backoff.after(255), Duration::from_secs(1));
    }
}
