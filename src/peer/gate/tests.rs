//! What passes a gate, both ways.

use std::net::Ipv6Addr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::peer::testing::packet;
use crate::wire::transport::tcp::{ACK, FIN, RST, SYN};

const EPHEMERAL: u16 = 50_000;

fn gate(grant: &str) -> Gate {
    Gate::new(&grant.parse().unwrap(), Clock::default()).unwrap()
}

fn bytes(next_header: u8, payload: &[u8]) -> Vec<u8> {
    packet(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, next_header, payload)
}

fn tcp(from: u16, to: u16, flags: u8) -> Vec<u8> {
    let mut header = [0; 20];
    header[..2].copy_from_slice(&from.to_be_bytes());
    header[2..4].copy_from_slice(&to.to_be_bytes());
    (header[12], header[13]) = (0x50, flags);
    bytes(6, &header)
}

fn udp(from: u16, to: u16) -> Vec<u8> {
    bytes(17, [from, to, 8, 0].map(u16::to_be_bytes).as_flattened())
}

fn icmp(kind: u8, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    bytes(58, &[kind, 0, 0, 0, high, low, 0, 1])
}

/// The first fragment of a packet, or one that is not the first.
fn fragment(packet: &[u8], offset: u16) -> Vec<u8> {
    let [high, low] = (offset | 1).to_be_bytes();
    let header = [packet[6], 0, high, low, 0, 0, 0, 9];
    bytes(44, &[&header, &packet[40..]].concat())
}

fn admits(gate: &Gate, bytes: &[u8]) -> bool {
    gate.admits(&Packet::parse(bytes).unwrap())
}

/// Notes a packet of ours, which may leave.
fn sent(gate: &Gate, bytes: &[u8]) {
    assert!(gate.notes(&Packet::parse(bytes).unwrap()));
}

fn is_kept(gate: &Gate, bytes: &[u8]) -> bool {
    !gate.notes(&Packet::parse(bytes).unwrap())
}

#[test]
fn everything_needs_no_gate() {
    assert!(Gate::new(&Grant::All, Clock::default()).is_none());
}

#[test]
fn what_is_granted_can_be_opened_and_nothing_else() {
    let limited = gate("inbox,events,tcp:8000-8100,udp:53");
    for port in [1001, 1002, 8000, 8050, 8100] {
        assert!(admits(&limited, &tcp(EPHEMERAL, port, SYN)), "{port}");
        assert!(admits(&limited, &tcp(EPHEMERAL, port, ACK)), "{port}");
        assert!(!admits(&limited, &udp(EPHEMERAL, port)), "{port}");
    }
    for port in [0, 7, 22, 53, 1000, 1003, 7999, 8101, EPHEMERAL, 65_535] {
        assert!(!admits(&limited, &tcp(EPHEMERAL, port, SYN)), "{port}");
        assert!(!admits(&limited, &tcp(EPHEMERAL, port, ACK)), "{port}");
    }
    assert!(admits(&limited, &udp(EPHEMERAL, 53)) && !admits(&limited, &udp(53, EPHEMERAL)));
    assert!(!admits(&limited, &icmp(128, 1)));
    assert!(admits(&gate("ping"), &icmp(128, 1)));
}

#[test]
fn a_service_is_its_port() {
    for service in crate::peer::Service::ALL {
        assert!(admits(&gate(service.name()), &tcp(EPHEMERAL, service.port(), SYN)));
    }
}

#[test]
fn replies_to_what_is_opened_here_come_in() {
    let gate = gate("none");
    sent(&gate, &tcp(EPHEMERAL, 22, SYN));
    assert!(admits(&gate, &tcp(22, EPHEMERAL, SYN | ACK)) && admits(&gate, &tcp(22, EPHEMERAL, RST)));
    assert!(!admits(&gate, &tcp(22, EPHEMERAL + 1, ACK)) && !admits(&gate, &tcp(23, EPHEMERAL, ACK)));
    sent(&gate, &udp(EPHEMERAL, 53));
    assert!(admits(&gate, &udp(53, EPHEMERAL)) && !admits(&gate, &udp(54, EPHEMERAL)));
    sent(&gate, &icmp(128, 7));
    assert!(admits(&gate, &icmp(129, 7)) && !admits(&gate, &icmp(129, 8)) && !admits(&gate, &icmp(128, 7)));
}

#[test]
fn a_peer_opens_nothing_through_a_connection_of_ours() {
    let gate = gate("none");
    sent(&gate, &tcp(8080, 80, SYN));
    assert!(!admits(&gate, &tcp(80, 8080, SYN)));
}

#[test]
fn a_connection_lasts_while_it_is_used_and_shortly_after_its_end() {
    let clock = Clock::default();
    let gate = Gate::new(&Grant::Only(Box::default()), clock.clone()).unwrap();
    let at = |seconds| clock.tell(Duration::from_secs(seconds));
    let (reply, ours) = (tcp(22, EPHEMERAL, ACK), tcp(EPHEMERAL, 22, ACK));
    sent(&gate, &tcp(EPHEMERAL, 22, SYN));
    at(239);
    assert!(admits(&gate, &reply));
    sent(&gate, &ours);
    at(239 + 7000);
    assert!(admits(&gate, &reply), "an idle connection");
    sent(&gate, &ours);
    at(239 + 14_000);
    sent(&gate, &tcp(EPHEMERAL, 22, FIN | ACK));
    sent(&gate, &ours);
    at(239 + 14_000 + 239);
    assert!(admits(&gate, &reply), "the rest of a closed one");
    at(239 + 14_000 + 240);
    assert!(!admits(&gate, &reply) && is_kept(&gate, &ours));
}

#[test]
fn replies_of_udp_and_echo_come_for_a_while_only() {
    let clock = Clock::default();
    let gate = Gate::new(&Grant::Only(Box::default()), clock.clone()).unwrap();
    sent(&gate, &udp(EPHEMERAL, 53));
    sent(&gate, &icmp(128, 7));
    clock.tell(Duration::from_secs(59));
    assert!(admits(&gate, &icmp(129, 7)));
    clock.tell(Duration::from_secs(299));
    assert!(!admits(&gate, &icmp(129, 7)) && admits(&gate, &udp(53, EPHEMERAL)));
    clock.tell(Duration::from_secs(300));
    assert!(!admits(&gate, &udp(53, EPHEMERAL)));
}

#[test]
fn a_service_answers_whom_it_is_granted_to_and_opens_no_way_by_that() {
    let former = gate("tcp:8080,udp:53");
    sent(&former, &tcp(8080, EPHEMERAL, SYN | ACK));
    sent(&former, &tcp(8080, EPHEMERAL, ACK));
    sent(&former, &udp(53, EPHEMERAL));
    let later = gate("inbox").after(&former);
    assert!(!admits(&later, &tcp(EPHEMERAL, 8080, ACK)) && !admits(&later, &udp(EPHEMERAL, 53)));
    assert!(is_kept(&later, &tcp(8080, EPHEMERAL, ACK)), "nothing more is sent on it either");
    assert!(!admits(&later, &tcp(EPHEMERAL, 8080, ACK)));
}

#[test]
fn a_connection_of_ours_outlives_another_grant() {
    let former = gate("tcp:8080");
    sent(&former, &tcp(EPHEMERAL, 22, SYN));
    sent(&former, &tcp(EPHEMERAL, 22, ACK));
    sent(&former, &udp(EPHEMERAL, 53));
    let later = gate("none").after(&former);
    assert!(admits(&later, &tcp(22, EPHEMERAL, ACK)));
    sent(&later, &tcp(EPHEMERAL, 22, ACK));
    assert!(!admits(&later, &udp(53, EPHEMERAL)), "whose flow it is cannot be known");
}

#[test]
fn errors_and_later_fragments_pass_and_what_hides_does_not() {
    let gate = gate("tcp:22");
    for kind in 0..=255 {
        let is_error = (1..=4).contains(&kind);
        assert_eq!(admits(&gate, &icmp(kind, 1)), is_error, "type {kind}");
    }
    let (granted, other) = (tcp(EPHEMERAL, 22, SYN), tcp(EPHEMERAL, 23, SYN));
    assert!(admits(&gate, &fragment(&granted, 0)) && !admits(&gate, &fragment(&other, 0)));
    assert!(admits(&gate, &fragment(&other, 16)));
    for extension in [0, 43, 51, 60, 135] {
        assert!(!admits(&gate, &bytes(extension, &[&[6, 0, 0, 0, 0, 0, 0, 0], &granted[40..]].concat())));
    }
    for protocol in [4, 41, 47, 50, 59, 132, 253] {
        assert!(!admits(&gate, &bytes(protocol, &granted[40..])));
    }
    assert!(!admits(&gate, &bytes(6, &granted[40..53])), "a header without its flags");
}

#[test]
fn ranges_that_touch_are_one() {
    let open = |grant: &str| gate(grant).tcp;
    assert_eq!(open("tcp:5-9,tcp:1-3,tcp:4,tcp:7-20,tcp:65535,tcp:65000-65535"), open("tcp:1-20,tcp:65000-65535"));
    assert_eq!(open("tcp:1-3,tcp:5").0.len(), 2);
}

fn item() -> impl Strategy<Value = Item> {
    let ports = || (1..200_u16, 0..20_u16).prop_map(|(first, more)| Ports::range(first, first + more).unwrap());
    prop_oneof![
        (0..5_usize).prop_map(|n| Item::Service(crate::peer::Service::ALL[n])),
        Just(Item::Ping),
        ports().prop_map(Item::Tcp),
        ports().prop_map(Item::Udp),
    ]
}

/// Whether a grant names what a packet without extension headers opens.
fn is_named(items: &[Item], bytes: &[u8]) -> bool {
    let port = bytes.get(42..44).map_or(0, |port| u16::from_be_bytes([port[0], port[1]]));
    let within = |ports: &Ports| (ports.first()..=ports.last()).contains(&port);
    items.iter().any(|item| match (bytes[6], item) {
        (6, Item::Tcp(ports)) | (17, Item::Udp(ports)) => within(ports),
        (6, Item::Service(service)) => service.port() == port,
        (58, Item::Ping) => bytes.get(40) == Some(&128),
        _ => false,
    })
}

proptest! {
    #[test]
    fn no_packet_passes_but_what_is_named_and_what_never_opens_anything(
        items in prop::collection::vec(item(), 0..6),
        protocol in prop_oneof![Just(6_u8), Just(17), Just(58), Just(44), any::<u8>()],
        from: u16,
        to in prop_oneof![0..250_u16, 998..1006_u16, any::<u16>()],
        rest in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let payload = [&from.to_be_bytes()[..], &to.to_be_bytes(), &rest].concat();
        let gate = Gate::new(&Grant::Only(items.clone().into()), Clock::default()).unwrap();
        let opens = |protocol: u8, payload: &[u8]| {
            let is_error = protocol == 58 && payload.first().is_some_and(|kind| (1..=4).contains(kind));
            is_error || is_named(&items, &bytes(protocol, payload))
        };
        if admits(&gate, &bytes(protocol, &payload)) {
            let may_pass = match protocol {
                44 => to & !7 != 0 || opens(payload[0], payload.get(8..).unwrap_or_default()),
                _ => opens(protocol, &payload),
            };
            prop_assert!(may_pass);
        }
    }

    #[test]
    fn whole_transports_pass_exactly_where_they_are_named(
        items in prop::collection::vec(item(), 0..6), from: u16, to in 0..1100_u16, flags: u8, kind: u8,
    ) {
        let gate = Gate::new(&Grant::Only(items.clone().into()), Clock::default()).unwrap();
        for bytes in [tcp(from, to, flags), udp(from, to)] {
            prop_assert_eq!(admits(&gate, &bytes), is_named(&items, &bytes));
        }
        let bytes = icmp(kind, from);
        prop_assert_eq!(admits(&gate, &bytes), (1..=4).contains(&kind) || is_named(&items, &bytes));
    }
}
