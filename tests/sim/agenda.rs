//! What is going to happen, in order.

use std::collections::BTreeMap;
use std::time::Instant;

/// Something that happens at a moment, in the order in which it was planned.
pub struct Agenda<T> {
    planned: BTreeMap<(Instant, u64), T>,
    counter: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Agenda { planned: BTreeMap::new(), counter: 0 }
    }
}

impl<T> Agenda<T> {
    /// Plans `what` for `at`.
    pub fn plan(&mut self, at: Instant, what: T) {
        self.counter += 1;
        self.planned.insert((at, self.counter), what);
    }

    /// When the next thing happens.
    pub fn next(&self) -> Option<Instant> {
        self.planned.keys().next().map(|(at, _)| *at)
    }

    /// The next thing that happens no later than `now`.
    pub fn due(&mut self, now: Instant) -> Option<T> {
        let key = *self.planned.keys().next().filter(|(at, _)| *at <= now)?;
        self.planned.remove(&key)
    }

    /// How much is planned.
    pub fn len(&self) -> usize {
        self.planned.len()
    }
}
