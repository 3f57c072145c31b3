//! Control messages of sockets (RFC 3542, section 20): what travels beside a datagram between us and the kernel.
//!
//! A `cmsghdr` is its length in a `size_t`, a level and a type; each message is padded to the size of a `size_t`.

use crate::wire::Ecn;
use nix::libc;

const WORD: usize = size_of::<usize>();
const HEADER: usize = WORD + 8;
/// Room for all messages that are sent or received with one datagram, in bytes.
pub const SPACE: usize = 128;

/// What is said beside datagrams that are sent.
pub struct Control {
    bytes: [u8; SPACE],
    len: usize,
}

impl Control {
    /// The congestion bits, unless they are none, and the size of the datagrams to cut, if there are several.
    pub fn new(is_v4: bool, ecn: Ecn, size: Option<u16>) -> Control {
        let mut control = Control { bytes: [0; SPACE], len: 0 };
        if ecn != Ecn::NotCapable {
            let (level, kind) =
                if is_v4 { (libc::IPPROTO_IP, libc::IP_TOS) } else { (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) };
            control.add(level, kind, &(ecn as i32).to_ne_bytes());
        }
        if let Some(size) = size {
            control.add(libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes());
        }
        control
    }

    /// As the kernel reads it.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn add(&mut self, level: i32, kind: i32, data: &[u8]) {
        let len = HEADER + data.len();
        let Some(place) = self.bytes.get_mut(self.len..self.len + len) else { return };
        let front = len.to_ne_bytes().into_iter().chain(level.to_ne_bytes()).chain(kind.to_ne_bytes());
        for (byte, value) in place.iter_mut().zip(front.chain(data.iter().copied())) {
            *byte = value;
        }
        self.len += len.next_multiple_of(WORD);
    }
}

/// What the kernel said beside datagrams that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The congestion bits.
    pub ecn: Ecn,
    /// The size of each datagram but the last, if there are several, in bytes.
    pub size: Option<usize>,
}

impl Told {
    /// Reads all messages; unknown ones say nothing.
    pub fn read(mut bytes: &[u8]) -> Told {
        let mut told = Told { ecn: Ecn::NotCapable, size: None };
        while let Some((level, kind, data, rest)) = next(bytes) {
            match (level, kind, data) {
                (libc::IPPROTO_IP, libc::IP_TOS, [tos, ..]) => told.ecn = Ecn::from_bits(*tos),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, data) => told.ecn = Ecn::from_bits(number(data) as u8),
                (libc::SOL_UDP, libc::UDP_GRO, data) => told.size = usize::try_from(number(data)).ok(),
                _ => {}
            }
            bytes = rest;
        }
        told
    }
}

/// The first message: level, type, data, and what follows it.
fn next(bytes: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let len = usize::from_ne_bytes(*bytes.first_chunk()?);
    let level = i32::from_ne_bytes(*bytes.get(WORD..)?.first_chunk()?);
    let kind = i32::from_ne_bytes(*bytes.get(WORD + 4..)?.first_chunk()?);
    let data = bytes.get(HEADER..len)?;
    Some((level, kind, data, bytes.get(len.next_multiple_of(WORD)..).unwrap_or_default()))
}

fn number(data: &[u8]) -> i32 {
    data.first_chunk().map_or(0, |four| i32::from_ne_bytes(*four))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_to_say_is_said_by_nothing() {
        assert!(Control::new(true, Ecn::NotCapable, None).bytes().is_empty());
    }

    #[test]
    fn congestion_bits_are_read_as_they_are_written() {
        for is_v4 in [true, false] {
            let control = Control::new(is_v4, Ecn::Congested, Some(1200));
            assert_eq!(Told::read(control.bytes()).ecn, Ecn::Congested);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            Told::read(&bytes);
        }
    }
}
