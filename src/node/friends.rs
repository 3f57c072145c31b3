//! Friends as relays: a node that two others trust passes on what they send each other, inside its tunnels.
//!
//! A node that volunteers says so in its introductions. Its friends tell their peers that they can be reached
//! through it, by a tag that only who knows the volunteer understands. What is passed on are WireGuard messages
//! of the two: the volunteer reads nothing of them. It passes on only between peers that it trusts, only what came
//! by no other friend and goes by no other friend, and only so much a second of each.

use std::time::{Duration, Instant};

use super::{Node, Slot};
use crate::identity::{NodeId, PublicKey};
use crate::peer::{Arrival, Inbound};
use crate::rendezvous::bucket::{Bucket, Rate};
use crate::wire::control::Control;
use crate::wire::introduction::{Introduction, MAX_FRIENDS, friend_tag};
use crate::wire::mtu::BASE;
use crate::wire::packet::Packet;
use crate::wire::{Candidate, CandidateKind, Datagram, Drop, Now, Path, classify};

/// What a friend may have passed on, in bytes: 10 Mbit/s.
const RATE: Rate = Rate { per_second: 1_250_000, burst: 256 * 1024 };
/// The least that a message counts.
const LEAST: usize = 128;

/// The friends that pass on what we send.
#[derive(Default)]
pub(super) struct Friends {
    relaying: Vec<(NodeId, PublicKey)>,
    /// Whether they may be others by now.
    pub is_stale: bool,
}

impl Friends {
    /// When [`Node::run_friends`] is needed.
    pub fn due(&self, now: Instant) -> Option<(Instant, &'static str)> {
        self.is_stale.then_some((now, "friends that relay"))
    }
}

impl Node {
    /// A peer is connected, is not, or by another path: if it relays, that matters to all others.
    pub(super) fn friend_changed(&mut self, slot: Slot) {
        self.friends.is_stale |= self.remotes.get(slot).is_some_and(|remote| remote.relays);
    }

    /// Tells every path agent, and the peers, which friends relay now, if they are others than before.
    pub(super) fn run_friends(&mut self, now: Now) {
        if !std::mem::take(&mut self.friends.is_stale) {
            return;
        }
        let relaying = self.remotes.iter().filter(|(slot, remote)| remote.relays && self.way_to(*slot).is_some());
        let relaying: Vec<_> = relaying.filter_map(|(_, remote)| Some((remote.id, remote.key?))).collect();
        if relaying != self.friends.relaying {
            self.friends.relaying = relaying;
            self.update_ways(now);
            self.announce_later(now);
        }
    }

    /// The path to a connected peer, unless another friend is in between already.
    fn way_to(&self, slot: Slot) -> Option<Path> {
        let path = self.remotes.get(slot)?.path()?;
        (!path.is_by_friend()).then_some(path)
    }

    /// Who relays now.
    pub(super) fn relaying(&self) -> impl Iterator<Item = NodeId> {
        self.friends.relaying.iter().map(|(id, _)| *id)
    }

    /// Where a peer can be reached through friends that it and we have in common.
    pub(super) fn through_friends(&self, slot: Slot) -> Vec<Candidate> {
        let Some((remote, key)) = self.remotes.get(slot).and_then(|remote| Some((remote, remote.key?))) else {
            return Vec::new();
        };
        let tag = |friend: &PublicKey| friend_tag(friend, &key, &self.me.key);
        let common = self.friends.relaying.iter().filter(|(_, friend)| remote.friends.contains(&tag(friend)));
        let path = |friend: NodeId| Path::Friend { friend, node: remote.id };
        common.map(|(id, _)| Candidate { kind: CandidateKind::Relayed, path: path(*id) }).collect()
    }

    /// What we say of ourselves to one peer.
    pub(super) fn introduction_to(&self, key: &PublicKey, answer: bool) -> Introduction {
        let others = self.friends.relaying.iter().filter(|(_, friend)| friend != key);
        let friends = others.take(MAX_FRIENDS).map(|(_, friend)| friend_tag(friend, &self.me.key, key)).collect();
        Introduction { friends, ..self.me.introduction(&self.clients, answer) }
    }

    /// Asks a friend to pass on the first bytes of the buffer.
    pub(super) fn send_by_friend(&mut self, friend: NodeId, to: NodeId, len: usize) {
        let payload = self.buffer.get(..len).unwrap_or_default().to_vec();
        let slot = self.remotes.of_id(friend);
        match slot.and_then(|slot| Some((slot, self.way_to(slot)?))) {
            Some((slot, way)) => self.send_control(slot, way, &Control::Carry { to, payload }),
            None => self.drops.count(Drop::NoPath),
        }
    }

    /// Seals a packet for a peer that is reached through a friend, and sends it; false where it is not.
    pub(super) fn packet_by_friend(&mut self, now: Now, packet: &[u8]) -> bool {
        let Some((slot, path)) = self.friend_path(packet) else {
            return false;
        };
        let mtu = self.remotes.get(slot).map_or(BASE, |remote| remote.mtu().inner);
        if packet.len() > usize::from(mtu) {
            self.refuse(now, packet, mtu);
            return true;
        }
        let Some(tunnel) = self.remotes.get(slot).and_then(|remote| remote.tunnel.clone()) else {
            return false;
        };
        let Some(len) = tunnel.seal(packet, &mut self.buffer) else {
            return false;
        };
        tunnel.traffic().count_sent(packet.len());
        self.send_buffer(path, len);
        true
    }

    /// The path of the peer that a packet of ours is for, where that is one by a friend.
    fn friend_path(&self, packet: &[u8]) -> Option<(Slot, Path)> {
        let destination = Packet::parse(packet).ok()?.destination();
        let slot = self.remotes.of_id(self.me.node_at(destination)?)?;
        let path = self.remotes.get(slot)?.path()?;
        path.is_by_friend().then_some((slot, path))
    }

    /// Passes on what one friend sends to another, if we volunteer.
    pub(super) fn carry(&mut self, now: Now, arrival: Arrival, to: NodeId, payload: Vec<u8>) -> Result<(), Drop> {
        if !self.me.relays || arrival.via.is_by_friend() {
            return Err(Drop::Unexpected);
        }
        wireguard(&payload)?;
        let sender = self.remotes.get_mut(arrival.slot).filter(|remote| remote.key.is_some());
        let sender = sender.ok_or(Drop::Untrusted)?;
        let bucket = sender.carried.get_or_insert_with(|| Bucket::full(now.monotonic));
        let cost = payload.len().max(LEAST) as u64;
        bucket.take(now.monotonic, cost, RATE).map_err(|_: Duration| Drop::RateLimited)?;
        let from = sender.id;
        let slot = self.remotes.of_id(to).filter(|slot| *slot != arrival.slot).ok_or(Drop::NoRoute)?;
        if self.remotes.get(slot).is_none_or(|remote| remote.key.is_none()) {
            return Err(Drop::Untrusted);
        }
        let way = self.way_to(slot).ok_or(Drop::NoPath)?;
        self.send_control(slot, way, &Control::Carried { from, payload });
        Ok(())
    }

    /// Takes what a friend passed on, as if it had come by a path of its own.
    pub(super) fn carried(&mut self, now: Now, arrival: Arrival, from: NodeId, payload: &[u8]) -> Result<(), Drop> {
        let friend = self.remotes.get(arrival.slot).filter(|remote| remote.relays).ok_or(Drop::Unexpected)?;
        if arrival.via.is_by_friend() {
            return Err(Drop::Unexpected);
        }
        let via = Path::Friend { friend: friend.id, node: from };
        let datagram = wireguard(payload)?;
        self.publish();
        let table = self.table.clone();
        let mut opened = vec![0; payload.len()];
        match table.inbound_by(via, datagram, &mut opened) {
            Inbound::Slow => return self.message(now, via, datagram),
            other => self.arrived(now, other, &opened),
        }
        Ok(())
    }
}

/// A WireGuard message: nothing else is passed on.
fn wireguard(payload: &[u8]) -> Result<Datagram<'_>, Drop> {
    match classify(payload)? {
        Datagram::Relay(_) | Datagram::Stun(_) | Datagram::Beacon(_) => Err(Drop::MalformedControl),
        datagram => Ok(datagram),
    }
}

#[cfg(test)]
mod tests;
