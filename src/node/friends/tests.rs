//! What a friend passes on when nothing else does, and what it never does.

use std::time::Duration;

use crate::identity::Target;
use crate::node::tests::world::World;
use crate::node::*;
use crate::peer::record::Records;
use crate::wire::Drop;
use crate::wire::introduction::friend_tag;

const SECOND: Duration = Duration::from_secs(1);

/// Nodes 0 and 1 cannot reach each other directly; node 2 reaches both, and all trust each other.
fn common_friend(is_relaying: bool) -> World {
    let mut world = World::new(&[None, None]);
    world.is_relaying = is_relaying;
    world.add(None, Records::default());
    world.blocked.push((0, 1));
    world.run(SECOND);
    for (a, b) in [(0, 2), (1, 2), (0, 1)] {
        world.befriend(a, b);
    }
    world.run(SECOND * 10);
    world
}

/// The server is gone for good.
fn lose_the_server(world: &mut World) {
    world.is_server_down = true;
    (0..world.hosts.len()).for_each(|number| world.unlink(number));
}

/// Sends a packet each way, several times; whether one came through each way within `time`.
fn talk(world: &mut World, time: Duration) -> bool {
    world.hosts.iter_mut().for_each(|host| host.packets.clear());
    for _ in 0..time.as_secs() * 2 {
        world.send(0, 1, b"there");
        world.send(1, 0, b"back");
        world.run(SECOND / 2);
    }
    !world.hosts[0].packets.is_empty() && !world.hosts[1].packets.is_empty()
}

#[test]
fn a_friend_carries_on_when_the_server_is_gone() {
    let mut world = common_friend(true);
    assert!(matches!(world.path(0, 1), PathView::Relayed(_)), "the server goes first: {:?}", world.path(0, 1));
    lose_the_server(&mut world);
    assert!(talk(&mut world, SECOND * 15));
    let friend = world.hosts[2].id;
    assert_eq!((world.path(0, 1), world.path(1, 0)), (PathView::Friend(friend), PathView::Friend(friend)));
    world.hosts[1].packets.clear();
    for n in 0..100 {
        world.send(0, 1, &[n; 20]);
        world.run(SECOND / 100);
    }
    world.run(SECOND);
    assert_eq!(world.hosts[1].packets.len(), 100);
    assert_eq!(world.hosts[2].packets.len(), 0, "the friend's programs see nothing of it");
}

#[test]
fn what_is_too_large_for_a_friend_is_refused_with_what_would_fit() {
    let mut world = common_friend(true);
    lose_the_server(&mut world);
    assert!(talk(&mut world, SECOND * 15));
    world.hosts.iter_mut().for_each(|host| host.packets.clear());
    let mut packet = world.packet(0, 1, &[]);
    packet.resize(1400, 0);
    let [high, low] = (1400u16 - 40).to_be_bytes();
    (packet[4], packet[5]) = (high, low);
    world.hosts[0].node.handle_packet(world.now, &packet);
    world.drain(0);
    world.run(SECOND);
    assert_eq!(world.hosts[1].packets.len(), 0);
    let refusal = world.hosts[0].packets.last().unwrap();
    // ICMPv6 type 2, Packet Too Big, with the MTU (RFC 4443, section 3.2).
    assert_eq!((refusal[6], refusal[40], &refusal[44..48]), (58, 2, 1280u32.to_be_bytes().as_slice()));
}

#[test]
fn the_server_is_used_again_when_it_comes_back() {
    let mut world = common_friend(true);
    lose_the_server(&mut world);
    talk(&mut world, SECOND * 15);
    world.is_server_down = false;
    (0..3).for_each(|number| world.link(number));
    talk(&mut world, SECOND * 60);
    assert!(matches!(world.path(0, 1), PathView::Relayed(_)), "{:?}", world.path(0, 1));
}

#[test]
fn a_direct_path_replaces_the_friend() {
    let mut world = common_friend(true);
    lose_the_server(&mut world);
    talk(&mut world, SECOND * 15);
    world.blocked.clear();
    talk(&mut world, SECOND * 60);
    assert!(matches!(world.path(0, 1), PathView::Direct(_)), "{:?}", world.path(0, 1));
}

#[test]
fn a_node_that_did_not_volunteer_passes_nothing_on() {
    let mut world = common_friend(false);
    lose_the_server(&mut world);
    assert!(!talk(&mut world, SECOND * 15));
}

#[test]
fn a_friend_that_trusts_one_side_no_longer_passes_nothing_on() {
    let mut world = common_friend(true);
    lose_the_server(&mut world);
    assert!(talk(&mut world, SECOND * 15));
    let key = world.hosts[1].key;
    world.ask(2, Command::Untrust(Target::Key(key))).unwrap();
    world.run(SECOND);
    assert!(!talk(&mut world, SECOND * 5));
}

#[test]
fn each_friend_has_its_share_only() {
    let mut world = common_friend(true);
    lose_the_server(&mut world);
    talk(&mut world, SECOND * 15);
    let before = world.hosts[2].transmitted;
    for _ in 0..2_000 {
        world.send(0, 1, &[1; 200]);
        world.run(Duration::from_micros(10));
    }
    world.run(SECOND);
    let passed = world.hosts[2].transmitted - before;
    assert!((500..1_500).contains(&passed), "{passed} of 2,000 passed on");
    assert!(world.dropped(2, Drop::RateLimited) > 0);
}

#[test]
fn a_tag_says_nothing_to_who_does_not_know_the_friend_and_is_new_for_each_reader() {
    let key = |n| crate::node::tests::world::identity(n).public_key();
    let tag = friend_tag(&key(1), &key(2), &key(3));
    for other in [
        friend_tag(&key(4), &key(2), &key(3)),
        friend_tag(&key(1), &key(4), &key(3)),
        friend_tag(&key(1), &key(2), &key(4)),
        friend_tag(&key(1), &key(3), &key(2)),
    ] {
        assert_ne!(tag, other);
    }
}
