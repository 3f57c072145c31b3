//! Random numbers of one peer, from its seed: most peers are never connected and need none.

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

/// A generator that is made on first use: it has 300 bytes.
pub(super) struct Draws {
    seed: u64,
    rng: Option<Box<ChaCha8Rng>>,
}

impl Draws {
    pub(super) fn new(seed: u64) -> Draws {
        Draws { seed, rng: None }
    }

    pub(super) fn rng(&mut self) -> &mut ChaCha8Rng {
        self.rng.get_or_insert_with(|| Box::new(ChaCha8Rng::seed_from_u64(self.seed)))
    }
}
