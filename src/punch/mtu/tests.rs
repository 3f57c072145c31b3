//! The search for the MTU, on a path of one's own making.

use proptest::prelude::*;

use super::*;
use crate::punch::tests::pair::{direct, ms, relayed, secs, start};

const RTT: Duration = Duration::from_millis(40);

/// A path, and a search on it.
struct Walk {
    now: Instant,
    search: Discovery,
    carries: u16,
    /// Whether small packets pass.
    works: bool,
    /// Loses the next so many datagrams.
    loses: u32,
    probes: Vec<u16>,
}

impl Walk {
    fn new(carries: u16) -> Walk {
        let mut walk = Walk {
            now: start().monotonic,
            search: Discovery::new(),
            carries,
            works: true,
            loses: 0,
            probes: Vec::new(),
        };
        walk.search.choose(walk.now, direct("192.0.2.1:1"));
        walk
    }

    /// Does what is due until nothing is within `span`.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.search.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.step();
        }
        self.now = end;
    }

    fn step(&mut self) {
        match self.search.handle_timeout(self.now, Some(RTT)) {
            Step::Nothing => {}
            Step::Probe { id, size } => {
                self.probes.push(size);
                if self.passes(size) {
                    self.search.answered(self.now + RTT, id, size);
                }
            }
            Step::Check => {
                if self.works {
                    self.search.path_answered(self.now + RTT, self.now);
                }
            }
        }
    }

    fn passes(&mut self, size: u16) -> bool {
        let lost = self.loses > 0;
        self.loses = self.loses.saturating_sub(1);
        !lost && self.works && size <= self.carries
    }

    fn transfer(&mut self, span: Duration) {
        for _ in 0..span.as_millis() / 250 {
            self.search.used();
            if self.search.inner > BASE {
                self.search.sent_large(self.now);
            }
            self.run(ms(250));
        }
    }
}

#[test]
fn the_usual_path_takes_one_probe() {
    let mut walk = Walk::new(1500);
    assert_eq!(walk.search.mtu(), Mtu::UNKNOWN);
    walk.run(secs(1));
    assert_eq!(walk.search.mtu(), Mtu::fixed(1420));
    walk.search.used();
    walk.run(secs(3600));
    assert_eq!(walk.probes, [1420], "an idle path is left alone");
}

#[test]
fn a_narrow_path_is_found_within_a_few_probes_and_seconds() {
    for carries in [1280, 1281, 1300, 1320, 1336, 1340, 1400, 1412, 1419] {
        let mut walk = Walk::new(carries);
        walk.run(secs(4));
        let Mtu { inner, is_settled } = walk.search.mtu();
        assert!(is_settled && inner <= carries && carries - inner <= GRAIN, "{inner} of {carries}");
        assert!(walk.probes.len() <= 18, "{:?}", walk.probes);
    }
}

#[test]
fn lost_probes_do_not_lower_it() {
    let mut walk = Walk::new(1420);
    walk.loses = 2;
    walk.run(secs(2));
    assert_eq!(walk.search.mtu(), Mtu::fixed(1420));
    walk.loses = 2;
    walk.run(CONFIRM);
    walk.search.sent_large(walk.now);
    walk.run(secs(2));
    assert_eq!((walk.search.inner, walk.loses), (1420, 0));
}

#[test]
fn a_black_hole_is_left_within_seconds_and_measured_anew() {
    let mut walk = Walk::new(1420);
    walk.transfer(secs(10));
    let probes = walk.probes.len();
    assert!(probes <= 6, "confirmed every 2 s: {probes}");
    walk.carries = 1340;
    walk.transfer(secs(3));
    assert!(walk.search.inner <= 1340, "{}", walk.search.inner);
    walk.transfer(secs(5));
    assert!(walk.search.mtu().is_settled && walk.search.inner >= 1340 - GRAIN, "{:?}", walk.search.mtu());
}

#[test]
fn a_dead_path_says_nothing_about_sizes() {
    let mut walk = Walk::new(1420);
    walk.run(secs(1));
    walk.works = false;
    walk.run(CONFIRM);
    walk.search.sent_large(walk.now);
    let before = walk.probes.len();
    walk.run(secs(60));
    assert_eq!((walk.search.inner, walk.probes.len() - before), (1420, TRIES as usize));
    walk.works = true;
    walk.carries = 1300;
    walk.search.path_answered(walk.now + RTT, walk.now);
    walk.run(secs(5));
    assert!((1292..=1300).contains(&walk.search.inner), "it lives again, but narrower: {}", walk.search.inner);
}

#[test]
fn an_answer_to_an_earlier_small_probe_condemns_nothing() {
    let mut walk = Walk::new(1420);
    walk.works = false;
    let sent = walk.now;
    walk.run(secs(5));
    walk.search.path_answered(walk.now, sent);
    assert!(walk.search.trial.is_some(), "the probes of this size may still be on their way");
    walk.search.path_answered(walk.now, walk.now);
    assert_eq!(walk.search.failed, 1420);
}

#[test]
fn late_answers_count() {
    let mut walk = Walk::new(1400);
    walk.run(secs(5));
    let id = walk.search.note(1420);
    walk.search.answered(walk.now, id, 1420);
    assert_eq!(walk.search.inner, 1420);
    let id = walk.search.note(1300);
    walk.search.answered(walk.now, id, 1420);
    assert!(walk.search.sent.contains(&(id, 1300)), "an answer must fit its probe");
}

#[test]
fn more_is_looked_for_every_ten_minutes_of_use() {
    let mut walk = Walk::new(1340);
    walk.run(secs(5));
    walk.carries = 1420;
    walk.run(RAISE * 2);
    assert!(walk.search.inner <= 1340, "nobody used it");
    walk.search.used();
    walk.run(secs(5));
    assert_eq!(walk.search.mtu(), Mtu::fixed(1420));
}

#[test]
fn what_our_own_system_refuses_is_never_tried_again() {
    let mut walk = Walk::new(1420);
    walk.run(secs(1));
    for size in [1420, 1350, 1315] {
        walk.search.refused(walk.now, size);
    }
    assert_eq!(walk.search.inner, BASE, "at once");
    walk.run(secs(5));
    assert!((1300..1315).contains(&walk.search.inner), "{}", walk.search.inner);
    walk.search.refused(walk.now, BASE);
    assert!(walk.search.inner > BASE, "1280 bytes are never refused");
}

#[test]
fn a_new_path_starts_from_what_passed_on_the_former() {
    let mut walk = Walk::new(1420);
    walk.run(secs(1));
    walk.search.choose(walk.now, direct("192.0.2.2:1"));
    assert_eq!(walk.search.mtu(), Mtu { inner: 1420, is_settled: false });
    walk.run(secs(1));
    assert_eq!((walk.search.mtu(), &walk.probes[..]), (Mtu::fixed(1420), &[1420, 1420][..]));
    walk.carries = 1380;
    walk.search.choose(walk.now, direct("192.0.2.3:1"));
    walk.run(secs(5));
    assert!((1372..=1380).contains(&walk.search.inner));
    walk.search.lost();
    assert_eq!(walk.search.mtu(), Mtu::UNKNOWN);
}

#[test]
fn another_network_of_ours_is_measured_though_the_path_has_the_same_name() {
    let mut walk = Walk::new(1340);
    walk.run(secs(5));
    walk.carries = 1420;
    walk.search.moved(walk.now);
    walk.run(secs(1));
    assert_eq!(walk.search.mtu(), Mtu::fixed(1420));
    walk.carries = 1340;
    walk.search.moved(walk.now);
    walk.run(secs(4));
    assert!((1333..=1340).contains(&walk.search.inner));
    walk.search.lost();
    walk.search.moved(walk.now);
    assert_eq!(walk.search.deadline(), None);
}

#[test]
fn the_ceiling_and_the_headers_outside_bound_it() {
    let mut walk = Walk::new(1500);
    walk.search.set_ceiling(1300);
    walk.search.choose(walk.now, relayed(1));
    walk.run(secs(1));
    assert_eq!(walk.search.mtu(), Mtu::fixed(1300));
    let mut walk = Walk::new(1500);
    walk.search.set_ceiling(1280);
    walk.search.choose(walk.now, relayed(1));
    assert_eq!((walk.search.mtu(), walk.search.deadline()), (Mtu::fixed(1280), None));
}

proptest! {
    /// Whatever happens, packets have at least 1280 bytes, and the search comes to an end.
    #[test]
    fn arbitrary_events(events in prop::collection::vec((0..9_u8, 0..2000_u16, any::<bool>()), 1..100)) {
        let mut walk = Walk::new(1420);
        for (what, number, flag) in events {
            let (now, sent) = (walk.now, walk.search.sent.back().copied());
            match what {
                0 => walk.carries = number,
                1 => walk.works = flag,
                2 => walk.loses = u32::from(number % 5),
                3 if flag => walk.search.moved(now),
                3 => walk.search.refused(now, number),
                4 => walk.search.answered(now, u64::from(number), number),
                5 => if let Some((id, size)) = sent { walk.search.answered(now, id, size) },
                6 => walk.search.choose(now, if flag { relayed(1) } else { direct("[2001:db8::1]:1") }),
                7 => walk.transfer(ms(u64::from(number))),
                _ => walk.run(ms(u64::from(number))),
            }
            let before = walk.probes.len();
            walk.run(ms(1000));
            prop_assert!(walk.probes.len() - before <= 30);
            prop_assert!((BASE..=CEILING).contains(&walk.search.inner));
            prop_assert!(walk.search.sent.len() <= REMEMBERED);
        }
        (walk.works, walk.carries, walk.loses) = (true, 1360, 0);
        walk.search.choose(walk.now, direct("192.0.2.9:1"));
        walk.search.path_answered(walk.now, walk.now);
        walk.run(secs(20));
        let mtu = walk.search.mtu();
        prop_assert!(mtu.is_settled && (1352..=1360).contains(&mtu.inner), "{mtu:?}");
    }
}
