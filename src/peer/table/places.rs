//! Entries by slot, in blocks that a table and the one after it share until something in them changes.

use std::sync::Arc;

use super::Entry;
use crate::peer::slot::Slot;

/// Entries in a block: what is copied for a change of one of them.
const BLOCK: usize = 32;

type Block = [Option<Entry>; BLOCK];

/// Entries by slot; a clone costs one pointer for [`BLOCK`] of them.
#[derive(Clone, Default)]
pub(super) struct Places {
    blocks: Vec<Arc<Block>>,
}

impl Places {
    pub(super) fn get(&self, slot: Slot) -> Option<&Entry> {
        let (block, place) = split(slot);
        self.blocks.get(block)?.get(place)?.as_ref()
    }

    pub(super) fn set(&mut self, slot: Slot, entry: Option<Entry>) {
        let (block, place) = split(slot);
        if block >= self.blocks.len() {
            // All new blocks are one, until something is put there.
            self.blocks.resize(block + 1, Arc::new(std::array::from_fn(|_| None)));
        }
        if let Some(at) = self.blocks.get_mut(block).and_then(|block| Arc::make_mut(block).get_mut(place)) {
            *at = entry;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.blocks.iter().flat_map(|block| block.iter()).flatten()
    }
}

fn split(slot: Slot) -> (usize, usize) {
    let number = slot.number() as usize;
    (number / BLOCK, number % BLOCK)
}
