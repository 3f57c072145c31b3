//! Two ends that use different paths: who follows whom, and what must hold until they agree.

use std::time::Duration;

use super::pair::*;
use crate::punch::Output;
use crate::wire::Path;

const V4: usize = 1;
const V6: usize = 2;

/// A pair that has talked by IPv4 for so long (A leads), of which one end was refused by its kernel once, and is on IPv6.
fn apart(leaver: usize, talks: [bool; 2]) -> Pair {
    let mut pair = agreed(talks);
    leave(&mut pair, leaver);
    pair
}

fn agreed(talks: [bool; 2]) -> Pair {
    let relay = Link::new(relayed(1), relayed(2), ms(40));
    let v4 = Link::new(direct("198.51.100.1:4001"), direct("198.51.100.2:4002"), ms(15));
    let v6 = Link::new(direct("[2001:db8:1::1]:4001"), direct("[2001:db8:2::1]:4002"), ms(15));
    let mut pair = Pair::new(vec![relay, v4, v6]);
    pair.links[V4].guarded = true;
    pair.links[V6].guarded = true;
    pair.links[V6].latency = ms(18);
    pair.connect();
    pair.talks = [true, true];
    pair.run(secs(60));
    assert!(pair.both_on(V4));
    pair.talks = talks;
    pair.run(secs(60));
    pair
}

fn leave(pair: &mut Pair, leaver: usize) {
    pair.agents[leaver].refused(pair.now, pair.links[V4].ends[1 - leaver]);
    pair.drain();
    assert_eq!(pair.chosen(leaver), Some(pair.links[V6].ends[1 - leaver]));
    assert_eq!(pair.chosen(1 - leaver), Some(pair.links[V4].ends[leaver]));
}

fn moves(pair: &Pair, side: usize, since: Duration) -> Vec<Path> {
    let late = pair.log.iter().filter(|logged| logged.at >= since && logged.side == side);
    late.filter_map(|logged| if let Output::Chosen(path) = logged.output { path } else { None }).collect()
}

fn probes(pair: &Pair, since: Duration) -> usize {
    pair.count(since, |output| matches!(output, Output::Probe { .. }))
}

#[test]
fn who_leads_is_followed_and_stays() {
    for (leaver, path) in [(A, V6), (B, V4)] {
        let mut pair = apart(leaver, [true, true]);
        let since = pair.elapsed();
        pair.run(secs(5));
        assert!(pair.both_on(path), "{leaver} left");
        pair.run(secs(600));
        assert!(pair.both_on(path), "{leaver} left");
        assert_eq!(moves(&pair, A, since + ms(1)), [], "{leaver} left");
        assert_eq!(moves(&pair, B, since + ms(1)).len(), 1, "{leaver} left");
    }
}

#[test]
fn who_is_silent_follows_who_speaks_though_it_leads() {
    for (leaver, talks, path) in [(A, [false, true], V4), (B, [false, true], V6), (A, [true, false], V6)] {
        let mut pair = apart(leaver, talks);
        pair.run(secs(5));
        assert!(pair.both_on(path), "{leaver} left, {talks:?}");
        pair.run(secs(300));
        assert!(pair.both_on(path), "{leaver} left, {talks:?}");
    }
}

#[test]
fn ends_that_agree_check_no_more_than_if_they_had_never_differed() {
    for talks in [[true, true], [true, false], [false, true]] {
        let count = |mut pair: Pair| {
            pair.run(secs(60));
            let since = pair.elapsed();
            pair.run(secs(600));
            probes(&pair, since)
        };
        let (never, once) = (count(agreed(talks)), count(apart(B, talks)));
        assert!(once <= never + 4, "{once} probes instead of {never}, {talks:?}");
    }
}

#[test]
fn a_clearly_faster_path_wins_within_seconds_and_later_where_only_who_is_silent_knows_it() {
    for (leaver, talks, time) in [
        (A, [true, true], 8),
        (B, [true, true], 8),
        (A, [true, false], 8),
        (B, [false, true], 8),
        (B, [true, false], 80),
    ] {
        let mut pair = agreed(talks);
        pair.links[V6].latency = ms(2);
        pair.run(secs(25));
        leave(&mut pair, leaver);
        pair.run(secs(time));
        assert!(pair.both_on(V6), "{leaver} left, {talks:?}");
    }
}

#[test]
fn a_path_that_works_one_way_only_is_not_followed() {
    let mut pair = agreed([true, true]);
    pair.links[V4].up[B] = false;
    leave(&mut pair, B);
    let since = pair.elapsed();
    pair.run(secs(60));
    assert!(pair.both_on(V6));
    assert_eq!(moves(&pair, B, since + ms(1)), []);
}

#[test]
fn a_direct_path_is_not_left_for_a_relayed_one() {
    let mut pair = agreed([true, true]);
    let since = pair.elapsed();
    for _ in 0..20 {
        pair.agents[B].spoken(pair.now, relayed(1));
        pair.drain();
        pair.run(ms(250));
    }
    assert_eq!(moves(&pair, B, since + ms(1)), []);
}

#[test]
fn words_from_before_the_peer_moved_move_nobody_back() {
    for late in (0..100).step_by(10) {
        let mut pair = agreed([true, false]);
        pair.links[V6].latency = ms(2);
        while !pair.both_on(V6) {
            pair.run(ms(1));
        }
        pair.run(ms(late));
        let since = pair.elapsed();
        pair.agents[B].spoken(pair.now, pair.links[V4].ends[A]);
        pair.drain();
        pair.run(secs(60));
        assert_eq!(moves(&pair, B, since + ms(1)), [], "{late} ms late");
    }
}

#[test]
fn a_path_that_is_lost_before_they_agree_is_left_within_a_second_and_a_half() {
    for (leaver, millis, lost) in [A, B]
        .into_iter()
        .flat_map(|side| [50, 300, 900, 1_500].map(|at| [V4, V6].map(|lost| (side, at, lost))))
        .flatten()
    {
        let mut pair = apart(leaver, [true, true]);
        pair.run(ms(millis));
        pair.links[lost].up = [false, false];
        pair.run(ms(1_500));
        assert!(pair.both_on(V4 + V6 - lost), "{leaver} left, {lost} lost after {millis} ms");
    }
}
