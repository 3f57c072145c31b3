//! All peers by every name that they have, and those that need attention.
//!
//! Peers that are only known cost nothing but their place: whatever is done every so often is done for the *live* ones,
//! which have a tunnel or packets that wait, and for those whose own deadline has come. Both are kept in order, by a look at
//! whoever was changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::Slot;
use super::remote::{Remote, Sampled};
use crate::identity::{NodeId, PublicKey, TunnelKey};
use crate::wire::Now;

/// All peers, by slot, ID, identity and tunnel key.
#[derive(Default)]
pub(super) struct Remotes {
    slots: Vec<Option<Kept>>,
    free: BTreeSet<Slot>,
    by_id: BTreeMap<NodeId, Slot>,
    by_key: BTreeMap<PublicKey, Slot>,
    by_tunnel: BTreeMap<TunnelKey, Slot>,
    live: BTreeSet<Slot>,
    by_due: BTreeSet<(Instant, Slot)>,
    /// Whoever may have changed since [`Remotes::settle`].
    touched: BTreeSet<Slot>,
    /// Whoever may have changed since the last [`Remotes::calm`] of it.
    stirred: BTreeSet<Slot>,
}

struct Kept {
    remote: Remote,
    /// As it stands in `by_due`.
    due: Option<Instant>,
}

impl Remotes {
    /// Gives a peer the lowest free slot; none when its ID is taken or all slots are.
    pub fn insert(&mut self, remote: Remote) -> Option<Slot> {
        if self.by_id.contains_key(&remote.id) {
            return None;
        }
        let next = || Slot::new(u32::try_from(self.slots.len()).ok()?);
        let slot = self.free.first().copied().or_else(next)?;
        self.free.remove(&slot);
        self.by_id.insert(remote.id, slot);
        if let Some(key) = remote.key {
            self.by_key.insert(key, slot);
        }
        if let Some(key) = remote.tunnel_key {
            self.by_tunnel.insert(key, slot);
        }
        let kept = Kept { remote, due: None };
        match self.slots.get_mut(place(slot)) {
            Some(entry) => *entry = Some(kept),
            None => self.slots.push(Some(kept)),
        }
        Some(slot)
    }

    pub fn remove(&mut self, slot: Slot) -> Option<Remote> {
        let Kept { remote, due } = self.slots.get_mut(place(slot))?.take()?;
        self.free.insert(slot);
        self.live.remove(&slot);
        if let Some(due) = due {
            self.by_due.remove(&(due, slot));
        }
        self.by_id.remove(&remote.id);
        if let Some(key) = &remote.key {
            self.by_key.remove(key);
        }
        self.forget_tunnel_key(slot, remote.tunnel_key);
        Some(remote)
    }

    /// Changes the tunnel key of a peer. One that another peer uses already is refused: an initiation
    /// could not be told from the other's.
    pub fn set_tunnel_key(&mut self, slot: Slot, key: TunnelKey) -> bool {
        if self.by_tunnel.get(&key).is_some_and(|other| *other != slot) {
            return false;
        }
        self.forget_tunnel_key(slot, self.get(slot).and_then(|remote| remote.tunnel_key));
        self.by_tunnel.insert(key, slot);
        if let Some(remote) = self.get_mut(slot) {
            remote.tunnel_key = Some(key);
        }
        true
    }

    fn forget_tunnel_key(&mut self, slot: Slot, key: Option<TunnelKey>) {
        if let Some(key) = key
            && self.by_tunnel.get(&key) == Some(&slot)
        {
            self.by_tunnel.remove(&key);
        }
    }

    pub fn get(&self, slot: Slot) -> Option<&Remote> {
        Some(&self.slots.get(place(slot))?.as_ref()?.remote)
    }

    /// A peer that may be changed, and that is looked at again therefore.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Remote> {
        let kept = self.slots.get_mut(place(slot))?.as_mut()?;
        self.touched.insert(slot);
        Some(&mut kept.remote)
    }

    /// Tells the agent of a peer what went through its tunnel; whether that was data.
    pub fn sample(&mut self, now: Now, slot: Slot) -> bool {
        let Some(kept) = self.slots.get_mut(place(slot)).and_then(Option::as_mut) else {
            return false;
        };
        let sampled = kept.remote.sample(now);
        if sampled != Sampled::Nothing {
            self.touched.insert(slot);
        }
        sampled == Sampled::Data
    }

    pub fn of_id(&self, id: NodeId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    pub fn of_key(&self, key: &PublicKey) -> Option<Slot> {
        self.by_key.get(key).copied()
    }

    pub fn of_tunnel(&self, key: &TunnelKey) -> Option<Slot> {
        self.by_tunnel.get(key).copied()
    }

    /// All slots in use, in order: for what happens seldom.
    pub fn slots(&self) -> Vec<Slot> {
        self.iter().map(|(slot, _)| slot).collect()
    }

    /// All peers, in the order of their slots: for what happens seldom.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Remote)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(place, kept)| {
            let slot = Slot::new(u32::try_from(place).ok()?)?;
            Some((slot, &kept.as_ref()?.remote))
        })
    }

    /// All peers in the order of their IDs.
    pub fn by_id(&self) -> impl Iterator<Item = &Remote> {
        self.by_id.values().filter_map(|slot| self.get(*slot))
    }

    /// The peers with a tunnel or packets that wait, in order.
    pub fn live(&mut self) -> Vec<Slot> {
        self.settle();
        self.live.iter().copied().collect()
    }

    /// Whether nobody is live; up to date after [`Remotes::settle`].
    pub fn is_quiet(&self) -> bool {
        self.live.is_empty()
    }

    /// The peer that needs attention first, when, and why; up to date after [`Remotes::settle`].
    pub fn due(&self) -> Option<(Instant, &'static str)> {
        let (_, slot) = self.by_due.first()?;
        self.get(*slot)?.due()
    }

    /// The peers whose deadline has come.
    pub fn overdue(&mut self, now: Instant) -> Vec<Slot> {
        self.settle();
        self.by_due.iter().take_while(|(at, _)| *at <= now).map(|(_, slot)| *slot).collect()
    }

    /// The peers whose deadline has come, and all that may have changed and are not calm yet, in order.
    pub fn ready(&mut self, now: Instant) -> BTreeSet<Slot> {
        let mut ready: BTreeSet<Slot> = self.overdue(now).into_iter().collect();
        ready.extend(&self.stirred);
        ready
    }

    /// All that these peers had to do is done.
    pub fn calm(&mut self, slots: &BTreeSet<Slot>) {
        self.settle();
        self.stirred.retain(|slot| !slots.contains(slot));
    }

    /// Sorts in whoever may have changed.
    pub fn settle(&mut self) {
        for slot in std::mem::take(&mut self.touched) {
            self.sort_in(slot);
        }
    }

    fn sort_in(&mut self, slot: Slot) {
        let Some(kept) = self.slots.get_mut(place(slot)).and_then(Option::as_mut) else {
            return;
        };
        self.stirred.insert(slot);
        match kept.remote.is_live() {
            true => self.live.insert(slot),
            false => self.live.remove(&slot),
        };
        let due = kept.remote.due().map(|(at, _)| at);
        let former = std::mem::replace(&mut kept.due, due);
        if former != due {
            former.map(|at| self.by_due.remove(&(at, slot)));
            due.map(|at| self.by_due.insert((at, slot)));
        }
    }
}

fn place(slot: Slot) -> usize {
    slot.number() as usize
}
