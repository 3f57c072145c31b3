//! Tells our own programs that a packet is too large for its path, and the node that the kernel refuses a hop.

use super::{Parts, Slow};
use crate::wire::{Drop, Hop, too_big::too_big};
use std::time::{Duration, Instant};

/// So many messages at once, and one more each [`PAUSE`]: a program needs one, and a burst of packets is one news.
const BURST: u32 = 64;
const PAUSE: Duration = Duration::from_millis(10);

/// Between two words to the node about hops that the kernel refuses.
const TELLING: Duration = Duration::from_millis(100);

/// How often we may still say it (RFC 4443, section 2.4, f).
pub struct Refusals {
    left: u32,
    filled: Instant,
    /// When the node was last told of a hop by which the kernel sends nothing.
    told: Option<Instant>,
}

impl Refusals {
    pub fn new(now: Instant) -> Refusals {
        Refusals { left: BURST, filled: now, told: None }
    }

    /// Refuses a packet and says so.
    pub fn refuse(&mut self, parts: &Parts, packet: &[u8], mtu: u16) {
        parts.drops.count(Drop::TooBig);
        if !self.take(Instant::now()) {
            return;
        }
        if let Some(message) = too_big(packet, mtu)
            && parts.device.write(&message).is_err()
        {
            parts.drops.count(Drop::TunFailed);
        }
    }

    /// The kernel refuses to send by this hop: the node should know, a few times a second.
    pub fn tell(&mut self, parts: &Parts, hop: Hop) {
        let now = Instant::now();
        if self.told.is_none_or(|told| told + TELLING <= now) {
            self.told = Some(now);
            parts.hand_over(Slow::Refused(hop));
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let pauses = now.saturating_duration_since(self.filled).as_millis() / PAUSE.as_millis();
        if pauses > 0 {
            self.left = self.left.saturating_add(u32::try_from(pauses).unwrap_or(BURST)).min(BURST);
            self.filled = now;
        }
        let has_one = self.left > 0;
        self.left = self.left.saturating_sub(1);
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_hundred_a_second() {
        let start = Instant::now();
        let mut refusals = Refusals::new(start);
        let mut taken = |at| (0..1000).filter(|_| refusals.take(at)).count();
        assert_eq!(taken(start), 64);
        assert_eq!(taken(start + PAUSE), 1);
        assert_eq!(taken(start + PAUSE * 10), 9);
        assert_eq!(taken(start + Duration::from_secs(3600)), 64);
    }
}
