//! Whether the chosen path still works: keepalives, silence, and the check that decides.

use std::time::{Duration, Instant};

/// A check at least this often. A freshly punched flow on Linux lives 30 s, and the session in the
/// tunnel must never idle until it expires.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(20);
/// Data sent, and nothing back for this long: a reason to check.
pub(super) const SILENCE: Duration = Duration::from_secs(2);
/// Probes of a check.
pub(super) const TRIES: u32 = 3;
/// The shortest wait for each of them; on slow paths twice the round trip, up to the longest.
const SHORTEST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

struct Check {
    tries: u32,
    due: Instant,
}

/// What a deadline of the watch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Nothing,
    Probe,
    Failed,
}

pub(super) struct Watch {
    keepalive: Instant,
    awaiting: Option<Instant>,
    check: Option<Check>,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self { keepalive: now + KEEPALIVE, awaiting: None, check: None }
    }

    /// Data went out over the chosen path.
    pub(super) fn sent(&mut self, now: Instant) {
        self.awaiting.get_or_insert(now);
    }

    /// Something came in by the chosen path. It does not end a check: only an answer shows that
    /// what we send arrives.
    pub(super) fn heard(&mut self) {
        self.awaiting = None;
    }

    /// A probe of the chosen path was answered.
    pub(super) fn answered(&mut self) {
        self.awaiting = None;
        self.check = None;
    }

    /// Starts a check; false if one is under way.
    pub(super) fn check(&mut self, now: Instant, rtt: Option<Duration>) -> bool {
        let idle = self.check.is_none();
        if idle {
            self.try_again(now, 1, rtt);
        }
        idle
    }

    /// Whether a check goes on although its first probe should have been answered by now.
    pub(super) fn doubtful(&self) -> bool {
        self.check.as_ref().is_some_and(|check| check.tries > 1)
    }

    /// When the watch needs the time again, and why.
    pub(super) fn deadline(&self) -> (Instant, &'static str) {
        let keepalive = (self.keepalive, "keepalive");
        match (&self.check, self.awaiting) {
            (Some(check), _) => (check.due, "path check"),
            (None, Some(since)) => keepalive.min((since + SILENCE, "silence")),
            (None, None) => keepalive,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, rtt: Option<Duration>) -> Verdict {
        if now < self.deadline().0 {
            return Verdict::Nothing;
        }
        match self.check.as_ref().map_or(0, |check| check.tries) {
            TRIES.. => Verdict::Failed,
            tries => {
                self.try_again(now, tries + 1, rtt);
                Verdict::Probe
            }
        }
    }

    fn try_again(&mut self, now: Instant, tries: u32, rtt: Option<Duration>) {
        let wait = rtt.map_or(SHORTEST_WAIT, |rtt| rtt * 2);
        let due = now + wait.clamp(SHORTEST_WAIT, LONGEST_WAIT);
        self.check = Some(Check { tries, due });
        self.keepalive = now + KEEPALIVE;
    }
}
