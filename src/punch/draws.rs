//! Random numbers of one peer, from its seed.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// What a stream cipher gives, number by number. The generator is made anew for each: it has 300 bytes, and a peer with a
/// good path needs a number or two a minute.
pub(super) struct Draws {
    seed: u64,
    drawn: u64,
}

impl Draws {
    pub(super) fn new(seed: u64) -> Draws {
        Draws { seed, drawn: 0 }
    }

    pub(super) fn next(&mut self) -> u64 {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        // Each number takes two words of the stream.
        rng.set_word_pos(u128::from(self.drawn) * 2);
        self.drawn += 1;
        rng.next_u64()
    }
}
