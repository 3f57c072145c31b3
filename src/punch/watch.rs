//! Whether the chosen path still works: keepalives, silence, and the check that decides.

use std::time::{Duration, Instant};

use super::hush::Hush;

/// A check at least this often. A freshly punched flow on Linux lives 30 s, and the session in the
/// tunnel must never idle until it expires.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(25);
/// How much longer whoever asked last waits: a probe and its answer hold the mappings of both sides, and so both take
/// turns. WireGuard answers data with a keepalive after 10 s, which makes probes cost more than answers.
const TURN: Duration = Duration::from_secs(3);
/// The same for the side that leads: both never ask at the same moment again and again.
const TURN_OF_LEADER: Duration = Duration::from_secs(1);
/// The shortest silence after data was sent that is a reason to check.
pub(super) const SILENCE: Duration = Duration::from_millis(300);
/// Where the round trip is not known.
const UNKNOWN: Duration = Duration::from_secs(1);
/// The longest that needless checks make us wait, and where the path has failed already.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);
const LONGEST_FAILED: Duration = Duration::from_secs(2);
/// The same while the peer speaks by another path: nothing but our checks tells whether ours works.
const LONGEST_APART: Duration = Duration::from_secs(1);
/// Probes of a check.
pub(super) const TRIES: u32 = 3;
/// Probes of a check while another path is alive and this one is quite dead.
const TRIES_BESIDE: u32 = 2;
/// The same where a direct path is alive, and replies usually come: another direct path is as good.
const TRIES_BESIDE_DIRECT: u32 = 1;
/// The wait for each of them: twice the round trip, within these bounds.
const SHORTEST_WAIT: Duration = Duration::from_millis(150);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Where the round trip is not known.
const UNKNOWN_WAIT: Duration = Duration::from_millis(500);

struct Check {
    started: Instant,
    tries: u32,
    due: Instant,
    /// Silence is its only reason.
    by_silence: bool,
}

/// What a deadline of the watch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Nothing,
    /// Probe the path.
    Probe,
    /// Probe it, and what could take its place: replies were expected, and nothing came.
    Suspect,
    /// Probe it again: the last probe was not answered in time.
    Doubt,
    /// It does not work.
    Failed,
}

/// What was found alive beside the chosen path since the check began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    Nothing,
    /// Some path.
    Any,
    /// A direct path that answers.
    Direct,
}

pub(super) struct Watch {
    keepalive: Instant,
    turn: Duration,
    awaiting: Option<Instant>,
    heard: Option<Instant>,
    hush: Hush,
    /// Checks in a row whose only reason was silence, and that were answered: programs that expect no replies cost ever
    /// fewer probes.
    needless: u32,
    has_failed: bool,
    /// Whether the peer spoke by another path since ours last proved itself.
    is_apart: bool,
    check: Option<Check>,
}

impl Watch {
    pub(super) fn new(now: Instant, leads: bool) -> Self {
        let turn = if leads { TURN_OF_LEADER } else { TURN };
        let keepalive = now + KEEPALIVE + turn;
        Self {
            keepalive,
            turn,
            awaiting: None,
            heard: None,
            hush: Hush::default(),
            needless: 0,
            has_failed: false,
            is_apart: false,
            check: None,
        }
    }

    /// Data went out over the chosen path.
    pub(super) fn sent(&mut self, now: Instant) {
        self.awaiting.get_or_insert(now);
    }

    /// Something came in by the chosen path. It does not end a check: only an answer shows that
    /// what we send arrives.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
        self.awaiting = None;
    }

    /// Data came in by the chosen path: where there are replies, silence means something.
    pub(super) fn replied(&mut self, now: Instant) {
        self.needless = 0;
        self.is_apart = false;
        self.hush.replied(now);
    }

    /// The peer sends its data by another path.
    pub(super) fn spoken_elsewhere(&mut self) {
        self.is_apart = true;
    }

    /// A probe of the peer came in by the chosen path: the next turn is ours.
    pub(super) fn probed(&mut self, now: Instant) {
        self.keepalive = now + KEEPALIVE;
        self.hush.settle(now);
    }

    /// A probe of the chosen path was answered.
    pub(super) fn answered(&mut self, now: Instant) {
        let was_needless = self.check.take().is_some_and(|check| check.by_silence && !self.has_failed);
        self.needless += u32::from(was_needless);
        (self.has_failed, self.is_apart) = (false, false);
        self.hush.settle(now);
        self.heard(now);
    }

    /// The check failed, and there is no other path: the next one comes sooner or later.
    pub(super) fn failed(&mut self, now: Instant) {
        self.keepalive = now + KEEPALIVE + self.turn;
        self.needless += 1;
        self.has_failed = true;
        (self.awaiting, self.check) = (None, None);
        self.hush.settle(now);
    }

    /// Whether it failed its last check.
    pub(super) fn is_failed(&self) -> bool {
        self.has_failed
    }

    /// Starts a check; false if one is under way.
    pub(super) fn check(&mut self, now: Instant, rtt: Option<Duration>) -> bool {
        self.begin(now, rtt, false)
    }

    /// The peer was heard by another path: starts a check if this one has been silent for long enough.
    pub(super) fn suspect(&mut self, now: Instant, rtt: Option<Duration>) -> bool {
        let is_silent = self.heard.is_some_and(|heard| heard + self.silence(rtt) <= now);
        is_silent && self.begin(now, rtt, true)
    }

    /// When the check under way began.
    pub(super) fn since(&self) -> Option<Instant> {
        self.check.as_ref().map(|check| check.started)
    }

    /// Whether a check goes on although its first probe should have been answered by now.
    pub(super) fn doubtful(&self) -> bool {
        self.check.as_ref().is_some_and(|check| check.tries > 1)
    }

    /// Whether so many probes of a check were lost that what was just found alive may take over.
    pub(super) fn is_overdue(&self, beside: Beside) -> bool {
        self.check.as_ref().is_some_and(|check| check.tries > self.patience(check, beside))
    }

    /// Whether the first probe of a check may still be answered in time.
    pub(super) fn is_asking(&self) -> bool {
        self.check.as_ref().is_some_and(|check| check.tries == 1)
    }

    /// When the watch needs the time again, and why.
    pub(super) fn deadline(&self, rtt: Option<Duration>) -> (Instant, &'static str) {
        if let Some(check) = &self.check {
            return (check.due, "path check");
        }
        let silence = self.awaiting.map(|since| (since + self.silence(rtt), "silence"));
        let hush = self.hush.due().map(|due| (due, "a conversation that broke off"));
        silence.into_iter().chain(hush).fold((self.keepalive, "keepalive"), Ord::min)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, rtt: Option<Duration>, beside: Beside) -> Verdict {
        if now < self.deadline(rtt).0 {
            return Verdict::Nothing;
        }
        match &self.check {
            None => {
                let (is_hush, is_keepalive) = (self.hush.take(now), self.keepalive <= now);
                self.begin(now, rtt, !is_keepalive && !is_hush);
                if is_hush || (!is_keepalive && self.needless == 0) { Verdict::Suspect } else { Verdict::Probe }
            }
            Some(check) if check.tries >= self.patience(check, beside) => Verdict::Failed,
            Some(Check { tries, started, by_silence, .. }) => {
                self.check =
                    Some(Check { tries: tries + 1, due: now + wait(rtt), started: *started, by_silence: *by_silence });
                Verdict::Doubt
            }
        }
    }

    fn patience(&self, check: &Check, beside: Beside) -> u32 {
        let is_heard = self.heard.is_some_and(|heard| heard > check.started);
        match beside {
            _ if is_heard => TRIES,
            Beside::Nothing => TRIES,
            Beside::Direct if check.by_silence && self.needless == 0 => TRIES_BESIDE_DIRECT,
            Beside::Direct | Beside::Any => TRIES_BESIDE,
        }
    }

    fn begin(&mut self, now: Instant, rtt: Option<Duration>, by_silence: bool) -> bool {
        let idle = self.check.is_none();
        if idle {
            self.check = Some(Check { started: now, tries: 1, due: now + wait(rtt), by_silence });
            self.keepalive = now + KEEPALIVE + self.turn;
        }
        idle
    }

    /// How long nothing may come back. Each needless check doubles it.
    fn silence(&self, rtt: Option<Duration>) -> Duration {
        let shortest = rtt.map_or(UNKNOWN, |rtt| (rtt * 4 + Duration::from_millis(50)).max(SILENCE));
        let longest = match self.is_apart {
            true => LONGEST_APART,
            false if self.has_failed => LONGEST_FAILED,
            false => LONGEST_SILENCE,
        };
        (shortest * (1 << self.needless.min(5))).min(longest).max(shortest)
    }
}

fn wait(rtt: Option<Duration>) -> Duration {
    rtt.map_or(UNKNOWN_WAIT, |rtt| (rtt * 2).clamp(SHORTEST_WAIT, LONGEST_WAIT))
}
