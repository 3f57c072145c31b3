//! Who gets which events.
//!
//! In: where an event comes from. Out: whether a subscriber may have it, and whose turn it is in a queue group.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::queue::Queue;
use super::run::Turn;
use crate::identity::NodeId;

/// Where events come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Published on this node: numbered, remembered, for subscribers everywhere.
    Local,
    /// Handed in by a peer, for this node alone.
    Peer(NodeId),
    /// Published by a peer that we follow, for this node alone; perhaps for some queue groups.
    Link(NodeId, Option<Arc<Turn>>),
}

/// Events of which nodes a subscriber gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// What is published here: all that another node is told.
    Own,
    /// Of this node and every trusted one.
    All,
    /// Of one peer.
    From(NodeId),
    /// What one peer hands in; what it publishes comes another way.
    HandedIn(NodeId),
    /// What is published here and handed in here; what peers publish comes another way.
    Home,
}

impl Scope {
    /// Whether it has what a peer publishes from the link to that peer.
    pub fn follows(self, peer: NodeId) -> bool {
        self.admits(&Origin::Link(peer, None))
    }

    fn admits(self, origin: &Origin) -> bool {
        match (self, origin) {
            (Scope::Own | Scope::Home | Scope::All, Origin::Local) => true,
            (Scope::All | Scope::Home, Origin::Peer(_)) | (Scope::All, Origin::Link(..)) => true,
            (Scope::HandedIn(node), Origin::Peer(peer)) => node == *peer,
            (Scope::From(node), Origin::Peer(peer) | Origin::Link(peer, _)) => node == *peer,
            _ => false,
        }
    }
}

/// A subscriber, as publishing sees it.
#[derive(Debug)]
pub struct Subscriber {
    /// Its number.
    pub id: u64,
    /// What waits for it.
    pub queue: Queue,
    /// What it may have.
    pub scope: Scope,
    /// Whether it is a node that deals out to queue groups of its own.
    pub is_link: bool,
    /// Whether it still reads what is remembered: events that will be found there are not queued.
    pub is_catching_up: AtomicBool,
}

impl Subscriber {
    fn takes(&self, origin: &Origin, is_remembered: bool) -> bool {
        let is_found_later = is_remembered && *origin == Origin::Local && self.is_catching_up.load(Relaxed);
        self.scope.admits(origin) && !is_found_later
    }
}

/// A queue group: each event goes to one of its subscribers.
#[derive(Debug)]
pub struct Group {
    /// Its name.
    pub name: Arc<str>,
    /// How many events it has had.
    turns: AtomicUsize,
}

impl Group {
    /// A group that has had nothing yet.
    pub fn new(name: Arc<str>) -> Group {
        Group { name, turns: AtomicUsize::new(0) }
    }
}

/// What a pattern leads to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Who subscribed.
    pub subscriber: Arc<Subscriber>,
    /// For which queue group.
    pub group: Option<Arc<Group>>,
}

impl PartialEq for Target {
    fn eq(&self, other: &Target) -> bool {
        let names = |target: &Target| target.group.as_ref().map(|group| group.name.clone());
        self.subscriber.id == other.subscriber.id && names(self) == names(other)
    }
}

/// Who gets the events of a topic.
#[derive(Debug, Default)]
pub struct Route {
    /// Those who get each, by number.
    plain: Vec<Arc<Subscriber>>,
    /// Groups that get each once, and their members that want this topic.
    groups: Vec<(Arc<Group>, Vec<Arc<Subscriber>>)>,
}

impl PartialEq for Route {
    fn eq(&self, other: &Route) -> bool {
        let is_plain = self.groups.is_empty() && other.groups.is_empty();
        is_plain && self.plain.iter().map(|one| one.id).eq(other.plain.iter().map(|one| one.id))
    }
}

impl Route {
    /// The route of what was found for a topic.
    pub fn new<'a>(found: impl Iterator<Item = &'a Target>) -> Route {
        let mut route = Route::default();
        for target in found {
            match &target.group {
                None => route.plain.push(target.subscriber.clone()),
                Some(group) => route.join(group, &target.subscriber),
            }
        }
        unique(&mut route.plain);
        route.groups.iter_mut().for_each(|(_, members)| unique(members));
        route.groups.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        route
    }

    fn join(&mut self, group: &Arc<Group>, subscriber: &Arc<Subscriber>) {
        match self.groups.iter_mut().find(|(held, _)| held.name == group.name) {
            Some((_, members)) => members.push(subscriber.clone()),
            None => self.groups.push((group.clone(), vec![subscriber.clone()])),
        }
    }

    /// Whether each event is to be dealt out by itself.
    pub fn is_dealt(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Calls `give` for each subscriber that gets an event, or a run where [`Route::is_dealt`] is false.
    pub fn give(
        &self,
        origin: &Origin,
        is_remembered: bool,
        mut give: impl FnMut(&Arc<Subscriber>, Option<&Arc<Turn>>),
    ) {
        let dealt = self.deal(origin, is_remembered);
        let is_exclusive = matches!(origin, Origin::Link(_, Some(turn)) if turn.is_exclusive);
        let plain = self.plain.iter().filter(|one| !is_exclusive && one.takes(origin, is_remembered));
        for one in plain {
            let turn = turn_of(&dealt, one, false);
            give(one, turn.as_ref());
        }
        for (place, (_, one)) in dealt.iter().enumerate() {
            let has_it = !is_exclusive && self.plain.iter().any(|held| held.id == one.id);
            let is_again = dealt.iter().take(place).any(|(_, held)| held.id == one.id);
            if !has_it && !is_again {
                let turn = turn_of(&dealt, one, true);
                give(one, turn.as_ref());
            }
        }
    }

    /// The member of each group whose turn it is.
    fn deal(&self, origin: &Origin, is_remembered: bool) -> Vec<(Arc<str>, &Arc<Subscriber>)> {
        let is_asked = |group: &Group| match origin {
            Origin::Link(_, turn) => turn.as_ref().is_some_and(|turn| turn.groups.contains(&group.name)),
            _ => true,
        };
        let asked = self.groups.iter().filter(|(group, _)| is_asked(group));
        let dealt = asked.filter_map(|(group, members)| {
            let able: Vec<_> = members.iter().filter(|one| one.takes(origin, is_remembered)).collect();
            let turn = group.turns.fetch_add(1, Relaxed).checked_rem(able.len())?;
            able.get(turn).map(|one| (group.name.clone(), *one))
        });
        dealt.collect()
    }
}

fn unique(subscribers: &mut Vec<Arc<Subscriber>>) {
    subscribers.sort_by_key(|one| one.id);
    subscribers.dedup_by_key(|one| one.id);
}

/// What a node is told about whom an event is for.
fn turn_of(dealt: &[(Arc<str>, &Arc<Subscriber>)], one: &Arc<Subscriber>, is_exclusive: bool) -> Option<Arc<Turn>> {
    if dealt.is_empty() || !one.is_link {
        return None;
    }
    let groups: Vec<_> = dealt.iter().filter(|(_, held)| held.id == one.id).map(|(name, _)| name.clone()).collect();
    (!groups.is_empty()).then(|| Arc::new(Turn { groups, is_exclusive }))
}
