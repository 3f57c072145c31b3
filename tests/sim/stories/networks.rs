//! Networks of more than two homes: carriers, IPv6, several networks at once, odd links.

use std::time::Duration;

use super::{SECOND, becomes_what_the_oracle_says};
use crate::fabric::{Access, INTERNET, Link, ZoneId};
use crate::nat::{Behaviour, Dependence};
use crate::oracle::Class;
use crate::world::World;

/// Nodes in these zones that had time to find out where they are.
fn settle<const N: usize>(world: &mut World, zones: [ZoneId; N]) -> [usize; N] {
    let nodes = zones.map(|zone| world.node(Some(zone), Link::GOOD));
    world.run(SECOND * 3);
    nodes
}

#[test]
fn neighbours_use_their_lan_whatever_router_they_have() {
    for behaviour in [Behaviour::SYMMETRIC, Behaviour::PORT_RESTRICTED, Behaviour::FULL_CONE] {
        let mut world = World::new(600);
        let home = world.lan(behaviour);
        let [a, b] = settle(&mut world, [home, home]);
        becomes_what_the_oracle_says(&mut world, a, b, Class::Lan);
    }
}

#[test]
fn neighbours_find_each_other_without_a_server() {
    let mut world = World::new(601);
    world.seeks_lan = true;
    let home = world.lan(Behaviour::SYMMETRIC);
    world.kill_server();
    let [a, b] = settle(&mut world, [home, home]);
    world.befriend(a, b);
    assert!(world.talk_until_direct(a, b, SECOND * 5).is_some());
}

#[test]
fn homes_behind_a_carrier_meet_homes_elsewhere() {
    use Behaviour as B;
    let rows = [
        (B::CARRIER, B::PORT_RESTRICTED, Class::Plain),
        (B::DEAF_CARRIER, B::PORT_RESTRICTED, Class::Plain),
        (B::SYMMETRIC, B::FULL_CONE, Class::Plain),
        (B::SEQUENTIAL, B::PORT_RESTRICTED, Class::Sequential),
        (B::SYMMETRIC, B::SYMMETRIC, Class::RelayOnly),
    ];
    for (seed, (carrier, other, class)) in rows.into_iter().enumerate() {
        let mut world = World::new(610 + seed as u64);
        let carrier = world.fabric.zone(Access::carrier(carrier));
        let home = world.fabric.zone(Access::home(B::PORT_RESTRICTED).behind(carrier));
        let elsewhere = world.lan(other);
        let [a, b] = settle(&mut world, [home, elsewhere]);
        becomes_what_the_oracle_says(&mut world, a, b, class);
    }
}

#[test]
fn homes_of_one_carrier_meet_where_it_hairpins_and_are_relayed_elsewhere() {
    let rows = [(Behaviour::CARRIER, Class::Hairpin), (Behaviour::DEAF_CARRIER, Class::RelayOnly)];
    for (behaviour, class) in rows {
        let mut world = World::new(620);
        let carrier = world.fabric.zone(Access::carrier(behaviour));
        let homes = [0, 1].map(|_| world.fabric.zone(Access::home(Behaviour::PORT_RESTRICTED).behind(carrier)));
        let [a, b] = settle(&mut world, homes);
        becomes_what_the_oracle_says(&mut world, a, b, class);
    }
}

#[test]
fn three_translators_in_a_row() {
    let mut world = World::new(621);
    let carrier = world.fabric.zone(Access::carrier(Behaviour::DEAF_CARRIER));
    let house = world.fabric.zone(Access::carrier(Behaviour::PORT_RESTRICTED).behind(carrier));
    let flat = world.fabric.zone(Access::home(Behaviour::PORT_RESTRICTED).behind(house));
    let elsewhere = world.lan(Behaviour::PORT_RESTRICTED);
    let [a, b, c] = settle(&mut world, [flat, elsewhere, house]);
    becomes_what_the_oracle_says(&mut world, a, b, Class::Plain);
    becomes_what_the_oracle_says(&mut world, a, c, Class::Plain);
}

#[test]
fn ipv6_with_firewalls_is_direct_where_ipv4_cannot_be() {
    let mut world = World::new(630);
    let access = Access::home(Behaviour::SYMMETRIC).with_v6(Dependence::AddressAndPort);
    let homes = [world.fabric.zone(access), world.fabric.zone(access)];
    let [a, b] = settle(&mut world, homes);
    becomes_what_the_oracle_says(&mut world, a, b, Class::V6);
}

#[test]
fn nodes_with_nothing_but_ipv6_are_connected_with_all() {
    let mut world = World::new(631);
    let bare = world.fabric.zone(Access::v6_only(Dependence::AddressAndPort));
    let other = world.fabric.zone(Access::v6_only(Dependence::Address));
    let both = world.fabric.zone(Access::home(Behaviour::PORT_RESTRICTED).with_v6(Dependence::AddressAndPort));
    let old = world.lan(Behaviour::FULL_CONE);
    let [a, b, c, d] = settle(&mut world, [bare, other, both, old]);
    becomes_what_the_oracle_says(&mut world, a, b, Class::V6);
    becomes_what_the_oracle_says(&mut world, a, c, Class::V6);
    becomes_what_the_oracle_says(&mut world, a, d, Class::RelayOnly);
}

#[test]
fn a_node_of_two_networks_meets_colleagues_and_others() {
    let mut world = World::new(640);
    let home = world.lan(Behaviour::PORT_RESTRICTED);
    let office = world.fabric.zone(Access::carrier(Behaviour::SYMMETRIC));
    let elsewhere = world.lan(Behaviour::PORT_RESTRICTED);
    let [both, colleague, other] = settle(&mut world, [home, office, elsewhere]);
    world.fabric.attach(world.nodes[both].host, office, Link::GOOD);
    world.tell_addresses(both);
    world.run(SECOND * 3);
    becomes_what_the_oracle_says(&mut world, both, colleague, Class::Lan);
    becomes_what_the_oracle_says(&mut world, both, other, Class::Plain);
}

#[test]
fn an_open_port_makes_direct_what_nothing_else_does() {
    for other in [Behaviour::SYMMETRIC, Behaviour::PORT_RESTRICTED] {
        let mut world = World::new(642);
        let homes = [world.lan(Behaviour::SYMMETRIC), world.lan(other)];
        let [a, b] = settle(&mut world, homes);
        world.open_port(a);
        becomes_what_the_oracle_says(&mut world, a, b, Class::Mapped);
    }
}

#[test]
fn many_neighbours_on_one_port_meet_the_same_peer() {
    let mut world = World::new(641);
    let home = world.lan(Behaviour::PORT_RESTRICTED);
    let elsewhere = world.lan(Behaviour::PORT_RESTRICTED);
    let neighbours = [0; 4].map(|_| world.node_on_port(home, Link::GOOD, 41_641));
    let peer = world.node_on_port(elsewhere, Link::GOOD, 41_641);
    world.run(SECOND * 3);
    for neighbour in neighbours {
        becomes_what_the_oracle_says(&mut world, neighbour, peer, Class::Plain);
    }
}

#[test]
fn where_udp_is_blocked_the_relay_is_reached_by_its_stream() {
    let mut world = World::new(650);
    let prison = world.lan(Behaviour::PORT_RESTRICTED);
    world.fabric.gateway(prison).udp_blocked = true;
    let elsewhere = world.lan(Behaviour::PORT_RESTRICTED);
    let [a, b, c] = settle(&mut world, [prison, elsewhere, prison]);
    becomes_what_the_oracle_says(&mut world, a, b, Class::RelayOnly);
    becomes_what_the_oracle_says(&mut world, a, c, Class::Lan);
}

#[test]
fn two_prisoners_reach_each_other() {
    let mut world = World::new(651);
    let prisons = [world.lan(Behaviour::PORT_RESTRICTED), world.lan(Behaviour::SYMMETRIC)];
    prisons.iter().for_each(|zone| world.fabric.gateway(*zone).udp_blocked = true);
    let [a, b] = settle(&mut world, prisons);
    becomes_what_the_oracle_says(&mut world, a, b, Class::RelayOnly);
}

#[test]
fn a_partition_between_two_is_bridged_by_the_relay_and_healed() {
    let mut world = World::new(652);
    let homes = [world.lan(Behaviour::PORT_RESTRICTED), world.lan(Behaviour::PORT_RESTRICTED)];
    let [a, b] = settle(&mut world, homes);
    becomes_what_the_oracle_says(&mut world, a, b, Class::Plain);
    let hosts = [world.nodes[a].host, world.nodes[b].host];
    let outage = world.longest_outage(a, b, SECOND * 3, |world| world.fabric.part(hosts[0], hosts[1], true));
    assert!(outage < SECOND * 5, "{outage:?} until the relay took over");
    world.fabric.part(hosts[0], hosts[1], false);
    assert!(world.talk_until_direct(a, b, SECOND * 90).is_some(), "direct again");
}

#[test]
fn large_packets_cross_a_link_that_swallows_large_datagrams() {
    let mut world = World::new(653);
    let narrow = Link { mtu: 1400, ..Link::GOOD };
    let (a, b) = (world.node(Some(INTERNET), Link::GOOD), world.node(Some(INTERNET), narrow));
    becomes_what_the_oracle_says(&mut world, a, b, Class::V6);
    world.run(SECOND * 5);
    let small = world.send_large(a, b, 1280 - 48);
    assert!(world.run_until(SECOND, |world| world.has_received(b, small)).is_some(), "1280 bytes always cross");
    world.run(Duration::from_secs(60));
    let large = world.send_large(a, b, 1310 - 48);
    assert!(world.run_until(SECOND, |world| world.has_received(b, large)).is_some(), "what the search found crosses");
}

#[test]
fn a_full_table_of_a_gateway_is_survived() {
    let mut world = World::new(654);
    let poor = world.lan(Behaviour { capacity: 24, ..Behaviour::PORT_RESTRICTED });
    let elsewhere = world.lan(Behaviour::SYMMETRIC);
    let [a, b] = settle(&mut world, [poor, elsewhere]);
    world.befriend(a, b);
    for _ in 0..60 {
        world.exchange(a, b, SECOND);
    }
    world.run(SECOND * 30);
    assert!(world.exchange(a, b, SECOND * 5).is_some(), "the relay, at least");
}
