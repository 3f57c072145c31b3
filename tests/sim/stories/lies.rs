//! A trusted peer that lies about where it is: what its friends send, and to whom.

use std::net::{IpAddr, SocketAddr};

use pilot::identity::Address;

use super::SECOND;
use crate::fabric::{HostId, INTERNET, Link};
use crate::nat::Behaviour;
use crate::world::World;
use crate::world::checks::most_within;

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

/// Makes a node tell everybody that it is at these addresses.
fn lie(world: &mut World, node: usize, addresses: &[IpAddr]) {
    let (now, port) = (world.now, world.nodes[node].port);
    world.nodes[node].machine().handle_local_addresses(now, addresses, port, port);
    world.run(SECOND / 100);
}

/// A liar and its friend, who is behind a NAT, so that probes go on.
fn liar(seed: u64) -> (World, usize, usize) {
    let mut world = World::new(seed);
    let homes = [world.lan(Behaviour::SYMMETRIC), world.lan(Behaviour::SYMMETRIC)];
    let [liar, friend] = homes.map(|home| world.node(Some(home), Link::GOOD));
    world.befriend(liar, friend);
    assert!(world.exchange(liar, friend, SECOND * 5).is_some());
    (world, liar, friend)
}

#[test]
fn addresses_that_lead_nowhere_or_back_are_never_sent_to() {
    let (mut world, liar, friend) = liar(900);
    let mut absurd = ips(&[
        "224.0.0.1",
        "239.255.80.73",
        "127.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "169.254.169.254",
        "ff02::1",
        "::1",
        "::",
        "fe80::1",
        "::ffff:127.0.0.1",
    ]);
    absurd.push(world.nodes[friend].address().into());
    absurd.push(world.nodes[liar].address().into());
    lie(&mut world, liar, &absurd);
    for _ in 0..60 {
        world.exchange(liar, friend, SECOND);
    }
    let sent: Vec<SocketAddr> = world.targets(friend).filter(|to| absurd.contains(&to.ip())).collect();
    assert!(sent.is_empty(), "{sent:?}");
    assert!(world.exchange(liar, friend, SECOND).is_some(), "the lie harms nobody");
}

/// How many datagrams a host got within the worst ten seconds, and altogether.
fn received(world: &World, host: HostId) -> (usize, usize) {
    let times: Vec<_> = world.overheard.iter().filter(|(_, at, ..)| *at == host).map(|(when, ..)| *when).collect();
    (most_within(&times, SECOND * 10), times.len())
}

#[test]
fn a_victim_that_is_claimed_gets_a_few_paced_datagrams() {
    let (mut world, liar, friend) = liar(910);
    let victim = world.fabric.host(INTERNET, Link::GOOD);
    let home = world.fabric.addresses(world.nodes[liar].host);
    let claimed = [world.fabric.addresses(victim), home.clone()].concat();
    lie(&mut world, liar, &claimed);
    for _ in 0..300 {
        world.exchange(liar, friend, SECOND);
        world.run(SECOND);
    }
    let (worst, all) = received(&world, victim);
    assert!((1..=60).contains(&worst), "{worst} within ten seconds");
    assert!(all <= 600, "{all} in ten minutes");
}

#[test]
fn a_lie_that_is_told_again_and_again_is_not_worth_more() {
    let (mut world, liar, friend) = liar(920);
    let victim = world.fabric.host(INTERNET, Link::GOOD);
    let home = world.fabric.addresses(world.nodes[liar].host);
    let claimed = [world.fabric.addresses(victim), home.clone()].concat();
    for _ in 0..100 {
        for addresses in [&claimed, &home] {
            lie(&mut world, liar, addresses);
            world.exchange(liar, friend, SECOND);
            world.run(SECOND * 3);
        }
    }
    let (worst, all) = received(&world, victim);
    assert!(worst <= 60, "{worst} within ten seconds");
    assert!(all <= 2_000, "{all} in ten minutes");
}

#[test]
fn many_claimed_hosts_get_no_more_together_than_candidates_are_kept() {
    let (mut world, liar, friend) = liar(930);
    let victims: Vec<HostId> = (0..40).map(|_| world.fabric.host(INTERNET, Link::GOOD)).collect();
    let claimed: Vec<IpAddr> = victims.iter().flat_map(|victim| world.fabric.addresses(*victim)).collect();
    lie(&mut world, liar, &claimed);
    for _ in 0..60 {
        world.exchange(liar, friend, SECOND);
    }
    let hit = victims.iter().filter(|victim| received(&world, **victim).1 > 0).count();
    assert!((1..=16).contains(&hit), "{hit} victims");
}

#[test]
fn an_overlay_address_of_another_network_is_no_candidate() {
    let (mut world, liar, friend) = liar(940);
    let network = pilot::identity::Network(7);
    let (_, node) = crate::world::identities()[3];
    let other = pilot::identity::Prefix::default().ipv6(Address { network, node });
    lie(&mut world, liar, &[other.into()]);
    for _ in 0..20 {
        world.exchange(liar, friend, SECOND);
    }
    assert!(world.targets(friend).all(|to| to.ip() != IpAddr::from(other)), "the tunnel would run in itself");
}
