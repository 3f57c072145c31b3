//! Who has which ID and which name.
//!
//! Comes in: keys with their derived IDs, claims of names. Goes out: whether they hold, and who is meant by an ID or a
//! name. A registration outlives the connection by [`REGISTRATION_DAYS`], so that nobody takes the name of a node that
//! is away.

use std::collections::BTreeMap;

use super::record::Registration;
use super::refusal::Refusal;
use crate::identity::{Hostname, Network, NodeId, PublicKey, Target};

/// The most registrations that are kept.
pub const MAX_REGISTRATIONS: usize = 200_000;
/// How many days a node may be away before its ID and name are free.
pub const REGISTRATION_DAYS: u64 = 90;

const DAY: u64 = 24 * 60 * 60;

/// All registrations, found by key, by ID and by name.
#[derive(Default)]
pub struct Registry {
    nodes: BTreeMap<PublicKey, Registration>,
    ids: BTreeMap<NodeId, PublicKey>,
    names: BTreeMap<(Network, Hostname), PublicKey>,
}

/// What became of a claim to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The name changed hands, or was given up.
    Changed,
    /// It was so already.
    Same,
    /// It belongs to another node; nothing changed.
    Taken,
}

impl Registry {
    /// Takes over what was saved; of two registrations that contradict each other the first holds.
    pub fn restore(saved: Vec<Registration>) -> Registry {
        let mut registry = Registry::default();
        for mut registration in saved {
            let name = registration.hostname.take();
            let Registration { key, id, network, seen, .. } = registration;
            if registry.admit(key, id, network, seen).is_ok() {
                registry.claim(&key, name);
            }
        }
        registry
    }

    /// What is known of a key.
    pub fn get(&self, key: &PublicKey) -> Option<&Registration> {
        self.nodes.get(key)
    }

    /// Registers a login. True when that is worth saving; a node that changes its network loses its name.
    pub fn admit(&mut self, key: PublicKey, id: NodeId, network: Network, now: u64) -> Result<bool, Refusal> {
        if self.ids.get(&id).is_some_and(|owner| *owner != key) {
            return Err(Refusal::NodeIdTaken);
        }
        if self.nodes.get(&key).is_some_and(|known| known.network == network) {
            return Ok(self.touch(&key, now));
        }
        if self.nodes.len() >= MAX_REGISTRATIONS {
            return Err(Refusal::Full);
        }
        self.forget(&key);
        self.ids.insert(id, key);
        self.nodes.insert(key, Registration { key, id, network, hostname: None, seen: now });
        Ok(true)
    }

    /// Notes that a node is there; true when the note is a day newer, and worth saving.
    pub fn touch(&mut self, key: &PublicKey, now: u64) -> bool {
        match self.nodes.get_mut(key) {
            Some(known) if now.abs_diff(known.seen) >= DAY => {
                known.seen = now;
                true
            }
            _ => false,
        }
    }

    /// Gives a registered node a name in its network in place of the one it had, or none.
    pub fn claim(&mut self, key: &PublicKey, name: Option<Hostname>) -> Claim {
        let Some(node) = self.nodes.get_mut(key) else {
            return Claim::Taken;
        };
        if node.hostname == name {
            return Claim::Same;
        }
        if let Some(name) = &name {
            let place = (node.network, name.clone());
            if self.names.contains_key(&place) {
                return Claim::Taken;
            }
            self.names.insert(place, *key);
        }
        if let Some(former) = std::mem::replace(&mut node.hostname, name) {
            self.names.remove(&(node.network, former));
        }
        Claim::Changed
    }

    /// Who is meant in a network.
    pub fn find(&self, network: Network, target: &Target) -> Option<&Registration> {
        let key = match target {
            Target::Key(key) => Some(key),
            Target::Node(id) => self.ids.get(id),
            Target::Name(name) => self.names.get(&(network, name.clone())),
        };
        self.nodes.get(key?).filter(|node| node.network == network)
    }

    /// Removes a registration; its ID and name are free.
    pub fn forget(&mut self, key: &PublicKey) {
        let Some(node) = self.nodes.remove(key) else {
            return;
        };
        self.ids.remove(&node.id);
        if let Some(name) = node.hostname {
            self.names.remove(&(node.network, name));
        }
    }

    /// The keys that were away too long.
    pub fn expired(&self, now: u64) -> Vec<PublicKey> {
        let is_old = |node: &&Registration| node.seen.saturating_add(REGISTRATION_DAYS * DAY) < now;
        self.nodes.values().filter(is_old).map(|node| node.key).collect()
    }

    /// How many names are held.
    pub fn names(&self) -> usize {
        self.names.len()
    }
}
