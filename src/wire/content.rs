//! What an IPv6 packet carries, as far as it matters to whom it may be let through.

use super::packet::Packet;
use super::transport::{icmp, tcp, udp};

/// The next header of a fragment (RFC 8200, section 4.5).
const FRAGMENT: u8 = 44;
/// The length of a fragment's header; where in it the offset stands, and what of that is no offset.
const FRAGMENT_LEN: usize = 8;
const OFFSET: usize = 2;
const NO_OFFSET: u16 = 0b111;

/// What a packet carries. Ports and flags are as the packet says them: `from` is the sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A segment of TCP, with its whole header.
    Tcp {
        /// The source port.
        from: u16,
        /// The destination port.
        to: u16,
        /// The flags.
        flags: u8,
    },
    /// A datagram of UDP.
    Udp {
        /// The source port.
        from: u16,
        /// The destination port.
        to: u16,
    },
    /// An echo request of ICMPv6.
    EchoRequest {
        /// Names the program that asks.
        id: u16,
    },
    /// An echo reply of ICMPv6.
    EchoReply {
        /// Names the program that asked.
        id: u16,
    },
    /// An error of ICMPv6 (RFC 4443, section 3): unreachable, too big, time exceeded, parameter problem.
    Error,
    /// A fragment that is not the first: what it belongs to is in the first.
    Rest,
    /// Anything else: another protocol or message, an extension header in front, a header that is cut.
    Other,
}

impl Content {
    /// What a packet carries; the first fragment of one tells it for all of them.
    pub fn of(packet: &Packet<'_>) -> Content {
        let payload = packet.payload();
        match packet.next_header().0 {
            FRAGMENT => fragment(payload),
            protocol => transport(protocol, payload),
        }
    }
}

fn fragment(payload: &[u8]) -> Content {
    let (Some(next), Some(offset), Some(rest)) =
        (payload.first(), number(payload, OFFSET), payload.get(FRAGMENT_LEN..))
    else {
        return Content::Other;
    };
    match offset & !NO_OFFSET {
        0 => transport(*next, rest),
        _ => Content::Rest,
    }
}

fn transport(protocol: u8, header: &[u8]) -> Content {
    let ports = || Some((number(header, 0)?, number(header, 2)?));
    let content = match protocol {
        // A shorter one is a first fragment that hides its flags in the second (RFC 7112).
        tcp::NUMBER if header.len() >= tcp::HEADER_LEN => {
            ports().zip(header.get(tcp::FLAGS)).map(|((from, to), flags)| Content::Tcp { from, to, flags: *flags })
        }
        udp::NUMBER if header.len() >= udp::HEADER_LEN => ports().map(|(from, to)| Content::Udp { from, to }),
        icmp::NUMBER if header.len() >= icmp::HEADER_LEN => {
            number(header, icmp::ID).zip(header.first()).map(|(id, kind)| message(*kind, id))
        }
        _ => None,
    };
    content.unwrap_or(Content::Other)
}

fn message(kind: u8, id: u16) -> Content {
    match kind {
        kind if icmp::ERRORS.contains(&kind) => Content::Error,
        icmp::ECHO_REQUEST => Content::EchoRequest { id },
        icmp::ECHO_REPLY => Content::EchoReply { id },
        _ => Content::Other,
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet::NEXT_HEADER;
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    fn ip() -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
        PacketBuilder::ipv6([0xfd; 16], [0xfc; 16], 64)
    }

    fn content(bytes: &[u8]) -> Content {
        Content::of(&Packet::parse(bytes).unwrap())
    }

    fn syn() -> Vec<u8> {
        let mut bytes = Vec::new();
        ip().tcp(50_000, 22, 1, 1000).syn().write(&mut bytes, &[]).unwrap();
        bytes
    }

    /// The same packet with another header in front of its payload.
    fn behind(bytes: &[u8], next_header: u8, front: [u8; 8]) -> Vec<u8> {
        let mut bytes = [&bytes[..40], &front, &bytes[40..]].concat();
        bytes[NEXT_HEADER] = next_header;
        bytes[5] += 8;
        bytes
    }

    #[test]
    fn transports_are_told_apart_by_their_own_headers() {
        assert_eq!(content(&syn()), Content::Tcp { from: 50_000, to: 22, flags: tcp::SYN });
        let mut bytes = Vec::new();
        ip().udp(5353, 53).write(&mut bytes, b"query").unwrap();
        assert_eq!(content(&bytes), Content::Udp { from: 5353, to: 53 });
        for (kind, expected) in [(128, Content::EchoRequest { id: 258 }), (129, Content::EchoReply { id: 258 })] {
            let mut bytes = Vec::new();
            ip().icmpv6_raw(kind, 0, [1, 2, 0, 0]).write(&mut bytes, b"x").unwrap();
            assert_eq!(content(&bytes), expected);
        }
        let expected = [Content::Other, Content::Error, Content::Error, Content::Error, Content::Error, Content::Other];
        for (kind, expected) in (0..).zip(expected) {
            let mut bytes = Vec::new();
            ip().icmpv6_raw(kind, 0, [0; 4]).write(&mut bytes, b"x").unwrap();
            assert_eq!(content(&bytes), expected, "type {kind}");
        }
    }

    #[test]
    fn the_first_fragment_tells_and_the_others_do_not() {
        let fragment = |offset: u16| {
            let [high, low] = offset.to_be_bytes();
            content(&behind(&syn(), FRAGMENT, [tcp::NUMBER, 0, high, low, 0, 0, 0, 7]))
        };
        assert_eq!(fragment(0), content(&syn()));
        assert_eq!(fragment(1), content(&syn()), "more follow");
        assert_eq!(fragment(8), Content::Rest);
        assert_eq!(fragment(0xfff9), Content::Rest);
    }

    #[test]
    fn extension_headers_and_cut_headers_hide_what_follows() {
        for extension in [0, 43, 60] {
            assert_eq!(content(&behind(&syn(), extension, [tcp::NUMBER, 0, 1, 4, 0, 0, 0, 0])), Content::Other);
        }
        let nested = behind(&syn(), FRAGMENT, [tcp::NUMBER, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(content(&behind(&nested, FRAGMENT, [FRAGMENT, 0, 0, 1, 0, 0, 0, 7])), Content::Other);
        let mut cut = syn()[..56].to_vec();
        cut[5] = 16;
        assert_eq!(content(&cut), Content::Other);
    }

    proptest! {
        #[test]
        fn arbitrary_packets_never_panic(payload in prop::collection::vec(any::<u8>(), 0..60), next_header: u8) {
            let mut bytes = vec![0x60, 0, 0, 0, 0, payload.len() as u8, next_header, 64];
            bytes.extend([0; 32]);
            bytes.extend(payload);
            let _ = content(&bytes);
        }
    }
}
