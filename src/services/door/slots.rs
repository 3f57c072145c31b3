//! Places for connections: so many in all, so many of one caller.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Limits;
use crate::identity::NodeId;

/// The places of one door.
pub(in crate::services) struct Slots {
    limits: Limits,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_caller: HashMap<NodeId, usize>,
}

/// A place, free again on drop.
pub(in crate::services) struct Slot {
    slots: Arc<Slots>,
    caller: NodeId,
}

impl Slots {
    pub fn new(limits: Limits) -> Arc<Slots> {
        Arc::new(Slots { limits, taken: Mutex::default() })
    }

    /// A place for one more connection of `caller`, if there is one.
    pub fn take(self: &Arc<Slots>, caller: NodeId) -> Option<Slot> {
        let mut taken = self.taken.lock();
        let of_caller = taken.by_caller.get(&caller).copied().unwrap_or(0);
        if taken.all >= self.limits.connections || of_caller >= self.limits.per_caller {
            return None;
        }
        taken.all += 1;
        taken.by_caller.insert(caller, of_caller + 1);
        Some(Slot { slots: self.clone(), caller })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.all = taken.all.saturating_sub(1);
        let left = taken.by_caller.get(&self.caller).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            taken.by_caller.remove(&self.caller);
        } else {
            taken.by_caller.insert(self.caller, left);
        }
    }
}
