//! What the peer table lets through, and what it does not.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::identity::Network;
use crate::peer::testing::{self, Pair, SLOT_A, SLOT_B, packet, seal, secret};
use crate::peer::tunnel::MIN_BUFFER;
use crate::wire::control::{Control, encode};
use crate::wire::mss::is_syn;
use crate::wire::packet::CONTROL;
use crate::wire::path::MAIN;
use crate::wire::relay::{HEADER, deliver_header, send_header};
use crate::wire::{Drop, classify, stun};

mod grants;
mod inbound;
mod outbound;
mod places;

const A: u64 = 0xa1b2_c3d4_e5f6;
const B: u64 = 0xb1b2_c3d4_e5f6;
const ALLOCATION_A: Allocation = Allocation(0xa);
const ALLOCATION_B: Allocation = Allocation(0xb);

fn server() -> SocketAddr {
    "192.0.2.9:9001".parse().unwrap()
}

fn direct(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 5000))
}

fn relayed(allocation: Allocation) -> Path {
    let server = server();
    Path::Relayed(RelayAddress { server, allocation })
}

fn id(number: u64) -> NodeId {
    NodeId::from_u64(number).unwrap()
}

fn overlay(number: u64) -> Overlay {
    Overlay { prefix: Prefix::default(), address: Address { network: Network(0), node: id(number) } }
}

fn ip(number: u64) -> Ipv6Addr {
    Prefix::default().ipv6(overlay(number).address)
}

/// Two nodes that know each other, and b's datagrams as a's table sees them.
struct Nodes {
    a: PeerTable,
    b: PeerTable,
    tunnels: Pair,
}

fn table(us: u64, ours: Allocation, them: u64, tunnel: &Arc<Tunnel>, path: Option<Path>) -> PeerTable {
    let relay = Relay { number: 0, server: server(), hop: Hop::main(server()), session: us, allocation: ours };
    let tunnel = Some(tunnel.clone());
    let entry = Entry { tunnel, id: Some(id(them)), address: ip(them), path, mtu: Mtu::UNKNOWN, gate: None };
    PeerTable::new(overlay(us), Some(relay), vec![entry])
}

fn nodes(path_a: Option<Path>, tunnels: Pair) -> Nodes {
    Nodes {
        a: table(A, ALLOCATION_A, B, &tunnels.a, path_a),
        b: table(B, ALLOCATION_B, A, &tunnels.b, Some(Path::Direct(direct(1)))),
        tunnels,
    }
}

fn connected() -> Nodes {
    nodes(Some(Path::Direct(direct(2))), Pair::connected())
}

fn outbound(table: &PeerTable, packet: &[u8]) -> Result<(SocketAddr, Vec<u8>), Outbound> {
    let mut out = vec![0; 70_000];
    match table.outbound(packet, &mut out) {
        Outbound::Send { hop: Hop::Udp { to, .. }, range } => Ok((to, out[range].to_vec())),
        other => Err(other),
    }
}

fn inbound(table: &PeerTable, from: SocketAddr, datagram: &[u8]) -> Inbound {
    table.inbound(MAIN, from, datagram, &mut vec![0; 70_000])
}

/// What a makes of a packet that b sealed.
fn from_b(nodes: &Nodes, packet: &[u8]) -> Inbound {
    let sealed = seal(&nodes.tunnels.b, packet).unwrap();
    inbound(&nodes.a, direct(2), &sealed)
}

fn user_packet() -> Vec<u8> {
    packet(ip(A), ip(B), 17, b"hello")
}

fn syn(from: u64, to: u64, mss: u16) -> Vec<u8> {
    let [high, low] = mss.to_be_bytes();
    let mut tcp = [0; 24];
    (tcp[12], tcp[13]) = (0x60, 0x02);
    tcp[20..].copy_from_slice(&[2, 4, high, low]);
    let packet = packet(ip(from), ip(to), 6, &tcp);
    assert!(is_syn(&packet));
    packet
}

#[test]
fn a_packet_goes_direct_and_arrives() {
    let nodes = connected();
    let (to, datagram) = outbound(&nodes.a, &user_packet()).unwrap();
    assert_eq!(to, direct(2));
    let mut out = vec![0; 2000];
    let arrival = Arrival { slot: Slot::new(SLOT_B).unwrap(), via: Path::Direct(direct(1)), news: false };
    let range = 0..user_packet().len();
    let expected = Inbound::Packet { arrival, range: range.clone() };
    assert_eq!(nodes.b.inbound(MAIN, direct(1), &datagram, &mut out), expected);
    assert_eq!(out[range], user_packet());
}

#[test]
fn a_packet_goes_over_the_relay_and_arrives() {
    let nodes = nodes(Some(relayed(ALLOCATION_B)), Pair::connected());
    let (to, datagram) = outbound(&nodes.a, &user_packet()).unwrap();
    assert_eq!(to, server());
    let (header, payload) = datagram.split_at(HEADER);
    assert_eq!(header, send_header(A, ALLOCATION_B));
    let delivered = [&deliver_header(ALLOCATION_A, ALLOCATION_B)[..], payload].concat();
    let Inbound::Packet { arrival, .. } = inbound(&nodes.b, server(), &delivered) else {
        panic!("refused");
    };
    assert_eq!((arrival.via, arrival.news), (relayed(ALLOCATION_A), true));
}

#[test]
fn traffic_is_counted() {
    let nodes = connected();
    let (_, datagram) = outbound(&nodes.a, &user_packet()).unwrap();
    inbound(&nodes.b, direct(1), &datagram);
    from_b(&nodes, &[]);
    let len = user_packet().len() as u64;
    let a = nodes.tunnels.a.traffic().sample();
    let b = nodes.tunnels.b.traffic().sample();
    assert_eq!((a.sent_packets, a.sent_bytes, a.heard_on_path), (1, len, 1));
    assert_eq!((a.received_packets, b.sent_packets), (0, 0));
    assert_eq!((b.received_packets, b.received_bytes, b.heard_on_path), (1, len, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_datagrams_are_slow_or_refused(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        shape in 0..4_u8,
        from_relay: bool,
    ) {
        let nodes = connected();
        let data = [&[4, 0, 0, 0][..], &(SLOT_A << 8 | 1).to_le_bytes()].concat();
        let delivery = deliver_header(ALLOCATION_B, ALLOCATION_A);
        let head = match shape {
            0 => vec![],
            1 => data,
            2 => delivery.to_vec(),
            _ => [&delivery[..], &data].concat(),
        };
        bytes.splice(0..0, head);
        let from = if from_relay { server() } else { direct(2) };
        let outcome = inbound(&nodes.a, from, &bytes);
        prop_assert!(matches!(outcome, Inbound::Slow | Inbound::Drop(_)));
    }

    #[test]
    fn arbitrary_packets_are_refused(bytes: Vec<u8>) {
        let outcome = outbound(&connected().a, &bytes);
        prop_assert!(matches!(outcome, Err(Outbound::Drop(_))));
    }
}
