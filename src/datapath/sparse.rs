//! Whether a thread carries sparse flows, a few packets of somebody who waits for them, and has to wait for a processor.
//!
//! What FQ-CoDel tells apart for its queues (RFC 8290, section 1.3), found by counting: flows are dealt out among some
//! places, and a place that saw something in a while, but little, holds a sparse flow.

use std::time::{Duration, Instant};

/// The most flows that are told apart.
pub const PLACES: usize = 64;
/// How long is counted.
const WINDOW: Duration = Duration::from_millis(50);
/// Packets a second up to which a flow is sparse: keystrokes, calls and pings, but no transfer and not its
/// acknowledgements.
const SPARSE: u64 = 1_000;
/// How long a sparse flow counts after its last window: it speaks again, and then it is too late to begin.
const LASTING: Duration = Duration::from_millis(500);
/// A thread that waited longer than this for a processor, taken over its turns, counts as waiting: an idle virtual one takes
/// 100 µs to wake;
const LONG: Duration = Duration::from_micros(250);
/// and so does one that waited for more than this part of the time, however many turns it had,
const OFTEN: u32 = 32;
/// and for how long it does: once it goes first it does not wait, and nothing tells whether it would.
const BUSY_MACHINE: Duration = Duration::from_secs(30);
/// Packets a second of all flows from which on it pays to let some gather.
const BUSY: u64 = 40_000;
/// A turn that carried so many has gathered enough.
const ENOUGH: u32 = 40;
/// The share of a processor, in percent, above which a thread does not go before others,
const GREEDY: u32 = 90;
/// taken over so long: single windows of a transfer reach it,
const PROCESSOR_WINDOW: Duration = Duration::from_millis(500);
/// and for how long it does not.
const MODESTY: Duration = Duration::from_secs(1);

/// Times of a thread since it began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// On a processor.
    pub used: Duration,
    /// Awake and without one; none where the kernel does not tell.
    pub waited: Option<Duration>,
}

/// What a thread should do after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Go before programs: somebody waits for the thread, it waits for processors, and it leaves enough of them to others.
    pub is_first: bool,
    /// Let packets gather for a moment: there are many, and the turn carried few.
    pub gather: bool,
}

/// Packets of late, by flow.
pub struct Sparse {
    counts: [u32; PLACES],
    since: Instant,
    /// When the processor time was last looked at, and how much it was.
    looked: (Instant, Duration),
    waited: Duration,
    turns: u32,
    turn: u32,
    is_busy: bool,
    first_until: Option<Instant>,
    waits_until: Option<Instant>,
    modest_until: Option<Instant>,
}

impl Sparse {
    /// None yet.
    pub fn new(now: Instant) -> Sparse {
        Sparse {
            counts: [0; PLACES],
            since: now,
            looked: (now, Duration::ZERO),
            waited: Duration::ZERO,
            turns: 0,
            turn: 0,
            is_busy: false,
            first_until: None,
            waits_until: None,
            modest_until: None,
        }
    }

    /// So many packets of the flows of this place went through.
    pub fn carried(&mut self, place: usize, packets: u32) {
        if let Some(count) = self.counts.get_mut(place % PLACES) {
            *count = count.saturating_add(packets);
        }
        self.turn = self.turn.saturating_add(packets);
    }

    /// A turn has ended; `spent` is asked for now and then.
    pub fn turn(&mut self, now: Instant, spent: impl FnOnce() -> Spent) -> Advice {
        self.turns = self.turns.saturating_add(1);
        let span = now.saturating_duration_since(self.since);
        if span >= WINDOW {
            let spent = spent();
            self.judge(now, span);
            self.look_at_waiting(now, span, spent.waited);
            self.look_at_processor(now, spent.used);
        }
        let carried = std::mem::take(&mut self.turn);
        let is = |until: Option<Instant>| until.is_some_and(|until| now < until);
        let is_first = is(self.first_until) && is(self.waits_until) && !is(self.modest_until);
        Advice { is_first, gather: self.is_busy && carried < ENOUGH }
    }

    fn judge(&mut self, now: Instant, span: Duration) {
        let at_rate = |rate: u64| span.as_micros() * u128::from(rate) / 1_000_000;
        let sparse = 1..=at_rate(SPARSE).max(1);
        if self.counts.iter().any(|&count| sparse.contains(&count.into())) {
            self.first_until = Some(now + LASTING);
        }
        self.is_busy = self.counts.iter().map(|&count| u128::from(count)).sum::<u128>() > at_rate(BUSY);
        (self.since, self.counts) = (now, [0; PLACES]);
    }

    fn look_at_waiting(&mut self, now: Instant, span: Duration, waited: Option<Duration>) {
        let of_window = waited.map(|waited| waited.saturating_sub(self.waited));
        if of_window.is_none_or(|waited| waited > LONG * self.turns || waited > span / OFTEN) {
            self.waits_until = Some(now + BUSY_MACHINE);
        }
        (self.waited, self.turns) = (waited.unwrap_or_default(), 0);
    }

    fn look_at_processor(&mut self, now: Instant, used: Duration) {
        let (at, former) = self.looked;
        let span = now.saturating_duration_since(at);
        if span >= PROCESSOR_WINDOW {
            if used.saturating_sub(former) * 100 > span * GREEDY {
                self.modest_until = Some(now + MODESTY);
            }
            self.looked = (now, used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_WAIT: Spent = Spent { used: Duration::ZERO, waited: Some(Duration::ZERO) };

    /// Carries so many packets of each place in every millisecond for a while, and waits for a processor meanwhile.
    fn carry(sparse: &mut Sparse, start: Instant, millis: u32, each: &[u32], share: u32) -> Advice {
        let mut advice = Advice { is_first: false, gather: false };
        for milli in 1..=millis {
            for (place, &packets) in each.iter().enumerate() {
                sparse.carried(place, packets);
            }
            let passed = Duration::from_millis(milli.into());
            advice = sparse.turn(start + passed, || Spent { used: passed * share / 100, waited: None });
        }
        advice
    }

    fn of(each: &[u32], share: u32) -> Advice {
        let start = Instant::now();
        carry(&mut Sparse::new(start), start, 1_200, each, share)
    }

    #[test]
    fn a_transfer_alone_does_not_go_first_and_somebody_beside_it_does() {
        assert_eq!(of(&[100], 50), Advice { is_first: false, gather: false });
        assert_eq!(of(&[0, 5], 5), Advice { is_first: false, gather: false }, "acknowledgements");
        assert_eq!(of(&[100, 1], 50), Advice { is_first: true, gather: false });
        assert_eq!(of(&[1], 1), Advice { is_first: true, gather: false }, "alone");
        assert_eq!(of(&[0, 0], 0), Advice { is_first: false, gather: false }, "nobody");
    }

    #[test]
    fn whoever_has_spoken_counts_for_a_while() {
        let start = Instant::now();
        let mut sparse = Sparse::new(start);
        assert!(carry(&mut sparse, start, 100, &[100, 1], 10).is_first);
        let later = start + Duration::from_millis(100);
        assert!(carry(&mut sparse, later, 400, &[100], 10).is_first);
        assert!(!carry(&mut sparse, later + Duration::from_millis(400), 400, &[100], 10).is_first);
    }

    #[test]
    fn small_turns_gather_where_there_is_much() {
        let start = Instant::now();
        let mut sparse = Sparse::new(start);
        assert!(!carry(&mut sparse, start, 100, &[60, 40], 10).gather, "enough in each turn");
        sparse.carried(0, ENOUGH - 1);
        assert!(sparse.turn(start + Duration::from_millis(101), || NO_WAIT).gather);
        assert!(!of(&[30], 10).gather, "little in all");
        let start = Instant::now();
        let mut sparse = Sparse::new(start);
        carry(&mut sparse, start, 49, &[50], 10);
        sparse.carried(0, 1);
        assert!(sparse.turn(start + Duration::from_millis(50), || NO_WAIT).gather, "the first turn of much as well");
    }

    #[test]
    fn a_thread_that_takes_a_processor_goes_behind() {
        assert!(of(&[100, 1], 89).is_first);
        assert!(!of(&[100, 1], 91).is_first);
    }

    /// Whether a thread goes first that carries a sparse flow, has a turn each millisecond, or many, and waits so long for a
    /// processor in each millisecond.
    fn is_first(sparse: &mut Sparse, start: Instant, turns: u32, wait: Duration) -> bool {
        let turn = |number: u32| {
            sparse.carried(0, u32::from(number.is_multiple_of(turns)));
            let passed = Duration::from_millis(1) * number / turns;
            let waited = Some(wait * number / turns);
            sparse.turn(start + passed, || Spent { waited, ..NO_WAIT }).is_first
        };
        (1..=100 * turns).map(turn).last().unwrap()
    }

    #[test]
    fn where_processors_are_free_nobody_goes_first() {
        let start = Instant::now();
        let goes_first = |turns, micros| is_first(&mut Sparse::new(start), start, turns, Duration::from_micros(micros));
        assert!(!goes_first(1, 30) && goes_first(1, 51));
        assert!(!goes_first(20, 30) && goes_first(20, 40), "turns do not hide what adds up");
    }

    #[test]
    fn who_had_to_wait_goes_first_for_a_while() {
        let start = Instant::now();
        let mut sparse = Sparse::new(start);
        assert!(is_first(&mut sparse, start, 1, LONG * 2));
        let later = start + Duration::from_millis(100);
        let mut waited_no_more = |millis| {
            let turn = |sparse: &mut Sparse, milli: u64| {
                sparse.carried(0, 1);
                let waited = Some(LONG * 200);
                sparse.turn(later + Duration::from_millis(milli), || Spent { waited, ..NO_WAIT }).is_first
            };
            (1..=millis).map(|milli| turn(&mut sparse, milli)).last().unwrap()
        };
        assert!(waited_no_more(29_000));
        assert!(!waited_no_more(31_000));
    }
}
