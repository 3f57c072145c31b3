//! The probes that await their answers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::draws::Draws;
use crate::wire::Path;

/// Probes remembered; the oldest is forgotten first.
pub(super) const MAX_OUTSTANDING: usize = 128;
/// An answer that takes longer says nothing about the path now.
const LIFETIME: Duration = Duration::from_secs(5);

struct Probe {
    id: u64,
    via: Path,
    sent: Instant,
}

/// The outstanding probes of one agent, in the order sent.
///
/// Ids come from a stream cipher: a peer that saw all earlier ones cannot guess the next, and so
/// cannot prove a path at whose far end it does not listen.
pub(super) struct Probes {
    outstanding: VecDeque<Probe>,
    ids: Draws,
}

impl Probes {
    pub(super) fn new(seed: u64) -> Self {
        Self { outstanding: VecDeque::new(), ids: Draws::new(seed) }
    }

    /// Notes a probe, and gives its id.
    pub(super) fn send(&mut self, now: Instant, via: Path) -> u64 {
        self.expire(now);
        if self.outstanding.len() >= MAX_OUTSTANDING {
            self.outstanding.pop_front();
        }
        let id = self.ids.next();
        self.outstanding.push_back(Probe { id, via, sent: now });
        id
    }

    /// The round-trip time, if the answer is to a probe that went by this very path. Once only.
    pub(super) fn answer(&mut self, now: Instant, via: Path, id: u64) -> Option<Duration> {
        self.expire(now);
        let at = |probe: &Probe| probe.id == id && probe.via == via;
        let probe = self.outstanding.remove(self.outstanding.iter().position(at)?)?;
        if self.outstanding.is_empty() {
            self.outstanding.shrink_to_fit();
        }
        Some(now.saturating_duration_since(probe.sent))
    }

    pub(super) fn clear(&mut self) {
        self.outstanding.clear();
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn jitter(&mut self, bound: Duration) -> Duration {
        let millis = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis(self.ids.next() % millis)
    }

    fn expire(&mut self, now: Instant) {
        let old = |probe: &Probe| now.saturating_duration_since(probe.sent) >= LIFETIME;
        while self.outstanding.front().is_some_and(old) {
            self.outstanding.pop_front();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.outstanding.len()
    }
}
