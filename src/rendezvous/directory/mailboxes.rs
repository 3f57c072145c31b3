//! What waits for nodes that are away.
//!
//! Comes in: items with sender and target. Goes out: the items of a target, oldest first. Quotas bound what one sender
//! can store, what one target must keep, and the whole; a refusal is never shown to the sender.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Content, Item};
use crate::identity::{Network, PublicKey, Target};

/// The most items that are kept for one target.
pub const MAX_PER_TARGET: usize = 64;
/// The most items of one sender, for all targets together.
pub const MAX_PER_SENDER: usize = 64;
/// The most items of one sender for one target, so that one sender never fills a mailbox.
pub const MAX_PER_PAIR: usize = 8;
/// The most items in all.
pub const MAX_ITEMS: usize = 65_536;
/// The most bytes of content in all.
pub const MAX_BYTES: usize = 64 << 20;
/// How long an item is kept, in seconds: 7 days.
pub const LIFETIME: u64 = 7 * 24 * 60 * 60;

/// All items, found by number and by target.
#[derive(Default)]
pub struct Mailboxes {
    items: BTreeMap<u64, Item>,
    boxes: BTreeMap<(Network, Target), BTreeSet<u64>>,
    by_sender: BTreeMap<PublicKey, usize>,
    bytes: usize,
    last: u64,
}

/// An item that was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its number.
    pub number: u64,
    /// The item that it took the place of.
    pub replaced: Option<u64>,
}

impl Mailboxes {
    /// Takes over what was saved.
    pub fn restore(saved: Vec<(u64, Item)>) -> Mailboxes {
        let mut mailboxes = Mailboxes::default();
        for (number, item) in saved {
            mailboxes.insert(number, item);
        }
        mailboxes
    }

    /// Stores an item, or nothing where a quota is used up. A newer trust request takes the place of the same sender's
    /// older one to the same target, so that asking again neither fills the mailbox nor the other side's list.
    pub fn store(&mut self, item: Item) -> Option<Stored> {
        let replaced = self.former_request(&item);
        if replaced.is_none() && !self.has_room(&item) {
            return None;
        }
        if let Some(former) = replaced {
            self.remove(former);
        }
        let number = self.last.checked_add(1)?;
        self.insert(number, item);
        Some(Stored { number, replaced })
    }

    fn former_request(&self, item: &Item) -> Option<u64> {
        let is_request = |item: &Item| matches!(item.content, Content::Statement(_));
        let mut former = self.of(item.network, &item.target);
        let same = |(_, other): &(u64, &Item)| is_request(other) && other.sender == item.sender;
        former.find(same).filter(|_| is_request(item)).map(|(number, _)| number)
    }

    fn has_room(&self, item: &Item) -> bool {
        let from_sender = self.by_sender.get(&item.sender).copied().unwrap_or(0);
        let (mut in_box, mut of_pair) = (0, 0);
        for (_, other) in self.of(item.network, &item.target) {
            in_box += 1;
            of_pair += usize::from(other.sender == item.sender);
        }
        from_sender < MAX_PER_SENDER
            && in_box < MAX_PER_TARGET
            && of_pair < MAX_PER_PAIR
            && self.items.len() < MAX_ITEMS
            && self.bytes + item.content.bytes().len() <= MAX_BYTES
    }

    fn insert(&mut self, number: u64, item: Item) {
        self.last = self.last.max(number);
        self.bytes += item.content.bytes().len();
        *self.by_sender.entry(item.sender).or_default() += 1;
        self.boxes.entry((item.network, item.target.clone())).or_default().insert(number);
        self.items.insert(number, item);
    }

    /// Removes an item; false when there is none.
    pub fn remove(&mut self, number: u64) -> bool {
        let Some(item) = self.items.remove(&number) else {
            return false;
        };
        self.bytes -= item.content.bytes().len();
        if let Some(count) = self.by_sender.get_mut(&item.sender) {
            *count -= 1;
            if *count == 0 {
                self.by_sender.remove(&item.sender);
            }
        }
        let place = (item.network, item.target);
        if let Some(numbers) = self.boxes.get_mut(&place) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.boxes.remove(&place);
            }
        }
        true
    }

    /// The items of a target with their numbers, oldest first.
    pub fn of(&self, network: Network, target: &Target) -> impl Iterator<Item = (u64, &Item)> {
        let numbers = self.boxes.get(&(network, target.clone()));
        numbers.into_iter().flatten().filter_map(|number| Some((*number, self.items.get(number)?)))
    }

    /// The numbers of the items whose time is over.
    pub fn expired(&self, now: u64) -> Vec<u64> {
        self.items.iter().filter(|(_, item)| item.expires <= now).map(|(number, _)| *number).collect()
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.items.len()
    }
}
