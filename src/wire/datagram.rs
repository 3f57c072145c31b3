//! What kind of datagram arrived on our one UDP port: WireGuard, STUN, a relay frame or a beacon.
//!
//! They are told apart by their first bytes alone. WireGuard messages start with a type of 1 to
//! 4 as a little-endian 32-bit number (WireGuard paper, section 5.4), and those of a lane (`docs/lane.md`)
//! with the next one, 5; STUN carries its magic cookie
//! at bytes 4 to 8 under two zero bits (RFC 8489, section 5); relay frames start with 0x10 to 0x1f,
//! which as STUN would be methods that nobody has registered. Beacons start with 0x20, which would be such, too.

use super::bytes::take;
use super::drops::Drop;

/// The length in bytes of a WireGuard handshake initiation.
pub const INITIATION_LEN: usize = 148;
/// The length in bytes of a WireGuard handshake response.
pub const RESPONSE_LEN: usize = 92;
/// The length in bytes of a WireGuard cookie reply.
pub const COOKIE_LEN: usize = 64;
/// The length in bytes of the shortest WireGuard data message: a keepalive.
pub const DATA_MIN_LEN: usize = 32;
/// The first byte of a lane's data message; three zero bytes follow.
pub const LANE: u8 = 5;
/// The length in bytes of the shortest lane data message: a keepalive. What goes before and behind the packet is as
/// long as in WireGuard's.
pub const LANE_MIN_LEN: usize = DATA_MIN_LEN;

/// A datagram by kind; what it holds is still unproven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// A WireGuard handshake initiation, of [`INITIATION_LEN`] bytes.
    Initiation(&'a [u8]),
    /// A WireGuard handshake response, of [`RESPONSE_LEN`] bytes.
    Response(&'a [u8]),
    /// A WireGuard cookie reply, of [`COOKIE_LEN`] bytes.
    Cookie(&'a [u8]),
    /// A WireGuard data message.
    Data {
        /// The index that we gave to the session.
        receiver_index: u32,
        /// The whole datagram, [`DATA_MIN_LEN`] bytes or more.
        bytes: &'a [u8],
    },
    /// A data message of the AES-256-GCM lane beside a WireGuard session.
    Lane {
        /// The index that we gave to the WireGuard session that the lane belongs to.
        receiver_index: u32,
        /// The whole datagram, [`LANE_MIN_LEN`] bytes or more.
        bytes: &'a [u8],
    },
    /// A STUN message: see [`stun`](super::stun).
    Stun(&'a [u8]),
    /// A relay frame: see [`relay`](super::relay).
    Relay(&'a [u8]),
    /// An answer to a beacon of ours: see [`beacon`](super::beacon).
    Beacon(&'a [u8]),
}

/// Says what kind of datagram this is, or that it is none of ours.
pub fn classify(datagram: &[u8]) -> Result<Datagram<'_>, Drop> {
    let mut rest = datagram;
    let head: [u8; 4] = take(&mut rest).ok_or(Drop::NotOurs)?;
    let second: [u8; 4] = take(&mut rest).ok_or(Drop::NotOurs)?;
    match (u32::from_le_bytes(head), datagram.len()) {
        (1, INITIATION_LEN) => return Ok(Datagram::Initiation(datagram)),
        (2, RESPONSE_LEN) => return Ok(Datagram::Response(datagram)),
        (3, COOKIE_LEN) => return Ok(Datagram::Cookie(datagram)),
        (4, DATA_MIN_LEN..) => {
            return Ok(Datagram::Data { receiver_index: u32::from_le_bytes(second), bytes: datagram });
        }
        (kind, LANE_MIN_LEN..) if kind == u32::from(LANE) => {
            return Ok(Datagram::Lane { receiver_index: u32::from_le_bytes(second), bytes: datagram });
        }
        _ => {}
    }
    match head {
        [0x10..=0x1f, ..] => Ok(Datagram::Relay(datagram)),
        [super::beacon::KIND, ..] => Ok(Datagram::Beacon(datagram)),
        [0x00..=0x3f, ..] if second == super::stun::MAGIC_COOKIE => Ok(Datagram::Stun(datagram)),
        _ => Err(Drop::NotOurs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of_kind(kind: u32, len: usize) -> Vec<u8> {
        let mut bytes = vec![7; len];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes
    }

    #[test]
    fn wireguard_by_type_and_exact_length() {
        for (kind, len) in [(1, 148), (2, 92), (3, 64), (4, 32), (5, 32)] {
            assert!(classify(&of_kind(kind, len)).is_ok(), "type {kind}");
            assert_eq!(classify(&of_kind(kind, len - 1)), Err(Drop::NotOurs));
        }
        for kind in 1..=3 {
            assert_eq!(classify(&of_kind(kind, 200)), Err(Drop::NotOurs));
        }
        let data = of_kind(4, 1452);
        let expected = Datagram::Data { receiver_index: 0x0707_0707, bytes: &data };
        assert_eq!(classify(&data), Ok(expected));
        let lane = of_kind(5, 1452);
        let expected = Datagram::Lane { receiver_index: 0x0707_0707, bytes: &lane };
        assert_eq!(classify(&lane), Ok(expected));
    }

    #[test]
    fn stun_and_relay() {
        let request = super::super::stun::request([1; 12]);
        assert_eq!(classify(&request), Ok(Datagram::Stun(&request)));
        for first in 0x10..=0x1f {
            let frame = [first, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(classify(&frame), Ok(Datagram::Relay(&frame)));
        }
        assert_eq!(classify(&[0x20; 64]), Ok(Datagram::Beacon(&[0x20; 64])));
        assert_eq!(classify(&[0x40; 64]), Err(Drop::NotOurs));
        assert_eq!(classify(b"GET / HTTP/1.1\r\n\r\n"), Err(Drop::NotOurs));
        assert_eq!(classify(&[]), Err(Drop::NotOurs));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_classified_or_refused(bytes: Vec<u8>) {
            let _ = classify(&bytes);
        }
    }
}
