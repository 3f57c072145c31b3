//! How much strangers may make us do.

use std::time::{Duration, Instant};

/// Allows `burst` at once and one more each `pause` after that.
#[derive(Debug)]
pub(super) struct Bucket {
    burst: u32,
    pause: Duration,
    /// When all of the burst is available again.
    full_at: Option<Instant>,
}

impl Bucket {
    pub const fn new(burst: u32, pause: Duration) -> Bucket {
        Bucket { burst, pause, full_at: None }
    }

    /// Takes one if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + self.pause;
        let has_one = full_at <= now + self.pause * self.burst;
        if has_one {
            self.full_at = Some(full_at);
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_a_pause() {
        let start = Instant::now();
        let mut bucket = Bucket::new(3, Duration::from_secs(1));
        let taken = |bucket: &mut Bucket, at| (0..9).filter(|_| bucket.take(at)).count();
        assert_eq!(taken(&mut bucket, start), 3);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(1)), 1);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(60)), 3);
    }
}
