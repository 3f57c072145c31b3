//! Trust requests, signed by who asks, and the answers to them.

use prost::Message;

use super::fields::{decode, exact, hostname, hostname_text};
use super::{BodyError, Nonce, messages};
use crate::identity::{Hostname, Identity, PublicKey, Target};
use crate::wire::rendezvous::MAX_STATEMENT;

/// The most bytes of a reason.
pub const MAX_REASON: usize = 512;
/// The most bytes of an encoded answer: its fields at their largest, and room for later ones.
const MAX_ANSWER: usize = 256;
/// Signature domain of trust requests.
const DOMAIN: &str = "pilot-trust-request-v1";

/// A request for trust. Only [`TrustStatement::sign`] and [`TrustStatement::decode`] make one, so
/// that its text is fit for a terminal; the signature is proven by [`TrustStatement::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustStatement {
    nonce: Nonce,
    reason: String,
    hostname: Option<Hostname>,
    unix_millis: u64,
    target: Target,
    signature: [u8; 64],
}

impl TrustStatement {
    /// Asks `target` for trust. Refuses a reason over [`MAX_REASON`] bytes or with control
    /// characters. `unix_millis` is the time of signing.
    pub fn sign(
        sender: &Identity,
        nonce: Nonce,
        target: Target,
        reason: &str,
        hostname: Option<Hostname>,
        unix_millis: u64,
    ) -> Result<Self, BodyError> {
        let mut statement = TrustStatement {
            nonce,
            reason: printable(reason)?.to_owned(),
            hostname,
            unix_millis,
            target,
            signature: [0; 64],
        };
        statement.signature = sender.sign(DOMAIN, &statement.signed_bytes());
        Ok(statement)
    }

    /// Checks that `sender` signed exactly this.
    pub fn verify(&self, sender: &PublicKey) -> Result<(), BodyError> {
        sender.verify(DOMAIN, &self.signed_bytes(), &self.signature).map_err(|_| BodyError::Signature)
    }

    /// Names the request in its answer.
    pub fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// Why, for the person who decides: printable, at most [`MAX_REASON`] bytes.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The sender's host name as it says itself.
    pub fn hostname(&self) -> Option<&Hostname> {
        self.hostname.as_ref()
    }

    /// When it was signed, in milliseconds since 1970 by the sender's clock.
    pub fn unix_millis(&self) -> u64 {
        self.unix_millis
    }

    /// Whom the sender asked for.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The bytes of an envelope's body, or of a request through the rendezvous server; at most
    /// [`MAX_STATEMENT`].
    pub fn encode(&self) -> Vec<u8> {
        messages::TrustStatement {
            nonce: self.nonce.to_vec(),
            reason: self.reason.clone(),
            hostname: hostname_text(&self.hostname),
            unix_millis: self.unix_millis,
            target: self.target.to_string(),
            signature: self.signature.to_vec(),
        }
        .encode_to_vec()
    }

    /// Reads what [`TrustStatement::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        let message: messages::TrustStatement = decode("TrustStatement", bytes, MAX_STATEMENT)?;
        Ok(TrustStatement {
            nonce: exact("nonce", &message.nonce, "16")?,
            reason: printable(&message.reason)?.to_owned(),
            hostname: hostname(&message.hostname)?,
            unix_millis: message.unix_millis,
            target: target(&message.target)?,
            signature: exact("signature", &message.signature, "64")?,
        })
    }

    /// What the signature covers: fixed-size fields first, then each text after its length.
    fn signed_bytes(&self) -> Vec<u8> {
        let hostname = hostname_text(&self.hostname);
        let target = self.target.to_string();
        let mut bytes = self.nonce.to_vec();
        bytes.extend_from_slice(&self.unix_millis.to_be_bytes());
        for text in [&self.reason, &hostname, &target] {
            bytes.extend_from_slice(&(text.len() as u16).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }
}

/// The answer to a [`TrustStatement`] or a [`Redemption`](super::Redemption).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustAnswer {
    /// The nonce of what it answers.
    pub nonce: Nonce,
    /// Whether the sender trusts the receiver now.
    pub approved: bool,
    /// The sender's host name.
    pub hostname: Option<Hostname>,
}

impl TrustAnswer {
    /// The bytes of an envelope's body.
    pub fn encode(&self) -> Vec<u8> {
        messages::TrustAnswer {
            nonce: self.nonce.to_vec(),
            approved: self.approved,
            hostname: hostname_text(&self.hostname),
        }
        .encode_to_vec()
    }

    /// Reads an envelope's body.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        let message: messages::TrustAnswer = decode("TrustAnswer", bytes, MAX_ANSWER)?;
        Ok(TrustAnswer {
            nonce: exact("nonce", &message.nonce, "16")?,
            approved: message.approved,
            hostname: hostname(&message.hostname)?,
        })
    }
}

/// A reason that a terminal can show as it is.
fn printable(reason: &str) -> Result<&str, BodyError> {
    if reason.len() > MAX_REASON || reason.chars().any(char::is_control) {
        return Err(BodyError::Invalid { field: "reason", expected: "at most 512 bytes without control characters" });
    }
    Ok(reason)
}

/// A target in the one form that it is signed in.
fn target(text: &str) -> Result<Target, BodyError> {
    text.parse()
        .ok()
        .filter(|target: &Target| target.to_string() == text)
        .ok_or(BodyError::Invalid { field: "target", expected: "a public key, a node ID or a host name" })
}
