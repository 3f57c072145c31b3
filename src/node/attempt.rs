//! When to say hello to one peer: introductions through the rendezvous, handshakes along the paths.

use std::time::{Duration, Instant};

use super::bucket::Bucket;

/// How long something that wants to reach a peer is worth connecting for.
const DEMAND: Duration = Duration::from_secs(15);
/// The first and the longest pause between introductions while there is demand.
const INTRODUCE_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Pauses after the first initiations; after the last of them the tunnel repeats them by itself every
/// 5 s (WireGuard's Rekey-Timeout), for 90 s altogether (Rekey-Attempt-Time).
const INITIATE_PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// Answers to introductions: so many at once, one more each pause.
const ANSWERS: u32 = 4;
const ANSWER_PAUSE: Duration = Duration::from_secs(2);
/// After we answered a peer's introduction, its answer to ours is due within this time.
const CROSSING: Duration = Duration::from_secs(5);

/// The schedule of reaching one peer.
#[derive(Debug)]
pub(super) struct Attempt {
    demand_until: Option<Instant>,
    introduce_at: Option<Instant>,
    introduce_pause: Option<Duration>,
    initiate_at: Option<Instant>,
    initiations: usize,
    answered_at: Option<Instant>,
    answers: Bucket,
}

impl Default for Attempt {
    fn default() -> Attempt {
        Attempt {
            demand_until: None,
            introduce_at: None,
            introduce_pause: None,
            initiate_at: None,
            initiations: 0,
            answered_at: None,
            answers: Bucket::new(ANSWERS, ANSWER_PAUSE),
        }
    }
}

impl Attempt {
    /// Something wants to reach the peer: introduce the node now, and again with growing pauses.
    pub fn demand(&mut self, now: Instant) {
        self.demand_until = Some(now + DEMAND);
        self.introduce_at.get_or_insert(now);
    }

    /// Whether something still wants to reach the peer.
    pub fn is_wanted(&self, now: Instant) -> bool {
        self.demand_until.is_some_and(|until| now < until)
    }

    /// Starts initiating at `at` unless that is planned already or sooner.
    pub fn initiate_at(&mut self, at: Instant) {
        let is_sooner = |planned: Instant| planned <= at && self.initiations == 0;
        if self.initiate_at.is_some_and(is_sooner) || self.is_initiating() {
            return;
        }
        self.initiate_at = Some(at);
        self.initiations = 0;
    }

    /// Whether a first initiation went out and no session came yet.
    pub fn is_initiating(&self) -> bool {
        self.initiations > 0
    }

    /// Whether no more than one initiation went out.
    pub fn is_first(&self) -> bool {
        self.initiations <= 1
    }

    /// The peer initiates by itself, or a session is up, or the tunnel gave up.
    pub fn stop_initiating(&mut self) {
        self.initiate_at = None;
        self.initiations = 0;
    }

    /// A session is up: nothing more to do until it is lost.
    pub fn succeeded(&mut self) {
        self.stop_initiating();
        self.introduce_at = None;
        self.introduce_pause = None;
        self.demand_until = None;
    }

    /// Whether an introduction may be answered now; counts the answer.
    pub fn may_answer(&mut self, now: Instant) -> bool {
        let may_answer = self.answers.take(now);
        if may_answer {
            self.answered_at = Some(now);
        }
        may_answer
    }

    /// Whether the peer is about to receive an answer of ours, as we just received one of its.
    pub fn is_crossing(&self, now: Instant) -> bool {
        self.answered_at.is_some_and(|at| now < at + CROSSING)
    }

    /// When something is due, and what.
    pub fn due(&self) -> Option<(Instant, &'static str)> {
        let introduce = self.introduce_at.map(|at| (at, "introduction"));
        let initiate = self.initiate_at.map(|at| (at, "handshake"));
        introduce.into_iter().chain(initiate).min()
    }

    /// Whether an introduction is due; plans the next while there is demand.
    pub fn take_introduction(&mut self, now: Instant) -> bool {
        if self.introduce_at.is_none_or(|at| now < at) {
            return false;
        }
        let is_wanted = self.is_wanted(now);
        let (first, longest) = INTRODUCE_PAUSES;
        let pause = self.introduce_pause.unwrap_or(first);
        self.introduce_pause = is_wanted.then_some((pause * 2).min(longest));
        self.introduce_at = is_wanted.then_some(now + pause);
        is_wanted
    }

    /// Whether an initiation is due; plans the next.
    pub fn take_initiation(&mut self, now: Instant) -> bool {
        if self.initiate_at.is_none_or(|at| now < at) {
            return false;
        }
        self.initiate_at = INITIATE_PAUSES.get(self.initiations).map(|p| now + *p);
        self.initiations += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn initiations_go_out_at_0_1_3_and_7_seconds() {
        let start = Instant::now();
        let mut attempt = Attempt::default();
        attempt.initiate_at(start);
        let mut sent = Vec::new();
        for tenth in 0..200 {
            if attempt.take_initiation(start + seconds(1) * tenth / 10) {
                sent.push(tenth);
            }
        }
        assert_eq!(sent, [0, 10, 30, 70]);
        assert!(attempt.is_initiating());
    }

    #[test]
    fn a_running_attempt_is_not_started_over_and_a_planned_one_only_sooner() {
        let start = Instant::now();
        let mut attempt = Attempt::default();
        attempt.initiate_at(start + seconds(2));
        attempt.initiate_at(start + seconds(3));
        assert_eq!(attempt.due(), Some((start + seconds(2), "handshake")));
        attempt.initiate_at(start);
        assert!(attempt.take_initiation(start));
        attempt.initiate_at(start);
        assert!(!attempt.take_initiation(start));
    }

    #[test]
    fn introductions_pause_longer_and_longer_and_end_with_demand() {
        let start = Instant::now();
        let mut attempt = Attempt::default();
        let mut sent = Vec::new();
        for second in 0..300 {
            let now = start + seconds(second);
            if second < 200 {
                attempt.demand(now);
            }
            if attempt.take_introduction(now) {
                sent.push(second);
            }
        }
        assert_eq!(sent, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        assert_eq!(attempt.due(), None);
    }

    #[test]
    fn answers_are_limited_and_the_limit_recovers() {
        let start = Instant::now();
        let mut attempt = Attempt::default();
        let burst = (0..10).filter(|_| attempt.may_answer(start)).count();
        assert_eq!(burst as u32, ANSWERS);
        assert!(attempt.may_answer(start + ANSWER_PAUSE));
        assert!(!attempt.may_answer(start + ANSWER_PAUSE));
    }
}
