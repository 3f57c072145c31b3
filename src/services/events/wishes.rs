//! What everybody wants: patterns to subscribers, and what this node wants of its peers.
//!
//! In: subscribers that come, change their mind and leave. Out: the route of a topic, and for each peer the shortest
//! list of patterns with which nothing that is wanted of it is left out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::subscriber::{Group, Route, Scope, Subscriber, Target};
use super::topic::{Pattern, REPLY_PREFIX};
use super::trie::Trie;
use crate::identity::NodeId;

/// So many patterns are looked at as perhaps covering others; above that a list may be longer than needed.
const WIDEST: usize = 256;

/// A pattern, and the queue group for which it is wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wanted {
    /// The group; none for all events.
    pub group: Option<Arc<str>>,
    /// The pattern.
    pub pattern: Pattern,
}

/// What is wanted, by all subscribers together.
#[derive(Debug, Default)]
pub struct Wishes {
    trie: Trie<Target>,
    generation: u64,
    groups: HashMap<Arc<str>, (Arc<Group>, usize)>,
    of_peers: BTreeMap<(Scope, Wanted), usize>,
    members: BTreeMap<u64, Arc<Subscriber>>,
    next_id: u64,
}

impl Wishes {
    /// Grows whenever a route may have changed.
    pub fn generation(&self) -> u64 {
        // A topic that was just seen for the first time has 0.
        self.generation + 1
    }

    /// How many subscribers there are.
    pub fn subscribers(&self) -> usize {
        self.members.len()
    }

    /// All subscribers.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Subscriber>> {
        self.members.values()
    }

    /// A number for a subscriber that comes.
    pub fn number(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A subscriber comes.
    pub fn enter(&mut self, subscriber: &Arc<Subscriber>, wanted: &[Wanted]) {
        self.members.insert(subscriber.id, subscriber.clone());
        self.add(subscriber, wanted);
    }

    /// A subscriber is gone.
    pub fn leave(&mut self, subscriber: &Arc<Subscriber>, wanted: &[Wanted]) {
        self.members.remove(&subscriber.id);
        self.remove(subscriber, wanted);
    }

    /// Adds what a subscriber wants.
    pub fn add(&mut self, subscriber: &Arc<Subscriber>, wanted: &[Wanted]) {
        self.generation += 1;
        for one in wanted {
            let group = one.group.clone().map(|name| self.join(name));
            self.trie.insert(&one.pattern, Target { subscriber: subscriber.clone(), group });
            if concerns_peers(subscriber.scope, one) {
                *self.of_peers.entry((subscriber.scope, one.clone())).or_default() += 1;
            }
        }
    }

    /// Takes away what a subscriber wanted.
    pub fn remove(&mut self, subscriber: &Arc<Subscriber>, wanted: &[Wanted]) {
        self.generation += 1;
        for one in wanted {
            let group = one.group.clone().map(|name| Arc::new(Group::new(name)));
            self.trie.remove(&one.pattern, &Target { subscriber: subscriber.clone(), group });
            if let Some(name) = &one.group {
                self.part(name);
            }
            let key = (subscriber.scope, one.clone());
            if let Some(count) = self.of_peers.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.of_peers.remove(&key);
                }
            }
        }
    }

    fn join(&mut self, name: Arc<str>) -> Arc<Group> {
        let fresh = || (Arc::new(Group::new(name.clone())), 0);
        let (group, members) = self.groups.entry(name.clone()).or_insert_with(fresh);
        *members += 1;
        group.clone()
    }

    fn part(&mut self, name: &Arc<str>) {
        if let Some((_, members)) = self.groups.get_mut(name) {
            *members -= 1;
            if *members == 0 {
                self.groups.remove(name);
            }
        }
    }

    /// Who gets the events of a topic.
    pub fn route(&self, topic: &str) -> Arc<Route> {
        let mut found = Vec::new();
        self.trie.matches(topic, &mut |target| found.push(target));
        Arc::new(Route::new(found.into_iter()))
    }

    /// What is wanted of a peer: no pattern that a wider one of the same group covers.
    pub fn of_peer(&self, peer: NodeId) -> Vec<Wanted> {
        let mine = self.of_peers.keys().filter(|(scope, _)| *scope == Scope::All || *scope == Scope::From(peer));
        let mut mine: Vec<_> = mine.map(|(_, wanted)| wanted).collect();
        mine.sort();
        mine.dedup();
        let mut wide: Vec<_> = mine.iter().copied().filter(|one| one.pattern.as_str().contains('*')).collect();
        wide.sort_by_key(|one| one.pattern.as_str().len());
        wide.truncate(WIDEST);
        let is_covered = |one: &Wanted| {
            wide.iter()
                .any(|wide| wide.group == one.group && wide.pattern != one.pattern && wide.pattern.covers(&one.pattern))
        };
        mine.into_iter().filter(|one| !is_covered(one)).cloned().collect()
    }
}

/// Replies are handed to the node that asked; nobody has to be told to listen for them.
fn concerns_peers(scope: Scope, wanted: &Wanted) -> bool {
    matches!(scope, Scope::All | Scope::From(_)) && !wanted.pattern.as_str().starts_with(REPLY_PREFIX)
}
