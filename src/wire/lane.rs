//! What one end contributes to a lane: the body of the control packets that agree on one.

use super::bytes::{take, take_u32};

/// One end's part in the agreement on a lane. Which handshake of the tunnel it belongs to is said by both indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneShare {
    /// The receiver index that the initiator gave to the WireGuard session.
    pub initiator: u32,
    /// The receiver index that the responder gave to it.
    pub responder: u32,
    /// A fresh X25519 public key of the sender (RFC 7748).
    pub ephemeral: [u8; 32],
}

impl LaneShare {
    /// Adds its 40 bytes.
    pub(super) fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.initiator.to_be_bytes());
        out.extend_from_slice(&self.responder.to_be_bytes());
        out.extend_from_slice(&self.ephemeral);
    }

    /// Reads them; nothing may follow.
    pub(super) fn read(mut rest: &[u8]) -> Option<Self> {
        let (initiator, responder) = (take_u32(&mut rest)?, take_u32(&mut rest)?);
        let ephemeral = take(&mut rest)?;
        rest.is_empty().then_some(LaneShare { initiator, responder, ephemeral })
    }
}
