//! Whether programs leave too little of the processors, and a thread takes too much of one.

use std::time::{Duration, Instant};

/// How long idle time is counted: the kernel tells it in hundredths of a second, of all processors together.
const WINDOW: Duration = Duration::from_millis(50);
/// The part of all processors, in percent, that has to be idle for a thread that wakes to find one at once.
const FREE: u32 = 25;
/// How long less than that counts, so that single moments of rest change nothing.
const LASTING: Duration = Duration::from_secs(1);
/// The share of a processor, in percent, above which a thread takes too much of it, where there are others,
const GREEDY: u32 = 90;
/// and where it is the only one,
const GREEDY_ALONE: u32 = 50;
/// taken over so long: single moments of a transfer reach it,
const GREEDY_WINDOW: Duration = Duration::from_millis(500);
/// and for how long it does.
const MODESTY: Duration = Duration::from_secs(1);

/// Times that the kernel counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// Of this thread on a processor.
    pub used: Duration,
    /// Of all processors without work, added up; none where the kernel does not tell.
    pub idle: Option<Duration>,
}

/// How the processors were shared of late.
pub struct Processors {
    count: u32,
    idle: (Instant, Option<Duration>),
    used: (Instant, Duration),
    busy_until: Option<Instant>,
    modest_until: Option<Instant>,
}

impl Processors {
    /// Of a machine that has so many, on which nothing was seen yet.
    pub fn new(count: u32, now: Instant, times: Times) -> Processors {
        Processors { count, idle: (now, times.idle), used: (now, times.used), busy_until: None, modest_until: None }
    }

    /// Whether the thread should go before programs if somebody waits for it: it would wait for a processor otherwise, and
    /// it leaves enough of its own to them. The times are asked for now and then.
    pub fn are_short(&mut self, now: Instant, times: impl FnOnce() -> Times) -> bool {
        if now.saturating_duration_since(self.idle.0) >= WINDOW {
            let times = times();
            self.look_at_idle(now, times.idle);
            self.look_at_used(now, times.used);
        }
        let is = |until: Option<Instant>| until.is_some_and(|until| now < until);
        is(self.busy_until) && !is(self.modest_until)
    }

    fn look_at_idle(&mut self, now: Instant, idle: Option<Duration>) {
        let (at, former) = std::mem::replace(&mut self.idle, (now, idle));
        let all = now.saturating_duration_since(at) * self.count;
        let idle = idle.zip(former).map(|(idle, former)| idle.saturating_sub(former));
        if idle.is_none_or(|idle| idle * 100 < all * FREE) {
            self.busy_until = Some(now + LASTING);
        }
    }

    fn look_at_used(&mut self, now: Instant, used: Duration) {
        let (at, former) = self.used;
        let span = now.saturating_duration_since(at);
        if span >= GREEDY_WINDOW {
            let most = if self.count > 1 { GREEDY } else { GREEDY_ALONE };
            if used.saturating_sub(former) * 100 > span * most {
                self.modest_until = Some(now + MODESTY);
            }
            self.used = (now, used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether so many processors were short after a while in which they were idle, all together, and a thread ran, for so
    /// many percent of it.
    fn of(count: u32, idle: Option<u32>, used: u32) -> bool {
        let start = Instant::now();
        let part = |percent: u32, milli| Duration::from_millis(milli) * percent / 100;
        let times = |milli| Times { used: part(used, milli), idle: idle.map(|idle| part(idle, milli)) };
        let mut processors = Processors::new(count, start, times(0));
        let turn = |milli| processors.are_short(start + Duration::from_millis(milli), || times(milli));
        (1..=1_200).map(turn).last().unwrap()
    }

    fn are_short(idle: Option<u32>, used: u32) -> bool {
        of(2, idle, used)
    }

    #[test]
    fn processors_are_short_where_little_of_them_is_idle() {
        assert!(!are_short(Some(190), 1));
        assert!(!are_short(Some(51), 40));
        assert!(are_short(Some(49), 40));
        assert!(are_short(Some(0), 1));
        assert!(are_short(None, 1), "nothing is known");
    }

    #[test]
    fn a_thread_that_takes_a_processor_goes_behind() {
        assert!(are_short(Some(0), 89));
        assert!(!are_short(Some(0), 91));
        assert!(of(1, Some(0), 49) && !of(1, Some(0), 51), "its programs need the only one");
    }

    #[test]
    fn each_look_is_for_what_came_since_the_last_and_counts_for_a_second() {
        let start = Instant::now();
        let millis = Duration::from_millis;
        let mut processors = Processors::new(1, start, Times { idle: Some(Duration::ZERO), ..Times::default() });
        let mut at = |milli, idle, used| {
            processors.are_short(start + millis(milli), || Times { used: millis(used), idle: Some(millis(idle)) })
        };
        assert!(!at(49, 0, 0), "not looked at yet");
        assert!(at(50, 0, 0));
        assert!(at(1_049, 999, 0), "rests");
        assert!(!at(1_050, 1_000, 0), "for a second");
        assert!(at(1_550, 1_000, 0));
        assert!(!at(2_050, 1_000, 500), "takes all of it");
        assert!(!at(3_049, 1_000, 500), "for a second");
        assert!(at(3_050, 1_000, 500));
    }
}
