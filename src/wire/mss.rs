//! Clamps the TCP maximum segment size (RFC 9293, section 3.7.1) that connections through a tunnel agree on.
//!
//! In: a packet and the MTU of its path, both ways alike. Out: the same packet; in a SYN the announced size is lowered
//! to what fits, and the checksum follows (RFC 1624). Nothing else is touched.

use super::bytes::put;
use super::packet::{HEADER_LEN, NEXT_HEADER};
use super::transport::tcp;

/// IPv6 and TCP headers without options, as the announced size leaves them out (RFC 6691).
const HEADERS: u16 = 60;
/// Where things are in a packet.
const DATA_OFFSET: usize = HEADER_LEN + tcp::DATA_OFFSET;
const FLAGS: usize = HEADER_LEN + tcp::FLAGS;
const CHECKSUM: usize = HEADER_LEN + tcp::CHECKSUM;
const OPTIONS: usize = HEADER_LEN + tcp::HEADER_LEN;
/// Options of TCP.
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MSS: u8 = 2;
const MSS_LEN: u8 = 4;

/// Whether a packet opens a TCP connection: the only ones that [`clamp`] may change.
pub fn is_syn(packet: &[u8]) -> bool {
    packet.get(NEXT_HEADER) == Some(&tcp::NUMBER) && packet.get(FLAGS).is_some_and(|flags| flags & tcp::SYN != 0)
}

/// Lowers the segment size that a SYN announces to what a path of this MTU carries; whether it was larger.
pub fn clamp(packet: &mut [u8], mtu: u16) -> bool {
    let limit = mtu.saturating_sub(HEADERS);
    let Some(at) = announced(packet) else { return false };
    let Some(old) = read(packet, at).filter(|old| *old > limit) else { return false };
    put(packet, at, limit.to_be_bytes());
    let odd = (at - HEADER_LEN) % 2 == 1;
    let (old, new) = if odd { (old.swap_bytes(), limit.swap_bytes()) } else { (old, limit) };
    if let Some(sum) = read(packet, CHECKSUM) {
        put(packet, CHECKSUM, updated(sum, old, new).to_be_bytes());
    }
    true
}

/// Where the announced size stands in a SYN.
fn announced(packet: &[u8]) -> Option<usize> {
    if !is_syn(packet) {
        return None;
    }
    let header_len = usize::from(packet.get(DATA_OFFSET)? >> 4) * 4;
    let options = packet.get(OPTIONS..HEADER_LEN + header_len)?;
    let mut at = 0;
    loop {
        match options.get(at..)? {
            [] | [END, ..] => return None,
            [NO_OPERATION, ..] => at += 1,
            [MSS, MSS_LEN, _, _, ..] => return Some(OPTIONS + at + 2),
            [_, len, ..] if *len >= 2 => at += usize::from(*len),
            _ => return None,
        }
    }
}

fn read(packet: &[u8], at: usize) -> Option<u16> {
    packet.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// The checksum after a word of what it covers changed: equation 3 of RFC 1624.
fn updated(sum: u16, old: u16, new: u16) -> u16 {
    let total = u32::from(!sum) + u32::from(!old) + u32::from(new);
    let once = (total & 0xffff) + (total >> 16);
    !(((once & 0xffff) + (once >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    fn syn(options: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        let ends = ([0xfd; 16], [0xfc; 16]);
        PacketBuilder::ipv6(ends.0, ends.1, 64)
            .tcp(1, 2, 3, 4)
            .syn()
            .options_raw(options)
            .unwrap()
            .write(&mut packet, payload)
            .unwrap();
        packet
    }

    fn has_valid_checksum(packet: &[u8]) -> bool {
        let sliced = SlicedPacket::from_ip(packet).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("no TCP") };
        tcp.calc_checksum_ipv6([0xfd; 16], [0xfc; 16]).unwrap() == tcp.checksum()
    }

    fn mss(packet: &[u8]) -> Option<u16> {
        announced(packet).and_then(|at| read(packet, at))
    }

    #[test]
    fn a_large_size_is_lowered_and_a_small_one_left() {
        let mut packet = syn(&[2, 4, 5, 0x50, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0], &[]);
        assert_eq!(mss(&packet), Some(1360));
        assert!(clamp(&mut packet, 1340));
        assert_eq!(mss(&packet), Some(1280));
        assert!(has_valid_checksum(&packet));
        let before = packet.clone();
        assert!(!clamp(&mut packet, 1340) && !clamp(&mut packet, 1420));
        assert_eq!(packet, before);
    }

    #[test]
    fn only_connections_that_open_are_touched() {
        let mut packet = syn(&[2, 4, 5, 0x50], &[]);
        packet[FLAGS] = 0x10;
        assert!(!is_syn(&packet) && !clamp(&mut packet, 1280));
        packet[FLAGS] = 0x12;
        assert!(is_syn(&packet) && clamp(&mut packet, 1280), "the answer to a SYN counts, too");
        let mut udp = syn(&[2, 4, 5, 0x50], &[]);
        udp[NEXT_HEADER] = 17;
        assert!(!clamp(&mut udp, 1280));
    }

    #[test]
    fn a_size_that_is_not_announced_is_not_invented() {
        for options in [&[][..], &[0, 2, 4, 5], &[8, 10, 2, 4, 5, 0x50, 0, 0, 0, 0, 1, 1], &[2, 3, 5, 0x50]] {
            let mut packet = syn(options, &[]);
            let before = packet.clone();
            assert!(!clamp(&mut packet, 1280), "{options:?}");
            assert_eq!(packet, before);
        }
    }

    proptest! {
        #[test]
        fn the_checksum_follows_wherever_the_option_stands(
            announced: u16,
            mtu in 1280_u16..=1420,
            paddings in 0..3_usize,
            payload: Vec<u8>,
        ) {
            let [high, low] = announced.to_be_bytes();
            let options = [&vec![1; paddings][..], &[2, 4, high, low]].concat();
            let mut packet = syn(&options, &payload);
            let before = packet.clone();
            let changed = clamp(&mut packet, mtu);
            prop_assert_eq!(changed, announced > mtu - 60);
            prop_assert_eq!(mss(&packet), Some(announced.min(mtu - 60)));
            prop_assert!(has_valid_checksum(&packet));
            prop_assert_eq!(before.len(), packet.len());
            prop_assert!(changed || before == packet);
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_never_loop(mut bytes: Vec<u8>, mtu: u16, shape: bool) {
            if shape && bytes.len() > DATA_OFFSET + 1 {
                (bytes[NEXT_HEADER], bytes[FLAGS], bytes[DATA_OFFSET]) = (tcp::NUMBER, tcp::SYN, 0xf0);
            }
            clamp(&mut bytes, mtu);
        }
    }
}
