//! Says when the candidates of a fresh login are known, and when they change later.

use std::time::{Duration, Instant};

use super::Notice;

/// How long an introduction waits for the relay and STUN: a slow round trip. An introduction without
/// them works as far as it goes, and is followed by a better one.
const PATIENCE: Duration = Duration::from_millis(500);

/// Gathering runs until everything answered or patience ends; then changes are told.
#[derive(Default)]
pub(super) struct Gather {
    phase: Phase,
}

#[derive(Clone, Copy, Default)]
enum Phase {
    #[default]
    Idle,
    Running {
        until: Instant,
    },
    Done,
}

impl Gather {
    pub fn start(&mut self, now: Instant) {
        self.phase = Phase::Running { until: now + PATIENCE };
    }

    pub fn stop(&mut self) {
        self.phase = Phase::Idle;
    }

    pub fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running { until } => Some(until),
            _ => None,
        }
    }

    /// What to tell the node now.
    pub fn step(&mut self, now: Instant, is_complete: bool, changed: bool) -> Option<Notice> {
        match self.phase {
            Phase::Running { until } if is_complete || until <= now => {
                self.phase = Phase::Done;
                Some(Notice::Gathered)
            }
            // Without a login there is nobody to introduce the node to, but the relay may have moved.
            Phase::Done | Phase::Idle if changed => Some(Notice::Changed),
            _ => None,
        }
    }
}
