//! What this node remembers of its own events, for those who ask for the past.
//!
//! In: runs of numbered events. Out: the runs after a sequence number or a time. Each topic falls under the first rule
//! whose pattern matches it; a rule has a ring of its own, bounded in bytes and age, so that a busy topic does not push
//! out what is remembered of a quiet one.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::run::Run;
use super::topic::{Pattern, has_public_tokens};

/// What a piece costs beside its bytes.
const PIECE: usize = 96;

/// How much is remembered.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Of which topics.
    pub pattern: Pattern,
    /// At most this much, bytes; 0 for nothing.
    pub bytes: usize,
    /// For this long.
    pub age: Duration,
}

/// Consecutive events that were published together.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Sequence number of the first.
    pub first: u64,
    /// Sequence number of the last.
    pub last: u64,
    /// When, microseconds since 1970.
    pub time: u64,
    /// The events.
    pub bytes: Bytes,
}

#[derive(Debug)]
struct Ring {
    rule: Rule,
    pieces: VecDeque<Piece>,
    bytes: usize,
}

impl Ring {
    fn shrink(&mut self, now: u64) -> u64 {
        let mut forgotten = 0;
        let oldest = now.saturating_sub(u64::try_from(self.rule.age.as_micros()).unwrap_or(u64::MAX));
        let is_over = |bytes: usize, piece: &Piece| bytes > self.rule.bytes || piece.time < oldest;
        while self.pieces.front().is_some_and(|piece| is_over(self.bytes, piece))
            && let Some(gone) = self.pieces.pop_front()
        {
            self.bytes -= gone.bytes.len() + PIECE;
            forgotten = gone.last;
        }
        forgotten
    }
}

/// The memory of all rules.
#[derive(Debug)]
pub struct Retention {
    rings: Vec<Ring>,
    /// The newest event that is not remembered any more.
    forgotten: u64,
}

impl Retention {
    /// A memory by `rules`; the first that matches a topic holds for it.
    pub fn new(rules: Vec<Rule>) -> Retention {
        let rings = rules.into_iter().map(|rule| Ring { rule, pieces: VecDeque::new(), bytes: 0 }).collect();
        Retention { rings, forgotten: 0 }
    }

    /// Where events of `topic` are remembered, if they are.
    pub fn place(&self, topic: &str) -> Option<usize> {
        let place = self.rings.iter().position(|ring| ring.rule.pattern.matches(topic))?;
        let is_kept = self.rings.get(place).is_some_and(|ring| ring.rule.bytes > 0);
        (is_kept && has_public_tokens(topic)).then_some(place)
    }

    /// Remembers a run, the first of which is numbered `first`.
    pub fn keep(&mut self, place: usize, run: &Run, first: u64, now: u64) {
        let Some(ring) = self.rings.get_mut(place) else { return };
        let bytes = run.kept();
        ring.bytes += bytes.len() + PIECE;
        ring.pieces.push_back(Piece { first, last: first + run.count as u64 - 1, time: now, bytes });
        self.forgotten = self.forgotten.max(ring.shrink(now));
    }

    /// Forgets what is too old.
    pub fn expire(&mut self, now: u64) {
        for ring in &mut self.rings {
            self.forgotten = self.forgotten.max(ring.shrink(now));
        }
    }

    /// The oldest remembered piece with an event after number `seq`.
    pub fn next_after(&self, seq: u64) -> Option<&Piece> {
        let after = self.rings.iter().filter_map(|ring| {
            let place = ring.pieces.partition_point(|piece| piece.last <= seq);
            ring.pieces.get(place)
        });
        after.min_by_key(|piece| piece.first)
    }

    /// The number after which the events of `time` and later come; none when there are none.
    pub fn before(&self, time: u64) -> Option<u64> {
        let since = self.rings.iter().filter_map(|ring| {
            let place = ring.pieces.partition_point(|piece| piece.time < time);
            ring.pieces.get(place).map(|piece| piece.first - 1)
        });
        since.min()
    }

    /// How many events between the numbers `after` and `first` were remembered once, and are not any more.
    pub fn forgotten_between(&self, after: u64, first: u64) -> u64 {
        self.forgotten.min(first.saturating_sub(1)).saturating_sub(after)
    }

    /// Bytes of what is remembered.
    pub fn bytes(&self) -> usize {
        self.rings.iter().map(|ring| ring.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, bytes: usize, secs: u64) -> Rule {
        Rule { pattern: Pattern::parse(pattern).unwrap(), bytes, age: Duration::from_secs(secs) }
    }

    fn run(count: usize) -> Run {
        Run { bytes: Bytes::from(vec![0; 100]), count, whole: 100 }
    }

    #[test]
    fn a_busy_topic_does_not_push_out_a_quiet_one() {
        let mut memory = Retention::new(vec![rule("alerts.*", 10_000, 60), rule("*", 1_000, 60)]);
        let (quiet, busy) = (memory.place("alerts.fire").unwrap(), memory.place("metrics.cpu").unwrap());
        memory.keep(quiet, &run(1), 1, 0);
        (2..100).for_each(|seq| memory.keep(busy, &run(1), seq, 0));
        assert_eq!(memory.next_after(0).unwrap().first, 1);
        let next = memory.next_after(1).unwrap().first;
        assert!(next > 90);
        assert_eq!(memory.forgotten_between(1, next), next - 2);
        assert!(memory.bytes() < 1_500);
    }

    #[test]
    fn age_ends_it() {
        let mut memory = Retention::new(vec![rule("*", 10_000, 1)]);
        memory.keep(0, &run(5), 1, 1_000_000);
        memory.keep(0, &run(5), 6, 1_500_000);
        assert_eq!((memory.before(0), memory.before(1_400_000), memory.before(1_600_000)), (Some(0), Some(5), None));
        memory.expire(2_100_000);
        assert_eq!(memory.next_after(0).map(|piece| (piece.first, piece.last)), Some((6, 10)));
        assert!(memory.next_after(10).is_none());
    }

    #[test]
    fn replies_and_topics_of_a_rule_without_bytes_are_not_remembered() {
        let memory = Retention::new(vec![rule("secret.*", 0, 60), rule("*", 1_000, 60)]);
        assert_eq!((memory.place("secret.a"), memory.place("_reply.a")), (None, None));
        assert_eq!(memory.place("a"), Some(1));
    }
}
