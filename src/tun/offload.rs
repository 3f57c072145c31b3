//! What the kernel and we leave to each other: the header in front of each packet of a device with offloads.
//!
//! It is `virtio_net_hdr` (virtio 1.2, section 5.1.6), 10 bytes in the byte order of the machine. A packet from the
//! kernel may lack its checksum, and may be many segments of one flow in one; packets to it may be the same.

/// The length in bytes of the header.
pub const LEN: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const NONE: u8 = 0;
const TCP_V6: u8 = 4;
const UDP: u8 = 5;
/// Set beside the kind where a TCP flow uses ECN: it says nothing that the flags do not.
const ECN: u8 = 0x80;

/// Of which transport the segments are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP segments: each has its own sequence number.
    Tcp,
    /// UDP datagrams of one size; the last may be shorter.
    Udp,
}

/// What is left to do for a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// Where the transport header starts and where in it the checksum stands, if that holds but the sum of the pseudo
    /// header. All in bytes.
    pub checksum: Option<(u16, u16)>,
    /// The packet is to be cut into segments with so many bytes of payload.
    pub segments: Option<(Transport, u16)>,
}

impl Offload {
    /// Reads the header of a packet from the kernel; none for kinds that we did not ask for.
    pub fn decode(bytes: &[u8; LEN]) -> Option<Offload> {
        let [flags, kind, ..] = *bytes;
        let field = |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|two| u16::from_ne_bytes(*two));
        let size = field(4)?;
        let segments = match kind & !ECN {
            NONE => None,
            TCP_V6 => Some((Transport::Tcp, size)),
            UDP => Some((Transport::Udp, size)),
            _ => return None,
        };
        let checksum = if flags & NEEDS_CHECKSUM == 0 { None } else { field(6).zip(field(8)) };
        Some(Offload { checksum, segments })
    }

    /// The header of a packet for the kernel, whose headers together have `header_len` bytes.
    pub fn encode(&self, header_len: u16) -> [u8; LEN] {
        if *self == Offload::default() {
            return [0; LEN];
        }
        let (kind, size) = match self.segments {
            None => (NONE, 0),
            Some((Transport::Tcp, size)) => (TCP_V6, size),
            Some((Transport::Udp, size)) => (UDP, size),
        };
        let (start, offset) = self.checksum.unwrap_or_default();
        let mut bytes = [0; LEN];
        bytes[0] = if self.checksum.is_some() { NEEDS_CHECKSUM } else { 0 };
        bytes[1] = kind;
        for (at, value) in [(2, header_len), (4, size), (6, start), (8, offset)] {
            if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
                *place = value.to_ne_bytes();
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        for offload in [
            Offload::default(),
            Offload { checksum: Some((40, 6)), segments: None },
            Offload { checksum: Some((40, 16)), segments: Some((Transport::Tcp, 1360)) },
            Offload { checksum: Some((48, 6)), segments: Some((Transport::Udp, 1200)) },
        ] {
            assert_eq!(Offload::decode(&offload.encode(60)), Some(offload));
        }
    }

    #[test]
    fn the_congestion_mark_changes_nothing_and_foreign_kinds_are_refused() {
        let tcp = Offload { checksum: Some((40, 16)), segments: Some((Transport::Tcp, 1360)) };
        let mut bytes = tcp.encode(60);
        bytes[1] |= ECN;
        assert_eq!(Offload::decode(&bytes), Some(tcp));
        bytes[1] = 1;
        assert_eq!(Offload::decode(&bytes), None, "TCP over IPv4");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: [u8; LEN]) {
            let _ = Offload::decode(&bytes);
        }
    }
}
