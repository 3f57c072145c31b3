//! A peer with a limited grant, through the whole table.

use super::*;
use crate::peer::testing::{answer, initiate, respond};
use crate::peer::{Clock, Gate};

/// b's table, for which a may open only this.
fn table_of_b(tunnels: &Pair, grant: &str) -> PeerTable {
    let gate = Gate::new(&grant.parse().unwrap(), Clock::default()).map(Arc::new);
    let (tunnel, path) = (Some(tunnels.b.clone()), Some(Path::Direct(direct(1))));
    let entry = Entry { tunnel, id: Some(id(A)), address: ip(A), path, mtu: Mtu::UNKNOWN, gate };
    PeerTable::new(overlay(B), None, vec![entry])
}

fn udp(from: u64, to: u64, ports: (u16, u16)) -> Vec<u8> {
    let ports = [ports.0.to_be_bytes(), ports.1.to_be_bytes(), [0, 8], [0, 0]];
    packet(ip(from), ip(to), 17, ports.as_flattened())
}

/// What b makes of a packet that a sealed.
fn from_a(tunnels: &Pair, table: &PeerTable, packet: &[u8]) -> Inbound {
    inbound(table, direct(1), &seal(&tunnels.a, packet).unwrap())
}

#[test]
fn only_what_is_granted_and_replies_go_through() {
    let tunnels = Pair::connected();
    let table = table_of_b(&tunnels, "udp:53");
    let passes = |ports| match from_a(&tunnels, &table, &udp(A, B, ports)) {
        Inbound::Packet { .. } => true,
        Inbound::NotGranted(_) => false,
        other => panic!("{other:?}"),
    };
    assert!(passes((5000, 53)) && !passes((5000, 54)) && !passes((7000, 6000)));
    outbound(&table, &udp(B, A, (6000, 7000))).unwrap();
    assert!(passes((7000, 6000)));
    let counts = tunnels.b.traffic().sample();
    assert_eq!((counts.received_packets, counts.data_on_path, counts.heard_on_path), (2, 2, 4));
}

#[test]
fn a_segment_of_a_connection_that_the_peer_may_not_have_stays_here() {
    let tunnels = Pair::connected();
    let mut segment = syn(B, A, 1280);
    segment[53] = 0x10;
    let refused = outbound(&table_of_b(&tunnels, "inbox"), &segment);
    assert_eq!(refused, Err(Outbound::Drop(Drop::NotGranted)));
    assert!(outbound(&table_of_b(&tunnels, "all"), &segment).is_ok());
}

#[test]
fn other_addresses_are_refused_before_the_grant_is_asked() {
    let tunnels = Pair::connected();
    let table = table_of_b(&tunnels, "udp:53");
    let outcome = |source, destination| from_a(&tunnels, &table, &udp(source, destination, (5000, 54)));
    assert_eq!(outcome(B, B), Inbound::Drop(Drop::WrongSource));
    assert_eq!(outcome(A, A), Inbound::Drop(Drop::WrongDestination));
}

#[test]
fn control_packets_are_no_matter_of_grants() {
    let tunnels = Pair::connected();
    let table = table_of_b(&tunnels, "none");
    let control = encode(id(A), id(B), &Control::Ping { id: 1 });
    assert!(matches!(from_a(&tunnels, &table, &control), Inbound::Control { .. }));
}

#[test]
fn a_refused_packet_still_tells_that_the_session_is_up() {
    let tunnels = Pair::new();
    respond(&tunnels.a, &answer(&tunnels.b, &initiate(&tunnels.a)).unwrap()).unwrap();
    let table = table_of_b(&tunnels, "none");
    let outcome = from_a(&tunnels, &table, &udp(A, B, (5000, 53)));
    assert!(matches!(outcome, Inbound::NotGranted(Arrival { news: true, .. })), "{outcome:?}");
    assert!(tunnels.b.has_session());
}
