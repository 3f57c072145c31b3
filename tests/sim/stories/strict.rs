//! What random worlds found: rare, and promised all the same.

use super::SECOND;
use crate::fabric::Link;
use crate::nat::Behaviour;
use crate::world::World;
use crate::world::checks::BUDGET;

/// The fullest that the gateway of either of two homes gets while they try for a minute, and find nothing.
fn fullest(a: Behaviour, b: Behaviour) -> usize {
    let mut world = World::new(950);
    let homes = [world.lan(a), world.lan(b)];
    let [a, b] = homes.map(|home| world.node(Some(home), Link::GOOD));
    world.fabric.part(world.nodes[a].host, world.nodes[b].host, true);
    world.run(SECOND * 3);
    world.befriend(a, b);
    for _ in 0..60 {
        world.exchange(a, b, SECOND);
        world.run(SECOND / 2);
    }
    homes.map(|home| world.fabric.nat(home).fullest()).into_iter().max().expect("two homes")
}

#[test]
fn a_gateway_that_takes_in_what_nobody_asked_for_survives_an_attempt() {
    let open_symmetric = Behaviour { poisonable: true, ..Behaviour::SYMMETRIC };
    for (a, b) in [
        (Behaviour::SYMMETRIC, Behaviour::PORT_RESTRICTED),
        (open_symmetric, Behaviour::PORT_RESTRICTED),
        (open_symmetric, Behaviour::POISONABLE),
        (Behaviour::SYMMETRIC, Behaviour::POISONABLE),
    ] {
        let entries = fullest(a, b);
        assert!(entries <= BUDGET, "{entries} entries: {a} and {b}");
    }
}

/// Two neighbours that met without a server, one of whom moves before there is one.
#[test]
fn friends_who_met_on_their_lan_meet_again_after_a_move() {
    let mut world = World::new(951);
    world.seeks_lan = true;
    world.kill_server();
    let (home, elsewhere) = (world.lan(Behaviour::RESTRICTED), world.lan(Behaviour::PORT_RESTRICTED));
    let [a, b] = [0, 1].map(|_| world.node(Some(home), Link::GOOD));
    world.befriend(a, b);
    assert!(world.talk_until_direct(a, b, SECOND * 10).is_some(), "on their LAN");
    world.roam(b, Some(elsewhere));
    for _ in 0..2 {
        world.exchange(a, b, SECOND);
    }
    world.start_server();
    let back = (0..30).find(|_| world.exchange(a, b, SECOND).is_some());
    assert!(back.is_some(), "half a minute after the server came back\n{}\n{}", world.why(a, b), world.why(b, a));
}
