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

#[test]
fn a_packet_larger_than_the_path_carries_is_refused_with_what_fits() {
    let mut nodes = connected();
    let of = |len: usize| packet(ip(A), ip(B), 17, &vec![7; len - 40]);
    assert!(outbound(&nodes.a, &of(1280)).is_ok());
    assert_eq!(outbound(&nodes.a, &of(1281)), Err(Outbound::TooBig { mtu: 1280 }));
    nodes.a = with_mtu(&nodes, Mtu::fixed(1340));
    assert!(outbound(&nodes.a, &of(1340)).is_ok());
    assert_eq!(outbound(&nodes.a, &of(1341)), Err(Outbound::TooBig { mtu: 1340 }));
    assert_eq!(nodes.tunnels.a.traffic().sample().sent_large, 1);
}

#[test]
fn connections_are_kept_to_what_the_path_carries_once_that_is_known() {
    let nodes = connected();
    let slot = Slot::new(SLOT_A).unwrap();
    let sizes = |mtu| {
        let table = with_mtu(&nodes, mtu);
        let [mut out, mut back] = [(A, B), (B, A)].map(|(from, to)| syn(from, to, 1360));
        table.clamp_outbound(&mut out);
        table.clamp_inbound(slot, &mut back);
        [out, back].map(|packet| u16::from_be_bytes([packet[62], packet[63]]))
    };
    assert_eq!(sizes(Mtu::fixed(1340)), [1280, 1280]);
    assert_eq!(sizes(Mtu::fixed(1420)), [1360, 1360]);
    assert_eq!(sizes(Mtu::UNKNOWN), [1360, 1360]);
    let mut elsewhere = syn(A, B + 1, 1360);
    with_mtu(&nodes, Mtu::fixed(1280)).clamp_outbound(&mut elsewhere);
    assert_eq!(elsewhere, syn(A, B + 1, 1360));
}

fn with_mtu(nodes: &Nodes, mtu: Mtu) -> PeerTable {
    let path = Some(Path::Direct(direct(2)));
    let tunnel = Some(nodes.tunnels.a.clone());
    let entry = Entry { tunnel, id: Some(id(B)), address: ip(B), path, mtu, gate: None };
    PeerTable::new(overlay(A), None, vec![entry])
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
fn without_session_or_path_the_node_decides() {
    let why = |path, tunnels| outbound(&nodes(path, tunnels).a, &user_packet());
    let away = Some(Path::Direct(direct(2)));
    assert_eq!(why(away, Pair::new()), Err(Outbound::Slow(Why::NoSession)));
    assert_eq!(why(None, Pair::connected()), Err(Outbound::Slow(Why::NoPath)));
    let elsewhere = Path::Relayed(RelayAddress { server: direct(7), allocation: ALLOCATION_B });
    assert_eq!(why(Some(elsewhere), Pair::connected()), Err(Outbound::Slow(Why::NoPath)));
}

#[test]
fn our_programs_send_from_our_address_to_peers_only() {
    let nodes = connected();
    let refused = |packet: &[u8]| match outbound(&nodes.a, packet) {
        Err(Outbound::Drop(reason)) => reason,
        other => panic!("{other:?}"),
    };
    let other_network = Prefix::default().ipv6(Address { network: Network(1), node: id(B) });
    let link_local_b = link_local(id(B));
    assert_eq!(refused(&packet(ip(B), ip(B), 17, b"")), Drop::WrongSource);
    assert_eq!(refused(&packet(ip(A), ip(A), 17, b"")), Drop::NoRoute);
    assert_eq!(refused(&packet(ip(A), ip(B + 1), 17, b"")), Drop::NoRoute);
    assert_eq!(refused(&packet(ip(A), other_network, 17, b"")), Drop::NoRoute);
    assert_eq!(refused(&packet(ip(A), link_local_b, 17, b"")), Drop::TunControl);
    assert_eq!(refused(&packet(ip(A), ip(B), CONTROL, b"")), Drop::TunControl);
    let all_nodes = "ff02::1".parse().unwrap();
    assert_eq!(refused(&packet(ip(A), all_nodes, 58, b"")), Drop::TunControl);
    let forged = encode(id(A), id(B), &Control::Ping { id: 1 });
    assert_eq!(refused(&forged), Drop::TunControl);
    assert_eq!(refused(&[0x45; 40]), Drop::MalformedPacket);
    assert_eq!(refused(&[]), Drop::MalformedPacket);
}

#[test]
fn short_buffers_are_refused() {
    let nodes = connected();
    let large = packet(ip(A), ip(B), 17, &[0; 500]);
    for (packet, needed) in [(user_packet(), HEADER + MIN_BUFFER), (large.clone(), HEADER + large.len() + 32)] {
        for len in [0, 19, 20, needed - 1] {
            let outcome = nodes.a.outbound(&packet, &mut vec![0; len]);
            assert_eq!(outcome, Outbound::Drop(Drop::Oversized), "{len}");
        }
        let outcome = nodes.a.outbound(&packet, &mut vec![0; needed]);
        assert!(matches!(outcome, Outbound::Send { .. }));
    }
    let sealed = seal(&nodes.tunnels.b, &packet(ip(B), ip(A), 17, b"x")).unwrap();
    let outcome = nodes.a.inbound(MAIN, direct(2), &sealed, &mut [0; 40]);
    assert_eq!(outcome, Inbound::Drop(Drop::Oversized));
}

#[test]
fn a_peer_sends_from_its_address_to_ours_only() {
    let nodes = connected();
    let outcome =
        |source, destination, next_header| match from_b(&nodes, &packet(source, destination, next_header, b"x")) {
            Inbound::Drop(reason) => Some(reason),
            _ => None,
        };
    let link_local = |number| link_local(id(number));
    assert_eq!(outcome(ip(B), ip(A), 17), None);
    assert_eq!(outcome(ip(A), ip(A), 17), Some(Drop::WrongSource));
    assert_eq!(outcome(link_local(B), ip(A), 17), Some(Drop::WrongSource));
    assert_eq!(outcome(ip(B), ip(B), 17), Some(Drop::WrongDestination));
    assert_eq!(outcome(ip(B), link_local(A), 17), Some(Drop::WrongDestination));
    assert_eq!(outcome(ip(B), ip(A), CONTROL), Some(Drop::MalformedControl));
    assert_eq!(outcome(link_local(A), link_local(A), CONTROL), Some(Drop::WrongSource));
    assert_eq!(outcome(link_local(B), link_local(B), CONTROL), Some(Drop::WrongDestination));
    let mut ipv4 = vec![0; 20];
    (ipv4[0], ipv4[3]) = (0x45, 20);
    assert_eq!(from_b(&nodes, &ipv4), Inbound::Drop(Drop::MalformedPacket));
}

#[test]
fn control_packets_and_keepalives_are_told_apart() {
    let nodes = connected();
    let ping = encode(id(B), id(A), &Control::Ping { id: 1 });
    let arrival = Arrival { slot: Slot::new(SLOT_A).unwrap(), via: Path::Direct(direct(2)), news: false };
    let range = 0..ping.len();
    assert_eq!(from_b(&nodes, &ping), Inbound::Control { arrival, range });
    assert_eq!(from_b(&nodes, &[]), Inbound::Keepalive(arrival));
}

#[test]
fn a_plain_wireguard_peer_may_have_any_address_but_sends_no_control_packets() {
    let pair = Pair::connected();
    let address: Ipv6Addr = "fd50:494c:4f54::1234:5:6:7".parse().unwrap();
    let entry = Entry {
        tunnel: Some(pair.a.clone()),
        id: None,
        address,
        path: Some(Path::Direct(direct(2))),
        mtu: Mtu::UNKNOWN,
        gate: None,
    };
    let table = PeerTable::new(overlay(A), None, vec![entry]);
    assert!(outbound(&table, &packet(ip(A), address, 17, b"x")).is_ok());
    let sealed = |packet: &[u8]| seal(&pair.b, packet).unwrap();
    let user = sealed(&packet(address, ip(A), 17, b"x"));
    assert!(matches!(inbound(&table, direct(2), &user), Inbound::Packet { .. }));
    let control = sealed(&encode(id(B), id(A), &Control::Ping { id: 1 }));
    assert_eq!(inbound(&table, direct(2), &control), Inbound::Drop(Drop::WrongSource));
}

#[test]
fn no_packet_leaves_our_network() {
    let outside: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let entry = Entry {
        tunnel: Some(Pair::connected().a),
        id: None,
        address: outside,
        path: Some(Path::Direct(direct(2))),
        mtu: Mtu::UNKNOWN,
        gate: None,
    };
    let table = PeerTable::new(overlay(A), None, vec![entry]);
    let outcome = outbound(&table, &packet(ip(A), outside, 17, b"x"));
    assert_eq!(outcome, Err(Outbound::Drop(Drop::NoRoute)));
}

#[test]
fn another_way_is_news_once_a_tick() {
    let nodes = connected();
    let arrives = |host| {
        let sealed = seal(&nodes.tunnels.b, &packet(ip(B), ip(A), 17, b"x")).unwrap();
        match inbound(&nodes.a, direct(host), &sealed) {
            Inbound::Packet { arrival, .. } => (arrival.via, arrival.news),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(arrives(2), (Path::Direct(direct(2)), false));
    assert_eq!(arrives(3), (Path::Direct(direct(3)), true));
    assert_eq!(arrives(3), (Path::Direct(direct(3)), false));
    nodes.tunnels.a.tick(&mut [0; MIN_BUFFER]);
    assert_eq!(arrives(2), (Path::Direct(direct(2)), false));
    assert_eq!(arrives(3), (Path::Direct(direct(3)), true));
}

#[test]
fn a_session_that_becomes_usable_is_news() {
    let nodes = nodes(None, Pair::new());
    let response = testing::answer(&nodes.tunnels.b, &testing::initiate(&nodes.tunnels.a)).unwrap();
    let keepalive = testing::respond(&nodes.tunnels.a, &response).unwrap();
    let Inbound::Keepalive(arrival) = inbound(&nodes.b, direct(1), &keepalive) else {
        panic!("refused");
    };
    assert!(arrival.news);
}

#[test]
fn handshakes_stun_and_bindings_are_for_the_node() {
    let nodes = connected();
    let initiation = testing::initiate(&nodes.tunnels.b);
    assert_eq!(inbound(&nodes.a, direct(2), &initiation), Inbound::Slow);
    let delivered = [&deliver_header(ALLOCATION_B, ALLOCATION_A)[..], &initiation].concat();
    assert_eq!(inbound(&nodes.a, server(), &delivered), Inbound::Slow);
    let unwrapped = nodes.a.unwrap(MAIN, server(), &delivered);
    let inner = classify(&initiation).unwrap();
    assert_eq!(unwrapped, Ok((relayed(ALLOCATION_B), inner)));
    let request = stun::request([1; 12]);
    assert_eq!(inbound(&nodes.a, direct(2), &request), Inbound::Slow);
    let bound = crate::wire::relay::bound(A, &[1; 32], 7);
    assert_eq!(inbound(&nodes.a, server(), &bound), Inbound::Slow);
}

#[test]
fn deliveries_come_from_our_relay_for_our_allocation_and_do_not_nest() {
    let nodes = connected();
    let data = seal(&nodes.tunnels.b, &packet(ip(B), ip(A), 17, b"x")).unwrap();
    let delivered = |to, payload: &[u8]| [&deliver_header(ALLOCATION_B, to)[..], payload].concat();
    let refused = |from, frame: &[u8]| match inbound(&nodes.a, from, frame) {
        Inbound::Drop(reason) => reason,
        other => panic!("{other:?}"),
    };
    let right = delivered(ALLOCATION_A, &data);
    assert_eq!(refused(direct(2), &right), Drop::RelayWrongEndpoint);
    let other = delivered(ALLOCATION_B, &data);
    assert_eq!(refused(server(), &other), Drop::RelayUnknownDestination);
    let nested = delivered(ALLOCATION_A, &right);
    assert_eq!(refused(server(), &nested), Drop::MalformedRelay);
    assert!(matches!(inbound(&nodes.a, server(), &right), Inbound::Packet { .. }));
}

#[test]
fn strange_receiver_indices_are_refused() {
    let nodes = connected();
    let sealed = seal(&nodes.tunnels.b, &packet(ip(B), ip(A), 17, b"x")).unwrap();
    for index in [0, SLOT_A - 1, SLOT_A + 1, 0x00ff_ffff] {
        let mut strange = sealed.clone();
        strange[4..8].copy_from_slice(&(index << 8 | 1).to_le_bytes());
        let outcome = inbound(&nodes.a, direct(2), &strange);
        assert_eq!(outcome, Inbound::Drop(Drop::UnknownSession));
    }
}

#[test]
fn every_peer_is_found_and_nobody_else() {
    let entries: Vec<_> = (0..100)
        .map(|n: u32| Entry {
            tunnel: Some(testing::tunnel(&secret(1), secret(2).public(), 99 - n)),
            id: None,
            address: ip(u64::from(n) * 7919 % 1000),
            path: None,
            mtu: Mtu::UNKNOWN,
            gate: None,
        })
        .collect();
    let table = PeerTable::new(overlay(A), None, entries);
    for entry in table.entries() {
        assert_eq!(table.by_address(entry.address).unwrap().address, entry.address);
        let slot = entry.tunnel.as_ref().unwrap().slot();
        assert_eq!(table.by_slot(slot).unwrap().address, entry.address);
    }
    assert!(table.by_address(ip(1001)).is_none());
    assert!(table.by_slot(Slot::new(100).unwrap()).is_none());
    assert!(table.by_slot(Slot::MAX).is_none());
}

fn entry(number: u64) -> Entry {
    Entry { tunnel: None, id: Some(id(number)), address: ip(number), path: None, mtu: Mtu::UNKNOWN, gate: None }
}

fn slot(number: u64) -> Slot {
    Slot::new(number as u32).unwrap()
}

#[test]
fn a_change_of_one_peer_leaves_the_others_and_the_former_table_as_they_are() {
    let all: Vec<Entry> = (0..100).map(entry).collect();
    let former = PeerTable::new(overlay(A), None, all);
    let path = Some(Path::Direct(direct(7)));
    let table = former.changed([(slot(40), Some(Entry { path, ..entry(40) })), (slot(70), None)]);
    assert_eq!(table.by_address(ip(40)).unwrap().path, path);
    assert!(table.by_address(ip(70)).is_none());
    let rest = (0..100).filter(|number| ![40, 70].contains(number));
    assert!(rest.clone().all(|number| table.by_address(ip(number)).is_some_and(|entry| entry.path.is_none())));
    assert_eq!(table.entries().count(), 99);
    assert!(former.by_address(ip(40)).unwrap().path.is_none() && former.by_address(ip(70)).is_some());
}

#[test]
fn a_slot_that_is_given_to_another_peer_no_longer_finds_the_former() {
    let table = PeerTable::new(overlay(A), None, vec![entry(1), entry(2)]);
    let table = table.changed([(slot(0), Some(entry(3)))]);
    assert!(table.by_address(ip(1)).is_none());
    assert_eq!(table.by_address(ip(3)).unwrap().address, ip(3));
    // Two that trade places in one go are both found.
    let table = table.changed([(slot(0), Some(entry(2))), (slot(1), Some(entry(3)))]);
    assert_eq!([2, 3].map(|number| table.by_address(ip(number)).unwrap().address), [ip(2), ip(3)]);
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
