//! Redemptions: a joiner's proof that it holds an invitation's secret.

use hmac::{Hmac, Mac};
use prost::Message;
use sha2::Sha256;

use super::fields::{decode, exact, hostname, hostname_text};
use super::{BodyError, Nonce, messages};
use crate::identity::{Hostname, PublicKey};

/// The most bytes of an encoded redemption: its fields at their largest, and room for later ones.
const MAX_REDEMPTION: usize = 256;

/// Redeems an invitation: HMAC-SHA256 (RFC 2104) under the token's secret of the inviter's key,
/// then the joiner's. It proves the secret to the inviter alone, and for this joiner alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redemption {
    proof: [u8; 32],
    nonce: Nonce,
    hostname: Option<Hostname>,
}

impl Redemption {
    /// Redeems the invitation with this secret.
    pub fn new(
        secret: &[u8; 16],
        inviter: &PublicKey,
        joiner: &PublicKey,
        nonce: Nonce,
        hostname: Option<Hostname>,
    ) -> Self {
        let proof = mac(secret, inviter, joiner).finalize().into_bytes().into();
        Redemption { proof, nonce, hostname }
    }

    /// Whether the joiner holds this secret; compared in constant time.
    pub fn proves(&self, secret: &[u8; 16], inviter: &PublicKey, joiner: &PublicKey) -> bool {
        mac(secret, inviter, joiner).verify_slice(&self.proof).is_ok()
    }

    /// Names the redemption in its answer.
    pub fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// The joiner's host name as it says itself.
    pub fn hostname(&self) -> Option<&Hostname> {
        self.hostname.as_ref()
    }

    /// The bytes of an envelope's body.
    pub fn encode(&self) -> Vec<u8> {
        messages::Redemption {
            proof: self.proof.to_vec(),
            nonce: self.nonce.to_vec(),
            hostname: hostname_text(&self.hostname),
        }
        .encode_to_vec()
    }

    /// Reads an envelope's body.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        let message: messages::Redemption = decode("Redemption", bytes, MAX_REDEMPTION)?;
        Ok(Redemption {
            proof: exact("proof", &message.proof, "32")?,
            nonce: exact("nonce", &message.nonce, "16")?,
            hostname: hostname(&message.hostname)?,
        })
    }
}

fn mac(secret: &[u8; 16], inviter: &PublicKey, joiner: &PublicKey) -> Hmac<Sha256> {
    // RFC 2104, section 2: a key shorter than the block is padded with zeros.
    let mut key = zeroize::Zeroizing::new([0; 64]);
    key[..16].copy_from_slice(secret);
    <Hmac<Sha256> as hmac::digest::KeyInit>::new((&*key).into())
        .chain_update(inviter.as_bytes())
        .chain_update(joiner.as_bytes())
}
