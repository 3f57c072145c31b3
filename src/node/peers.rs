//! Peers come and go; their tunnels are made on first use and end.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use rand_core::RngCore;

use super::attempt::Attempt;
use super::bucket::Bucket;
use super::remote::{Remote, Seen, Ways};
use super::settings::WireguardPeer;
use super::{Node, Slot};
use crate::identity::{NodeId, PublicKey, TunnelKey};
use crate::peer::record::{PeerRecord, RequestRecord};
use crate::peer::{Gate, Tunnel, Waiting};
use crate::punch::Agent;
use crate::wire::mtu::BASE;
use crate::wire::{Drop, Now, Path};

impl Node {
    /// Makes room for everybody who was trusted before, and asks again whom we had asked: the server
    /// keeps one request of each kind.
    pub(super) fn restore(&mut self, now: Now, wireguard: &[WireguardPeer]) {
        self.end_trust(now);
        let peers: Vec<PeerRecord> = self.book.peers().cloned().collect();
        for peer in &peers {
            self.admit(now, peer);
        }
        for peer in wireguard {
            self.admit_wireguard(peer);
        }
        self.book.expire(now);
        self.save();
        let requests: Vec<RequestRecord> = self.book.requests().cloned().collect();
        for request in &requests {
            self.send_request(now, request);
        }
    }

    /// Gives a trusted peer a slot.
    pub(super) fn admit(&mut self, now: Now, peer: &PeerRecord) {
        let leads = self.me.key < peer.key;
        let mut agent = Agent::new(self.rng.next_u64(), self.me.prefix.net(), leads);
        agent.set_mtu_ceiling(self.me.mtu);
        let mut remote = remote(
            peer.id,
            self.me.address_of(peer.id),
            Some(peer.key),
            peer.tunnel.map(|certificate| certificate.key),
            Ways::Agent(Box::new(agent)),
        );
        remote.gate = Gate::new(&peer.grant, self.clock.clone()).map(Arc::new);
        if let Some(slot) = self.remotes.insert(remote) {
            self.stale.peer(slot);
            self.update_way(now, slot);
        }
        self.lan.peers_changed();
    }

    /// Keeps the packets of a trusted peer to what it may open from now on, at once. A TCP connection that a program here
    /// had opened goes on, if it was opened while there was a limit: only then is it known who did.
    pub(super) fn set_gate(&mut self, peer: &PeerRecord) {
        let Some(slot) = self.remotes.of_key(&peer.key) else {
            return;
        };
        let gate = Gate::new(&peer.grant, self.clock.clone());
        if let Some(remote) = self.remotes.get_mut(slot) {
            remote.gate = match (gate, &remote.gate) {
                (Some(gate), Some(former)) => Some(Arc::new(gate.after(former))),
                (gate, _) => gate.map(Arc::new),
            };
        }
        self.stale.peer(slot);
        self.publish();
    }

    /// Gives a configured WireGuard peer a slot; an address outside our network is refused.
    fn admit_wireguard(&mut self, peer: &WireguardPeer) {
        let Some(id) = self.me.node_at(peer.address) else {
            return self.drops.count(Drop::NoRoute);
        };
        let ways = Ways::Fixed(peer.endpoint.map(Path::Direct));
        let mut remote = remote(id, peer.address, None, Some(peer.key), ways);
        remote.fixed_mtu = peer.mtu;
        match self.remotes.insert(remote) {
            Some(slot) => self.stale.peer(slot),
            None => self.drops.count(Drop::NoRoute),
        }
    }

    /// A peer is trusted no longer: its tunnel and all that waits for it are gone at once.
    pub(super) fn expel(&mut self, key: &PublicKey) {
        let slot = self.remotes.of_key(key);
        if let Some(remote) = slot.and_then(|slot| self.remotes.remove(slot)) {
            let waiting = remote.waiting.len() as u64;
            self.drops.add(Drop::Untrusted, waiting);
        }
        if let Some(slot) = slot {
            self.stale.peer(slot);
            self.release(slot);
        }
        self.friends.is_stale = true;
        self.lan.forget(key);
        self.to_introduce.retain(|other| other != key);
        self.joining.retain(|_, inviter| inviter != key);
        self.publish();
    }

    /// The tunnel of a peer, made if there is none; none while its tunnel key is unknown.
    pub(super) fn tunnel(&mut self, slot: Slot) -> Option<Arc<Tunnel>> {
        let remote = self.remotes.get(slot)?;
        if remote.tunnel.is_none() {
            let key = remote.tunnel_key?;
            let tunnel = self.with_lane(slot, Tunnel::new(&self.me.secret, key, slot, &self.limiter));
            let remote = self.remotes.get_mut(slot)?;
            remote.tunnel = Some(Arc::new(tunnel));
            remote.seen = Seen::default();
            self.stale.peer(slot);
        }
        self.remotes.get(slot)?.tunnel.clone()
    }

    /// The session of a peer is over; its tunnel stays.
    pub(super) fn session_down(&mut self, now: Now, slot: Slot) {
        let Some(remote) = self.remotes.get_mut(slot) else {
            return;
        };
        remote.is_up = false;
        remote.is_renewing = false;
        if let Ways::Agent(agent) = &mut remote.ways {
            agent.session_lost(now);
        }
        self.stale.peer(slot);
        self.friend_changed(slot);
        self.drive(now, slot);
    }

    /// The tunnel of a peer is over. Whoever still wants to reach the peer starts another.
    pub(super) fn end_tunnel(&mut self, now: Now, slot: Slot) {
        let Some(remote) = self.remotes.get_mut(slot) else {
            return;
        };
        remote.tunnel = None;
        remote.attempt.stop_initiating();
        let is_wanted = remote.attempt.is_wanted(now.monotonic);
        self.session_down(now, slot);
        if is_wanted {
            self.want(now, slot);
        }
    }
}

fn remote(id: NodeId, address: Ipv6Addr, key: Option<PublicKey>, tunnel_key: Option<TunnelKey>, ways: Ways) -> Remote {
    Remote {
        id,
        address,
        key,
        tunnel_key,
        tunnel: None,
        is_up: false,
        is_renewing: false,
        ways,
        told: Vec::new(),
        nat: crate::wire::Nat::default(),
        boot: None,
        floor: [0; 12],
        waiting: Waiting::default(),
        attempt: Attempt::default(),
        handshakes: Bucket::new(8, Duration::from_secs(1)),
        introductions: Bucket::new(16, Duration::from_secs(1)),
        seen: Seen::default(),
        fixed_mtu: BASE,
        gate: None,
        relays: false,
        friends: Vec::new(),
        carried: None,
    }
}
