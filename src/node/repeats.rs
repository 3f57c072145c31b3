//! What came by several rendezvous servers is taken in once.

use std::collections::VecDeque;

use blake2::{Blake2s256, Digest};

/// So much is remembered: more than comes while the slowest server lags behind the others.
const REMEMBERED: usize = 256;

/// Where an acknowledgement goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    /// The number of the server that delivered it.
    pub server: u8,
    /// Its number there, or 0 where it needs none.
    pub delivery: u64,
}

/// What was taken in lately, by digest.
#[derive(Default)]
pub(super) struct Repeats {
    seen: VecDeque<[u8; 32]>,
}

impl Repeats {
    /// Of all bytes: a server that knew a part of it cannot make us pass over the rest.
    pub fn digest(content: &[u8]) -> [u8; 32] {
        Blake2s256::digest(content).into()
    }

    pub fn has(&self, digest: &[u8; 32]) -> bool {
        self.seen.contains(digest)
    }

    pub fn add(&mut self, digest: [u8; 32]) {
        self.seen.push_back(digest);
        if self.seen.len() > REMEMBERED {
            self.seen.pop_front();
        }
    }
}
