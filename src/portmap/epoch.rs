//! Whether a gateway has lost its mappings since we last heard from it (RFC 6887 section 8.5). No IO.

use std::time::Instant;

/// A gateway's count of seconds, and when we heard it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Seconds since the gateway lost its mappings.
    pub seconds: u32,
    /// When it said so.
    pub heard: Instant,
}

impl Epoch {
    /// Whether `later` is of a gateway that has started anew: its clock went back, or does not run as ours does.
    pub fn has_restarted(&self, later: Epoch) -> bool {
        let theirs = i64::from(later.seconds) - i64::from(self.seconds);
        let passed = later.heard.saturating_duration_since(self.heard).as_secs();
        let ours = i64::try_from(passed).unwrap_or(i64::MAX);
        theirs < -1 || ours + 2 < theirs - theirs / 16 || theirs + 2 < ours - ours / 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn restarted(seconds: u32, passed: u64, later: u32) -> bool {
        let heard = Instant::now();
        let after = Epoch { seconds: later, heard: heard + Duration::from_secs(passed) };
        Epoch { seconds, heard }.has_restarted(after)
    }

    #[test]
    fn a_clock_that_runs_like_ours_has_not_restarted() {
        assert!(!restarted(1000, 0, 1000));
        assert!(!restarted(1000, 600, 1600));
        assert!(!restarted(1000, 600, 1570), "a clock may be slow by a sixteenth");
        assert!(!restarted(1000, 600, 1630), "or fast");
        assert!(!restarted(1000, 0, 999), "answers may overtake each other");
    }

    #[test]
    fn a_clock_that_went_back_or_is_another_one_has() {
        assert!(restarted(1000, 10, 0));
        assert!(restarted(5, 600, 300), "restarted and running for five minutes");
        assert!(restarted(5, 10, 4000), "another gateway");
        assert!(restarted(u32::MAX, 1, 0));
    }
}
