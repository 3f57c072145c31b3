//! Tells a program that its packet is too large: ICMPv6 Packet Too Big (RFC 4443, section 3.2).
//!
//! In: the packet and the MTU of its path. Out: the message, ready for the TUN device; none where it would be an
//! answer to an ICMPv6 error, or to what no single host sent (section 2.4, e).

use etherparse::{Icmpv6Type, IpNumber, Ipv6ExtensionsSlice, PacketBuilder};

use super::mtu::BASE;
use super::packet::{HEADER_LEN, Packet};

/// IPv6 and ICMPv6 headers.
const HEADERS: usize = HEADER_LEN + 8;
const HOP_LIMIT: u8 = 64;
/// ICMPv6 types below this one are errors (section 2.1).
const FIRST_QUERY: u8 = 128;

/// The message about `packet`, quoting as much of it as [`BASE`] bytes hold.
///
/// It comes from the address that the packet was for: its path is too narrow, and packets from there are expected on
/// the interface, also by firewalls that look at the reverse path.
pub fn too_big(packet: &[u8], mtu: u16) -> Option<Vec<u8>> {
    let view = Packet::parse(packet).ok()?;
    if view.is_local_only() || view.source().is_unspecified() || is_icmp_error(&view) {
        return None;
    }
    let quoted = packet.get(..packet.len().min(usize::from(BASE) - HEADERS))?;
    let (from, to) = (view.destination().octets(), view.source().octets());
    let mut message = Vec::with_capacity(HEADERS + quoted.len());
    PacketBuilder::ipv6(from, to, HOP_LIMIT)
        .icmpv6(Icmpv6Type::PacketTooBig { mtu: mtu.into() })
        .write(&mut message, quoted)
        .ok()?;
    Some(message)
}

/// Whether it reports an error, or might: its upper header cannot be reached.
fn is_icmp_error(packet: &Packet<'_>) -> bool {
    let Ok((_, upper, rest)) = Ipv6ExtensionsSlice::from_slice(packet.next_header(), packet.payload()) else {
        return true;
    };
    upper == IpNumber::IPV6_ICMP && rest.first().is_none_or(|kind| *kind < FIRST_QUERY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{Icmpv6Slice, NetSlice, SlicedPacket, TransportSlice};
    use proptest::prelude::*;
    use std::net::Ipv6Addr;

    fn packet(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&[next_header, 64]);
        for ip in ["fd50::1", "fd50::2"] {
            bytes.extend_from_slice(&ip.parse::<Ipv6Addr>().unwrap().octets());
        }
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn a_large_packet_is_answered_by_its_own_beginning() {
        let large = packet(17, &[7; 1380]);
        let message = too_big(&large, 1340).unwrap();
        assert_eq!(message.len(), 1280);
        let view = Packet::parse(&message).unwrap();
        assert_eq!((view.source().to_string(), view.destination().to_string()), ("fd50::2".into(), "fd50::1".into()));
        let sliced = SlicedPacket::from_ip(&message).unwrap();
        let Some(TransportSlice::Icmpv6(icmp)) = sliced.transport else { panic!("{sliced:?}") };
        let Some(NetSlice::Ipv6(ip)) = sliced.net else { panic!("no IPv6") };
        assert_eq!(icmp.icmp_type(), Icmpv6Type::PacketTooBig { mtu: 1340 });
        assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
        assert_eq!(icmp.payload(), &large[..1232]);
    }

    #[test]
    fn a_small_packet_is_quoted_whole() {
        let small = packet(17, b"hello");
        let message = too_big(&small, 1280).unwrap();
        assert_eq!(Icmpv6Slice::from_slice(&message[40..]).unwrap().payload(), small);
    }

    #[test]
    fn errors_are_not_answered_but_echoes_are() {
        for (kind, answered) in [(1, false), (2, false), (127, false), (128, true), (129, true)] {
            assert_eq!(too_big(&packet(58, &[kind; 1300]), 1280).is_some(), answered, "type {kind}");
        }
        // Behind a hop-by-hop header of eight bytes.
        let hidden = |kind| packet(0, &[&[58, 0, 1, 4, 0, 0, 0, 0], &[kind; 1300][..]].concat());
        assert!(too_big(&hidden(1), 1280).is_none());
        assert!(too_big(&hidden(128), 1280).is_some());
        assert!(too_big(&packet(58, &[]), 1280).is_none());
        assert!(too_big(&packet(0, &[58]), 1280).is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_packets_get_a_short_valid_answer_or_none(next_header: u8, payload: Vec<u8>, mtu in 1280_u16..1420) {
            if let Some(message) = too_big(&packet(next_header, &payload), mtu) {
                prop_assert!(message.len() <= 1280);
                prop_assert!(Packet::parse(&message).is_ok());
            }
            let _ = too_big(&payload, mtu);
        }
    }
}
