//! A whole network of nodes under a virtual clock, in one thread, from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use pilot::identity::{Identity, NodeId, PublicKey};
use pilot::node::{Command, Output, PathView};
use pilot::rendezvous::LinkEvent;
use pilot::wire::path::MAIN;
use pilot::wire::rendezvous::ClientMessage;
use pilot::wire::{Hop, Now};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::fabric::{Agenda, Fabric, HostId, Link};
use crate::nat::Behaviour;
use crate::resident::Resident;
use crate::server::Server;

/// The port that every simulated node listens on.
pub const PORT: u16 = 40_000;

/// Between a node and its server, on the reliable link.
const ROUND_TRIP: Duration = Duration::from_millis(40);

/// A moment's doings.
enum Happening {
    Datagram { host: HostId, from: SocketAddr, to: SocketAddr, payload: Vec<u8> },
    ToServer { node: usize, epoch: u64, message: ClientMessage },
    ToNode { node: usize, epoch: u64, event: LinkEvent },
    Dial { node: usize, epoch: u64 },
}

/// A network, its nodes and its rendezvous server.
pub struct World {
    /// The time.
    pub now: Now,
    /// Links and translators.
    pub fabric: Fabric,
    /// The rendezvous server.
    pub server: Server,
    /// The nodes.
    pub nodes: Vec<Resident>,
    /// Datagrams that nodes and the server sent.
    pub datagrams: u64,
    /// Some of them.
    pub recorded: Vec<Vec<u8>>,
    /// Datagrams that reached a host without a node: what strangers were answered.
    pub overheard: Vec<(HostId, SocketAddr, Vec<u8>)>,
    agenda: Agenda<Happening>,
    server_host: HostId,
    rng: ChaCha8Rng,
    steps: u64,
    started: Instant,
}

/// Keys and IDs are costly to derive, so that all worlds share a few.
pub fn identities() -> &'static [(Identity, NodeId)] {
    static POOL: OnceLock<Vec<(Identity, NodeId)>> = OnceLock::new();
    POOL.get_or_init(|| {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        (0..10)
            .map(|_| {
                let identity = Identity::generate(&mut rng);
                let id = NodeId::derive(&identity.public_key());
                (identity, id)
            })
            .collect()
    })
}

/// The ID of a key of the pool.
pub fn id_of(key: &PublicKey) -> NodeId {
    identities()
        .iter()
        .find(|(identity, _)| identity.public_key() == *key)
        .map(|(_, id)| *id)
        .expect("a key of the pool")
}

impl World {
    /// An internet with a rendezvous server and nobody else.
    pub fn new(seed: u64) -> World {
        let mut fabric = Fabric::default();
        let server_host = fabric.host(None, Link::GOOD);
        let now = Now { monotonic: Instant::now(), unix_millis: 1_700_000_000_000 };
        let server = Server::new(seed, now, SocketAddr::new(fabric.ip(server_host), 9000));
        World {
            now,
            fabric,
            server,
            nodes: Vec::new(),
            datagrams: 0,
            recorded: Vec::new(),
            overheard: Vec::new(),
            agenda: Agenda::default(),
            server_host,
            rng: ChaCha8Rng::seed_from_u64(seed),
            steps: 0,
            started: now.monotonic,
        }
    }

    /// A LAN behind a translator.
    pub fn lan(&mut self, behaviour: Behaviour) -> usize {
        self.fabric.lan(behaviour)
    }

    /// Adds a node, starts it and lets it dial the server.
    pub fn node(&mut self, lan: Option<usize>, link: Link) -> usize {
        let host = self.fabric.host(lan, link);
        let number = self.nodes.len();
        let resident = Resident::new(number, host, self.rng.next_u64(), self.now);
        self.nodes.push(resident);
        self.move_in(number);
        number
    }

    /// Tells a node where it lives and lets it dial.
    fn move_in(&mut self, node: usize) {
        let ip = self.fabric.ip(self.nodes[node].host);
        self.nodes[node].machine().handle_local_addresses(self.now, &[ip], PORT, PORT);
        self.drain(node);
        self.dial(node, Duration::ZERO);
    }

    fn dial(&mut self, node: usize, after: Duration) {
        let epoch = self.nodes[node].next_epoch();
        let delay = after + ROUND_TRIP * 2;
        self.agenda.plan(self.now.monotonic + delay, Happening::Dial { node, epoch });
    }

    /// Both keys are made known to both sides.
    pub fn befriend(&mut self, a: usize, b: usize) {
        for (one, other) in [(a, b), (b, a)] {
            let key = self.nodes[other].key();
            self.command(one, Command::Trust(key));
        }
    }

    /// Gives a node a command.
    pub fn command(&mut self, node: usize, command: Command) {
        let id = self.nodes[node].next_command();
        self.nodes[node].machine().handle_command(self.now, id, command);
        self.drain(node);
    }

    /// Sends a packet through the TUN device of `from`; gives what tells it from others.
    pub fn send(&mut self, from: usize, to: usize) -> u64 {
        self.send_as(from, from, to)
    }

    /// Sends a packet through the TUN device of `from` that claims to come from `claimed`.
    pub fn send_as(&mut self, from: usize, claimed: usize, to: usize) -> u64 {
        let marker = self.rng.next_u64();
        let packet = packet(self.nodes[claimed].address(), self.nodes[to].address(), marker);
        self.nodes[from].machine().handle_packet(self.now, &packet);
        self.drain(from);
        marker
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

    /// Sends a packet each way and gives how long until both have arrived.
    pub fn exchange(&mut self, a: usize, b: usize, limit: Duration) -> Option<Duration> {
        let (there, back) = (self.send(a, b), self.send(b, a));
        self.run_until(limit, |world| world.received(b).contains(&there) && world.received(a).contains(&back))
    }

    /// Ends a node without warning and starts it again with what it had saved.
    pub fn restart(&mut self, node: usize) {
        let seed = self.rng.next_u64();
        let epoch = self.nodes[node].epoch();
        self.server.disconnected(self.now, node, epoch);
        self.nodes[node].restart(seed, self.now);
        self.drain_server();
        self.move_in(node);
    }

    /// Moves a node to another LAN: a new address, an old link that breaks.
    pub fn roam(&mut self, node: usize, lan: Option<usize>) {
        let host = self.nodes[node].host;
        self.fabric.roam(host, lan);
        let epoch = self.nodes[node].epoch();
        self.server.disconnected(self.now, node, epoch);
        self.drain_server();
        self.nodes[node].machine().handle_link(self.now, 0, LinkEvent::Down { reason: "the address changed".into() });
        self.move_in(node);
    }

    /// The server dies: links break, datagrams to it vanish.
    pub fn kill_server(&mut self) {
        self.server.kill();
        for node in 0..self.nodes.len() {
            self.nodes[node].next_epoch();
            self.nodes[node].machine().handle_link(
                self.now,
                0,
                LinkEvent::Down { reason: "the server is away".into() },
            );
            self.drain(node);
        }
    }

    /// The server comes back with what it had saved; nodes dial again, each in its own time.
    pub fn start_server(&mut self) {
        self.server.start(self.now);
        for node in 0..self.nodes.len() {
            let jitter = Duration::from_millis(u64::from(self.rng.next_u32() % 2000));
            self.dial(node, jitter);
        }
    }

    /// A stranger's datagram, from a host without a node.
    pub fn throw(&mut self, host: HostId, to: SocketAddr, payload: Vec<u8>) {
        self.carry(host, PORT, to, payload);
    }

    /// Lets time pass until `done` holds; gives how long that took, or nothing if it did not within `limit`.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&World) -> bool) -> Option<Duration> {
        let (start, end) = (self.now.monotonic, self.now.monotonic + limit);
        loop {
            if done(self) {
                return Some(self.now.monotonic - start);
            }
            let next = self.next_moment();
            if next > end {
                self.advance(end);
                return None;
            }
            self.advance(next);
            self.step();
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    fn next_moment(&self) -> Instant {
        let timers = self.nodes.iter().map(Resident::deadline).chain([self.server.deadline()]);
        timers.chain(self.agenda.next()).min().unwrap_or(self.now.monotonic).max(self.now.monotonic)
    }

    fn advance(&mut self, to: Instant) {
        let elapsed = to - self.now.monotonic;
        self.now = self.now.after(elapsed);
        pilot::peer::advance_clock(elapsed);
    }

    fn step(&mut self) {
        self.steps += 1;
        let seconds = (self.now.monotonic - self.started).as_secs() + 10;
        assert!(
            self.steps < seconds * 5_000 * (self.nodes.len() as u64 + 1),
            "livelock: {} steps in {seconds} s",
            self.steps
        );
        assert!(self.agenda.len() < 100_000, "the network fills up");
        while let Some(happening) = self.agenda.due(self.now.monotonic) {
            self.happen(happening);
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].deadline() <= self.now.monotonic {
                self.nodes[node].machine().handle_timeout(self.now);
                self.drain(node);
            }
        }
        if self.server.deadline() <= self.now.monotonic {
            self.server.handle_timeout(self.now);
            self.drain_server();
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Datagram { host, from, to, payload } if host == self.server_host => {
                if let Some((port, to, payload)) = self.server.handle_datagram(self.now, from, to.port(), payload) {
                    self.carry(host, port, to, payload);
                }
            }
            Happening::Datagram { host, from, payload, .. } => self.arrive(host, from, payload),
            Happening::ToServer { node, epoch, message } => {
                self.server.message(self.now, node, epoch, message);
                self.drain_server();
            }
            Happening::ToNode { node, epoch, event } if epoch == self.nodes[node].epoch() => {
                self.nodes[node].machine().handle_link(self.now, 0, event);
                self.drain(node);
            }
            Happening::Dial { node, epoch } if epoch == self.nodes[node].epoch() && self.server.is_up() => {
                self.server.connected(self.now, node, epoch, self.nodes[node].key());
                let event = self.server.up();
                self.nodes[node].machine().handle_link(self.now, 0, event);
                self.drain(node);
                self.drain_server();
            }
            Happening::ToNode { .. } | Happening::Dial { .. } => {}
        }
    }

    fn arrive(&mut self, host: HostId, from: SocketAddr, payload: Vec<u8>) {
        match self.nodes.iter().position(|resident| resident.host == host) {
            Some(node) => {
                self.nodes[node].machine().handle_datagram(self.now, MAIN, from, &payload);
                self.drain(node);
            }
            None => self.overheard.push((host, from, payload)),
        }
    }

    fn carry(&mut self, host: HostId, port: u16, to: SocketAddr, payload: Vec<u8>) {
        self.datagrams += 1;
        if self.recorded.len() < 200 {
            self.recorded.push(payload.clone());
        }
        let arrival = self.fabric.carry(self.now.monotonic, host, port, to, &mut self.rng);
        if let Some(arrival) = arrival {
            let happening = Happening::Datagram { host: arrival.host, from: arrival.from, to: arrival.to, payload };
            self.agenda.plan(arrival.at, happening);
        }
    }

    fn drain_server(&mut self) {
        while let Some((node, epoch, event)) = self.server.poll() {
            self.agenda.plan(self.now.monotonic + ROUND_TRIP / 2, Happening::ToNode { node, epoch, event });
        }
    }

    /// Carries out what a node decided, and checks what it must never decide.
    fn drain(&mut self, node: usize) {
        loop {
            let output = self.nodes[node].machine().poll_output(self.now);
            match output {
                Output::Transmit { hop: Hop::Stream(_), .. }
                | Output::Stream(..)
                | Output::Opener { .. }
                | Output::OpenSpares(_)
                | Output::Redial
                | Output::CloseSpares(_) => {}
                Output::Transmit { hop: Hop::Udp { to, .. }, payload } => {
                    let host = self.nodes[node].host;
                    self.carry(host, PORT, to, payload);
                }
                Output::Link(_, message) => {
                    let epoch = self.nodes[node].epoch();
                    let at = self.now.monotonic + ROUND_TRIP / 2;
                    self.agenda.plan(at, Happening::ToServer { node, epoch, message });
                }
                Output::Derive(key) => self.nodes[node].machine().handle_derived(self.now, key, id_of(&key)),
                Output::Wait { deadline, .. } => {
                    self.nodes[node].set_deadline(deadline);
                    break;
                }
                other => self.nodes[node].take(other),
            }
        }
    }

    /// Every packet that reached a kernel came from a node that the receiver trusts, and was for the receiver.
    pub fn check_sources(&self) {
        let addresses: BTreeMap<_, _> =
            self.nodes.iter().map(|resident| (resident.address(), resident.key())).collect();
        for resident in &self.nodes {
            for packet in &resident.packets {
                let source = addresses.get(&packet.source).expect("a source that exists");
                assert!(resident.ever_trusted(source), "a packet from a node that was never trusted");
                assert_eq!(packet.destination, resident.address(), "a packet for somebody else");
            }
        }
    }

    /// The markers of the packets that reached a node's kernel.
    pub fn received(&self, node: usize) -> BTreeSet<u64> {
        self.nodes[node].packets.iter().map(|packet| packet.marker).collect()
    }
}

/// A UDP packet over IPv6 that carries a marker.
fn packet(from: std::net::Ipv6Addr, to: std::net::Ipv6Addr, marker: u64) -> Vec<u8> {
    let mut out = Vec::new();
    etherparse::PacketBuilder::ipv6(from.octets(), to.octets(), 64)
        .udp(1, 2)
        .write(&mut out, &marker.to_be_bytes())
        .expect("a packet in memory");
    out
}
