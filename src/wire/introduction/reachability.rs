//! Introductions: a node's current tunnel key and where it might be reached.

use blake2::Blake2sMac;
use blake2::digest::consts::U8;
use blake2::digest::{FixedOutput, KeyInit, Update};
use prost::Message;

use super::fields::{decode, exact, hostname, hostname_text};
use super::{BodyError, candidate, messages, nat};
use crate::identity::{Hostname, PublicKey, TunnelCertificate, TunnelKey};
use crate::wire::control::MAX_BODY;
use crate::wire::nat::Nat;
use crate::wire::path::Candidate;

/// The most candidates in an introduction.
pub const MAX_CANDIDATES: usize = 32;
/// The most relayed candidates among them: an introduction within both limits fits a control packet.
pub const MAX_RELAYED: usize = 4;

/// The most friends that are told to pass things on.
pub const MAX_FRIENDS: usize = 4;

/// What stands for `friend` where `teller` tells `reader` that it can be reached through it: BLAKE2s, keyed with the
/// friend's key, of the teller's and the reader's, 8 bytes. Who does not know the friend's key learns nothing from it.
pub fn friend_tag(friend: &PublicKey, teller: &PublicKey, reader: &PublicKey) -> u64 {
    let mut mac = Blake2sMac::<U8>::new(friend.as_bytes().into());
    mac.update(teller.as_bytes());
    mac.update(reader.as_bytes());
    u64::from_be_bytes(mac.finalize_fixed().into())
}

/// How to reach a node. The certificate is still unproven: verify it against the sender's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The current tunnel key, signed by the identity.
    pub certificate: TunnelCertificate,
    /// The sender's host name as it says itself.
    pub hostname: Option<Hostname>,
    /// Where it might be reached, best first.
    pub candidates: Vec<Candidate>,
    /// Another number than before means that the sender restarted.
    pub boot: u64,
    /// Whether this answers an introduction; an answer is not answered again.
    pub answer: bool,
    /// How the NAT in front of the sender behaves.
    pub nat: Nat,
    /// Whether the sender passes on what its friends send each other.
    pub relays: bool,
    /// Who passes things on to the sender, as [`friend_tag`]s: only who knows such a friend knows whom they mean.
    pub friends: Vec<u64>,
}

impl Introduction {
    /// The bytes of an envelope's body, at most [`MAX_BODY`]. Candidates beyond [`MAX_CANDIDATES`],
    /// and relayed ones beyond [`MAX_RELAYED`], are left out: the last ones are the least promising.
    pub fn encode(&self) -> Vec<u8> {
        messages::Introduction {
            tunnel_key: self.certificate.key.as_bytes().to_vec(),
            tunnel_serial: self.certificate.serial,
            tunnel_signature: self.certificate.signature.to_vec(),
            hostname: hostname_text(&self.hostname),
            candidates: within_limits(&self.candidates).map(candidate::to_message).collect(),
            boot: self.boot,
            answer: self.answer,
            nat: nat::to_message(&self.nat),
            relays: self.relays,
            friends: self.friends.iter().take(MAX_FRIENDS).copied().collect(),
        }
        .encode_to_vec()
    }

    /// Reads an envelope's body.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        let message: messages::Introduction = decode("Introduction", bytes, MAX_BODY)?;
        at_most("friends", message.friends.len(), MAX_FRIENDS)?;
        Ok(Introduction {
            certificate: certificate(&message)?,
            hostname: hostname(&message.hostname)?,
            candidates: candidates(&message.candidates)?,
            boot: message.boot,
            answer: message.answer,
            nat: nat::from_message(message.nat.unwrap_or_default())?,
            relays: message.relays,
            friends: message.friends,
        })
    }
}

/// The candidates to send, in order.
fn within_limits(candidates: &[Candidate]) -> impl Iterator<Item = &Candidate> {
    let mut relayed = 0;
    let own = |candidate: &&Candidate| !candidate.path.is_by_friend();
    let fits = move |candidate: &&Candidate| {
        relayed += usize::from(!candidate.path.is_direct());
        candidate.path.is_direct() || relayed <= MAX_RELAYED
    };
    candidates.iter().filter(own).filter(fits).take(MAX_CANDIDATES)
}

fn certificate(message: &messages::Introduction) -> Result<TunnelCertificate, BodyError> {
    let key = exact("tunnel_key", &message.tunnel_key, "32")?;
    Ok(TunnelCertificate {
        key: TunnelKey::from_bytes(key),
        serial: message.tunnel_serial,
        signature: exact("tunnel_signature", &message.tunnel_signature, "64")?,
    })
}

fn candidates(messages: &[messages::Candidate]) -> Result<Vec<Candidate>, BodyError> {
    at_most("candidates", messages.len(), MAX_CANDIDATES)?;
    let candidates: Vec<Candidate> = messages.iter().map(candidate::from_message).collect::<Result<_, _>>()?;
    let relayed = candidates.iter().filter(|c| !c.path.is_direct()).count();
    at_most("relayed candidates", relayed, MAX_RELAYED)?;
    Ok(candidates)
}

fn at_most(field: &'static str, count: usize, max: usize) -> Result<(), BodyError> {
    if count > max {
        return Err(BodyError::TooMany { field, count, max });
    }
    Ok(())
}
