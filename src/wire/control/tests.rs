use super::*;
use crate::identity::{TunnelCertificate, TunnelKey};
use crate::wire::{LaneShare, Nat};
use proptest::prelude::*;

fn node(byte: u8) -> NodeId {
    NodeId::from_bytes([byte; 6])
}

fn path() -> impl Strategy<Value = Path> {
    let endpoint = || (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from);
    let relayed = |(server, number)| Path::Relayed(RelayAddress { server, allocation: Allocation(number) });
    prop_oneof![
        endpoint().prop_map(Path::Direct),
        (endpoint(), any::<u64>()).prop_map(relayed),
        (any_node(), any_node()).prop_map(|(friend, node)| Path::Friend { friend, node }),
    ]
}

fn any_node() -> impl Strategy<Value = NodeId> {
    (0..1u64 << 48).prop_map(|number| NodeId::from_u64(number).unwrap())
}

fn control() -> impl Strategy<Value = Control> {
    prop_oneof![
        any::<u64>().prop_map(|id| Control::Probe { id }),
        (any::<u64>(), path()).prop_map(|(id, observed)| Control::ProbeAnswer { id, observed }),
        any::<u64>().prop_map(|id| Control::Ping { id }),
        any::<u64>().prop_map(|id| Control::Pong { id }),
        (any::<u64>(), MTU_PROBE_MIN..=1420).prop_map(|(id, size)| Control::MtuProbe { id, size }),
        (any::<u64>(), any::<u16>()).prop_map(|(id, size)| Control::MtuAnswer { id, size }),
        (any_node(), any::<Vec<u8>>()).prop_map(|(to, payload)| Control::Carry { to, payload }),
        (any_node(), any::<Vec<u8>>()).prop_map(|(from, payload)| Control::Carried { from, payload }),
        share().prop_map(Control::LaneOffer),
        share().prop_map(Control::LaneAccept),
    ]
}

fn share() -> impl Strategy<Value = LaneShare> {
    let parts = (any::<u32>(), any::<u32>(), any::<[u8; 32]>());
    parts.prop_map(|(initiator, responder, ephemeral)| LaneShare { initiator, responder, ephemeral })
}

#[test]
fn a_lane_share_is_these_bytes() {
    let share = LaneShare { initiator: 0x0102_0304, responder: 0x0506_0708, ephemeral: [9; 32] };
    let packet = encode(node(1), node(2), &Control::LaneOffer(share));
    let payload = [&[12, 1, 2, 3, 4, 5, 6, 7, 8][..], &[9; 32]].concat();
    assert_eq!(Packet::parse(&packet).unwrap().payload(), payload);
    for wrong in [payload.len() - 1, payload.len() + 1] {
        let mut payload = payload.clone();
        payload.resize(wrong, 0);
        assert_eq!(read_control(&payload), Err(Drop::MalformedControl));
    }
}

#[test]
fn a_probe_is_these_bytes() {
    let packet = encode(node(0xa1), node(0xb2), &Control::Probe { id: 0x0102 });
    let view = Packet::parse(&packet).unwrap();
    assert!(view.is_control());
    assert_eq!(view.source().to_string(), "fe80::a1a1:a1a1:a1a1");
    assert_eq!(view.destination().to_string(), "fe80::b2b2:b2b2:b2b2");
    assert_eq!(packet[7], 1, "hop limit");
    assert_eq!(view.payload(), [1, 0, 0, 0, 0, 0, 0, 1, 2]);
}

#[test]
fn an_introduction_travels_too_and_keeps_its_limits() {
    let sent = Control::Introduction(Introduction {
        certificate: TunnelCertificate { key: TunnelKey::from_bytes([1; 32]), serial: 2, signature: [3; 64] },
        hostname: None,
        candidates: vec![],
        boot: 4,
        answer: false,
        nat: Nat::default(),
        relays: true,
        friends: vec![5],
    });
    let mut packet = encode(node(1), node(2), &sent);
    assert_eq!(parse(&packet), Ok((node(1), node(2), sent)));
    let last = packet.pop();
    assert!(last.is_some());
    packet[5] -= 1;
    assert_eq!(parse(&packet), Err(Drop::MalformedIntroduction));
}

#[test]
fn an_mtu_probe_is_as_long_as_it_says_and_its_answer_short() {
    let probe = Control::MtuProbe { id: 7, size: 1420 };
    let packet = encode(node(1), node(2), &probe);
    assert_eq!(packet.len(), 1420);
    assert_eq!(parse(&packet), Ok((node(1), node(2), probe)));
    let answer = encode(node(2), node(1), &Control::MtuAnswer { id: 7, size: 1420 });
    assert_eq!(answer.len(), usize::from(MTU_PROBE_MIN));
    let mut short = encode(node(1), node(2), &Control::MtuProbe { id: 7, size: 0 });
    assert_eq!(short.len(), answer.len(), "no answer is longer than its probe");
    short.pop();
    short[5] -= 1;
    assert_eq!(parse(&short), Err(Drop::MalformedControl));
}

#[test]
fn only_control_packets_between_nodes_are_read() {
    let good = encode(node(1), node(2), &Control::Ping { id: 1 });
    let spoiled = |index: usize, value: u8| {
        let mut packet = good.clone();
        packet[index] = value;
        parse(&packet)
    };
    assert_eq!(spoiled(6, 17), Err(Drop::MalformedControl));
    assert_eq!(spoiled(8, 0xfd), Err(Drop::MalformedControl));
    assert_eq!(spoiled(16, 1), Err(Drop::WrongSource));
    assert_eq!(spoiled(32, 1), Err(Drop::WrongDestination));
    assert_eq!(spoiled(40, 0x7f), Err(Drop::MalformedControl));
    assert_eq!(spoiled(40, PROBE_ANSWER), Err(Drop::MalformedControl));
    assert_eq!(parse(&good[..48]), Err(Drop::MalformedPacket));
}

#[test]
fn trailing_bytes_are_refused() {
    let mut packet = encode(node(1), node(2), &Control::Ping { id: 1 });
    packet.push(0);
    packet[5] += 1;
    assert_eq!(parse(&packet), Err(Drop::MalformedControl));
}

proptest! {
    #[test]
    fn round_trip(control in control()) {
        let packet = encode(node(1), node(2), &control);
        prop_assert_eq!(parse(&packet), Ok((node(1), node(2), control)));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = parse(&bytes);
        let _ = read_control(&bytes);
    }
}
