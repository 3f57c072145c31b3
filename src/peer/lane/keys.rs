//! From a shared secret to one key a direction: `docs/lane.md`, "Keys".

use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use crate::identity::{PublicKey, TunnelKey};

/// The salt of HKDF: keeps these keys apart from all others, and one version of the lane from the next.
const SALT: &[u8] = b"pilot-lane-v1 aes-256-gcm";
/// Bytes of a key.
const KEY: usize = 32;

/// Who stands at one end of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// Its identity.
    pub identity: PublicKey,
    /// The key of its tunnels.
    pub tunnel: TunnelKey,
}

/// What one end brought to the agreement.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub party: Party,
    /// Its ephemeral X25519 public key.
    pub ephemeral: [u8; 32],
    /// Its receiver index in the WireGuard handshake.
    pub index: u32,
}

/// A key for each direction, named by who seals with it.
pub(super) struct Keys {
    pub initiator: Zeroizing<[u8; KEY]>,
    pub responder: Zeroizing<[u8; KEY]>,
}

/// The keys of the lane that these two ends agreed on, of whom the first made the initiation; none if HKDF refuses,
/// which it does not for this length.
pub(super) fn derive(shared: &[u8; 32], initiator: &End, responder: &End) -> Option<Keys> {
    let transcript = transcript(initiator, responder);
    let pseudorandom = Salt::new(HKDF_SHA256, SALT).extract(shared);
    let mut keys = Keys { initiator: Zeroizing::new([0; KEY]), responder: Zeroizing::new([0; KEY]) };
    for (label, key) in [(1, &mut keys.initiator), (2, &mut keys.responder)] {
        let label = [label];
        let info: [&[u8]; 2] = [&transcript, &label];
        pseudorandom.expand(&info, Length).ok()?.fill(&mut **key).ok()?;
    }
    Some(keys)
}

/// Every field has a fixed length, so that no two agreements have the same transcript.
fn transcript(initiator: &End, responder: &End) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(200);
    for end in [initiator, responder] {
        bytes.extend_from_slice(end.party.identity.as_bytes());
        bytes.extend_from_slice(end.party.tunnel.as_bytes());
        bytes.extend_from_slice(&end.ephemeral);
        bytes.extend_from_slice(&end.index.to_be_bytes());
    }
    bytes
}

/// Asks HKDF for a key.
struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY
    }
}

#[cfg(test)]
mod tests;
