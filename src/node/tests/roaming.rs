//! Moves, sleep and trouble on the way, as a node sees them.

use std::time::Duration;

use super::world::{SERVER, World};
use crate::node::*;
use crate::wire::Hop;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Two nodes that are connected directly.
fn connected() -> World {
    let mut world = World::new(&[None, None]);
    world.run(SECOND);
    world.befriend(0, 1);
    world.run(SECOND * 5);
    assert!(is_direct(&mut world, 0) && is_direct(&mut world, 1));
    world
}

fn is_direct(world: &mut World, of: usize) -> bool {
    matches!(world.path(of, 1 - of), PathView::Direct(_))
}

/// Sends a packet each way every 100 ms, and gives the milliseconds until one has arrived on both sides; at most 5 s.
fn outage(world: &mut World) -> u128 {
    let start = world.now.monotonic;
    let before = [0, 1].map(|side| world.hosts[side].packets.len());
    while world.now.monotonic - start < SECOND * 5 {
        world.send(0, 1, b"there");
        world.send(1, 0, b"back");
        world.run(MILLISECOND * 100);
        if [0, 1].iter().all(|side| world.hosts[*side].packets.len() > before[*side]) {
            break;
        }
    }
    (world.now.monotonic - start).as_millis()
}

#[test]
fn a_mover_speaks_over_the_relay_at_once() {
    for mover in [0, 1] {
        let mut world = connected();
        world.relocate(mover, "198.51.100.77");
        assert!(!is_direct(&mut world, mover), "its former path is left at once");
        let outage = outage(&mut world);
        assert!(outage <= 200, "{outage} ms");
        world.run(SECOND);
        assert!(is_direct(&mut world, 0) && is_direct(&mut world, 1), "and directly again");
    }
}

#[test]
fn both_may_move_at_once() {
    let mut world = connected();
    world.relocate(0, "198.51.100.77");
    world.relocate(1, "198.51.100.78");
    let outage = outage(&mut world);
    assert!(outage <= 300, "{outage} ms");
    world.run(SECOND * 2);
    assert!(is_direct(&mut world, 0) && is_direct(&mut world, 1));
}

#[test]
fn a_move_that_nobody_saw_is_found_out_by_silence() {
    let mut world = connected();
    for n in 0..20 {
        world.send(0, 1, &[n]);
        world.send(1, 0, &[n]);
        world.run(MILLISECOND * 100);
    }
    world.is_direct_open = false;
    world.forget_binding(0);
    let outage = outage(&mut world);
    assert!(outage <= 1100, "{outage} ms");
}

#[test]
fn what_the_kernel_refuses_goes_over_the_relay_at_once() {
    let mut world = connected();
    let to = world.hosts[1].endpoint;
    world.hosts[0].node.handle_refused(world.now, Hop::main(to));
    world.drain(0);
    assert!(!is_direct(&mut world, 0));
    world.run(SECOND);
    assert!(is_direct(&mut world, 0), "it was for a moment");
    world.hosts[0].node.handle_refused(world.now, Hop::main(SERVER.parse().unwrap()));
    world.drain(0);
    assert!(is_direct(&mut world, 0), "another way is refused, not this one");
}

#[test]
fn who_wakes_up_dials_again_and_makes_a_fresh_session() {
    for (asleep, lost) in [(20, false), (3600, true)] {
        let mut world = connected();
        let (redials, initiations) = (world.hosts[0].redials, world.initiations(1));
        world.hosts[0].node.handle_wake(world.now, SECOND * asleep);
        world.drain(0);
        assert_eq!(world.hosts[0].redials, redials + 1);
        assert_eq!(matches!(world.path(0, 1), PathView::None), lost, "after {asleep} s");
        world.run(SECOND);
        assert!(world.initiations(1) > initiations, "after {asleep} s");
        let outage = outage(&mut world);
        assert!(outage <= 100, "{outage} ms");
    }
}

#[test]
fn a_cable_that_was_out_for_a_moment_is_answered_by_looking_around() {
    let mut world = connected();
    let (redials, sent) = (world.hosts[0].redials, world.hosts[0].transmitted);
    world.hosts[0].node.handle_network_change(world.now);
    world.drain(0);
    assert_eq!(world.hosts[0].redials, redials + 1);
    // A Bind, STUN, and probes.
    assert!(world.hosts[0].transmitted >= sent + 4, "{}", world.hosts[0].transmitted - sent);
    assert!(is_direct(&mut world, 0), "what still works stays");
}

#[test]
fn one_more_address_disturbs_nothing() {
    let mut world = connected();
    let redials = world.hosts[0].redials;
    let endpoint = world.hosts[0].endpoint;
    let ips = [endpoint.ip(), "172.17.0.1".parse().unwrap()];
    world.hosts[0].node.handle_local_addresses(world.now, &ips, endpoint.port(), 0);
    world.drain(0);
    assert!(is_direct(&mut world, 0));
    assert_eq!(world.hosts[0].redials, redials);
}

#[test]
fn trouble_with_a_peer_that_is_gone_costs_the_server_little() {
    let mut world = connected();
    world.vanish(1);
    let sent = world.hosts[0].transmitted;
    for n in 0..600 {
        world.send(0, 1, &[n as u8]);
        world.run(MILLISECOND * 100);
    }
    let each_second = (world.hosts[0].transmitted - sent - 600) / 60;
    assert!(each_second <= 12, "{each_second} datagrams a second beside the data");
}
