//! Datagrams go where they should, and nowhere else.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::route::Arrival;
use super::{Access, Fabric, HostId, INTERNET, Link, Origin};
use crate::nat::{Behaviour, Dependence};
use crate::oracle::Class;

const PORT: u16 = 4000;

struct Net {
    fabric: Fabric,
    rng: ChaCha8Rng,
    now: Instant,
}

impl Net {
    fn new() -> Net {
        Net { fabric: Fabric::new(), rng: ChaCha8Rng::seed_from_u64(1), now: Instant::now() }
    }

    fn send(&mut self, from: HostId, to: SocketAddr, len: usize) -> Option<Arrival> {
        self.carry(from, Origin::Port(PORT), to, len)
    }

    fn carry(&mut self, from: HostId, origin: Origin, to: SocketAddr, len: usize) -> Option<Arrival> {
        let transit = self.fabric.depart(self.now, from, origin, to, len, &mut self.rng)?;
        self.fabric.arrive(transit.at, &transit, &mut self.rng)
    }

    fn v6(&self, host: HostId) -> SocketAddr {
        let ip = self.fabric.addresses(host).into_iter().find(IpAddr::is_ipv6).expect("an IPv6 address");
        SocketAddr::new(ip, PORT)
    }
}

#[test]
fn a_datagram_and_its_answer_cross_two_translators_in_a_row() {
    let mut net = Net::new();
    let carrier = net.fabric.zone(Access::carrier(Behaviour::DEAF_CARRIER));
    let home = net.fabric.zone(Access::home(Behaviour::PORT_RESTRICTED).behind(carrier));
    let (server, node) = (net.fabric.host(INTERNET, Link::GOOD), net.fabric.host(home, Link::GOOD));
    let at = SocketAddr::new(net.fabric.ip(server), 9001);
    let there = net.send(node, at, 100).expect("it arrives");
    assert_eq!((there.host, there.to), (server, at));
    assert_eq!(Some(&there.from.ip()), net.fabric.nat(carrier).outside().first());
    let back = net.carry(server, Origin::Exactly(at), there.from, 100);
    let back = back.expect("the answer arrives");
    assert_eq!((back.host, back.to.port(), back.from), (node, PORT, at));
    assert!(net.send(server, there.from, 100).is_none(), "from another port it does not");
}

#[test]
fn neighbours_meet_and_homes_with_the_same_addresses_do_not() {
    let mut net = Net::new();
    let homes = [0, 1].map(|_| net.fabric.zone(Access::home(Behaviour::PORT_RESTRICTED)));
    let (a, b) = (net.fabric.host(homes[0], Link::GOOD), net.fabric.host(homes[0], Link::GOOD));
    let c = net.fabric.host(homes[1], Link::GOOD);
    assert_eq!(net.fabric.ip(a), net.fabric.ip(c), "as in life");
    let to_b = SocketAddr::new(net.fabric.ip(b), PORT);
    assert_eq!(net.send(a, to_b, 1).expect("it arrives").host, b);
    assert!(net.send(c, to_b, 1).is_none());
    assert_eq!(net.fabric.feasible(a, b, true), Class::Lan);
    assert_eq!(net.fabric.feasible(a, c, true), Class::Plain);
}

#[test]
fn two_homes_of_one_carrier_meet_only_where_it_hairpins() {
    for (behaviour, class) in [(Behaviour::CARRIER, Class::Hairpin), (Behaviour::DEAF_CARRIER, Class::RelayOnly)] {
        let mut net = Net::new();
        let carrier = net.fabric.zone(Access::carrier(behaviour));
        let home = |net: &mut Net| net.fabric.zone(Access::home(Behaviour::FULL_CONE).behind(carrier));
        let homes = [home(&mut net), home(&mut net)];
        let server = net.fabric.host(INTERNET, Link::GOOD);
        let nodes = homes.map(|home| net.fabric.host(home, Link::GOOD));
        let at = SocketAddr::new(net.fabric.ip(server), 9001);
        let seen = nodes.map(|node| net.send(node, at, 1).expect("it arrives").from);
        assert_eq!(net.fabric.feasible(nodes[0], nodes[1], true), class);
        let arrival = net.send(nodes[0], seen[1], 1);
        assert_eq!(arrival.map(|arrival| arrival.host), (class == Class::Hairpin).then_some(nodes[1]));
    }
}

#[test]
fn a_home_behind_a_home_reaches_the_network_between() {
    let mut net = Net::new();
    let outer = net.fabric.zone(Access::carrier(Behaviour::PORT_RESTRICTED));
    let inner = net.fabric.zone(Access::home(Behaviour::SYMMETRIC).behind(outer));
    let (a, b) = (net.fabric.host(inner, Link::GOOD), net.fabric.host(outer, Link::GOOD));
    let to_b = SocketAddr::new(net.fabric.ip(b), PORT);
    assert_eq!(net.send(a, to_b, 1).expect("it arrives").host, b);
    assert_eq!(net.fabric.feasible(a, b, true), Class::Plain);
}

#[test]
fn ipv6_is_filtered_and_not_translated() {
    let mut net = Net::new();
    let access = Access::home(Behaviour::SYMMETRIC).with_v6(Dependence::AddressAndPort);
    let homes = [net.fabric.zone(access), net.fabric.zone(Access::v6_only(Dependence::AddressAndPort))];
    let nodes = homes.map(|home| net.fabric.host(home, Link::GOOD));
    let ends = nodes.map(|node| net.v6(node));
    assert_eq!(net.fabric.addresses(nodes[1]), [ends[1].ip()], "nothing but IPv6");
    assert!(net.send(nodes[0], ends[1], 1).is_none(), "not asked for");
    let arrival = net.send(nodes[1], ends[0], 1).expect("the other side has sent");
    assert_eq!((arrival.from, arrival.to), (ends[1], ends[0]));
    assert_eq!(net.fabric.feasible(nodes[0], nodes[1], true), Class::V6);
}

#[test]
fn large_datagrams_vanish_on_narrow_links() {
    let mut net = Net::new();
    let (a, b) = (net.fabric.host(INTERNET, Link::GOOD), net.fabric.host(INTERNET, Link { mtu: 1300, ..Link::GOOD }));
    let to = SocketAddr::new(net.fabric.ip(b), PORT);
    assert!(net.send(a, to, 1300 - 28).is_some());
    assert!(net.send(a, to, 1300 - 27).is_none());
}

#[test]
fn cuts_partitions_blocks_and_reboots() {
    let mut net = Net::new();
    let home = net.fabric.zone(Access::home(Behaviour::PORT_RESTRICTED));
    let (server, node) = (net.fabric.host(INTERNET, Link::GOOD), net.fabric.host(home, Link::GOOD));
    let at = SocketAddr::new(net.fabric.ip(server), 9001);
    let before = net.send(node, at, 1).expect("it arrives").from;
    let connection = net.fabric.connection(node, server);
    net.fabric.gateway(home).udp_blocked = true;
    assert!(net.send(node, at, 1).is_none() && net.fabric.connection(node, server) == connection);
    net.fabric.gateway(home).udp_blocked = false;
    net.fabric.part(server, node, true);
    assert!(net.send(node, at, 1).is_none() && net.fabric.connection(node, server).is_none());
    net.fabric.heal();
    net.fabric.cut(node, true);
    assert!(net.send(node, at, 1).is_none());
    net.fabric.heal();
    net.fabric.reboot(home, false);
    assert!(net.send(server, before, 1).is_none(), "the table is lost");
    assert_eq!(net.send(node, at, 1).expect("it arrives").from, before, "and the port is the same");
    net.fabric.reboot(home, true);
    assert_ne!(net.send(node, at, 1).expect("it arrives").from.ip(), before.ip());
    assert_ne!(net.fabric.connection(node, server), connection);
}

#[test]
fn a_host_of_two_networks_uses_the_one_that_leads_there() {
    let mut net = Net::new();
    let home = net.fabric.zone(Access::home(Behaviour::PORT_RESTRICTED));
    let office = net.fabric.zone(Access::carrier(Behaviour::SYMMETRIC));
    let (server, node) = (net.fabric.host(INTERNET, Link::GOOD), net.fabric.host(home, Link::GOOD));
    let colleague = net.fabric.host(office, Link::GOOD);
    net.fabric.attach(node, office, Link::GOOD);
    let at = SocketAddr::new(net.fabric.ip(server), 9001);
    let seen = net.send(node, at, 1).expect("it arrives").from;
    assert_eq!(Some(&seen.ip()), net.fabric.nat(home).outside().first());
    let to = SocketAddr::new(net.fabric.ip(colleague), PORT);
    assert_eq!(net.send(node, to, 1).expect("it arrives").host, colleague);
    assert_eq!(net.fabric.feasible(node, colleague, true), Class::Lan);
    net.fabric.set_up(node, 0, false);
    let seen = net.send(node, at, 1).expect("it arrives").from;
    assert_eq!(Some(&seen.ip()), net.fabric.nat(office).outside().first());
}

#[test]
fn a_broadcast_reaches_the_segment() {
    let mut net = Net::new();
    let home = net.fabric.zone(Access::home(Behaviour::PORT_RESTRICTED));
    let [a, b, _] = [home, home, INTERNET].map(|zone| net.fabric.host(zone, Link::GOOD));
    let reached = net.fabric.broadcast(net.now, a, PORT);
    assert_eq!(reached.iter().map(|(_, host, _)| *host).collect::<Vec<_>>(), [b]);
    assert_eq!(reached[0].0 - net.now, Duration::from_millis(10));
}
