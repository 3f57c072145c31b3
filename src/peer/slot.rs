//! The number that finds a tunnel by the receiver index of a datagram, without a hash.

use std::fmt;

use crate::wire::Datagram;

/// Bits of a receiver index that count the sessions of one tunnel.
const SESSION_BITS: u32 = 8;

/// The place of a tunnel in the [`PeerTable`](super::PeerTable): 24 bits, the upper ones of the
/// receiver indices that the tunnel gives to its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    /// The largest slot.
    pub const MAX: Slot = Slot((1 << (32 - SESSION_BITS)) - 1);

    /// The slot of this number; none above [`Slot::MAX`].
    pub fn new(number: u32) -> Option<Self> {
        (number <= Self::MAX.0).then_some(Self(number))
    }

    /// The slot that gave out this receiver index.
    pub fn of(receiver_index: u32) -> Self {
        Self(receiver_index >> SESSION_BITS)
    }

    /// The number, to index a vector with.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The slot that a WireGuard or lane message is for; none for an initiation and for everything else.
///
/// The receiver index stands at byte 4 of data (a lane's, too) and cookies, at byte 8 of responses (WireGuard paper,
/// section 5.4).
pub fn receiver(datagram: &Datagram<'_>) -> Option<Slot> {
    match datagram {
        Datagram::Data { receiver_index, .. } | Datagram::Lane { receiver_index, .. } => {
            Some(Slot::of(*receiver_index))
        }
        Datagram::Response(bytes) => index(bytes, 8).map(Slot::of),
        Datagram::Cookie(bytes) => index(bytes, 4).map(Slot::of),
        _ => None,
    }
}

/// The little-endian index at this offset.
pub(super) fn index(bytes: &[u8], offset: usize) -> Option<u32> {
    let chunk = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::classify;

    #[test]
    fn a_slot_has_24_bits() {
        assert_eq!(Slot::new(0x00ff_ffff), Some(Slot::MAX));
        assert_eq!(Slot::new(0x0100_0000), None);
        assert_eq!(Slot::of(0x0102_03ff), Slot(0x0001_0203));
        assert_eq!(Slot::of(u32::MAX), Slot::MAX);
    }

    #[test]
    fn each_message_has_its_index_elsewhere() {
        let message = |kind: u8, len: usize, at: usize| {
            let mut bytes = vec![0; len];
            bytes[0] = kind;
            bytes[at..at + 4].copy_from_slice(&0x0000_0702_u32.to_le_bytes());
            receiver(&classify(&bytes).unwrap())
        };
        let slot = Slot::new(7);
        assert_eq!(message(2, 92, 8), slot);
        assert_eq!(message(3, 64, 4), slot);
        assert_eq!(message(4, 32, 4), slot);
        assert_eq!(message(5, 32, 4), slot);
        assert_eq!(message(1, 148, 4), None);
    }
}
