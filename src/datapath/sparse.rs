//! Whether a thread carries sparse flows, a few packets of somebody who waits for them, and whether it carries much.
//!
//! Nobody waits for acknowledgements alone: those of a transfer may be few where there are many transfers.
//! What FQ-CoDel tells apart for its queues (RFC 8290, section 1.3), found by counting: flows are dealt out among some
//! places, and a place that saw something in a while, but little, holds a sparse flow.

use crate::tun::{flow_place, is_acknowledgement};
use std::time::{Duration, Instant};

/// The most flows that are told apart.
const PLACES: usize = 64;
/// The place of packets for which nobody waits, behind those.
const NOBODY: usize = PLACES;
/// How long is counted.
const WINDOW: Duration = Duration::from_millis(50);
/// Packets a second up to which a flow is sparse: keystrokes, calls and pings, but no transfer.
const SPARSE: u64 = 1_000;
/// How long a sparse flow counts after its last window: it speaks again, and then it is too late to begin.
const LASTING: Duration = Duration::from_millis(500);
/// Packets a second of all flows from which on it pays to let some gather.
const BUSY: u64 = 40_000;
/// A turn that carried so many has gathered enough.
const ENOUGH: u32 = 40;

/// What was carried of late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Packets of a sparse flow were among it.
    pub sparse: bool,
    /// There are many packets, and the last turn carried few of them: to let some gather pays.
    pub thin: bool,
}

/// Where a packet counts that is of the flow of this tag.
pub fn place(packet: &[u8], tag: u64) -> usize {
    if is_acknowledgement(packet) { NOBODY } else { flow_place(tag, PLACES) }
}

/// Packets of late, by flow.
pub struct Sparse {
    counts: [u32; PLACES + 1],
    since: Instant,
    turn: u32,
    is_busy: bool,
    until: Option<Instant>,
}

impl Sparse {
    /// None yet.
    pub fn new(now: Instant) -> Sparse {
        Sparse { counts: [0; PLACES + 1], since: now, turn: 0, is_busy: false, until: None }
    }

    /// So many packets went through that count here, which [`place`] gives.
    pub fn carried(&mut self, place: usize, packets: u32) {
        if let Some(count) = self.counts.get_mut(place) {
            *count = count.saturating_add(packets);
        }
        self.turn = self.turn.saturating_add(packets);
    }

    /// A turn has ended.
    pub fn turn(&mut self, now: Instant) -> Load {
        let span = now.saturating_duration_since(self.since);
        if span >= WINDOW {
            self.judge(now, span);
        }
        let carried = std::mem::take(&mut self.turn);
        Load { sparse: self.until.is_some_and(|until| now < until), thin: self.is_busy && carried < ENOUGH }
    }

    fn judge(&mut self, now: Instant, span: Duration) {
        let at_rate = |rate: u64| span.as_micros() * u128::from(rate) / 1_000_000;
        let sparse = 1..=at_rate(SPARSE).max(1);
        if self.counts.iter().take(PLACES).any(|&count| sparse.contains(&count.into())) {
            self.until = Some(now + LASTING);
        }
        self.is_busy = self.counts.iter().map(|&count| u128::from(count)).sum::<u128>() > at_rate(BUSY);
        (self.since, self.counts) = (now, [0; PLACES + 1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn load(sparse: bool, thin: bool) -> Load {
        Load { sparse, thin }
    }

    /// Carries so many packets of each place in every millisecond for a while.
    fn carry(sparse: &mut Sparse, start: Instant, millis: u32, each: &[u32]) -> Load {
        let mut of_late = load(false, false);
        for milli in 1..=millis {
            for (place, &packets) in each.iter().enumerate() {
                sparse.carried(place, packets);
            }
            of_late = sparse.turn(start + Duration::from_millis(milli.into()));
        }
        of_late
    }

    fn of(each: &[u32]) -> Load {
        let start = Instant::now();
        carry(&mut Sparse::new(start), start, 1_200, each)
    }

    #[test]
    fn a_transfer_alone_is_not_sparse_and_somebody_beside_it_is() {
        assert_eq!(of(&[100]), load(false, false));
        assert_eq!(of(&[0, 5]), load(false, false), "a slow one");
        assert_eq!(of(&[100, 1]), load(true, false));
        assert_eq!(of(&[1]), load(true, false), "alone");
        assert_eq!(of(&[0, 0]), load(false, false), "nobody");
        let mut acknowledged = [0; PLACES + 1];
        acknowledged[NOBODY] = 1;
        assert_eq!(of(&acknowledged), load(false, false));
        acknowledged[0] = 1;
        assert_eq!(of(&acknowledged), load(true, false));
    }

    #[test]
    fn whoever_has_spoken_counts_for_a_while() {
        let start = Instant::now();
        let mut sparse = Sparse::new(start);
        assert!(carry(&mut sparse, start, 100, &[100, 1]).sparse);
        let later = start + Duration::from_millis(100);
        assert!(carry(&mut sparse, later, 400, &[100]).sparse);
        assert!(!carry(&mut sparse, later + Duration::from_millis(400), 400, &[100]).sparse);
    }

    #[test]
    fn small_turns_gather_where_there_is_much() {
        let start = Instant::now();
        let mut sparse = Sparse::new(start);
        assert!(!carry(&mut sparse, start, 100, &[60, 40]).thin, "enough in each turn");
        sparse.carried(0, ENOUGH - 1);
        assert!(sparse.turn(start + Duration::from_millis(101)).thin);
        assert!(!of(&[30]).thin, "little in all");
        let start = Instant::now();
        let mut sparse = Sparse::new(start);
        carry(&mut sparse, start, 49, &[50]);
        sparse.carried(0, 1);
        assert!(sparse.turn(start + Duration::from_millis(50)).thin, "the first turn of much as well");
    }
}
