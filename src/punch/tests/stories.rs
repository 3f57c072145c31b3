//! Whole connections between two agents.

use std::time::Duration;

use super::pair::*;
use crate::punch::search::PAUSES;
use crate::punch::watch::TRIES;
use crate::punch::{Families, Output, PathState};
use crate::wire::{CandidateKind, Path};

const RELAY: usize = 0;
const DIRECT: usize = 1;

fn relay_link() -> Link {
    Link::new(relayed(1), relayed(2), ms(40))
}

fn direct_link() -> Link {
    let (a, b) = ("198.51.100.1:4001", "198.51.100.2:4002");
    Link::new(direct(a), direct(b), ms(15))
}

fn connected(direct: Link) -> Pair {
    let mut pair = Pair::new(vec![relay_link(), direct]);
    pair.connect();
    pair
}

fn switches(pair: &Pair, side: usize) -> Vec<Option<Path>> {
    let chosen = |logged: &Logged| match logged.output {
        Output::Chosen(path) if logged.side == side => Some(path),
        _ => None,
    };
    pair.log.iter().filter_map(chosen).collect()
}

#[test]
fn the_relay_carries_until_a_direct_path_answers() {
    let mut pair = connected(direct_link());
    assert!(pair.both_on(RELAY));
    pair.run(ms(40));
    assert!(pair.both_on(DIRECT));
    assert_eq!(pair.agents[A].rtt(), Some(ms(30)));
    let path = direct("198.51.100.2:4002");
    assert_eq!(switches(&pair, A), [Some(relayed(2)), Some(path)]);
    let report = pair.agents[A].report();
    let line = report.iter().find(|line| line.path == path).unwrap();
    assert_eq!(line.state, PathState::Chosen);
    assert_eq!(line.observed, Some(direct("198.51.100.1:4001")));
}

#[test]
fn nats_on_both_sides_are_punched() {
    let mut link = direct_link();
    link.guarded = true;
    let mut pair = connected(link);
    pair.run(ms(500));
    assert!(pair.both_on(DIRECT));
}

#[test]
fn with_direct_blocked_the_relay_stays_and_rounds_repeat_for_ever() {
    let mut link = direct_link();
    link.up = [false, false];
    let mut pair = connected(link);
    pair.run(secs(3 * 3600));
    assert!(pair.both_on(RELAY));
    assert_eq!(switches(&pair, A).len(), 1);

    let pauses = pauses(&pair, secs(0));
    assert!(pauses.len() > 12, "{pauses:?}");
    for (nth, pause) in pauses.iter().enumerate() {
        let documented = PAUSES[nth.min(PAUSES.len() - 1)];
        assert!((documented..=documented * 5 / 4).contains(pause), "{pauses:?}");
    }
}

/// Seconds between the rounds in which A probed, from `since` on.
fn pauses(pair: &Pair, since: Duration) -> Vec<u64> {
    let mut shots: Vec<_> = pair.log.iter().collect();
    shots.retain(|l| l.side == A && l.at >= since);
    shots.retain(|l| matches!(l.output, Output::Probe { via, .. } if via.is_direct()));
    let gaps = shots.windows(2).map(|two| two[1].at - two[0].at);
    gaps.filter(|gap| *gap >= secs(5)).map(|gap| gap.as_secs()).collect()
}

#[test]
fn a_changed_network_makes_the_pauses_short_again() {
    let mut link = direct_link();
    link.up = [false, false];
    let mut pair = connected(link);
    pair.run(secs(1800));
    let changed = pair.elapsed();
    pair.agents[A].network_changed(pair.now, Families::default());
    pair.run(secs(70));
    let pauses = pauses(&pair, changed);
    assert!(matches!(pauses[..], [10..=12, 30..=37]), "{pauses:?}");
}

#[test]
fn a_way_that_opens_late_is_found_by_both_nats_together() {
    let mut link = direct_link();
    link.guarded = true;
    link.up = [false, false];
    let mut pair = connected(link);
    pair.run(secs(1800));
    pair.links[DIRECT].up = [true, true];
    pair.run(secs(760));
    assert!(pair.both_on(DIRECT));
}

#[test]
fn a_dead_path_under_traffic_gives_way_to_the_relay_and_comes_back() {
    let mut pair = connected(direct_link());
    pair.talks = [true, true];
    pair.run(secs(100));
    assert!(pair.both_on(DIRECT));
    pair.links[DIRECT].up = [false, false];
    pair.run(secs(4));
    assert!(pair.both_on(RELAY));
    pair.run(secs(60));
    assert!(pair.both_on(RELAY));
    pair.links[DIRECT].up = [true, true];
    pair.run(secs(80));
    assert!(pair.both_on(DIRECT));
}

#[test]
fn a_dead_idle_path_is_noticed_by_its_keepalive() {
    let mut pair = connected(direct_link());
    pair.run(secs(100));
    pair.links[DIRECT].up = [false, false];
    pair.run(secs(29));
    assert!(pair.both_on(RELAY));
}

#[test]
fn a_path_that_dies_one_way_is_left_by_both() {
    for dead in [A, B] {
        let mut pair = connected(direct_link());
        pair.talks = [true, false];
        pair.run(secs(70));
        pair.links[DIRECT].up[dead] = false;
        pair.run(ms(5300));
        assert!(pair.both_on(RELAY), "from {dead}");
        pair.run(secs(600));
        assert!(pair.both_on(RELAY), "from {dead}");
    }
}

#[test]
fn a_path_that_never_worked_one_way_is_not_chosen() {
    let mut link = direct_link();
    link.up = [true, false];
    let mut pair = connected(link);
    pair.talks = [true, true];
    pair.run(secs(300));
    assert!(pair.both_on(RELAY));
    assert_eq!(switches(&pair, A).len() + switches(&pair, B).len(), 2);
}

#[test]
fn a_candidate_that_was_never_told_is_found_by_its_probes() {
    let mut pair = Pair::new(vec![relay_link(), direct_link()]);
    pair.told[A].truncate(1);
    pair.connect();
    pair.run(ms(100));
    assert!(pair.both_on(DIRECT));
}

#[test]
fn a_roaming_peer_is_followed_at_once() {
    let mut pair = connected(direct_link());
    pair.talks = [true, true];
    pair.run(secs(100));
    let moved = direct("198.51.100.77:999");
    pair.move_end(DIRECT, A, moved);
    pair.run(ms(120));
    assert_eq!(pair.chosen(B), Some(moved));
    assert!(pair.both_on(DIRECT));
}

#[test]
fn a_mover_leaves_its_former_path_at_once_and_its_peer_with_the_first_word() {
    let mut link = direct_link();
    link.guarded = true;
    let mut pair = connected(link);
    pair.run(secs(100));
    pair.links[DIRECT].up = [false, false];
    pair.agents[A].network_changed(pair.now, Families { v4: true, v6: false });
    pair.told[A].truncate(1);
    pair.drain();
    assert_eq!(pair.chosen(A), Some(relayed(2)));
    pair.run(ms(41));
    assert!(pair.both_on(RELAY));
}

#[test]
fn a_dead_path_is_left_within_a_second_and_the_replier_follows() {
    for talks in [[true, true], [true, false]] {
        let mut pair = connected(direct_link());
        pair.echoes = !talks[B];
        pair.talks = talks;
        pair.run(secs(100));
        pair.links[DIRECT].up = [false, false];
        pair.run(ms(950));
        assert!(pair.both_on(RELAY), "{talks:?}");
    }
}

#[test]
fn a_path_that_the_kernel_refuses_is_left_at_once() {
    let mut pair = connected(direct_link());
    pair.run(secs(30));
    let chosen = pair.chosen(A).unwrap();
    pair.agents[A].refused(pair.now, relayed(2));
    assert_eq!(pair.chosen(A), Some(chosen));
    pair.agents[A].refused(pair.now, chosen);
    assert_eq!(pair.chosen(A), Some(relayed(2)));
    pair.drain();
    pair.run(secs(1));
    assert!(pair.both_on(DIRECT), "it was for a moment only");
}

#[test]
fn trouble_is_told_before_what_needs_the_relay() {
    let mut pair = connected(direct_link());
    pair.talks = [true, false];
    pair.echoes = true;
    pair.run(secs(100));
    let cut = pair.elapsed();
    pair.links[DIRECT].up = [false, false];
    pair.run(secs(1));
    let later: Vec<_> = pair.log.iter().filter(|l| l.side == A && l.at > cut).map(|l| l.output).collect();
    let doubt = later.iter().position(|output| *output == Output::Doubt).unwrap();
    let relay =
        later.iter().position(|output| matches!(output, Output::Probe { via, .. } if !via.is_direct())).unwrap();
    assert!(doubt < relay, "{later:?}");
}

#[test]
fn a_rebound_nat_is_followed_without_anyone_knowing() {
    let mut pair = connected(direct_link());
    pair.talks = [true, true];
    pair.run(secs(110));
    pair.links[DIRECT].ends[A] = direct("198.51.100.1:61000");
    pair.run(ms(1700));
    assert!(pair.both_on(DIRECT));
}

#[test]
fn a_peer_that_moved_is_let_through_the_nat_after_a_word_over_the_relay() {
    let mut link = direct_link();
    link.guarded = true;
    let mut pair = connected(link);
    pair.run(secs(100));
    assert!(pair.both_on(DIRECT));
    let moved = direct("198.51.100.77:999");
    pair.move_end(DIRECT, A, moved);
    pair.run(ms(500));
    let report = pair.agents[B].report();
    let line = report.iter().find(|line| line.path == moved).unwrap();
    assert!(line.rtt.is_some());
    pair.run(ms(1500));
    assert!(pair.both_on(DIRECT));
}

#[test]
fn a_relay_that_comes_late_replaces_a_direct_path_that_failed() {
    let mut pair = Pair::new(vec![direct_link(), relay_link()]);
    pair.links[1].up = [false, false];
    pair.connect();
    pair.run(secs(70));
    pair.links[0].up = [false, false];
    pair.run(secs(25));
    assert!(pair.both_on(0));
    pair.links[1].up = [true, true];
    pair.run(secs(7));
    assert!(pair.both_on(1));
}

#[test]
fn a_direct_path_that_answered_long_ago_is_no_fallback() {
    let mut pair = connected(direct_link());
    pair.links.push(Link::new(direct("10.0.0.1:1"), direct("10.0.0.2:1"), ms(18)));
    pair.told = [A, B].map(|side| {
        let also = candidate(CandidateKind::Host, pair.links[2].ends[side]);
        pair.told[side].iter().copied().chain([also]).collect()
    });
    pair.connect();
    for side in [A, B] {
        let told = pair.told[1 - side].clone();
        pair.agents[side].set_remote_candidates(pair.now, &told);
    }
    pair.drain();
    pair.run(secs(100));
    assert!(pair.both_on(DIRECT));
    pair.links[DIRECT].up = [false, false];
    pair.links[2].up = [false, false];
    pair.run(secs(30));
    assert_eq!(switches(&pair, A)[2..], [Some(relayed(2))]);
}

#[test]
fn a_slow_path_is_not_taken_for_a_dead_one() {
    let mut link = direct_link();
    link.latency = ms(900);
    let mut pair = connected(link);
    pair.talks = [true, true];
    pair.run(secs(600));
    assert!(pair.both_on(DIRECT));
    assert_eq!(switches(&pair, A).len(), 2);
}

#[test]
fn rare_failures_are_forgiven() {
    let mut pair = connected(direct_link());
    pair.talks = [true, true];
    for _ in 0..6 {
        pair.run(secs(300));
        pair.links[DIRECT].up = [false, false];
        pair.run(secs(5));
        assert!(pair.both_on(RELAY));
        pair.links[DIRECT].up = [true, true];
        pair.run(secs(20));
        assert!(pair.both_on(DIRECT));
    }
}

#[test]
fn a_changed_network_clears_the_record_of_failures() {
    let mut pair = connected(direct_link());
    pair.talks = [true, true];
    for _ in 0..60 {
        pair.links[DIRECT].up = [true, true];
        pair.run(secs(5));
        pair.links[DIRECT].up = [false, false];
        pair.run(secs(5));
    }
    assert!(pair.both_on(RELAY));
    pair.links[DIRECT].up = [true, true];
    for side in [A, B] {
        pair.agents[side].network_changed(pair.now, Families::default());
    }
    pair.drain();
    pair.run(ms(200));
    assert!(pair.both_on(DIRECT));
}

#[test]
fn without_a_relay_a_dead_path_is_kept_and_recovers() {
    let mut pair = Pair::new(vec![direct_link()]);
    pair.connect();
    pair.talks = [true, true];
    pair.run(secs(60));
    pair.links[0].up = [false, false];
    pair.run(secs(60));
    assert!(pair.both_on(0));
    assert!(pair.agents[A].report()[0].tries > TRIES);
    pair.links[0].up = [true, true];
    pair.run(secs(5));
    assert_eq!(pair.agents[A].report()[0].tries, 0);
    assert_eq!(switches(&pair, A).len(), 1);
}

#[test]
fn a_relay_that_dies_is_replaced_as_soon_as_anything_answers() {
    let mut link = direct_link();
    link.up = [false, false];
    let mut pair = connected(link);
    pair.talks = [true, true];
    pair.run(secs(30));
    pair.links[RELAY].up = [false, false];
    pair.links[DIRECT].up = [true, true];
    pair.run(secs(6));
    assert!(pair.both_on(DIRECT));
}

#[test]
fn a_path_that_keeps_failing_is_used_less_and_less() {
    let mut pair = connected(direct_link());
    pair.talks = [true, true];
    for _ in 0..60 {
        pair.links[DIRECT].up = [true, true];
        pair.run(secs(5));
        pair.links[DIRECT].up = [false, false];
        pair.run(secs(5));
    }
    let switches = switches(&pair, A).len();
    assert!(switches <= 30, "{switches} switches in ten minutes");
}

#[test]
fn loss_alone_rarely_moves_a_path() {
    let mut link = direct_link();
    link.loss_percent = 10;
    let mut pair = connected(link);
    pair.talks = [true, true];
    pair.run(secs(600));
    let switches = switches(&pair, A).len();
    assert!(switches <= 6, "{switches} switches in ten minutes");
}

#[test]
fn who_only_replies_finds_out_that_its_router_has_another_address() {
    let mut pair = connected(direct_link());
    pair.talks = [true, false];
    pair.echoes = true;
    pair.run(secs(100));
    let cut = pair.elapsed();
    for link in &mut pair.links {
        link.up[A] = false;
    }
    pair.links[DIRECT].up[B] = false;
    pair.run(secs(1));
    assert!(pair.log.iter().any(|logged| logged.side == B && logged.at > cut && logged.output == Output::Doubt));
}
