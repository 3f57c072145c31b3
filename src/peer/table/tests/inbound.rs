//! Datagrams of others.

use super::*;

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
