//! Which flow a packet belongs to, as far as it shows at a glance.

use crate::wire::{
    packet::{HEADER_LEN, NEXT_HEADER},
    transport::tcp,
};
use std::ops::Range;

/// Where the ports stand in an IPv6 packet without extension headers.
pub const PORTS: Range<usize> = HEADER_LEN..HEADER_LEN + 4;
/// And what says how long TCP's header is, and its flags.
pub const DATA_OFFSET: usize = HEADER_LEN + tcp::DATA_OFFSET;
pub const FLAGS: usize = HEADER_LEN + tcp::FLAGS;

/// A number that is the same for packets of one flow and one direction, and seldom for others.
pub fn tag(packet: &[u8]) -> u64 {
    let word =
        |at: usize| packet.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_ne_bytes(*word));
    let ports = packet.get(PORTS).and_then(|ports| ports.first_chunk()).map_or(0, |ports| u32::from_ne_bytes(*ports));
    let protocol = packet.get(NEXT_HEADER).copied().unwrap_or(0);
    word(16) ^ word(32).rotate_left(17) ^ (u64::from(ports) << 13) ^ u64::from(protocol)
}

/// One of `count` places for a flow: multiplicative hashing, of which the upper bits count (Knuth, The Art of Computer
/// Programming, section 6.4).
pub fn place(tag: u64, count: usize) -> usize {
    let upper = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (upper as usize * count) >> 32
}

/// Whether a packet is of TCP and does nothing but acknowledge: it belongs to a transfer the other way.
pub fn is_acknowledgement(packet: &[u8]) -> bool {
    let byte = |at: usize| packet.get(at).copied().unwrap_or(0);
    let headers = HEADER_LEN + usize::from(byte(DATA_OFFSET) >> 4) * 4;
    byte(NEXT_HEADER) == tcp::NUMBER && byte(FLAGS) == tcp::ACK && packet.len() == headers
}

#[cfg(test)]
mod tests {
    use super::super::offload::Transport;
    use super::super::testing::Flow;
    use super::*;

    #[test]
    fn flows_spread_over_the_places_and_each_keeps_its_own() {
        let mut taken = [0; 8];
        for port in 40_000..40_800 {
            let flow = Flow { transport: Transport::Udp, port, acknowledged: 0, options: 0 };
            let of = |payload: &[u8]| place(tag(&flow.packet(0, false, payload)), taken.len());
            assert_eq!(of(b"one"), of(b"another"));
            taken[of(b"one")] += 1;
        }
        assert!(taken.iter().all(|&count| count > 50), "{taken:?}");
        assert_eq!(place(u64::MAX, 1), 0);
        assert_eq!(place(tag(&[]), 8), 0, "what is no packet");
    }

    #[test]
    fn acknowledgements_carry_nothing_and_are_of_tcp() {
        let tcp = Flow { transport: Transport::Tcp, port: 7, acknowledged: 5, options: 12 };
        assert!(is_acknowledgement(&tcp.packet(0, false, b"")));
        assert!(is_acknowledgement(&Flow { options: 0, ..tcp }.packet(0, false, b"")));
        assert!(!is_acknowledgement(&tcp.packet(0, false, b"k")), "a keystroke");
        assert!(!is_acknowledgement(&Flow { transport: Transport::Udp, ..tcp }.packet(0, false, b"")));
        let mut hello = tcp.packet(0, false, b"");
        hello[FLAGS] |= 2;
        assert!(!is_acknowledgement(&hello), "the second packet of a connection");
        assert!(!is_acknowledgement(&[]), "what is no packet");
    }
}
