//! When to speak on the LAN, and to whom: peers that are wanted first, the other missing ones every minute.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::identity::PublicKey;
use crate::node::bucket::Bucket;
use crate::wire::beacon::MAX_RECEIVERS;

/// Pauses after the survey at start or at a change of the network, for radio loses multicast; then [`STEADY`].
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
/// Between two surveys of who is missing.
const STEADY: Duration = Duration::from_secs(60);
/// Peers that are wanted together are told together.
const GATHER: Duration = Duration::from_millis(10);
/// Beacons at once, and the pause until one more.
const BURST: u32 = 16;
const PACE: Duration = Duration::from_millis(500);

/// Whom to tell when.
pub(super) struct Schedule {
    wanted: BTreeSet<PublicKey>,
    missing: BTreeSet<PublicKey>,
    survey_at: Instant,
    surveys: usize,
    send_at: Option<Instant>,
    rate: Bucket,
}

impl Schedule {
    pub fn new(now: Instant) -> Schedule {
        Schedule {
            wanted: BTreeSet::new(),
            missing: BTreeSet::new(),
            survey_at: now + STEADY,
            surveys: 0,
            send_at: None,
            rate: Bucket::new(BURST, PACE),
        }
    }

    /// Looks for all missing peers now, and again soon.
    pub fn survey_soon(&mut self, now: Instant) {
        self.surveys = 0;
        self.survey_at = now;
    }

    /// Something wants to reach this peer.
    pub fn ask(&mut self, now: Instant, key: PublicKey) {
        self.wanted.insert(key);
        self.send_at.get_or_insert(now + GATHER);
    }

    /// Whether to look who is missing, and tell it by [`Schedule::add`].
    pub fn take_survey(&mut self, now: Instant) -> bool {
        let is_due = self.survey_at <= now;
        if is_due {
            self.survey_at = now + PAUSES.get(self.surveys).copied().unwrap_or(STEADY);
            self.surveys += 1;
        }
        is_due
    }

    /// These peers are missing.
    pub fn add(&mut self, now: Instant, missing: Vec<PublicKey>) {
        if !missing.is_empty() {
            self.missing = missing.into_iter().collect();
            self.send_at.get_or_insert(now);
        }
    }

    /// Whom to tell now, together.
    pub fn take(&mut self, now: Instant) -> Vec<PublicKey> {
        if self.send_at.is_none_or(|at| now < at) {
            return Vec::new();
        }
        if !self.rate.take(now) {
            self.send_at = Some(now + PACE);
            return Vec::new();
        }
        let mut some = Vec::new();
        while some.len() < MAX_RECEIVERS
            && let Some(key) = self.wanted.pop_first().or_else(|| self.missing.pop_first())
        {
            self.missing.remove(&key);
            some.push(key);
        }
        let has_more = !self.wanted.is_empty() || !self.missing.is_empty();
        self.send_at = has_more.then_some(now + GATHER);
        some
    }

    /// When something is due.
    pub fn due(&self) -> Instant {
        self.send_at.map_or(self.survey_at, |at| at.min(self.survey_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::world::identity;

    fn keys(count: u64) -> Vec<PublicKey> {
        (0..count).map(|n| identity(n).public_key()).collect()
    }

    #[test]
    fn surveys_come_at_once_soon_again_and_then_every_minute() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.survey_soon(start);
        let seconds = (0..200).filter(|n| schedule.take_survey(start + Duration::from_secs(*n)));
        assert_eq!(seconds.collect::<Vec<_>>(), [0, 1, 3, 63, 123, 183]);
    }

    #[test]
    fn the_wanted_come_first_and_everybody_in_turn() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        let all = keys(40);
        schedule.add(start, all.clone());
        schedule.ask(start, all[30]);
        let mut told = Vec::new();
        while schedule.due() < start + STEADY {
            let some = schedule.take(schedule.due());
            assert!((1..=MAX_RECEIVERS).contains(&some.len()));
            told.extend(some);
        }
        assert_eq!(told[0], all[30]);
        let each: BTreeSet<PublicKey> = told.iter().copied().collect();
        assert_eq!((each.len(), told.len()), (40, 40));
    }

    #[test]
    fn however_much_is_wanted_beacons_are_paced() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        let key = keys(1)[0];
        let mut sent = 0;
        for millis in 0..10_000 {
            let now = start + Duration::from_millis(millis);
            schedule.ask(now, key);
            sent += usize::from(!schedule.take(now).is_empty());
        }
        assert!((30..=36).contains(&sent), "{sent} beacons in 10 s");
    }
}
