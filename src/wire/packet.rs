//! Views of the IPv6 packets that the overlay carries.

use std::net::Ipv6Addr;

use etherparse::{IpNumber, Ipv6HeaderSlice};

use super::drops::Drop;

/// The length in bytes of an IPv6 header.
pub const HEADER_LEN: usize = 40;
/// Where the length of the payload stands in an IPv6 header, in bytes (RFC 8200, section 3).
pub const PAYLOAD_LEN: usize = 4;
/// Where the next header is named.
pub const NEXT_HEADER: usize = 6;
/// Where the two addresses start.
pub const ADDRESSES: usize = 8;
/// The next header of control packets between nodes: "experimentation and testing" (RFC 3692).
pub const CONTROL: u8 = 253;

/// A whole IPv6 packet: the header is sound and the payload as long as it says.
#[derive(Clone, Debug)]
pub struct Packet<'a> {
    header: Ipv6HeaderSlice<'a>,
    payload: &'a [u8],
}

/// The two congestion bits of a packet (RFC 3168, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ecn {
    /// The transport does not take part.
    NotCapable = 0,
    /// Capable, codepoint ECT(1).
    Capable1 = 1,
    /// Capable, codepoint ECT(0).
    Capable0 = 2,
    /// A router on the way was congested.
    Congested = 3,
}

impl Ecn {
    /// The lower two bits of a traffic class or type of service.
    pub fn from_bits(byte: u8) -> Ecn {
        match byte & 3 {
            0 => Ecn::NotCapable,
            1 => Ecn::Capable1,
            2 => Ecn::Capable0,
            _ => Ecn::Congested,
        }
    }

    /// The bits of a packet that leaves a tunnel, from its own and those of the datagram that brought it (RFC 6040,
    /// section 4.2, figure 4); none where it is to be dropped: it was marked, and its transport would not see it.
    pub fn out_of_tunnel(self, outer: Ecn) -> Option<Ecn> {
        match (self, outer) {
            (Ecn::NotCapable, Ecn::Congested) => None,
            (Ecn::NotCapable, _) => Some(Ecn::NotCapable),
            (_, Ecn::Congested) => Some(Ecn::Congested),
            (Ecn::Capable0, Ecn::Capable1) => Some(Ecn::Capable1),
            (inner, _) => Some(inner),
        }
    }
}

impl<'a> Packet<'a> {
    /// Reads a packet; anything else, and any length but the one in the header, is refused.
    ///
    /// Jumbograms (RFC 2675) have a zero length in their header, and so are refused.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Drop> {
        let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|_| Drop::MalformedPacket)?;
        let payload = bytes.get(HEADER_LEN..).ok_or(Drop::MalformedPacket)?;
        if payload.len() != usize::from(header.payload_length()) {
            return Err(Drop::MalformedPacket);
        }
        Ok(Packet { header, payload })
    }

    /// The source address.
    pub fn source(&self) -> Ipv6Addr {
        self.header.source_addr()
    }

    /// The destination address.
    pub fn destination(&self) -> Ipv6Addr {
        self.header.destination_addr()
    }

    /// What follows the header: an extension header or the transport.
    pub fn next_header(&self) -> IpNumber {
        self.header.next_header()
    }

    /// What follows the header, extension headers included.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The congestion bits.
    pub fn ecn(&self) -> Ecn {
        Ecn::from_bits(self.header.traffic_class())
    }

    /// Whether it has the shape of a control packet between nodes: next header [`CONTROL`], from a
    /// link-local address to a link-local one.
    pub fn is_control(&self) -> bool {
        self.header.next_header() == IpNumber(CONTROL)
            && self.source().is_unicast_link_local()
            && self.destination().is_unicast_link_local()
    }

    /// Whether it must never leave our own TUN: link-local or multicast at either end, or the next
    /// header of control packets. A program could otherwise speak in the node's name, and the
    /// kernel's neighbour and router solicitations would travel.
    pub fn is_local_only(&self) -> bool {
        let local = |ip: Ipv6Addr| ip.is_unicast_link_local() || ip.is_multicast();
        self.header.next_header() == IpNumber(CONTROL) || local(self.source()) || local(self.destination())
    }
}

/// The traffic class of an IPv6 packet; 0 for bytes too short for a header.
pub fn traffic_class(packet: &[u8]) -> u8 {
    match packet {
        [first, second, ..] if packet.len() >= HEADER_LEN => (first << 4) | (second >> 4),
        _ => 0,
    }
}

/// Writes the congestion bits into an IPv6 packet; bytes too short for a header stay as they are.
pub fn set_ecn(packet: &mut [u8], ecn: Ecn) {
    // The traffic class is the low half of byte 0 and the high half of byte 1 (RFC 8200, section 3).
    if packet.len() >= HEADER_LEN
        && let Some(byte) = packet.get_mut(1)
    {
        *byte = (*byte & 0b1100_1111) | ((ecn as u8) << 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(next_header: u8, source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x60, 0, 0, 0, 0, payload.len() as u8, next_header, 64];
        for ip in [source, destination] {
            bytes.extend_from_slice(&ip.parse::<Ipv6Addr>().unwrap().octets());
        }
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn fields_are_where_they_belong() {
        let bytes = packet(17, "fd50::1", "fd50::2", b"hello");
        let view = Packet::parse(&bytes).unwrap();
        assert_eq!(view.source().to_string(), "fd50::1");
        assert_eq!(view.destination().to_string(), "fd50::2");
        assert_eq!(view.payload(), b"hello");
        assert_eq!(view.ecn(), Ecn::NotCapable);
        assert!(!view.is_control() && !view.is_local_only());
    }

    #[test]
    fn control_is_link_local_at_both_ends() {
        let shape = |source, destination, next_header| {
            let bytes = packet(next_header, source, destination, &[]);
            let view = Packet::parse(&bytes).unwrap();
            (view.is_control(), view.is_local_only())
        };
        assert_eq!(shape("fe80::1", "fe80::2", CONTROL), (true, true));
        assert_eq!(shape("fd50::1", "fe80::2", CONTROL), (false, true));
        assert_eq!(shape("fd50::1", "fd50::2", CONTROL), (false, true));
        assert_eq!(shape("fe80::1", "fe80::2", 58), (false, true));
        assert_eq!(shape("fd50::1", "ff02::2", 58), (false, true));
        assert_eq!(shape("fd50::1", "fd50::2", 58), (false, false));
    }

    #[test]
    fn lengths_must_agree_and_ipv4_is_refused() {
        let mut bytes = packet(17, "fd50::1", "fd50::2", b"hello");
        assert!(Packet::parse(&bytes[..44]).is_err());
        bytes.push(0);
        assert!(Packet::parse(&bytes).is_err());
        bytes.pop();
        bytes[0] = 0x45;
        assert_eq!(Packet::parse(&bytes).unwrap_err(), Drop::MalformedPacket);
    }

    #[test]
    fn congestion_bits_change_nothing_else() {
        let mut bytes = packet(17, "fd50::1", "fd50::2", b"hello");
        (bytes[0], bytes[1]) = (0x6f, 0xff);
        for ecn in [Ecn::NotCapable, Ecn::Capable1, Ecn::Capable0, Ecn::Congested] {
            let mut marked = bytes.clone();
            set_ecn(&mut marked, ecn);
            assert_eq!(Packet::parse(&marked).unwrap().ecn(), ecn);
            assert_eq!(Ecn::from_bits(traffic_class(&marked)), ecn);
            marked[1] |= 0x30;
            assert_eq!(marked, bytes);
        }
    }

    /// Figure 4 of RFC 6040, row by row.
    #[test]
    fn a_tunnel_hands_on_congestion() {
        use Ecn::*;
        let outer = [NotCapable, Capable0, Capable1, Congested];
        for (inner, expected) in [
            (NotCapable, [Some(NotCapable), Some(NotCapable), Some(NotCapable), None]),
            (Capable0, [Some(Capable0), Some(Capable0), Some(Capable1), Some(Congested)]),
            (Capable1, [Some(Capable1), Some(Capable1), Some(Capable1), Some(Congested)]),
            (Congested, [Some(Congested); 4]),
        ] {
            assert_eq!(outer.map(|outer| inner.out_of_tunnel(outer)), expected, "{inner:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>) {
            let _ = Packet::parse(&bytes);
            set_ecn(&mut bytes, Ecn::Congested);
        }
    }
}
