//! Runs: consecutive events that go the same way together, as bytes that several queues share.

use std::sync::Arc;

use bytes::Bytes;

/// Bytes of a run, unless it is a single event that has more.
pub const RUN_BYTES: usize = 64 << 10;
/// From this size on bytes are shared: below, a copy costs less than keeping count of who holds them.
const SHARED_FROM: usize = 4 << 10;
/// A part of less than one in so many would keep too much of the whole in memory.
const SHARED_PART: usize = 8;

/// Consecutive events, as elements of a batch.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The elements, one after the other.
    pub bytes: Bytes,
    /// How many.
    pub count: usize,
    /// Bytes of the buffer that `bytes` lie in.
    pub whole: usize,
}

impl Run {
    /// Whether to hold these bytes themselves rather than a copy.
    pub fn is_to_be_shared(&self) -> bool {
        self.bytes.len() >= SHARED_FROM && self.bytes.len() * SHARED_PART >= self.whole
    }

    /// The bytes, to be kept for long.
    pub fn kept(&self) -> Bytes {
        if self.is_to_be_shared() { self.bytes.clone() } else { Bytes::copy_from_slice(&self.bytes) }
    }
}

/// For which queue groups of the receiving node events are, on a link between nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The groups whose turn it is.
    pub groups: Vec<Arc<str>>,
    /// Whether they are for those groups alone.
    pub is_exclusive: bool,
}
