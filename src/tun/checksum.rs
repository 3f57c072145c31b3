//! The Internet checksum (RFC 1071), in steps.
//!
//! Sums are kept unfolded, in the byte order of this machine: a sum of 16-bit words comes out the same in either order,
//! but for its own bytes (section 2, B).

use crate::wire::packet::{ADDRESSES, HEADER_LEN};

/// The sum of the 16-bit words of `bytes`; a last odd byte counts as if a zero followed.
pub fn sum(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: this CPU has AVX2.
        return unsafe { sum_avx2(bytes) };
    }
    sum_words(bytes)
}

/// The same by wider vectors, twice as quick.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2(bytes: &[u8]) -> u64 {
    sum_words(bytes)
}

/// Both halves of each word are added up in 64 bits, which do not overflow below 16 GiB; the compiler makes vector
/// instructions of it.
#[inline(always)]
fn sum_words(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    let (mut low, mut high) = (0_u64, 0_u64);
    for word in words {
        let word = u64::from_ne_bytes(*word);
        low += word & 0xffff_ffff;
        high += word >> 32;
    }
    low + high + sum_of_few(rest)
}

#[inline(always)]
fn sum_of_few(bytes: &[u8]) -> u64 {
    let (pairs, last) = bytes.as_chunks();
    let last = last.first().map_or(0, |&byte| u16::from_ne_bytes([byte, 0]));
    pairs.iter().map(|pair| u64::from(u16::from_ne_bytes(*pair))).sum::<u64>() + u64::from(last)
}

/// What a number in network order adds to a sum.
pub fn number(value: u32) -> u64 {
    u64::from(u32::from_ne_bytes(value.to_be_bytes()))
}

/// The sum over the pseudo header of a transport (RFC 8200, section 8.1), from an IPv6 header, the number of the protocol
/// and the length of its header and payload.
pub fn pseudo(packet: &[u8], protocol: u8, len: u16) -> u64 {
    sum(packet.get(ADDRESSES..HEADER_LEN).unwrap_or_default()) + number(protocol.into()) + number(len.into())
}

/// The two bytes of a sum as they stand in a packet, before they are inverted.
pub fn fold(mut sum: u64) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (sum as u16).to_ne_bytes()
}

/// The checksum field for what adds up to `sum`.
pub fn finish(sum: u64) -> [u8; 2] {
    let [high, low] = fold(sum);
    [!high, !low]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Section 4.1, word by word.
    fn reference(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn the_example_of_section_3() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)), [0xdd, 0xf2]);
        assert_eq!(finish(sum(&bytes)), [0x22, 0x0d]);
    }

    proptest! {
        #[test]
        fn any_bytes_add_up_as_the_rfc_says(bytes: Vec<u8>) {
            prop_assert_eq!(fold(sum(&bytes)), reference(&bytes).to_be_bytes());
        }

        #[test]
        fn parts_add_up_to_the_whole(bytes: Vec<u8>, value: u32) {
            let whole = [&bytes[..bytes.len() / 2 * 2], &value.to_be_bytes()].concat();
            let parts = sum(&bytes[..bytes.len() / 2 * 2]) + number(value);
            prop_assert_eq!(fold(parts), fold(sum(&whole)));
        }
    }
}
