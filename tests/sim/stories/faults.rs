//! What a running ping notices of every fault, in virtual time.

use std::time::Duration;

use super::{SECOND, connected, pair};
use crate::fabric::{Access, INTERNET, Link, ZoneId};
use crate::nat::Behaviour;
use crate::world::World;
use crate::world::checks::most_within;

const MILLI: Duration = Duration::from_millis(1);
/// As long as pings must go without a loss until a fault counts as overcome.
const CALM: Duration = Duration::from_secs(5);

/// Two homes that talk directly, and have for a while.
fn talking(seed: u64) -> (World, usize, usize) {
    let (mut world, a, b) = connected(seed, Behaviour::PORT_RESTRICTED, Behaviour::PORT_RESTRICTED);
    ping(&mut world, a, b, SECOND * 10);
    (world, a, b)
}

/// Ten pings a second.
fn ping(world: &mut World, a: usize, b: usize, time: Duration) {
    let end = world.now.monotonic + time;
    while world.now.monotonic < end {
        let start = world.now.monotonic;
        world.exchange(a, b, MILLI * 100);
        world.run((start + MILLI * 100).saturating_duration_since(world.now.monotonic));
    }
}

fn zone_of(world: &World, node: usize) -> ZoneId {
    world.fabric.home_of(world.nodes[node].host)
}

/// The median of the outages of five worlds.
fn median(seed: u64, fault: impl Fn(&mut World, usize, usize)) -> Duration {
    let mut outages: Vec<Duration> = (0..5)
        .map(|place| {
            let (mut world, a, b) = talking(seed + place);
            let outage = world.longest_outage(a, b, CALM, |world| fault(world, a, b));
            world.check();
            outage
        })
        .collect();
    outages.sort();
    println!("outages {outages:?}");
    outages[2]
}

#[test]
fn both_sides_change_their_addresses_at_once() {
    let outage = median(710, |world, a, b| {
        let cafes = [world.lan(Behaviour::PORT_RESTRICTED), world.lan(Behaviour::PORT_RESTRICTED)];
        world.roam(a, Some(cafes[0]));
        world.roam(b, Some(cafes[1]));
    });
    assert!(outage <= SECOND * 3, "{outage:?}");
}

#[test]
fn a_gateway_starts_anew_with_the_same_address() {
    let outage = median(730, |world, a, _| world.fabric.reboot(zone_of(world, a), false));
    assert!(outage <= SECOND * 3, "{outage:?}");
}

#[test]
fn udp_is_suddenly_blocked() {
    let outage = median(740, |world, a, _| {
        let home = zone_of(world, a);
        world.fabric.gateway(home).udp_blocked = true;
    });
    assert!(outage <= SECOND * 5, "{outage:?}");
}

#[test]
fn a_link_is_cut_for_three_seconds() {
    let outage = median(750, |world, a, b| {
        let host = world.nodes[a].host;
        world.fabric.cut(host, true);
        ping(world, a, b, SECOND * 3);
        world.plug_in(a);
    });
    assert!(outage <= SECOND * 4, "{outage:?}, three seconds of which nothing could pass");
}

#[test]
fn a_peer_restarts() {
    let outage = median(760, |world, _, b| world.restart(b));
    assert!(outage <= SECOND * 2, "{outage:?}");
}

#[test]
fn a_partition_of_two_is_bridged_by_the_relay() {
    let outage = median(770, |world, a, b| {
        let hosts = [world.nodes[a].host, world.nodes[b].host];
        world.fabric.part(hosts[0], hosts[1], true);
    });
    assert!(outage <= SECOND * 5, "{outage:?}");
}

#[test]
fn after_every_fault_the_path_is_direct_again() {
    let faults: [fn(&mut World, usize, usize); 4] = [
        |world, a, _| {
            let cafe = world.lan(Behaviour::PORT_RESTRICTED);
            world.roam(a, Some(cafe));
        },
        |world, a, _| world.fabric.reboot(zone_of(world, a), true),
        |world, _, b| world.restart(b),
        |world, a, _| world.flap(a, SECOND * 20),
    ];
    for (place, fault) in faults.into_iter().enumerate() {
        let (mut world, a, b) = talking(780 + place as u64);
        fault(&mut world, a, b);
        ping(&mut world, a, b, SECOND * 15);
        assert!(world.is_direct(a, b), "fault {place}\n{}\n{}", world.why(a, b), world.why(b, a));
    }
}

#[test]
fn an_hour_of_sleep_is_over_soon_after_waking() {
    for sleepers in [1, 2] {
        let (mut world, a, b) = talking(790);
        let nodes = [a, b];
        nodes.iter().take(sleepers).for_each(|node| world.fall_asleep(*node));
        world.run(SECOND * 3600);
        nodes.iter().take(sleepers).for_each(|node| world.wake(*node));
        let back = (0..100).find(|_| world.exchange(a, b, MILLI * 100).is_some());
        assert!(back.is_some_and(|tenths| tenths <= 30), "{sleepers} asleep: {back:?} tenths of a second");
        ping(&mut world, a, b, SECOND * 15);
        assert!(world.is_direct(a, b), "{sleepers} asleep");
    }
}

#[test]
fn a_lost_server_is_not_noticed_by_those_who_talk() {
    let (mut world, a, b) = talking(800);
    let outage = world.longest_outage(a, b, SECOND * 300, World::kill_server);
    assert!(outage <= MILLI * 300, "{outage:?}");
    let outage = world.longest_outage(a, b, SECOND * 30, World::start_server);
    assert!(outage <= MILLI * 300, "{outage:?}");
    assert!(world.is_direct(a, b));
}

#[test]
fn relayed_nodes_survive_a_new_server() {
    let (mut world, a, b) = pair(810, Behaviour::SYMMETRIC, Behaviour::SYMMETRIC);
    assert!(world.exchange(a, b, SECOND * 5).is_some());
    world.kill_server();
    world.run(SECOND * 20);
    let outage = world.longest_outage(a, b, CALM, World::start_server);
    assert!(outage <= SECOND * 12, "{outage:?}: the longest pause between dials, and a login");
}

#[test]
fn a_hundred_nodes_do_not_come_back_at_the_same_moment() {
    let mut world = World::new(820);
    let homes: Vec<ZoneId> = (0..10).map(|_| world.lan(Behaviour::PORT_RESTRICTED)).collect();
    for home in homes.iter().cycle().take(100) {
        world.node(Some(*home), Link::GOOD);
    }
    world.run(SECOND * 5);
    assert_eq!(world.logins.len(), 100);
    world.kill_server();
    world.run(SECOND * 60);
    world.logins.clear();
    world.start_server();
    world.run(SECOND * 15);
    let times: Vec<_> = world.logins.iter().map(|(_, at)| *at).collect();
    let crowd = most_within(&times, MILLI * 100);
    assert_eq!(times.len(), 100, "all are back");
    assert!(crowd <= 15, "{crowd} within a tenth of a second");
}

#[test]
fn one_side_changes_its_address() {
    let outage = median(700, |world, a, _| {
        let cafe = world.lan(Behaviour::RESTRICTED);
        world.roam(a, Some(cafe));
    });
    assert!(outage <= MILLI * 1_500, "{outage:?}");
}

#[test]
fn a_gateway_starts_anew_with_another_address() {
    let outage = median(720, |world, a, _| world.fabric.reboot(zone_of(world, a), true));
    assert!(outage <= SECOND * 3, "{outage:?}");
}

#[test]
fn a_cable_is_pulled_and_the_radio_takes_over() {
    let mut world = World::new(830);
    let home = world.lan(Behaviour::PORT_RESTRICTED);
    let mobile = world.fabric.zone(Access::carrier(Behaviour::DEAF_CARRIER));
    let (a, b) = (world.node(Some(home), Link::GOOD), world.node(Some(INTERNET), Link::GOOD));
    let host = world.nodes[a].host;
    world.fabric.attach(host, mobile, Link::GOOD);
    world.tell_addresses(a);
    world.befriend(a, b);
    assert!(world.talk_until_direct(a, b, SECOND * 5).is_some());
    ping(&mut world, a, b, SECOND * 5);
    let outage = world.longest_outage(a, b, CALM, |world| {
        world.fabric.set_up(host, 0, false);
        world.tell_addresses(a);
    });
    assert!(outage <= MILLI * 1_500, "{outage:?}");
}
