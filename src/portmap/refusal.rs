//! Why there is no mapping by one protocol.

/// A gateway that is not connected itself says so.
pub const NO_ADDRESS: &str = "the gateway has no address outside";

/// What came instead of a mapping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing came back.
    #[error("no answer")]
    Silent,
    /// The gateway has no such service, or the network did not take the question.
    #[error("not offered ({0})")]
    Unreachable(String),
    /// The gateway said no.
    #[error("refused: {meaning} (code {code})")]
    Refused {
        /// The protocol's number for it.
        code: u16,
        /// In words.
        meaning: String,
    },
    /// The gateway speaks another version of the protocol.
    #[error("the gateway speaks another version")]
    Version,
    /// The answer cannot be used.
    #[error("unusable answer: {0}")]
    Unusable(String),
}

impl Refusal {
    /// A refusal with the protocol's number and its meaning.
    pub fn code(code: u16, meaning: impl Into<String>) -> Refusal {
        Refusal::Refused { code, meaning: meaning.into() }
    }

    /// An answer that is not what it should be.
    pub fn unusable(why: impl Into<String>) -> Refusal {
        Refusal::Unusable(why.into())
    }
}
