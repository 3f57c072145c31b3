//! Which counters were seen: each is taken once, and none that is far behind the highest.

use crate::wire::Drop;

/// How far behind the highest counter a datagram may come.
pub(super) const SIZE: u64 = 8192;
const WORD: u64 = u64::BITS as u64;
const WORDS: usize = (SIZE / WORD) as usize;

/// A bit for each of the [`SIZE`] counters before `next`; that of counter c is bit c modulo [`SIZE`] (RFC 6479).
#[derive(Default)]
pub(super) struct Window {
    next: u64,
    /// As many words as the counters so far need, and no more than [`WORDS`]: most sessions carry little.
    seen: Vec<u64>,
}

impl Window {
    /// Whether a counter could still be taken: to ask before the work of opening.
    pub(super) fn check(&self, counter: u64) -> Result<(), Drop> {
        let is_old = counter < self.next && (self.next - counter > SIZE || self.has(counter));
        if is_old { Err(Drop::Replayed) } else { Ok(()) }
    }

    /// Takes the counter of a datagram that authenticated; counters are below `u64::MAX`.
    pub(super) fn take(&mut self, counter: u64) -> Result<(), Drop> {
        self.check(counter)?;
        if counter >= self.next {
            self.grow(counter);
            self.pass_over(counter);
            self.next = counter + 1;
        }
        let (word, bit) = place(counter);
        if let Some(seen) = self.seen.get_mut(word) {
            *seen |= 1 << bit;
        }
        Ok(())
    }

    /// Whether nothing was taken yet.
    pub(super) fn is_empty(&self) -> bool {
        self.next == 0
    }

    fn has(&self, counter: u64) -> bool {
        let (word, bit) = place(counter);
        self.seen.get(word).is_some_and(|seen| seen >> bit & 1 == 1)
    }

    /// Makes room for all counters up to this one.
    fn grow(&mut self, counter: u64) {
        let words = counter.min(SIZE - 1) / WORD + 1;
        if self.seen.len() < words as usize {
            self.seen.resize((words as usize).next_power_of_two().min(WORDS), 0);
        }
    }

    /// Forgets what stands in the places of the counters from `next` up to this one.
    fn pass_over(&mut self, counter: u64) {
        if counter - self.next >= SIZE {
            self.seen.fill(0);
            return;
        }
        let mut at = self.next;
        while at < counter {
            let (word, bit) = place(at);
            let span = (WORD - bit).min(counter - at);
            if let Some(seen) = self.seen.get_mut(word) {
                *seen &= !(u64::MAX >> (WORD - span) << bit);
            }
            at += span;
        }
    }
}

fn place(counter: u64) -> (usize, u64) {
    let bit = counter % SIZE;
    ((bit / WORD) as usize, bit % WORD)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_counter_is_taken_once_and_as_late_as_the_window_is_long() {
        let mut window = Window::default();
        window.take(0).unwrap();
        window.take(SIZE).unwrap();
        assert_eq!(window.check(0), Err(Drop::Replayed));
        window.take(1).unwrap();
        assert_eq!(window.take(1), Err(Drop::Replayed));
        window.take(SIZE + 2).unwrap();
        assert_eq!(window.take(2), Err(Drop::Replayed), "one too late");
        window.take(3).unwrap();
    }

    proptest! {
        /// The same as a set that forgets nothing, whatever the order and the gaps.
        #[test]
        fn it_decides_like_a_set(steps in proptest::collection::vec((any::<bool>(), 0u64..3 * SIZE), 1..400)) {
            let (mut window, mut taken, mut highest) = (Window::default(), BTreeSet::new(), 0);
            for (is_ahead, distance) in steps {
                let counter = if is_ahead { highest + distance % 200 } else { (highest + 300).saturating_sub(distance) };
                let is_late = !taken.is_empty() && counter <= highest && highest - counter >= SIZE;
                let expected = !is_late && !taken.contains(&counter);
                prop_assert_eq!(window.check(counter).is_ok(), expected);
                prop_assert_eq!(window.take(counter).is_ok(), expected);
                if expected {
                    taken.insert(counter);
                    highest = highest.max(counter);
                }
            }
        }
    }
}
