//! One peer as the node runs it, and all of them by every name that they have.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use super::attempt::Attempt;
use super::bucket::Bucket;
use super::command::PathView;
use crate::identity::{NodeId, PublicKey, TunnelKey};
use crate::peer::{Slot, Tunnel, Waiting, initiation};
use crate::punch::Agent;
use crate::rendezvous::bucket::Bucket as ByteBucket;
use crate::wire::{Candidate, Nat, Now, Path};

/// One peer.
pub(super) struct Remote {
    pub id: NodeId,
    pub address: Ipv6Addr,
    /// None for a WireGuard peer from the configuration.
    pub key: Option<PublicKey>,
    /// Its current tunnel key, as soon as it is known.
    pub tunnel_key: Option<TunnelKey>,
    /// Made on first use, dropped when it expires.
    pub tunnel: Option<Arc<Tunnel>>,
    /// Whether a session is up.
    pub is_up: bool,
    /// Whether the session that is up belongs to an earlier start of the peer.
    pub is_renewing: bool,
    pub ways: Ways,
    /// The candidates as the peer told them.
    pub told: Vec<Candidate>,
    /// Its NAT, as it told.
    pub nat: Nat,
    /// The peer's boot number.
    pub boot: Option<u64>,
    /// The timestamp of the last initiation that was answered.
    pub floor: initiation::Timestamp,
    pub waiting: Waiting,
    pub attempt: Attempt,
    /// Handshakes that it may start, each of which is a durable change here.
    pub handshakes: Bucket,
    /// Introductions that it may send, each of which can be one.
    pub introductions: Bucket,
    pub seen: Seen,
    /// How large packets to a peer without an agent may be.
    pub fixed_mtu: u16,
    /// Whether it passes on what we send.
    pub relays: bool,
    /// Through whom it can be reached, as it told us.
    pub friends: Vec<u64>,
    /// What it may have passed on by us.
    pub carried: Option<ByteBucket>,
}

/// How paths to a peer are found.
pub(super) enum Ways {
    /// By probing its candidates.
    Agent(Box<Agent>),
    /// As configured, or where its last authenticated packet came from.
    Fixed(Option<Path>),
}

/// The tunnel's counters at the last sample, and when that was.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    sent: u64,
    large: u64,
    heard: u64,
    data: u64,
    at: Option<Now>,
}

impl Remote {
    /// Where data goes now.
    pub fn path(&self) -> Option<Path> {
        let path = match &self.ways {
            Ways::Agent(agent) => agent.chosen(),
            Ways::Fixed(path) => *path,
        };
        path.filter(|_| self.is_up)
    }

    /// The ways by which a word arrives if any does: the path in use, and the relayed one.
    pub fn sure_paths(&self) -> impl Iterator<Item = Path> + use<> {
        let chosen = self.path();
        let relay = match &self.ways {
            Ways::Agent(agent) => agent.relay(),
            Ways::Fixed(_) => None,
        };
        chosen.into_iter().chain(relay.filter(|relay| chosen.is_some() && chosen != Some(*relay)))
    }

    /// Whether nothing that we send arrives, as far as is known: only the rendezvous can bring us together again.
    pub fn is_away(&self) -> bool {
        let is_stranded = matches!(&self.ways, Ways::Agent(agent) if agent.is_stranded());
        !self.is_up || is_stranded
    }

    /// Whether its tunnel could seal a packet now.
    pub fn has_session(&self) -> bool {
        let tunnel = self.tunnel.as_ref();
        tunnel.is_some_and(|tunnel| tunnel.has_session())
    }

    /// Tells the agent what went through the tunnel since the last sample; whether any of it was data.
    pub fn sample(&mut self, now: Now) -> bool {
        let (Some(tunnel), Ways::Agent(agent)) = (&self.tunnel, &mut self.ways) else {
            return false;
        };
        let counts = tunnel.traffic().sample();
        let latest = Seen {
            sent: counts.sent_packets,
            large: counts.sent_large,
            heard: counts.heard_on_path,
            data: counts.data_on_path,
            at: Some(now),
        };
        let seen = std::mem::replace(&mut self.seen, latest);
        if counts.sent_packets != seen.sent {
            agent.sent(seen.at.unwrap_or(now));
        }
        if counts.sent_large != seen.large {
            agent.sent_large(now);
        }
        if let Some(path) = agent.chosen().filter(|_| counts.heard_on_path != seen.heard) {
            agent.received(now, path);
        }
        if counts.data_on_path != seen.data {
            agent.replied(now);
        }
        counts.sent_packets != seen.sent || counts.data_on_path != seen.data
    }

    /// Whether data goes straight to it now, and arrives.
    pub fn is_direct(&self) -> bool {
        self.is_up
            && match &self.ways {
                Ways::Agent(agent) => agent.settled(),
                Ways::Fixed(path) => path.is_some(),
            }
    }

    pub fn path_view(&self) -> PathView {
        view(self.path())
    }

    pub fn rtt(&self) -> Option<Duration> {
        match &self.ways {
            Ways::Agent(agent) if self.is_up => agent.rtt(),
            _ => None,
        }
    }

    /// Where a handshake message goes now.
    pub fn handshake_paths(&self) -> Vec<Path> {
        match &self.ways {
            Ways::Agent(agent) => agent.handshake_paths(self.attempt.is_first()),
            Ways::Fixed(path) => path.iter().copied().collect(),
        }
    }
}

pub(super) fn view(path: Option<Path>) -> PathView {
    match path {
        None => PathView::None,
        Some(Path::Direct(endpoint) | Path::Spare { remote: endpoint, .. }) => PathView::Direct(endpoint),
        Some(Path::Relayed(relay)) => PathView::Relayed(relay.server),
        Some(Path::Friend { friend, .. }) => PathView::Friend(friend),
    }
}

/// All peers, by slot, ID, identity and tunnel key.
#[derive(Default)]
pub(super) struct Remotes {
    slots: Vec<Option<Remote>>,
    by_id: BTreeMap<NodeId, Slot>,
    by_key: BTreeMap<PublicKey, Slot>,
    by_tunnel: BTreeMap<TunnelKey, Slot>,
}

impl Remotes {
    /// Gives a peer the lowest free slot; none when its ID is taken or all slots are.
    pub fn insert(&mut self, remote: Remote) -> Option<Slot> {
        if self.by_id.contains_key(&remote.id) {
            return None;
        }
        let free = self.slots.iter().position(Option::is_none);
        let place = free.unwrap_or(self.slots.len());
        let slot = Slot::new(u32::try_from(place).ok()?)?;
        self.by_id.insert(remote.id, slot);
        if let Some(key) = remote.key {
            self.by_key.insert(key, slot);
        }
        if let Some(key) = remote.tunnel_key {
            self.by_tunnel.insert(key, slot);
        }
        match self.slots.get_mut(place) {
            Some(entry) => *entry = Some(remote),
            None => self.slots.push(Some(remote)),
        }
        Some(slot)
    }

    pub fn remove(&mut self, slot: Slot) -> Option<Remote> {
        let remote = self.slots.get_mut(place(slot))?.take()?;
        self.by_id.remove(&remote.id);
        self.by_key.retain(|_, other| *other != slot);
        self.by_tunnel.retain(|_, other| *other != slot);
        Some(remote)
    }

    /// Changes the tunnel key of a peer. One that another peer uses already is refused: an initiation
    /// could not be told from the other's.
    pub fn set_tunnel_key(&mut self, slot: Slot, key: TunnelKey) -> bool {
        if self.by_tunnel.get(&key).is_some_and(|other| *other != slot) {
            return false;
        }
        self.by_tunnel.retain(|_, other| *other != slot);
        self.by_tunnel.insert(key, slot);
        if let Some(remote) = self.get_mut(slot) {
            remote.tunnel_key = Some(key);
        }
        true
    }

    pub fn get(&self, slot: Slot) -> Option<&Remote> {
        self.slots.get(place(slot))?.as_ref()
    }

    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Remote> {
        self.slots.get_mut(place(slot))?.as_mut()
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

    /// All slots in use, in order.
    pub fn slots(&self) -> Vec<Slot> {
        self.iter().map(|(slot, _)| slot).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Remote)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(place, remote)| {
            let slot = Slot::new(u32::try_from(place).ok()?)?;
            Some((slot, remote.as_ref()?))
        })
    }

    /// All peers in the order of their IDs.
    pub fn by_id(&self) -> impl Iterator<Item = &Remote> {
        self.by_id.values().filter_map(|slot| self.get(*slot))
    }
}

fn place(slot: Slot) -> usize {
    slot.number() as usize
}
