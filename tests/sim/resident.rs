//! A simulated node: the real machine, a kernel that records what it is given, and a disk.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Instant;

use pilot::identity::{Address, Network, Prefix, PublicKey, TunnelSecret};
use pilot::node::trust::Mutual;
use pilot::node::{Answer, CommandError, CommandId, Event, Node, Output, PathView, Settings, State};
use pilot::peer::record::{Change, Records};
use pilot::wire::path::MAIN;
use pilot::wire::{Drops, Now};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::fabric::HostId;
use crate::pipe::Pipe;
use crate::world::identities;

/// The most spare sockets that a daemon opens.
const MAX_SPARES: usize = 512;

/// A packet that reached a kernel.
pub struct Delivered {
    /// Its source address.
    pub source: Ipv6Addr,
    /// Its destination address.
    pub destination: Ipv6Addr,
    /// Tells it from others.
    pub marker: u64,
}

/// How a node is configured.
#[derive(Clone, Copy)]
pub struct Habits {
    /// Whether it looks for peers on the LAN by multicast.
    pub seeks_lan: bool,
    /// Whether it wants lanes.
    pub has_lanes: bool,
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
    /// The port of its main sockets.
    pub port: u16,
    /// Its connection to the server.
    pub link: Pipe,
    /// Its stream to the relay.
    pub stream: Pipe,
    /// Since when it sleeps: nothing reaches it, and it does nothing.
    pub asleep_since: Option<Instant>,
    /// How often it was started.
    pub lives: u32,
    /// How it is configured at its next start.
    pub habits: Habits,
    sockets: BTreeMap<u16, u16>,
    last_socket: u16,
    number: usize,
    machine: Node,
    tunnel: [u8; 32],
    disk: Records,
    trusted_ever: BTreeSet<PublicKey>,
    deadline: Instant,
    commands: u64,
}

impl Resident {
    /// A node with identity `number` of the pool, and an empty disk.
    pub fn new(number: usize, host: HostId, port: u16, seed: u64, now: Now, habits: Habits) -> Resident {
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
            port,
            link: Pipe::new(now.monotonic),
            stream: Pipe::new(now.monotonic),
            asleep_since: None,
            lives: 1,
            habits,
            sockets: BTreeMap::from([(port, MAIN)]),
            last_socket: MAIN,
            number,
            machine: machine(number, tunnel, Records::default(), seed, drops, now, habits),
            tunnel,
            disk: Records::default(),
            trusted_ever: BTreeSet::new(),
            deadline: now.monotonic,
            commands: 0,
        }
    }

    /// Starts anew from the disk.
    pub fn restart(&mut self, seed: u64, now: Now) {
        let drops = self.drops.clone();
        self.machine = machine(self.number, self.tunnel, self.disk.clone(), seed, drops, now, self.habits);
        self.sockets = BTreeMap::from([(self.port, MAIN)]);
        self.lives += 1;
    }

    /// Whether it sleeps.
    pub fn is_asleep(&self) -> bool {
        self.asleep_since.is_some()
    }

    /// The number of the socket on a port, if one is open.
    pub fn socket_on(&self, port: u16) -> Option<u16> {
        self.sockets.get(&port).copied()
    }

    /// The port of a socket.
    pub fn port_of(&self, socket: u16) -> Option<u16> {
        self.sockets.iter().find(|(_, number)| **number == socket).map(|(port, _)| *port)
    }

    /// How many sockets are open.
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// Opens spare sockets on ports that `any_port` gives; their numbers and ports.
    pub fn open_spares(&mut self, count: u16, mut any_port: impl FnMut() -> u16) -> Vec<(u16, u16)> {
        let mut opened = Vec::new();
        while opened.len() < usize::from(count) && self.sockets.len() <= MAX_SPARES {
            let port = any_port();
            if !self.sockets.contains_key(&port) {
                self.last_socket = self.last_socket.checked_add(1).unwrap_or(1);
                self.sockets.insert(port, self.last_socket);
                opened.push((self.last_socket, port));
            }
        }
        opened
    }

    /// Closes spare sockets.
    pub fn close_spares(&mut self, sockets: &[u16]) {
        assert!(!sockets.contains(&MAIN), "the main socket is no spare one");
        self.sockets.retain(|_, number| !sockets.contains(number));
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

fn machine(
    number: usize,
    tunnel: [u8; 32],
    records: Records,
    seed: u64,
    drops: Arc<Drops>,
    now: Now,
    habits: Habits,
) -> Node {
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
        lan_discovery: habits.seeks_lan,
        relay_for_friends: false,
        lane: habits.has_lanes,
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
