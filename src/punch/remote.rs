//! What is known of one path.

use std::time::{Duration, Instant};

use crate::wire::{CandidateKind, Path};

/// An answer this young vouches for a path without asking again.
const FRESH: Duration = Duration::from_secs(5);
/// So many unanswered probes are no accident.
const SILENT: u32 = 4;
/// How long a path must serve until its earlier failures are forgotten.
const FORGIVEN: Duration = Duration::from_secs(60);
/// The first and the longest time that a path which keeps failing is passed over.
const FIRST_HOLD: Duration = Duration::from_secs(5);
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// How we know a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The peer told it as a candidate.
    Told(CandidateKind),
    /// Packets of the peer came from there (peer-reflexive in ICE), or it was told once.
    Seen,
}

/// What a path is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathState {
    /// Not probed yet.
    Untried,
    /// Probed, and never answered.
    Silent,
    /// Proven, and first to take the place of the chosen path.
    Standby,
    /// Proven: it answered a probe, or carried the session.
    Proven,
    /// Proven once, then failed a check.
    Failed,
    /// In use.
    Chosen,
}

/// One line of the answer to "which paths were tried, and what came of it?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathReport {
    /// The path.
    pub path: Path,
    /// How we know it.
    pub origin: Origin,
    /// What it is good for.
    pub state: PathState,
    /// Smoothed round-trip time of its probes.
    pub rtt: Option<Duration>,
    /// Probes sent by it since the last answer.
    pub tries: u32,
    /// Our own endpoint or allocation as the peer last saw it through this path.
    pub observed: Option<Path>,
}

/// What is known of one path.
pub(super) struct Remote {
    pub(super) origin: Origin,
    pub(super) failed: bool,
    pub(super) rtt: Option<Duration>,
    pub(super) answered: Option<Instant>,
    pub(super) heard: Option<Instant>,
    pub(super) probed: Option<Instant>,
    /// Answers in a row that were clearly faster than the chosen path.
    pub(super) ahead: u32,
    proven: bool,
    observed: Option<Path>,
    tries: u32,
    failures: u32,
    held_until: Option<Instant>,
}

impl Remote {
    pub(super) fn new(origin: Origin) -> Self {
        Self {
            origin,
            failed: false,
            rtt: None,
            answered: None,
            heard: None,
            probed: None,
            ahead: 0,
            proven: false,
            observed: None,
            tries: 0,
            failures: 0,
            held_until: None,
        }
    }

    pub(super) fn working(&self) -> bool {
        self.proven && !self.failed
    }

    /// Whether the endpoint is the outside of a NAT.
    pub(super) fn is_on_nat(&self) -> bool {
        matches!(self.origin, Origin::Told(CandidateKind::Reflexive) | Origin::Seen)
    }

    /// Whether the peer tells it.
    pub(super) fn is_told(&self) -> bool {
        matches!(self.origin, Origin::Told(_))
    }

    /// Whether it was found alive since then.
    pub(super) fn is_alive(&self, since: Instant) -> bool {
        self.answered.max(self.heard).is_some_and(|at| at >= since)
    }

    /// Whether not several probes in a row were lost.
    pub(super) fn answers(&self) -> bool {
        self.tries < SILENT
    }

    pub(super) fn fresh(&self, now: Instant) -> bool {
        within(self.answered, now, FRESH)
    }

    pub(super) fn held(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    pub(super) fn probed(&mut self, now: Instant) {
        self.probed = Some(now);
        self.tries = self.tries.saturating_add(1);
    }

    pub(super) fn carried(&mut self, now: Instant) {
        self.heard = Some(now);
        self.proven = true;
        self.failed = false;
    }

    /// An answer proves the path, and is smoothed into its round-trip time as RFC 6298 does.
    pub(super) fn answered(&mut self, now: Instant, rtt: Duration, observed: Path) {
        self.rtt = Some(self.rtt.map_or(rtt, |old| (old * 7 + rtt) / 8));
        self.answered = Some(now);
        self.heard = Some(now);
        self.observed = Some(observed);
        self.proven = true;
        self.failed = false;
        self.tries = 0;
    }

    /// A check failed. A path that fails again and again is held back for longer and longer.
    /// Returns whether it counted as working until now.
    pub(super) fn fail(&mut self, now: Instant, chosen_since: Instant) -> bool {
        if now.saturating_duration_since(chosen_since) >= FORGIVEN {
            self.failures = 0;
        }
        let hold = match self.failures {
            0 => Duration::ZERO,
            again => FIRST_HOLD * (1 << (again - 1).min(4)),
        };
        self.held_until = Some(now + hold.min(LONGEST_HOLD));
        self.failures = self.failures.saturating_add(1);
        !std::mem::replace(&mut self.failed, true)
    }

    pub(super) fn forget_proof(&mut self) {
        self.proven = false;
        self.failed = false;
        self.answered = None;
        self.failures = 0;
        self.held_until = None;
    }

    pub(super) fn report(&self, path: Path, chosen: Option<Path>, standby: &[Path]) -> PathReport {
        let state = match (self.proven, self.tries) {
            _ if Some(path) == chosen => PathState::Chosen,
            _ if self.failed => PathState::Failed,
            (true, _) if standby.contains(&path) => PathState::Standby,
            (true, _) => PathState::Proven,
            (false, 0) => PathState::Untried,
            (false, _) => PathState::Silent,
        };
        PathReport { path, origin: self.origin, state, rtt: self.rtt, tries: self.tries, observed: self.observed }
    }
}

pub(super) fn within(at: Option<Instant>, now: Instant, span: Duration) -> bool {
    at.is_some_and(|at| now.saturating_duration_since(at) < span)
}
