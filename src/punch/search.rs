//! When to send probes in search of a direct path: rounds of shots, with pauses in between.

use std::time::{Duration, Instant};

/// Milliseconds from each shot of a round to the next; the first is at once.
pub(super) const GAPS: [u64; 7] = [100, 100, 200, 400, 800, 1_600, 3_200];
/// Seconds from the last shot of a round to the next round; the last pause repeats.
pub(super) const PAUSES: [u64; 7] = [10, 30, 60, 120, 240, 480, 600];
/// Pauses are stretched by less than a quarter, so that the searches of many peers spread out.
pub(super) const STRETCH: u32 = 4;
/// With a direct path at hand a round ends here: enough to learn whether another one is faster.
const SETTLED_SHOTS: usize = 6;
/// A round this young is not started over.
const YOUNG: Duration = Duration::from_secs(1);
/// A peer's wish to search is met already by a round that started this recently.
const JOINED: Duration = Duration::from_secs(5);

#[derive(Clone, Copy)]
enum Phase {
    Closed,
    Shooting { shot: usize, due: Instant },
    Resting { until: Instant },
}

/// What a deadline of the search asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Shot,
    /// The first shot of a round that the peer does not know of.
    NewRound,
}

pub(super) struct Search {
    phase: Phase,
    started: Option<Instant>,
    pauses: usize,
}

impl Search {
    pub(super) fn closed() -> Self {
        Self { phase: Phase::Closed, started: None, pauses: 0 }
    }

    /// Starts a round now, and the pauses from the shortest. A round that is younger than
    /// [`YOUNG`] goes on instead: it has enough shots left for whatever is new.
    pub(super) fn open(&mut self, now: Instant) {
        self.pauses = 0;
        if !self.started_within(now, YOUNG) {
            self.begin(now);
        }
    }

    /// Starts a round now, however young the one under way is: everything that it has found out is void.
    pub(super) fn restart(&mut self, now: Instant) {
        self.pauses = 0;
        self.begin(now);
    }

    /// Whether the next shot is one with which the peer is told again where we are: the first word may have been lost,
    /// or said before all was known.
    pub(super) fn is_time_to_repeat(&self) -> bool {
        self.pauses == 0 && matches!(self.phase, Phase::Shooting { shot: 4 | 6, .. })
    }

    /// Starts a round now unless one has just started; the pauses go on growing. Whether it did.
    pub(super) fn join(&mut self, now: Instant) -> bool {
        let is_new = !self.started_within(now, JOINED);
        if is_new {
            self.begin(now);
        }
        is_new
    }

    fn started_within(&self, now: Instant, span: Duration) -> bool {
        let recent = |at: Instant| now.saturating_duration_since(at) < span;
        self.started.is_some_and(recent)
    }

    /// Whether a round is under way.
    pub(super) fn is_shooting(&self) -> bool {
        matches!(self.phase, Phase::Shooting { .. })
    }

    /// When the round under way, or the last one, started.
    pub(super) fn started(&self) -> Option<Instant> {
        self.started
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Closed => None,
            Phase::Shooting { due, .. } => Some(due),
            Phase::Resting { until } => Some(until),
        }
    }

    /// Moves on to what is due. `settled`: a proven direct path is in use. `stretch` gives a
    /// random time below the bound it is given.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        settled: bool,
        stretch: impl FnOnce(Duration) -> Duration,
    ) -> Due {
        match self.phase {
            Phase::Shooting { shot, due } if due <= now => {
                self.phase = self.after_shot(now, shot, settled, stretch);
                Due::Shot
            }
            Phase::Resting { until } if until <= now && settled => {
                self.phase = Phase::Closed;
                Due::Nothing
            }
            Phase::Resting { until } if until <= now => {
                self.begin(now);
                self.phase = self.after_shot(now, 0, settled, stretch);
                Due::NewRound
            }
            _ => Due::Nothing,
        }
    }

    fn begin(&mut self, now: Instant) {
        self.started = Some(now);
        self.phase = Phase::Shooting { shot: 0, due: now };
    }

    fn after_shot(
        &mut self,
        now: Instant,
        shot: usize,
        settled: bool,
        stretch: impl FnOnce(Duration) -> Duration,
    ) -> Phase {
        match GAPS.get(shot) {
            Some(_) if settled && shot + 1 >= SETTLED_SHOTS => Phase::Closed,
            Some(gap) => Phase::Shooting { shot: shot + 1, due: now + Duration::from_millis(*gap) },
            None if settled => Phase::Closed,
            None => self.rest(now, stretch),
        }
    }

    fn rest(&mut self, now: Instant, stretch: impl FnOnce(Duration) -> Duration) -> Phase {
        let seconds = PAUSES[self.pauses.min(PAUSES.len() - 1)];
        self.pauses = (self.pauses + 1).min(PAUSES.len() - 1);
        let pause = Duration::from_secs(seconds);
        Phase::Resting { until: now + pause + stretch(pause / STRETCH) }
    }
}
