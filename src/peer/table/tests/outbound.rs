//! Packets of our programs.

use super::*;

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
