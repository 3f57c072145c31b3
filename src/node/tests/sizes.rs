//! Networks that do not carry everything.

use std::time::Duration;

use etherparse::{Icmpv6Type, SlicedPacket, TransportSlice};

use super::world::World;
use crate::node::*;
use crate::wire::{Drop, Hop};

const SECOND: Duration = Duration::from_secs(1);

/// Two connected nodes on a network that carries datagrams of so many bytes.
fn friends(mtu: usize) -> World {
    let mut world = World::new(&[None, None]);
    world.mtu = mtu;
    world.run(SECOND);
    world.befriend(0, 1);
    world.run(SECOND * 5);
    world
}

fn mtu(world: &mut World, node: usize) -> u16 {
    let Ok(Answer::Peers(peers)) = world.ask(node, Command::Peers) else { panic!("no list of peers") };
    peers[0].mtu.expect("a session")
}

/// The MTU in a Packet Too Big.
fn told(packet: &[u8]) -> Option<u32> {
    match SlicedPacket::from_ip(packet).ok()?.transport? {
        TransportSlice::Icmpv6(icmp) => match icmp.icmp_type() {
            Icmpv6Type::PacketTooBig { mtu } => Some(mtu),
            _ => None,
        },
        _ => None,
    }
}

/// Sends packets of this size from the first node to the second: how many arrived, and what the sender was told.
fn send(world: &mut World, size: usize, times: usize) -> (usize, Vec<u32>) {
    for host in &mut world.hosts {
        host.packets.clear();
    }
    for _ in 0..times {
        world.send(0, 1, &vec![9; size - 40]);
        world.run(SECOND / 10);
    }
    let arrived = world.hosts[1].packets.iter().filter(|packet| packet.len() == size).count();
    (arrived, world.hosts[0].packets.iter().filter_map(|packet| told(packet)).collect())
}

#[test]
fn what_a_path_carries_is_found_and_told() {
    for (network, carries) in [(1500, 1420..=1420), (1400, 1333..=1340), (1300, 1280..=1280)] {
        let mut world = friends(network);
        let found = mtu(&mut world, 0);
        assert!(carries.contains(&found) && carries.contains(&mtu(&mut world, 1)), "{found} of {network}");
        assert_eq!(send(&mut world, found.into(), 3), (3, vec![]));
        assert_eq!(send(&mut world, usize::from(found) + 1, 3), (0, vec![found.into(); 3]));
        assert_eq!(world.dropped(0, Drop::TooBig), 3);
    }
}

#[test]
fn a_path_that_shrinks_is_noticed_by_the_packets_that_vanish() {
    let mut world = friends(1500);
    assert_eq!(send(&mut world, 1420, 30).0, 30);
    world.mtu = 1350;
    let (arrived, told) = send(&mut world, 1420, 50);
    assert_eq!(arrived, 0);
    assert!(told.len() >= 15, "within 3.5 s: {}", told.len());
    assert!((1283..=1290).contains(&mtu(&mut world, 0)));
    let idle = world.hosts[1].transmitted;
    world.run(SECOND * 60);
    assert!(world.hosts[1].transmitted - idle < 20, "an idle path is not probed");
}

#[test]
fn a_refusal_of_our_own_system_counts_for_the_path_it_is_about() {
    let mut world = friends(1500);
    let PathView::Direct(endpoint) = world.path(0, 1) else { panic!("not direct") };
    let elsewhere = "192.0.2.200:1".parse().unwrap();
    world.hosts[0].node.handle_too_big(world.now, Hop::main(elsewhere), 1420);
    world.drain(0);
    assert_eq!(mtu(&mut world, 0), 1420);
    world.mtu = 1400;
    world.hosts[0].node.handle_too_big(world.now, Hop::main(endpoint), 1420);
    world.drain(0);
    let (arrived, told) = send(&mut world, 1420, 1);
    assert_eq!((arrived, told), (0, vec![1280]), "at once");
    world.run(SECOND * 3);
    assert!((1333..=1340).contains(&mtu(&mut world, 0)));
}
