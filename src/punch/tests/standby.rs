//! More than one good path: what is kept warm, what it costs, and when it takes over.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::pair::*;
use crate::punch::{Families, Output, PathState};
use crate::wire::{CandidateKind, Path};

const RELAY: usize = 0;
const V4: usize = 1;
const V6: usize = 2;

fn by_v6() -> Link {
    Link::new(direct("[2001:db8:1::1]:4001"), direct("[2001:db8:2::1]:4002"), ms(18))
}

/// A relay, a path by IPv4 that is in use, and one by IPv6 that is hardly slower, behind what forgets in 30 s.
fn double() -> Pair {
    let v4 = Link::new(direct("198.51.100.1:4001"), direct("198.51.100.2:4002"), ms(15));
    let relay = Link::new(relayed(1), relayed(2), ms(40));
    let mut pair = Pair::new(vec![relay, v4, by_v6()]);
    pair.links[V4].guarded = true;
    pair.links[V6].guarded = true;
    pair.connect();
    pair.run(secs(5));
    assert!(pair.both_on(V4));
    pair
}

/// The same, which has carried a conversation for so long.
fn talking(time: Duration) -> Pair {
    let mut pair = double();
    pair.talks = [true, false];
    pair.echoes = true;
    pair.run(time);
    assert!(pair.both_on(V4));
    pair
}

fn probes_of(pair: &Pair, side: usize, path: Path, since: Duration) -> usize {
    let is_one = |logged: &&Logged| {
        let is_probe = matches!(logged.output, Output::Probe { via, .. } if via == path);
        is_probe && logged.side == side && logged.at >= since
    };
    pair.log.iter().filter(is_one).count()
}

fn switches(pair: &Pair, since: Duration) -> Vec<Option<Path>> {
    let late = pair.log.iter().filter(|logged| logged.at >= since);
    late.filter_map(|logged| if let Output::Chosen(path) = logged.output { Some(path) } else { None }).collect()
}

fn sever(pair: &mut Pair, links: &[usize]) -> Duration {
    links.iter().for_each(|link| pair.links[*link].up = [false, false]);
    pair.elapsed()
}

#[test]
fn a_conversation_goes_on_by_the_warm_path_though_no_relay_is_there() {
    for relay_too in [false, true] {
        let mut pair = talking(secs(300));
        let cut = sever(&mut pair, if relay_too { &[V4, RELAY] } else { &[V4] });
        // 300 ms of silence, 150 ms for the answer of the path in use, and a round trip.
        pair.run(ms(600));
        assert!(pair.both_on(V6), "relay cut: {relay_too}");
        assert!(switches(&pair, cut).iter().flatten().all(|path| path.is_direct()), "no way round by the relay");
        pair.run(secs(60));
        assert!(pair.both_on(V6));
    }
}

#[test]
fn with_the_evidence_the_warm_path_is_asked_too_and_taken_when_the_other_is_late() {
    let mut pair = talking(secs(300));
    let cut = sever(&mut pair, &[V4]);
    pair.run(secs(2));
    let [_, end_b] = pair.links[V4].ends;
    let of_a = |wanted: &dyn Fn(&Output) -> bool| {
        let later = pair.log.iter().filter(|logged| logged.side == A && logged.at >= cut);
        later.filter(|logged| wanted(&logged.output)).map(|logged| logged.at).next().unwrap()
    };
    let evidence = of_a(&|output| matches!(output, Output::Probe { via, .. } if *via == end_b));
    let asked =
        of_a(&|output| matches!(output, Output::Probe { via, .. } if matches!(via, Path::Direct(e) if e.is_ipv6())));
    let switched = of_a(&|output| matches!(output, Output::Chosen(_)));
    assert_eq!(asked, evidence);
    assert_eq!(switched, evidence + ms(150), "the least wait for an answer");
}

#[test]
fn a_program_that_expects_no_replies_moves_to_the_warm_path_as_well() {
    let mut pair = double();
    pair.talks = [true, false];
    pair.run(secs(100));
    let cut = sever(&mut pair, &[V4, RELAY]);
    pair.run(ms(5_800));
    assert_eq!(pair.chosen(A), Some(pair.links[V6].ends[B]));
    assert!(switches(&pair, cut).iter().flatten().all(|path| path.is_direct()));
}

#[test]
fn a_path_is_kept_warm_while_there_is_traffic_and_an_idle_one_costs_nothing() {
    let mut pair = talking(secs(60));
    for (side, path) in [(A, pair.links[V6].ends[B]), (B, pair.links[V6].ends[A])] {
        let since = pair.elapsed();
        pair.run(secs(600));
        let probes = probes_of(&pair, side, path, since);
        assert!((25..=32).contains(&probes), "{probes} probes in ten minutes of talk");
    }
    pair.talks = [false, false];
    pair.run(secs(60));
    let since = pair.elapsed();
    pair.run(secs(3_600));
    let probes = pair.links[V6].ends.map(|end| probes_of(&pair, A, end, since) + probes_of(&pair, B, end, since));
    assert_eq!(probes, [0, 0]);
}

#[test]
fn after_an_idle_hour_a_path_is_warm_again_as_soon_as_there_is_traffic() {
    let mut pair = talking(secs(60));
    pair.talks = [false, false];
    pair.run(secs(3_600));
    pair.talks = [true, false];
    pair.run(secs(2));
    sever(&mut pair, &[V4, RELAY]);
    pair.run(ms(600));
    assert!(pair.both_on(V6));
}

#[test]
fn where_nothing_can_be_sent_the_warm_path_is_taken_without_asking() {
    let gone = Families { v4: true, v6: false };
    let faults: [fn(&mut Pair, Families); 2] = [
        |pair, _| {
            let chosen = pair.chosen(A).unwrap();
            pair.agents[A].refused(pair.now, chosen);
        },
        |pair, gone| pair.agents[A].network_changed(pair.now, gone),
    ];
    for fault in faults {
        let mut pair = talking(secs(300));
        sever(&mut pair, &[V4, RELAY]);
        fault(&mut pair, gone);
        assert_eq!(pair.chosen(A), Some(pair.links[V6].ends[B]));
        pair.drain();
        pair.run(ms(600));
        assert!(pair.both_on(V6));
    }
}

#[test]
fn a_peer_that_withdraws_its_endpoint_is_met_on_the_warm_path() {
    let mut pair = talking(secs(300));
    let end = pair.links[V4].ends[A];
    let told: Vec<_> = pair.told[A].iter().copied().filter(|candidate| candidate.path != end).collect();
    pair.agents[B].set_remote_candidates(pair.now, &told);
    pair.agents[B].introduced_by(pair.now, relayed(1));
    assert_eq!(pair.chosen(B), Some(pair.links[V6].ends[A]));
}

#[test]
fn a_warm_path_that_is_dead_itself_leaves_the_relay() {
    let mut pair = talking(secs(300));
    sever(&mut pair, &[V4, V6]);
    pair.run(ms(1_000));
    assert!(pair.both_on(RELAY));
}

#[test]
fn another_lan_is_not_probed_until_it_is_needed() {
    let lan = |nth: u8| Link::new(direct(&format!("10.0.{nth}.1:1")), direct(&format!("10.0.{nth}.2:2")), ms(1));
    let mut pair = Pair::new(vec![lan(1), lan(2)]);
    for told in pair.told.iter_mut().flatten() {
        told.kind = CandidateKind::Host;
    }
    pair.connect();
    pair.talks = [true, true];
    pair.run(secs(10));
    let since = pair.elapsed();
    pair.run(secs(600));
    let other = usize::from(pair.both_on(0));
    let probes = [A, B].map(|side| probes_of(&pair, side, pair.links[other].ends[1 - side], since));
    assert_eq!(probes, [0, 0]);
    sever(&mut pair, &[1 - other]);
    pair.run(ms(600));
    assert!(pair.both_on(other));
}

#[test]
fn a_warm_path_that_is_clearly_faster_for_some_time_takes_over() {
    let mut pair = talking(secs(100));
    pair.links[V6].latency = ms(2);
    pair.run(secs(15));
    assert!(pair.both_on(V4), "not at once");
    pair.run(secs(200));
    assert!(pair.both_on(V6));
    let since = pair.elapsed();
    for round in 0..60 {
        pair.links[V6].latency = if round % 2 == 0 { ms(30) } else { ms(2) };
        pair.run(secs(20));
    }
    let switches = switches(&pair, since).len();
    assert!(switches <= 2, "{switches} switches");
}

#[test]
fn a_path_that_works_again_is_found_and_taken_back_if_it_is_faster() {
    let mut pair = talking(secs(100));
    pair.links[V6].latency = ms(40);
    pair.run(secs(100));
    sever(&mut pair, &[V4]);
    pair.run(secs(300));
    assert!(pair.both_on(V6));
    pair.links[V4].up = [true, true];
    pair.run(secs(120));
    assert!(pair.both_on(V4));
}

#[test]
fn two_paths_are_kept_warm_of_any_number_and_no_two_of_one_network() {
    let mut links = vec![Link::new(direct("198.51.100.1:1"), direct("198.51.100.2:2"), ms(10))];
    links.extend((3..6).map(|n| Link::new(direct(&format!("198.51.100.1:{n}")), direct("198.51.100.2:9"), ms(11))));
    links.extend(
        (1..4).map(|n| {
            Link::new(direct(&format!("[2001:db8:1::{n}]:1")), direct(&format!("[2001:db8:2::{n}]:2")), ms(11))
        }),
    );
    links.push(Link::new(direct("203.0.113.77:1"), direct("203.0.113.78:2"), ms(12)));
    let mut pair = Pair::new(links);
    pair.connect();
    pair.talks = [true, true];
    pair.run(secs(60));
    let report = pair.agents[A].report();
    let standby = report.iter().filter(|line| line.state == PathState::Standby);
    let standby: Vec<_> = standby.map(|line| (line.path, line.rtt)).collect();
    assert_eq!(standby, [(direct("203.0.113.78:2"), Some(ms(24))), (direct("[2001:db8:2::1]:2"), Some(ms(22)))]);
    let since = pair.elapsed();
    pair.run(secs(120));
    let of_standby: usize = standby.iter().map(|(path, _)| probes_of(&pair, A, *path, since)).sum();
    let chosen = probes_of(&pair, A, pair.chosen(A).unwrap(), since);
    let all = pair.count(since, |output| matches!(output, Output::Probe { .. }));
    assert!(of_standby >= 10 && all <= 2 * (of_standby + chosen) + 2, "{of_standby} of {all}");
}

#[test]
fn loss_moves_a_path_rarely_though_another_is_warm() {
    for talks in [[true, true], [true, false]] {
        let moves = (0..10).map(|seed| moves_by_loss(seed, talks)).sum::<usize>();
        // Where an end moves, the other follows it.
        assert!(moves <= 10 * 16, "{moves} moves of either end in ten times ten minutes, {talks:?}");
    }
}

fn moves_by_loss(seed: u64, talks: [bool; 2]) -> usize {
    let mut pair = double();
    pair.rng = ChaCha8Rng::seed_from_u64(seed);
    for link in &mut pair.links {
        link.loss_percent = 10;
    }
    pair.talks = talks;
    let since = pair.elapsed();
    pair.run(secs(600));
    switches(&pair, since).len()
}
