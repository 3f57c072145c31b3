//! Packets that wait until there is a session with their peer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The most packets that wait for one peer.
const MAX_PACKETS: usize = 32;
/// The most bytes of packets that wait for one peer.
const MAX_BYTES: usize = 64 * 1024;
/// How long a packet is worth sending: transports repeat it by then.
const MAX_AGE: Duration = Duration::from_secs(5);

/// A bounded queue of packets, oldest first.
#[derive(Debug, Default)]
pub struct Waiting {
    packets: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
}

impl Waiting {
    /// Keeps a packet. The oldest make room for it, as in the kernel's queue for neighbours: gives
    /// how many, this one included if it is larger than the whole queue.
    pub fn push(&mut self, now: Instant, packet: &[u8]) -> usize {
        if packet.len() > MAX_BYTES {
            return 1;
        }
        let mut displaced = 0;
        while self.packets.len() >= MAX_PACKETS || self.bytes + packet.len() > MAX_BYTES {
            self.pop();
            displaced += 1;
        }
        self.bytes += packet.len();
        self.packets.push_back((now, packet.to_vec()));
        displaced
    }

    /// Takes the oldest packet.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        let (_, packet) = self.packets.pop_front()?;
        self.bytes -= packet.len();
        Some(packet)
    }

    /// Forgets packets that waited for 5 s; gives how many.
    pub fn expire(&mut self, now: Instant) -> usize {
        let before = self.packets.len();
        let old = |kept: &Self| {
            let (since, _) = kept.packets.front()?;
            (now.saturating_duration_since(*since) >= MAX_AGE).then_some(())
        };
        while old(self).is_some() {
            self.pop();
        }
        before - self.packets.len()
    }

    /// When the oldest packet expires; none if nothing waits.
    pub fn deadline(&self) -> Option<Instant> {
        let (since, _) = self.packets.front()?;
        Some(*since + MAX_AGE)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// How many packets wait.
    pub fn len(&self) -> usize {
        self.packets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_oldest_makes_room() {
        let now = Instant::now();
        let mut waiting = Waiting::default();
        let displaced: usize = (0..40).map(|n| waiting.push(now, &[n; 100])).sum();
        assert_eq!((displaced, waiting.len()), (8, 32));
        assert_eq!(waiting.pop(), Some(vec![8; 100]));
    }

    #[test]
    fn large_packets_count_by_bytes() {
        let now = Instant::now();
        let mut waiting = Waiting::default();
        let displaced: usize = (0..3).map(|_| waiting.push(now, &[0; 30_000])).sum();
        assert_eq!((displaced, waiting.len()), (1, 2));
        assert_eq!(waiting.push(now, &[0; MAX_BYTES + 1]), 1);
        assert_eq!(waiting.len(), 2);
        assert_eq!(waiting.push(now, &[0; MAX_BYTES]), 2);
        assert_eq!(waiting.len(), 1);
    }

    #[test]
    fn the_old_expire_and_the_young_stay() {
        let start = Instant::now();
        let mut waiting = Waiting::default();
        assert_eq!(waiting.deadline(), None);
        waiting.push(start, b"old");
        waiting.push(start + Duration::from_secs(1), b"young");
        let deadline = waiting.deadline().unwrap();
        assert_eq!(waiting.expire(deadline - Duration::from_millis(1)), 0);
        assert_eq!(waiting.expire(deadline), 1);
        assert_eq!(waiting.pop(), Some(b"young".to_vec()));
        assert!(waiting.is_empty());
    }

    proptest! {
        #[test]
        fn the_bounds_hold_and_the_books_balance(sizes in prop::collection::vec(0..70_000_usize, 0..80)) {
            let now = Instant::now();
            let mut waiting = Waiting::default();
            let displaced: usize = sizes.iter().map(|&size| waiting.push(now, &vec![0; size])).sum();
            prop_assert!(waiting.len() <= MAX_PACKETS && waiting.bytes <= MAX_BYTES);
            prop_assert_eq!(displaced + waiting.len(), sizes.len());
            while waiting.pop().is_some() {}
            prop_assert_eq!(waiting.bytes, 0);
        }
    }
}
