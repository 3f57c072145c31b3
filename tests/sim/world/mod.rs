//! A whole network of nodes under a virtual clock, in one thread, from one seed.
//!
//! `turn` lets time pass and carries out what nodes decide, `links` are their connections to the server, `talk` the packets
//! between them, `faults` what happens to them, `checks` what must hold whatever happens.

pub mod checks;
mod faults;
mod links;
mod talk;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Instant;

use pilot::identity::{Identity, NodeId, PublicKey, Target};
use pilot::node::{Command, PathView};
use pilot::wire::Now;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::agenda::Agenda;
use crate::fabric::{Access, Fabric, HostId, INTERNET, Link, ZoneId};
use crate::nat::Behaviour;
use crate::oracle::Class;
use crate::resident::{Habits, Resident};
use crate::server::Server;
use turn::Happening;

/// Nodes that there are keys for.
const POOL: usize = 128;

/// A network, its nodes and its rendezvous server.
pub struct World {
    /// The time.
    pub now: Now,
    /// Zones, gateways and links.
    pub fabric: Fabric,
    /// The rendezvous server.
    pub server: Server,
    /// The nodes.
    pub nodes: Vec<Resident>,
    /// Datagrams that nodes and the server sent.
    pub datagrams: u64,
    /// The first of those that were handed to a node: which, what.
    pub recorded: Vec<(usize, Vec<u8>)>,
    /// Datagrams that reached a host without a node: when, which, from where, what.
    pub overheard: Vec<(Instant, HostId, SocketAddr, Vec<u8>)>,
    /// Datagrams that reached a node which its sender had no reason to trust: from which, to which, when.
    pub astray: BTreeMap<(usize, usize), Vec<Instant>>,
    /// Where nodes sent datagrams: which, whereto.
    pub sent_to: BTreeSet<(usize, SocketAddr)>,
    /// How many datagrams of a node reached another node, or the server.
    pub delivered: BTreeMap<(usize, Option<usize>), u64>,
    /// When nodes logged in: which, when.
    pub logins: Vec<(usize, Instant)>,
    /// Whether nodes that are added look for peers on the LAN.
    pub seeks_lan: bool,
    /// Whether nodes that are added want lanes.
    pub has_lanes: bool,
    /// How many datagrams of nodes are lost that have just this length.
    pub swallowed: BTreeMap<usize, usize>,
    agenda: Agenda<Happening>,
    server_host: HostId,
    rng: ChaCha8Rng,
    steps: u64,
    started: Instant,
    streams: u64,
}

/// The keys that all worlds share. Their IDs are made up: to derive them is costly, and left to the shells.
pub fn identities() -> &'static [(Identity, NodeId)] {
    static KEYS: OnceLock<Vec<(Identity, NodeId)>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let identities = (0..POOL).map(|_| Identity::generate(&mut rng));
        identities.map(|identity| (identity.clone(), id_of(&identity.public_key()))).collect()
    })
}

/// The ID of a key.
pub fn id_of(key: &PublicKey) -> NodeId {
    let start = key.as_bytes().first_chunk().expect("a long key");
    NodeId::from_bytes(*start)
}

impl World {
    /// An internet with a rendezvous server and nobody else.
    pub fn new(seed: u64) -> World {
        World::with_server_addresses(seed, 2)
    }

    /// The same, whose server has so many IPv4 addresses, and one of IPv6.
    pub fn with_server_addresses(seed: u64, addresses: usize) -> World {
        let mut fabric = Fabric::new();
        let server_host = fabric.host(INTERNET, Link::GOOD);
        (1..addresses).for_each(|_| fabric.add_address(server_host));
        let now = Now { monotonic: Instant::now(), unix_millis: 1_700_000_000_000 };
        let server = Server::new(seed, now, fabric.addresses(server_host));
        World {
            now,
            fabric,
            server,
            nodes: Vec::new(),
            datagrams: 0,
            recorded: Vec::new(),
            overheard: Vec::new(),
            astray: BTreeMap::new(),
            sent_to: BTreeSet::new(),
            delivered: BTreeMap::new(),
            logins: Vec::new(),
            seeks_lan: false,
            has_lanes: true,
            swallowed: BTreeMap::new(),
            agenda: Agenda::default(),
            server_host,
            rng: ChaCha8Rng::seed_from_u64(seed),
            steps: 0,
            started: now.monotonic,
            streams: 0,
        }
    }

    /// A home behind a translator.
    pub fn lan(&mut self, behaviour: Behaviour) -> ZoneId {
        self.fabric.zone(Access::home(behaviour))
    }

    /// Adds a node in a zone, or on the internet, starts it and lets it dial the server.
    pub fn node(&mut self, zone: Option<ZoneId>, link: Link) -> usize {
        let port = 32_768 + (self.rng.next_u32() % 28_232) as u16;
        self.node_on_port(zone.unwrap_or(INTERNET), link, port)
    }

    /// The same, whose main sockets are on this port.
    pub fn node_on_port(&mut self, zone: ZoneId, link: Link, port: u16) -> usize {
        let host = self.fabric.host(zone, link);
        let number = self.nodes.len();
        let seed = self.rng.next_u64();
        let habits = Habits { seeks_lan: self.seeks_lan, has_lanes: self.has_lanes };
        self.nodes.push(Resident::new(number, host, port, seed, self.now, habits));
        self.move_in(number);
        number
    }

    /// Where a node's main socket is on its own segment.
    pub fn endpoint(&self, node: usize) -> SocketAddr {
        SocketAddr::new(self.fabric.ip(self.nodes[node].host), self.nodes[node].port)
    }

    /// Both keys are made known to both sides.
    pub fn befriend(&mut self, a: usize, b: usize) {
        for (one, other) in [(a, b), (b, a)] {
            let key = self.nodes[other].key();
            self.command(one, Command::Trust(key, Default::default()));
        }
    }

    /// Gives a node a command.
    pub fn command(&mut self, node: usize, command: Command) {
        let id = self.nodes[node].next_command();
        self.nodes[node].machine().handle_command(self.now, id, command);
        self.drain(node);
    }

    /// How `a` says that it reaches `b`.
    pub fn path(&self, a: usize, b: usize) -> PathView {
        self.nodes[a].path_to(b)
    }

    /// Whether both say that they reach each other directly.
    pub fn is_direct(&self, a: usize, b: usize) -> bool {
        let direct = |path| matches!(path, PathView::Direct(_));
        direct(self.path(a, b)) && direct(self.path(b, a))
    }

    /// What `a` has to say about how it reaches `b`.
    pub fn why(&mut self, a: usize, b: usize) -> String {
        let key = self.nodes[b].key();
        self.command(a, Command::Why(Target::Key(key)));
        let answer = &self.nodes[a].answers[&self.nodes[a].last_command()];
        let drops: Vec<_> = self.nodes[a].drops.iter().filter(|(_, count)| *count > 0).collect();
        format!("node {a} about node {b}: {answer:?}\nnode {a} refused {drops:?}")
    }

    /// What can be expected of two nodes where they are now.
    pub fn feasible(&self, a: usize, b: usize) -> Class {
        self.fabric.feasible(self.nodes[a].host, self.nodes[b].host, self.server.has_two_addresses())
    }
}
