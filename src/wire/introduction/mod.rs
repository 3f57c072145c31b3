//! What nodes say to each other inside envelopes: introductions and trust.
//!
//! In come the bodies of opened envelopes, out come typed words within their limits, or the
//! [`BodyError`] that names the field at fault. `proto/pilot/node/v1` documents the bytes. Whether
//! to believe the sender is left to the node, except for what only these bytes can show: a trust
//! statement's signature and a redemption's proof are checked here.

// The protobuf messages as the network gave them, without any check. The generator writes neither
// documentation for enum variants nor code to our lints.
#[allow(missing_docs, clippy::all)]
mod messages {
    include!("../generated/pilot.node.v1.rs");
}

mod candidate;
mod fields;
mod nat;
mod reachability;
mod redemption;
mod statement;

pub use reachability::{Introduction, MAX_CANDIDATES, MAX_FRIENDS, MAX_RELAYED, friend_tag};
pub use redemption::Redemption;
pub use statement::{MAX_REASON, TrustAnswer, TrustStatement};

use super::drops::Drop;

/// Names a trust request or a redemption in its answer: random bytes.
pub type Nonce = [u8; 16];

/// What the body of an envelope is, as its kind byte says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum EnvelopeKind {
    /// An [`Introduction`].
    Introduction = 1,
    /// A [`TrustStatement`].
    TrustStatement = 2,
    /// A [`TrustAnswer`].
    TrustAnswer = 3,
    /// A [`Redemption`].
    Redemption = 4,
}

impl TryFrom<u8> for EnvelopeKind {
    type Error = Drop;

    fn try_from(kind: u8) -> Result<Self, Drop> {
        match kind {
            1 => Ok(EnvelopeKind::Introduction),
            2 => Ok(EnvelopeKind::TrustStatement),
            3 => Ok(EnvelopeKind::TrustAnswer),
            4 => Ok(EnvelopeKind::Redemption),
            _ => Err(Drop::MalformedEnvelope),
        }
    }
}

/// Why the body of an envelope is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The bytes are no such message.
    #[error("the body is no {0} message: the sender runs another version, or the bytes are damaged")]
    NotProtobuf(&'static str),
    /// The body is longer than any valid one.
    #[error("the body has {len} bytes, but a {message} message has at most {max}")]
    TooLong {
        /// The message expected.
        message: &'static str,
        /// Bytes found.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A field has the wrong number of bytes.
    #[error("{field} has {len} bytes instead of {expected}")]
    Length {
        /// The field at fault.
        field: &'static str,
        /// Bytes found.
        len: usize,
        /// Bytes expected.
        expected: &'static str,
    },
    /// A list has more entries than allowed.
    #[error("{field} has {count} entries; at most {max} are allowed")]
    TooMany {
        /// The field at fault.
        field: &'static str,
        /// Entries found.
        count: usize,
        /// Entries allowed.
        max: usize,
    },
    /// A field is missing, or holds something else than it may.
    #[error("{field} is not valid: it must be {expected}")]
    Invalid {
        /// The field at fault.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The signature does not fit the sender's key.
    #[error("the trust request is not signed by the key that sent it")]
    Signature,
}

impl From<BodyError> for Drop {
    fn from(_: BodyError) -> Self {
        Drop::MalformedIntroduction
    }
}

#[cfg(test)]
mod tests;
