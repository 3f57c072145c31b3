//! Lanes between whole nodes: who has one, what becomes of it over time, and what its loss costs.

use std::time::Duration;

use pilot::identity::Target;
use pilot::node::{Answer, Command, PeerView};
use pilot::peer::Cipher;
use pilot::wire::Drop;

use super::{SECOND, connected};
use crate::fabric::Link;
use crate::nat::Behaviour;
use crate::world::World;

const MILLI: Duration = Duration::from_millis(1);
/// The datagram that carries an offer or an acceptance: IPv6, kind and share, in WireGuard's 32 bytes.
const SHARE: usize = 32 + 40 + 1 + 40;
const AES: [Option<Cipher>; 2] = [Some(Cipher::Aes256Gcm); 2];
const CHACHA: [Option<Cipher>; 2] = [Some(Cipher::ChaCha20Poly1305); 2];

/// What a node says of another.
fn found(world: &mut World, a: usize, b: usize) -> PeerView {
    let key = world.nodes[b].key();
    world.command(a, Command::Find(Target::Key(key)));
    let node = &mut world.nodes[a];
    match node.answers.remove(&node.last_command()) {
        Some(Ok(Answer::Found(peer))) => peer,
        other => panic!("{other:?}"),
    }
}

fn ciphers(world: &mut World, a: usize, b: usize) -> [Option<Cipher>; 2] {
    [found(world, a, b).cipher, found(world, b, a).cipher]
}

fn home() -> Behaviour {
    Behaviour::PORT_RESTRICTED
}

/// Two homes of which the one wants lanes, or not, and the other.
fn talking(seed: u64, wants: [bool; 2]) -> (World, usize, usize) {
    let mut world = World::new(seed);
    let nodes = wants.map(|wants| {
        world.has_lanes = wants;
        let lan = world.lan(home());
        world.node(Some(lan), Link::GOOD)
    });
    let [a, b] = nodes;
    world.befriend(a, b);
    assert!(world.exchange(a, b, SECOND * 5).is_some());
    world.run(SECOND);
    (world, a, b)
}

/// Whose handshake had nothing to carry are in the lane soon after they do: WireGuard carries the first packets.
fn talk_until_in_lane(world: &mut World, a: usize, b: usize) {
    assert!(world.exchange(a, b, SECOND).is_some());
    world.run(SECOND / 2);
    assert_eq!(ciphers(world, a, b), AES);
}

/// What nodes got handed of the kinds of data: WireGuard's and lanes', also in the relay's frames.
fn kinds(world: &World) -> [usize; 2] {
    let count = |kind| {
        let is_of =
            |payload: &[u8]| payload.first() == Some(&kind) || payload.get(20) == Some(&kind) && payload[0] == 0x13;
        world.recorded.iter().filter(|(_, payload)| is_of(payload)).count()
    };
    [count(4), count(5)]
}

#[test]
fn two_that_want_a_lane_have_one_over_the_relay_and_directly() {
    let (mut world, a, b) = talking(1001, [true, true]);
    assert_eq!(ciphers(&mut world, a, b), AES);
    world.recorded.clear();
    (0..50).for_each(|_| assert!(world.exchange(a, b, SECOND).is_some()));
    let [wireguard, lane] = kinds(&world);
    assert!(lane >= 100 && wireguard < 10, "{wireguard} datagrams of WireGuard, {lane} of the lane");

    let (mut world, a, b) = connected(1002, Behaviour::SYMMETRIC, Behaviour::SYMMETRIC);
    world.recorded.clear();
    assert!(world.exchange(a, b, SECOND).is_some(), "over the relay");
    assert!(kinds(&world)[1] >= 2);
    assert_eq!(ciphers(&mut world, a, b), AES);
}

#[test]
fn who_wants_no_lane_never_sees_one() {
    for (place, wants) in [[true, false], [false, true], [false, false]].into_iter().enumerate() {
        let (mut world, a, b) = talking(1010 + place as u64, wants);
        for _ in 0..20 {
            assert!(world.exchange(a, b, SECOND).is_some());
            world.run(SECOND * 10);
        }
        assert_eq!(ciphers(&mut world, a, b), CHACHA, "{wants:?}");
        assert_eq!(kinds(&world)[1], 0, "{wants:?}: a datagram of a lane");
    }
}

#[test]
fn keys_are_renewed_every_two_minutes_without_a_loss() {
    let (mut world, a, b) = talking(1020, [true, true]);
    assert!(world.talk_until_direct(a, b, SECOND * 5).is_some());
    let (mut sent, mut oldest, mut in_lane, mut looks) = (Vec::new(), Duration::ZERO, 0, 0);
    for step in 0..6_000 {
        sent.push((b, world.send(a, b)));
        sent.push((a, world.send(b, a)));
        world.run(MILLI * 100);
        if step % 20 == 0 {
            looks += 1;
            in_lane += usize::from(ciphers(&mut world, a, b) == AES);
            oldest = oldest.max(found(&mut world, a, b).last_handshake.unwrap_or_default());
        }
    }
    world.run(SECOND);
    let lost = sent.iter().filter(|(to, marker)| !world.has_received(*to, *marker)).count();
    assert_eq!(lost, 0, "of {}", sent.len());
    assert!(oldest < SECOND * 125, "{oldest:?} old: renewed by what the lane carried");
    assert!(in_lane >= looks - 10, "in the lane at {in_lane} of {looks} looks");
}

#[test]
fn a_restarted_peer_is_in_the_lane_again() {
    let (mut world, a, b) = talking(1030, [true, true]);
    assert!(world.talk_until_direct(a, b, SECOND * 5).is_some());
    let before = world.nodes[b].drops.get(Drop::UnknownSession);
    let outage = world.longest_outage(a, b, SECOND * 5, |world| world.restart(b));
    assert!(outage <= SECOND * 2, "{outage:?}");
    assert!(world.nodes[b].drops.get(Drop::UnknownSession) > before, "what the restarted one cannot open is counted");
    assert_eq!(ciphers(&mut world, a, b), AES);
}

#[test]
fn a_peer_restarted_without_lanes_is_left_alone() {
    let (mut world, a, b) = talking(1031, [true, true]);
    world.nodes[b].habits.has_lanes = false;
    let outage = world.longest_outage(a, b, SECOND * 5, |world| world.restart(b));
    assert!(outage <= SECOND * 2, "{outage:?}");
    assert_eq!(ciphers(&mut world, a, b), CHACHA);
}

#[test]
fn the_lane_survives_a_change_of_address() {
    let (mut world, a, b) = talking(1032, [true, true]);
    let cafe = world.lan(Behaviour::RESTRICTED);
    let outage = world.longest_outage(a, b, SECOND * 5, |world| world.roam(a, Some(cafe)));
    assert!(outage <= SECOND * 3, "{outage:?}");
    assert_eq!(ciphers(&mut world, a, b), AES);
}

#[test]
fn lost_words_of_the_agreement_cost_a_moment_in_wireguard_and_no_packet() {
    for lost in [1, 2, 4] {
        let mut world = World::new(1040 + lost as u64);
        // Over the relay the same words stand in a frame.
        world.swallowed.extend([(SHARE, lost), (SHARE + 20, lost)]);
        let (a, b) = (world.node(None, Link::GOOD), world.node(None, Link::GOOD));
        world.befriend(a, b);
        assert!(world.exchange(a, b, SECOND * 5).is_some());
        let mut passed = 0;
        while ciphers(&mut world, a, b) != AES {
            assert!(world.exchange(a, b, SECOND).is_some(), "WireGuard carries packets meanwhile");
            world.run(SECOND / 4);
            passed += 1;
            assert!(passed < 60, "no lane within 15 s after {lost} lost words");
        }
    }
}

#[test]
fn where_all_words_are_lost_wireguard_goes_on() {
    let mut world = World::new(1050);
    world.swallowed.extend([(SHARE, usize::MAX), (SHARE + 20, usize::MAX)]);
    let (a, b) = (world.node(None, Link::GOOD), world.node(None, Link::GOOD));
    world.befriend(a, b);
    assert!(world.exchange(a, b, SECOND * 5).is_some());
    for _ in 0..40 {
        assert!(world.exchange(a, b, SECOND).is_some());
        world.run(SECOND * 10);
    }
    assert_eq!(ciphers(&mut world, a, b), CHACHA);
    world.swallowed.clear();
    world.run(SECOND * 130);
    talk_until_in_lane(&mut world, a, b);
}

#[test]
fn an_idle_lane_is_quiet_and_not_deaf() {
    let (mut world, a, b) = talking(1060, [true, true]);
    assert!(world.talk_until_direct(a, b, SECOND * 5).is_some());
    world.run(SECOND);
    world.recorded.clear();
    super::stays_quiet(&mut world, a, b);
    assert_eq!(ciphers(&mut world, a, b), CHACHA, "handshakes of an idle pair bring no lane");
    assert_eq!(kinds(&world)[1], 0, "a datagram of a lane");
    talk_until_in_lane(&mut world, a, b);
}
