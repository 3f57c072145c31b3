//! What each node may send on in one round without waiting.
//!
//! Comes in: who sends how much. Goes out: whether it may leave at once. Whoever is alone has all of a round.

use crate::rendezvous::relay::Endpoint;

/// Bytes that may leave in a round without waiting, when several send: shared by all of them.
const ROUND: usize = 1 << 20;

/// The senders of a round.
#[derive(Default)]
pub struct Shares {
    sent: Vec<(Endpoint, usize)>,
    /// How many senders the round before had: as many are expected.
    before: usize,
}

impl Shares {
    /// Forgets what was sent.
    pub fn start_round(&mut self) {
        self.before = self.sent.len();
        self.sent.clear();
    }

    /// Whether `len` more bytes of a sender may leave at once; they count only if so. A share is exceeded by less than
    /// one run, so that even a small one lets whole runs pass.
    pub fn take(&mut self, sender: Endpoint, len: usize) -> bool {
        let place = self.sent.iter().position(|(known, _)| *known == sender).unwrap_or_else(|| {
            self.sent.push((sender, 0));
            self.sent.len() - 1
        });
        let share = match self.sent.len().max(self.before) {
            0 | 1 => usize::MAX,
            senders => ROUND / senders,
        };
        let Some((_, sent)) = self.sent.get_mut(place) else { return false };
        let has_some = *sent < share;
        if has_some {
            *sent += len;
        }
        has_some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> Endpoint {
        Endpoint::Udp { socket: 0, remote: ([192, 0, 2, 1], port).into() }
    }

    #[test]
    fn who_sends_alone_has_the_whole_round() {
        let mut shares = Shares::default();
        for _ in 0..2 {
            shares.start_round();
            assert!((0..100).all(|_| shares.take(node(1), 60_000)));
        }
    }

    #[test]
    fn a_heavy_sender_keeps_to_its_share_as_soon_as_others_send() {
        let mut shares = Shares::default();
        shares.start_round();
        assert!(shares.take(node(1), 2 * ROUND) && shares.take(node(2), 100));
        assert!(!shares.take(node(1), 1));
        shares.start_round();
        let heavy = (0..100).filter(|_| shares.take(node(1), ROUND / 8)).count();
        assert_eq!(heavy, 4, "the other is expected again");
        assert!(shares.take(node(2), ROUND / 2));
        shares.start_round();
        assert!(shares.take(node(1), 100));
        shares.start_round();
        assert!(shares.take(node(1), 2 * ROUND), "alone again");
    }
}
