//! Who finds whom on a LAN that leads nowhere, and what strangers there see of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use crate::identity::Target;
use crate::node::tests::world::{STRANGER, World, records};
use crate::node::*;
use crate::wire::beacon::{Beacon, MAX_LEN};
use crate::wire::{Drop, stun};

const SECOND: Duration = Duration::from_secs(1);

fn friends() -> World {
    let mut world = World::lan(2);
    world.befriend(0, 1);
    world
}

fn is_direct(world: &mut World, us: usize, them: usize) -> bool {
    matches!(world.path(us, them), PathView::Direct(_))
}

fn stranger() -> SocketAddr {
    STRANGER.parse().unwrap()
}

/// The first beacon of node 0, which node 1 could open but has not heard.
fn unheard() -> (World, Vec<u8>) {
    let mut world = friends();
    world.is_cut = true;
    world.run(SECOND);
    let beacon = world.beacons.iter().find(|(from, _)| *from == 0).unwrap().1.clone();
    world.run(SECOND * 5);
    (world, beacon)
}

fn answers(world: &World, before: usize) -> usize {
    world.hosts[1].transmitted - before
}

#[test]
fn friends_by_key_connect_without_a_rendezvous_within_a_second() {
    let mut world = friends();
    world.send(0, 1, b"before");
    world.run(SECOND);
    assert!(is_direct(&mut world, 0, 1) && is_direct(&mut world, 1, 0));
    assert_eq!(world.hosts[1].packets, [world.packet(0, 1, b"before")]);
}

#[test]
fn a_peer_that_starts_later_is_found_at_once() {
    let mut world = friends();
    world.run(SECOND * 2);
    let saved = records(&world.hosts[1].saved);
    world.is_cut = true;
    world.run(SECOND * 200);
    world.is_cut = false;
    world.restart(1, saved);
    world.run(SECOND * 3);
    assert!(is_direct(&mut world, 0, 1) && is_direct(&mut world, 1, 0));
}

#[test]
fn a_peer_that_is_wanted_is_looked_for_before_the_minute_is_over() {
    let mut world = friends();
    world.is_cut = true;
    world.run(SECOND * 30);
    world.is_cut = false;
    world.send(0, 1, b"hello");
    world.run(SECOND);
    assert_eq!(world.hosts[1].packets.len(), 1);
}

#[test]
fn nothing_is_said_once_all_are_connected_and_a_minute_apart_while_one_is_missing() {
    let mut world = friends();
    world.run(SECOND * 5);
    world.beacons.clear();
    world.run(SECOND * 300);
    assert_eq!(world.beacons.len(), 0);
    world.is_cut = true;
    world.run(SECOND * 300);
    world.beacons.clear();
    world.run(SECOND * 300);
    let of_one = world.beacons.iter().filter(|(from, _)| *from == 0).count();
    assert!((4..=6).contains(&of_one), "{of_one} beacons in five minutes");
}

#[test]
fn a_node_without_peers_is_silent() {
    let mut world = World::lan(1);
    world.run(SECOND * 200);
    assert_eq!((world.beacons.len(), world.hosts[0].transmitted), (0, 0));
}

#[test]
fn one_sided_trust_finds_nobody() {
    let mut world = World::lan(2);
    let key = world.hosts[1].key;
    world.ask(0, Command::Trust(key, Default::default())).unwrap();
    world.run(SECOND * 200);
    assert!(!world.beacons.is_empty());
    assert_eq!(world.hosts[1].transmitted, 0);
    assert!(world.dropped(1, Drop::LanStranger) > 0);
}

#[test]
fn a_replayed_beacon_is_refused_and_not_answered() {
    let (mut world, beacon) = unheard();
    world.hear(world.hosts[0].endpoint, 1, &beacon);
    let before = world.hosts[1].transmitted;
    for _ in 0..100 {
        world.hear(stranger(), 1, &beacon);
    }
    assert_eq!((answers(&world, before), world.dropped(1, Drop::Replayed)), (0, 100));
}

#[test]
fn an_old_beacon_is_not_answered() {
    let (mut world, beacon) = unheard();
    world.run(SECOND * 180);
    let before = world.hosts[1].transmitted;
    world.hear(stranger(), 1, &beacon);
    assert_eq!(answers(&world, before), 0);
}

#[test]
fn the_answer_is_no_longer_than_the_beacon_and_goes_where_it_came_from() {
    let (mut world, beacon) = unheard();
    world.is_cut = false;
    world.arrived.clear();
    world.hear(world.hosts[0].endpoint, 1, &beacon);
    world.run(Duration::from_millis(6));
    let (from, to, answer) = &world.arrived[0];
    assert_eq!((*from, *to), (world.hosts[1].endpoint, 0));
    assert!(Beacon::parse(answer).is_ok() && answer.len() <= beacon.len());
}

#[test]
fn thousands_of_forged_beacons_change_nothing() {
    let (mut world, beacon) = unheard();
    let before = world.hosts[1].transmitted;
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for n in 0..5_000 {
        let mut forged = vec![0; if n % 2 == 0 { MAX_LEN } else { 685 }];
        match n % 3 {
            0 => forged.clone_from(&beacon),
            _ => rng.fill_bytes(&mut forged),
        }
        forged[0] = beacon[0];
        let last = forged.len() - 1;
        forged[last] ^= 1;
        world.hear(stranger(), 1, &forged);
    }
    assert_eq!(answers(&world, before), 0);
    assert_eq!(world.dropped(1, Drop::LanStranger) + world.dropped(1, Drop::Forged), 5_000);
    world.is_cut = false;
    world.send(0, 1, b"hello");
    world.run(SECOND);
    assert!(is_direct(&mut world, 0, 1));
}

#[test]
fn what_an_observer_records_never_repeats() {
    let mut world = friends();
    world.is_cut = true;
    for _ in 0..10 {
        world.run(SECOND * 30);
        world.send(0, 1, b"hello");
    }
    let mut seen = BTreeSet::new();
    let mut repeated = 0;
    for (_, beacon) in &world.beacons {
        assert_eq!(beacon.len(), 685);
        let words: BTreeSet<&[u8]> = beacon[1..].windows(6).collect();
        repeated += words.iter().filter(|word| seen.contains(*word)).count();
        seen.extend(words);
    }
    assert!(world.beacons.len() > 10 && repeated == 0, "{repeated} of {}", world.beacons.len());
}

#[test]
fn trust_that_ended_is_forgotten() {
    let (mut world, beacon) = unheard();
    let key = world.hosts[0].key;
    world.ask(1, Command::Untrust(Target::Key(key))).unwrap();
    let before = world.hosts[1].transmitted;
    world.hear(world.hosts[0].endpoint, 1, &beacon);
    assert_eq!((answers(&world, before), world.dropped(1, Drop::LanStranger)), (0, 1));
}

#[test]
fn what_is_no_beacon_is_refused() {
    let mut world = friends();
    world.hear(stranger(), 1, &stun::request([1; 12]));
    world.hear(stranger(), 1, &[]);
    assert_eq!(world.dropped(1, Drop::MalformedBeacon), 2);
}

#[test]
fn a_whole_office_finds_each_other() {
    let mut world = World::lan(8);
    for a in 0..8 {
        for b in 0..a {
            world.befriend(a, b);
        }
    }
    world.run(SECOND * 5);
    for a in 0..8 {
        for b in (0..8).filter(|b| *b != a) {
            assert!(is_direct(&mut world, a, b), "{a} → {b}");
        }
    }
}
