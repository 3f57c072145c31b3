//! Both sides of attempts, and when they do what.

use super::fire::{LINGER, REPEATS, TRIES};
use super::*;
use crate::wire::nat::{Filtering, Mapping};

fn stable() -> Nat {
    let filtering = Filtering::AddressAndPortDependent;
    Nat { mapping: Mapping::EndpointIndependent, filtering, ports: Ports::Preserved, ..Nat::default() }
}

fn random() -> Nat {
    Nat { mapping: Mapping::AddressAndPortDependent, ports: Ports::Random, ..Nat::default() }
}

fn poisonable() -> Nat {
    Nat { poisonable: Some(true), ..stable() }
}

fn at(last: u8, port: u16) -> SocketAddr {
    SocketAddr::new([198, 51, 7, last].into(), port)
}

const RTT: Duration = Duration::from_millis(40);

/// One side of a pair, with what it did and when.
struct Side {
    together: Together,
    between: Between,
    endpoint: SocketAddr,
    shots: Vec<(Duration, Path)>,
    openers: Vec<(Duration, SocketAddr, u8)>,
    released: usize,
}

fn pair(leader: Nat, other: Nat) -> [Side; 2] {
    let side = |leads, ours, theirs, last| Side {
        together: Together::new(leads, u64::from(last)),
        between: Between { ours, theirs, rtt: Some(RTT) },
        endpoint: at(last, 40_000),
        shots: Vec::new(),
        openers: Vec::new(),
        released: 0,
    };
    [side(true, leader, other, 1), side(false, other, leader, 2)]
}

/// Lets both play for a while; messages take half a round trip.
fn play(sides: &mut [Side; 2], start: Instant, wanted: bool, time: Duration) {
    let mut messages: Vec<(Instant, usize, Step)> = Vec::new();
    sides.iter_mut().for_each(|side| side.together.open(start, &side.between));
    for millis in 0..time.as_millis() as u64 {
        let now = start + Duration::from_millis(millis);
        for (index, side) in sides.iter_mut().enumerate() {
            let mut steps = Vec::new();
            let due: Vec<Step> =
                messages.extract_if(.., |(at, to, _)| *at <= now && *to == index).map(|m| m.2).collect();
            for message in due {
                match message {
                    Step::Offer(punch) => steps.extend(side.together.offered(now, &side.between, punch)),
                    Step::Accept(punch) => side.together.accepted(now, &side.between, punch),
                    _ => {}
                }
            }
            side.together.handle_timeout(now, &side.between, wanted, &mut steps);
            while let Some(step) = steps.pop() {
                match step {
                    Step::Prepare { sockets, .. } => {
                        let sockets: Vec<u16> = (1..=sockets).collect();
                        steps.extend(side.together.prepared(now, &side.between, &sockets, side.endpoint));
                    }
                    Step::Shot { via, .. } => side.shots.push((now - start, via)),
                    Step::Opener { to, hops, .. } => side.openers.push((now - start, to, hops)),
                    Step::Release => side.released += 1,
                    told => messages.push((now + RTT / 2, 1 - index, told)),
                }
            }
        }
    }
}

fn first(side: &Side) -> Duration {
    side.shots.first().expect("a shot").0
}

#[test]
fn the_side_that_is_spoilt_by_early_datagrams_sends_first() {
    for (leader, other, order) in [(poisonable(), stable(), 0), (stable(), poisonable(), 1)] {
        let mut sides = pair(leader, other);
        play(&mut sides, Instant::now(), true, Duration::from_secs(1));
        let (early, late) = (first(&sides[order]), first(&sides[1 - order]));
        assert!(late >= early + RTT / 2 - Duration::from_millis(2), "{early:?} {late:?}");
    }
}

#[test]
fn where_both_are_spoilt_openers_of_both_go_out_before_anything_arrives() {
    let mut sides = pair(poisonable(), poisonable());
    play(&mut sides, Instant::now(), true, Duration::from_secs(1));
    for (one, other) in [(0, 1), (1, 0)] {
        let (opened, _, hops) = sides[one].openers[0];
        assert!(first(&sides[other]) + RTT / 2 > opened, "nothing arrives before the opener");
        assert_eq!(hops, 2);
    }
}

#[test]
fn a_crowd_sends_last_to_a_side_that_is_spoilt_by_early_datagrams_and_only_opens_the_next_time() {
    for (leader, other, crowd) in [(random(), poisonable(), 0), (poisonable(), random(), 1)] {
        let mut sides = pair(leader, other);
        let start = Instant::now();
        play(&mut sides, start, true, Duration::from_secs(10));
        assert_eq!((sides[crowd].openers.len(), sides[crowd].shots.len()), (0, 384));
        let last_try = sides[1 - crowd].shots.last().expect("a shot").0;
        assert!(first(&sides[crowd]) + RTT / 2 >= last_try);
        assert!(sides[crowd].shots.last().expect("a shot").0 < last_try + LINGER / 2, "the other side still listens");
        play(&mut sides, start + Duration::from_secs(10), true, Duration::from_secs(50));
        assert_eq!((sides[crowd].openers.len(), sides[crowd].shots.len()), (384, 384));
    }
}

#[test]
fn openers_reach_further_from_attempt_to_attempt() {
    let mut sides = pair(poisonable(), poisonable());
    play(&mut sides, Instant::now(), true, Duration::from_secs(20));
    let hops: std::collections::BTreeSet<u8> = sides[0].openers.iter().map(|(_, _, hops)| *hops).collect();
    assert_eq!(hops.into_iter().collect::<Vec<_>>(), OPENERS);
}

#[test]
fn a_crowd_opens_before_the_other_side_tries_and_both_stay_within_the_budget() {
    for (leader, other, crowd) in [(random(), stable(), 0), (stable(), random(), 1)] {
        let mut sides = pair(leader, other);
        play(&mut sides, Instant::now(), true, Duration::from_secs(35));
        let opened = &sides[crowd].shots;
        assert_eq!(opened.len(), 384);
        assert!(opened.iter().all(|(_, via)| via.first_hop() == sides[1 - crowd].endpoint));
        let last = opened.last().expect("a shot").0;
        let tries = &sides[1 - crowd].shots;
        assert!(first(&sides[1 - crowd]) >= last, "{last:?}");
        assert_eq!(tries.len(), TRIES);
        assert!(tries.iter().all(|(_, via)| via.first_hop().ip() == sides[crowd].endpoint.ip()));
        assert!(tries.last().expect("a shot").0 < Duration::from_secs(3));
        assert!(sides.iter().all(|side| side.released == 1));
    }
}

#[test]
fn a_heavy_attempt_waits_for_something_to_carry() {
    let mut sides = pair(random(), stable());
    play(&mut sides, Instant::now(), false, Duration::from_secs(100));
    assert!(sides.iter().all(|side| side.shots.is_empty()));
}

#[test]
fn light_attempts_go_on_for_ever_with_longer_and_longer_pauses() {
    let mut sides = pair(stable(), poisonable());
    play(&mut sides, Instant::now(), false, Duration::from_secs(120));
    let starts = sides[0].shots.iter().filter(|(at, _)| *at > Duration::from_secs(60)).count();
    assert!((1..=3 * REPEATS.len()).contains(&starts), "{starts}");
    assert!((5..10).contains(&sides[0].released), "{}", sides[0].released);
}

#[test]
fn nothing_is_tried_where_no_port_can_be_known() {
    let mut sides = pair(random(), random());
    play(&mut sides, Instant::now(), true, Duration::from_secs(100));
    assert!(sides.iter().all(|side| side.shots.is_empty() && side.released == 0));
}

#[test]
fn the_other_side_does_not_lead_and_a_stranger_to_the_attempt_is_not_heard() {
    let now = Instant::now();
    let [leader, other] = &mut pair(stable(), poisonable());
    other.together.open(now, &other.between);
    assert_eq!(other.together.deadline(), None);
    let offer = Punch { attempt: 7, endpoint: at(9, 9) };
    assert_eq!(leader.together.offered(now, &leader.between, offer), None);
    leader.together.accepted(now, &leader.between, offer);
    assert!(!leader.together.is_busy());
}
