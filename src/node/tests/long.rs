//! What takes minutes: the clock inside the tunnels is virtual here.

use std::time::Duration;

use super::world::World;
use crate::identity::Target;
use crate::node::*;

const SECOND: Duration = Duration::from_secs(1);

fn friends() -> World {
    let mut world = World::new(&[None, None]);
    world.run(SECOND);
    world.befriend(0, 1);
    world.run(SECOND * 5);
    world
}

#[test]
fn sessions_renew_and_no_packet_is_lost_for_half_an_hour() {
    let mut world = friends();
    for pause in [1, 5, 14, 16, 40, 100, 170, 190, 300, 500] {
        world.run(SECOND * pause);
        for (from, to) in [(0, 1), (1, 0)] {
            let before = world.hosts[to].packets.len();
            world.send(from, to, b"still there?");
            world.run(SECOND);
            let arrived = world.hosts[to].packets.len() - before;
            assert_eq!(arrived, 1, "{from} to {to} after {pause} s");
        }
    }
    assert!(matches!(world.path(0, 1), PathView::Direct(_)));
}

#[test]
fn a_peer_that_vanishes_is_known_to_be_gone() {
    let mut world = friends();
    world.is_cut = true;
    world.run(SECOND * 240);
    assert_eq!(world.path(0, 1), PathView::None);
}

#[test]
fn the_next_packet_after_an_outage_connects_again() {
    let mut world = friends();
    world.is_cut = true;
    world.run(SECOND * 700);
    world.is_cut = false;
    world.run(SECOND * 30);
    let before = world.hosts[1].packets.len();
    world.send(0, 1, b"anybody home?");
    world.run(SECOND * 3);
    assert_eq!(world.hosts[1].packets.len(), before + 1);
    assert!(matches!(world.path(0, 1), PathView::Direct(_)));
}

#[test]
fn packets_through_an_outage_do_not_pile_up_and_the_connection_heals() {
    let mut world = friends();
    world.is_cut = true;
    for n in 0..200 {
        world.send(0, 1, &[n]);
        world.run(SECOND);
    }
    world.is_cut = false;
    let before = world.hosts[1].packets.len();
    for n in 0..20 {
        world.send(0, 1, &[n]);
        world.run(SECOND);
    }
    let arrived = world.hosts[1].packets.len() - before;
    assert!((10..=20 + 6).contains(&arrived), "{arrived}");
    let id = world.hosts[1].id;
    assert!(world.ask(0, Command::Ping(Target::Node(id))).is_ok());
}

#[test]
fn a_peer_that_is_away_costs_nothing_unless_somebody_wants_it() {
    let mut world = friends();
    world.unlink(1);
    world.is_cut = true;
    world.run(SECOND * 700);
    let host = &world.hosts[0];
    let before = host.transmitted;
    let carried = world.carried.len();
    world.run(SECOND * 600);
    assert_eq!(world.carried.len(), carried);
    // Binds that nobody answers, each 5 s, and STUN: two ports, three tries each 25 s.
    let to_server = 600 / 5 + 600 / 25 * 6;
    assert!(world.hosts[0].transmitted - before <= to_server + 20);
}
