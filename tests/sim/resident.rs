//! A simulated node: the real machine, a kernel that records what it is given, and a disk.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Instant;

use pilot::identity::{Address, Network, Prefix, PublicKey, TunnelSecret};
use pilot::node::trust::Mutual;
use pilot::node::{Answer, CommandError, CommandId, Event, Node, Output, PathView, Settings, State};
use pilot::peer::record::{Change, Records};
use pilot::wire::{Drops, Now};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::fabric::HostId;
use crate::world::identities;

/// A packet that reached a kernel.
pub struct Delivered {
    /// Its source address.
    pub source: Ipv6Addr,
    /// Its destination address.
    pub destination: Ipv6Addr,
    /// Tells it from others.
    pub marker: u64,
}

/// A node, its kernel and its disk.
pub struct Resident {
    /// Where it is.
    pub host: HostId,
    /// What its kernel was given.
    pub packets: Vec<Delivered>,
    /// What happened to it.
    pub events: Vec<Event>,
    /// What its commands were answered.
    pub answers: BTreeMap<CommandId, Result<Answer, CommandError>>,
    /// What it refused.
    pub drops: Arc<Drops>,
    number: usize,
    machine: Node,
    tunnel: [u8; 32],
    disk: Records,
    trusted_ever: BTreeSet<PublicKey>,
    deadline: Instant,
    epoch: u64,
    commands: u64,
}

impl Resident {
    /// A node with identity `number` of the pool, and an empty disk.
    pub fn new(number: usize, host: HostId, seed: u64, now: Now) -> Resident {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut tunnel = [0; 32];
        rng.fill_bytes(&mut tunnel);
        let drops = Arc::new(Drops::default());
        Resident {
            host,
            packets: Vec::new(),
            events: Vec::new(),
            answers: BTreeMap::new(),
            drops: drops.clone(),
            number,
            machine: machine(number, tunnel, Records::default(), seed, drops, now),
            tunnel,
            disk: Records::default(),
            trusted_ever: BTreeSet::new(),
            deadline: now.monotonic,
            epoch: 0,
            commands: 0,
        }
    }

    /// Starts anew from the disk.
    pub fn restart(&mut self, seed: u64, now: Now) {
        self.machine = machine(self.number, self.tunnel, self.disk.clone(), seed, self.drops.clone(), now);
    }

    /// The real machine.
    pub fn machine(&mut self) -> &mut Node {
        &mut self.machine
    }

    /// Its key.
    pub fn key(&self) -> PublicKey {
        identities()[self.number].0.public_key()
    }

    /// Its overlay address.
    pub fn address(&self) -> Ipv6Addr {
        Prefix::default().ipv6(Address { network: Network(0), node: identities()[self.number].1 })
    }

    /// When it wants to be woken.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Sets when it wants to be woken.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Which of its connections to the server is the present one.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Begins another connection; what belongs to earlier ones is void.
    pub fn next_epoch(&mut self) -> u64 {
        self.epoch += 1;
        self.epoch
    }

    /// A number for a command.
    pub fn next_command(&mut self) -> CommandId {
        self.commands += 1;
        CommandId(self.commands)
    }

    /// The number of the last command.
    pub fn last_command(&self) -> CommandId {
        CommandId(self.commands)
    }

    /// Whether it has ever trusted a key.
    pub fn ever_trusted(&self, key: &PublicKey) -> bool {
        self.trusted_ever.contains(key)
    }

    /// How it last said that it reaches a node of the pool.
    pub fn path_to(&self, other: usize) -> PathView {
        let id = identities()[other].1;
        let said = self.events.iter().rev().find_map(|event| match event {
            Event::PeerPath { id: of, path } if *of == id => Some(*path),
            _ => None,
        });
        said.unwrap_or(PathView::None)
    }

    /// Carries out an output that stays within this machine.
    pub fn take(&mut self, output: Output) {
        match output {
            Output::Packet(packet) => self.packets.push(delivered(&packet)),
            Output::Save(change) => self.save(change),
            Output::Answer(id, answer) => drop(self.answers.insert(id, answer)),
            Output::Event(event) => self.events.push(event),
            Output::Table(_) => {}
            other => panic!("not for this machine alone: {other:?}"),
        }
    }

    fn save(&mut self, change: Change) {
        if let Change::PutPeer(record) = &change {
            self.trusted_ever.insert(record.key);
        }
        let disk = &mut self.disk;
        match change {
            Change::PutPeer(record) => {
                disk.peers.retain(|peer| peer.key != record.key);
                disk.peers.push(record);
            }
            Change::RemovePeer(key) => disk.peers.retain(|peer| peer.key != key),
            Change::SetFloor { key, floor } => {
                disk.peers.iter_mut().filter(|peer| peer.key == key).for_each(|peer| peer.initiation_floor = floor);
            }
            Change::PutPending(record) => {
                disk.pending.retain(|pending| pending.key != record.key);
                disk.pending.push(record);
            }
            Change::RemovePending(key) => disk.pending.retain(|pending| pending.key != key),
            Change::PutRequest(record) => disk.requests.push(record),
            Change::RemoveRequest(nonce) => disk.requests.retain(|request| request.nonce != nonce),
            Change::PutInvite(record) => {
                disk.invites.retain(|invite| invite.secret != record.secret);
                disk.invites.push(record);
            }
            Change::RemoveInvite(record) => disk.invites.retain(|invite| invite.secret != record.secret),
            Change::SetHostname(name) => disk.hostname = name,
            Change::SetRendezvous(url) => disk.rendezvous = url,
        }
        let keys: Vec<_> = disk.peers.iter().map(|peer| peer.key).collect();
        assert!(keys.len() <= 64, "trust is bounded in these worlds");
    }
}

fn machine(number: usize, tunnel: [u8; 32], records: Records, seed: u64, drops: Arc<Drops>, now: Now) -> Node {
    let (identity, id) = &identities()[number];
    let mut bytes = [0; 32];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    let settings = Settings {
        network: Network(0),
        prefix: Prefix::default(),
        hostname: format!("node-{number}").parse().ok(),
        rendezvous: vec![crate::server::url()],
        mutual: Mutual::Name,
        wireguard: Vec::new(),
        mtu: 1420,
        lan_discovery: false,
        relay_for_friends: false,
        seed: bytes,
        drops,
    };
    let state = State {
        identity: identity.clone(),
        id: *id,
        tunnel: TunnelSecret::from_bytes(tunnel),
        tunnel_serial: 1_700_000_000_000,
        records,
    };
    Node::new(settings, state, now)
}

fn delivered(packet: &[u8]) -> Delivered {
    let ipv6 = |at: usize| {
        let bytes: [u8; 16] = packet[at..at + 16].try_into().expect("a whole header");
        Ipv6Addr::from(bytes)
    };
    let marker = packet[packet.len() - 8..].try_into().expect("the marker of the world's packets");
    Delivered { source: ipv6(8), destination: ipv6(24), marker: u64::from_be_bytes(marker) }
}
