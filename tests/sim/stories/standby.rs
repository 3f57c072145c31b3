//! Two nodes with more than one good path: the one in use dies, and the other carries on.

use std::time::Duration;

use pilot::node::PathView;

use super::SECOND;
use crate::fabric::{Access, Link};
use crate::nat::{Behaviour, Dependence};
use crate::world::World;

const MILLI: Duration = Duration::from_millis(1);
/// Silence (300 ms, and up to 100 ms until it is looked at), the wait for the path in use (150 ms), a round trip (40 ms),
/// and two pings' worth of waiting to see it.
const SOON: Duration = Duration::from_millis(800);

/// Two homes with both families that have talked for five minutes.
fn talking(seed: u64) -> (World, usize, usize) {
    let mut world = World::new(seed);
    let access = Access::home(Behaviour::PORT_RESTRICTED).with_v6(Dependence::AddressAndPort);
    let homes = [world.fabric.zone(access), world.fabric.zone(access)];
    let [a, b] = homes.map(|home| world.node(Some(home), Link::GOOD));
    world.befriend(a, b);
    assert!(world.talk_until_direct(a, b, SECOND * 5).is_some());
    ping(&mut world, a, b, SECOND * 300);
    (world, a, b)
}

/// Ten pings a second; whether any went over a relay.
fn ping(world: &mut World, a: usize, b: usize, time: Duration) -> bool {
    let end = world.now.monotonic + time;
    let mut is_relayed = false;
    while world.now.monotonic < end {
        let start = world.now.monotonic;
        world.exchange(a, b, MILLI * 100);
        is_relayed |= [world.path(a, b), world.path(b, a)].iter().any(|path| matches!(path, PathView::Relayed(_)));
        world.run((start + MILLI * 100).saturating_duration_since(world.now.monotonic));
    }
    is_relayed
}

/// Whether both use IPv4, or both IPv6.
fn family(world: &World, a: usize, b: usize) -> bool {
    let [ours, theirs] = [world.path(a, b), world.path(b, a)].map(is_v4);
    assert_eq!(ours, theirs);
    ours
}

fn is_v4(path: PathView) -> bool {
    match path {
        PathView::Direct(endpoint) => endpoint.is_ipv4(),
        path => panic!("not direct but {path:?}"),
    }
}

fn bar_what_is_used(world: &mut World, a: usize, b: usize) {
    let is_v4 = family(world, a, b);
    let hosts = [world.nodes[a].host, world.nodes[b].host];
    world.fabric.bar(hosts[0], hosts[1], is_v4);
}

#[test]
fn the_other_family_carries_on_whether_or_not_a_relay_is_there() {
    for has_server in [true, false] {
        let (mut world, a, b) = talking(900);
        if !has_server {
            world.kill_server();
            ping(&mut world, a, b, SECOND * 60);
        }
        let before = family(&world, a, b);
        let outage = world.longest_outage(a, b, SECOND * 5, |world| bar_what_is_used(world, a, b));
        println!("server {has_server}: {outage:?}");
        assert!(outage <= SOON, "server {has_server}: {outage:?}");
        assert_ne!(family(&world, a, b), before);
        world.check();
    }
}

#[test]
fn nothing_goes_over_the_relay_when_another_path_is_warm() {
    let (mut world, a, b) = talking(901);
    bar_what_is_used(&mut world, a, b);
    assert!(!ping(&mut world, a, b, SECOND * 20));
    assert!(world.exchange(a, b, SECOND).is_some());
}

#[test]
fn the_second_of_two_common_networks_carries_on() {
    let mut world = World::new(902);
    let home = world.lan(Behaviour::PORT_RESTRICTED);
    let office = world.fabric.zone(Access::carrier(Behaviour::SYMMETRIC));
    let [a, b] = [home, home].map(|home| world.node(Some(home), Link::GOOD));
    for node in [a, b] {
        world.fabric.attach(world.nodes[node].host, office, Link::GOOD);
        world.tell_addresses(node);
    }
    world.befriend(a, b);
    assert!(world.talk_until_direct(a, b, SECOND * 5).is_some());
    ping(&mut world, a, b, SECOND * 300);
    world.kill_server();
    ping(&mut world, a, b, SECOND * 60);
    let PathView::Direct(used) = world.path(a, b) else { panic!("not direct") };
    let dead = usize::from(used.to_string().starts_with("100.64."));
    let host = world.nodes[b].host;
    let outage = world.longest_outage(a, b, SECOND * 5, |world| world.fabric.set_up(host, dead, false));
    assert!(outage <= SOON, "{outage:?}");
    assert!(world.is_direct(a, b));
}

#[test]
fn idle_peers_with_two_paths_send_no_more_than_others() {
    let (mut world, a, b) = talking(903);
    world.run(SECOND * 60);
    super::stays_quiet(&mut world, a, b);
}

/// The longest outage while the ends go different ways.
const SOON_APART: Duration = Duration::from_millis(1_500);

/// Two homes that have talked, of which one end was refused by its kernel for a moment, and took the other path.
fn apart(seed: u64, leaver: usize) -> (World, usize, usize) {
    let (mut world, a, b) = talking(seed);
    let (one, other) = if leaver == 0 { (a, b) } else { (b, a) };
    let PathView::Direct(used) = world.path(one, other) else { panic!("not direct") };
    world.refuse(one, used);
    assert_ne!(is_v4(world.path(a, b)), is_v4(world.path(b, a)));
    (world, a, b)
}

#[test]
fn ends_that_go_different_ways_agree_and_check_no_more_than_before() {
    for leaver in 0..2 {
        let (mut world, a, b) = apart(904, leaver);
        ping(&mut world, a, b, SECOND * 5);
        let agreed = family(&world, a, b);
        let before = world.sent_between((a, Some(b)));
        ping(&mut world, a, b, SECOND * 300);
        // Ten pings a second, and in each of the five minutes six datagrams that keep the other path warm, and eight more.
        let sent = world.sent_between((a, Some(b))) - before;
        assert!((3_000..=3_000 + 5 * 14).contains(&sent), "{sent} datagrams in five minutes");
        assert_eq!(family(&world, a, b), agreed);
    }
}

#[test]
fn idle_ends_that_go_different_ways_agree_as_well_and_stay_quiet() {
    for leaver in 0..2 {
        let (mut world, a, b) = apart(905, leaver);
        world.run(SECOND * 120);
        family(&world, a, b);
        super::stays_quiet(&mut world, a, b);
    }
}

#[test]
fn a_family_that_is_lost_while_the_ends_go_different_ways_is_a_short_outage() {
    for (leaver, millis, is_of_a) in [0, 1].into_iter().flat_map(|leaver| {
        let times = [50, 300, 1_000, 3_000, 30_000];
        times.into_iter().flat_map(move |millis| [true, false].map(|is_of_a| (leaver, millis, is_of_a)))
    }) {
        let (mut world, a, b) = apart(906, leaver);
        ping(&mut world, a, b, MILLI * millis);
        let lost = is_v4(if is_of_a { world.path(a, b) } else { world.path(b, a) });
        let hosts = [world.nodes[a].host, world.nodes[b].host];
        let outage = world.longest_outage(a, b, SECOND * 5, |world| world.fabric.bar(hosts[0], hosts[1], lost));
        println!("{leaver} left, {millis} ms later the family of a: {is_of_a}, IPv4: {lost}: {outage:?}");
        assert!(outage <= SOON_APART, "{leaver} left, {millis} ms later the family of a: {is_of_a}: {outage:?}");
        assert_eq!(family(&world, a, b), !lost);
    }
}
