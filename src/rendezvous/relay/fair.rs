//! What waits to leave by a way that is full, shared fairly between those who sent it: deficit round robin (Shreedhar and
//! Varghese, 1995).
//!
//! Comes in: items with their sender and their length. Goes out: the same, in order of each sender, a round for each
//! sender at a time. Each sender has a bounded share of the room: whoever fills it loses the newest, and nobody else does.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use crate::wire::Drop;

/// What each sender may send in one round, in bytes: no less than the largest frame of a stream.
const QUANTUM: usize = 2048;
/// With many senders the shares add up to more than the room; this many times the room is never exceeded.
const OVERBOOKED: usize = 4;

/// Items by sender.
pub struct FairQueue<S, T> {
    /// What one sender may fill while it is alone, in bytes.
    room: usize,
    flows: HashMap<S, Flow<T>>,
    /// Senders with something to send, the next first.
    turns: VecDeque<S>,
    bytes: usize,
}

struct Flow<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    /// What is left of its round.
    credit: usize,
}

impl<S: Copy + Eq + Hash, T> FairQueue<S, T> {
    /// An empty queue with so much room, in bytes.
    pub fn new(room: usize) -> FairQueue<S, T> {
        FairQueue { room, flows: HashMap::new(), turns: VecDeque::new(), bytes: 0 }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Whether something of a sender waits: what it sends next must wait behind.
    pub fn holds(&self, sender: &S) -> bool {
        self.flows.contains_key(sender)
    }

    /// The largest item of a sender that would be taken, in bytes.
    pub fn room_for(&self, sender: &S) -> usize {
        let senders = self.flows.len() + usize::from(!self.holds(sender));
        let share = (self.room / senders.max(1)).max(QUANTUM);
        let held = self.flows.get(sender).map_or(0, |flow| flow.bytes);
        share.saturating_sub(held).min((self.room * OVERBOOKED).saturating_sub(self.bytes))
    }

    /// Takes an item of `len` bytes, unless its sender's share is full.
    pub fn push(&mut self, sender: S, item: T, len: usize) -> Result<(), Drop> {
        if len > self.room_for(&sender) {
            return Err(Drop::RateLimited);
        }
        let flow = self.flows.entry(sender).or_insert_with(|| {
            self.turns.push_back(sender);
            Flow { items: VecDeque::new(), bytes: 0, credit: QUANTUM }
        });
        flow.items.push_back((item, len));
        flow.bytes += len;
        self.bytes += len;
        Ok(())
    }

    /// The next item.
    pub fn pop(&mut self) -> Option<T> {
        loop {
            let sender = *self.turns.front()?;
            let flow = self.flows.get_mut(&sender)?;
            let len = flow.items.front()?.1;
            if len > flow.credit {
                flow.credit += QUANTUM;
                self.turns.rotate_left(1);
                continue;
            }
            let (item, _) = flow.items.pop_front()?;
            flow.credit -= len;
            flow.bytes -= len;
            self.bytes -= len;
            if flow.items.is_empty() {
                self.flows.remove(&sender);
                self.turns.pop_front();
            }
            return Some(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_heavy_sender_does_not_starve_a_light_one() {
        let mut queue = FairQueue::new(100_000);
        for n in 0..1_000 {
            let _ = queue.push('a', ('a', n), 1_400);
        }
        for n in 0..5 {
            queue.push('b', ('b', n), 1_400).unwrap();
        }
        let left: Vec<_> = (0..12).filter_map(|_| queue.pop()).collect();
        assert_eq!(left.iter().filter(|(sender, _)| *sender == 'b').count(), 5, "{left:?}");
    }

    #[test]
    fn senders_of_small_and_of_large_items_get_the_same_bytes() {
        let mut queue = FairQueue::new(1_000_000);
        for _ in 0..200 {
            queue.push("large", 1_500, 1_500).unwrap();
        }
        for _ in 0..3_000 {
            queue.push("small", 100, 100).unwrap();
        }
        let (mut large, mut small) = (0_usize, 0);
        while large + small < 200_000 {
            match queue.pop() {
                Some(1_500) => large += 1_500,
                Some(len) => small += len,
                None => break,
            }
        }
        assert!(large.abs_diff(small) <= 2 * QUANTUM, "{large} {small}");
    }

    #[test]
    fn who_fills_its_share_loses_the_newest_and_leaves_room_for_others() {
        let mut queue = FairQueue::new(10_000);
        let taken = (0..100).filter(|n| queue.push(1, (1, *n), 1_000).is_ok()).count();
        assert_eq!(taken, 10);
        assert_eq!(queue.push(2, (2, 0), 1_000), Ok(()));
        assert_eq!(queue.push(1, (1, 0), 1_000), Err(Drop::RateLimited));
        let left: Vec<_> = std::iter::from_fn(|| queue.pop()).filter(|(sender, _)| *sender == 1).collect();
        assert_eq!(left, (0..10).map(|n| (1, n)).collect::<Vec<_>>());
        assert!(queue.is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_doubled_or_out_of_order_and_the_room_is_kept(
            steps in proptest::collection::vec((0..20_u8, 1..3_000_usize, any::<bool>()), 0..400),
        ) {
            let mut queue = FairQueue::new(20_000);
            let mut waiting: HashMap<u8, VecDeque<usize>> = HashMap::new();
            for (number, (sender, len, pops)) in steps.into_iter().enumerate() {
                if queue.push(sender, (sender, number), len).is_ok() {
                    waiting.entry(sender).or_default().push_back(number);
                }
                prop_assert!(queue.bytes <= 20_000 * OVERBOOKED);
                if pops && let Some((sender, number)) = queue.pop() {
                    prop_assert_eq!(waiting.get_mut(&sender).and_then(VecDeque::pop_front), Some(number));
                }
            }
            while let Some((sender, number)) = queue.pop() {
                prop_assert_eq!(waiting.get_mut(&sender).and_then(VecDeque::pop_front), Some(number));
            }
            prop_assert!(waiting.values().all(VecDeque::is_empty) && queue.bytes == 0);
        }
    }
}
