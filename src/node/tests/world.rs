//! Some nodes, one trivial rendezvous server with relay and STUN, and a network with virtual time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::identity::{Address, Identity, Network, NodeId, Prefix, PublicKey, TunnelSecret};
use crate::node::trust::Mutual;
use crate::node::*;
use crate::peer::record::{Change, Records};
use crate::rendezvous::LinkEvent;
use crate::wire::Hop;
use crate::wire::mtu::may_fragment;
use crate::wire::path::MAIN;
use crate::wire::relay::{self, Frame};
use crate::wire::rendezvous::{self as message, ClientMessage, ServerMessage, client_message};
use crate::wire::{Allocation, Drop, Drops, Now, stun};

const LATENCY: Duration = Duration::from_millis(5);
/// An endpoint that is no node's.
pub const STRANGER: &str = "192.0.2.9:77";
pub const SERVER: &str = "203.0.113.1:9001";
const SERVER_STUN: &str = "203.0.113.1:9002";
const RELAY_KEY: [u8; 32] = [7; 32];

/// One node and what came out of it.
pub struct Host {
    pub node: Node,
    pub key: PublicKey,
    pub id: NodeId,
    pub endpoint: SocketAddr,
    pub packets: Vec<Vec<u8>>,
    pub events: Vec<Event>,
    pub answers: BTreeMap<CommandId, Result<Answer, CommandError>>,
    pub saved: Vec<Change>,
    pub transmitted: usize,
    pub redials: usize,
    pub drops: Arc<Drops>,
    name: Option<String>,
    is_linked: bool,
    /// Where its last Bind came from.
    relay_bound: Option<SocketAddr>,
    wake: Instant,
    why: &'static str,
}

enum Delivery {
    Datagram { from: SocketAddr, to: SocketAddr, payload: Vec<u8> },
    Beacon { from: SocketAddr, payload: Vec<u8> },
    Message { host: usize, message: ServerMessage },
}

pub struct World {
    pub now: Now,
    pub hosts: Vec<Host>,
    /// Whether datagrams between two nodes' own endpoints arrive.
    pub is_direct_open: bool,
    /// Pairs of nodes between which no datagram arrives.
    pub blocked: Vec<(usize, usize)>,
    /// Whether the server's relay and STUN are silent.
    pub is_server_down: bool,
    /// Whether no datagram arrives anywhere.
    pub is_cut: bool,
    /// The largest datagram that arrives, with its headers, unless it may be cut.
    pub mtu: usize,
    /// Envelopes that the server carried: from, to, sealed.
    pub carried: Vec<(usize, PublicKey, Vec<u8>)>,
    /// Datagrams that arrived at nodes: from, which node, bytes.
    pub arrived: Vec<(SocketAddr, usize, Vec<u8>)>,
    /// Whether nodes that are added from now on pass things on for their friends.
    pub is_relaying: bool,
    /// Whether the nodes look for each other on their LAN.
    pub is_lan: bool,
    /// Beacons that nodes sent to the LAN's group: from which node, bytes.
    pub beacons: Vec<(usize, Vec<u8>)>,
    /// Datagrams that went to the stranger.
    pub stranger_heard: usize,
    queue: BTreeMap<(Instant, u64), Delivery>,
    sequence: u64,
}

/// Node IDs are costly to derive, and the same few keys come up in every test.
fn derive(key: &PublicKey) -> NodeId {
    static KNOWN: Mutex<BTreeMap<PublicKey, NodeId>> = Mutex::new(BTreeMap::new());
    let known = KNOWN.lock().unwrap().get(key).copied();
    let id = known.unwrap_or_else(|| NodeId::derive(key));
    KNOWN.lock().unwrap().insert(*key, id);
    id
}

pub fn identity(seed: u64) -> Identity {
    Identity::generate(&mut ChaCha20Rng::seed_from_u64(seed))
}

/// Whether a datagram is WireGuard's first.
pub fn is_initiation(payload: &[u8]) -> bool {
    matches!(payload, [1, 0, 0, 0, ..] if payload.len() == 148)
}

impl World {
    pub fn new(names: &[Option<&str>]) -> World {
        let now = Now { monotonic: Instant::now(), unix_millis: 1_800_000_000_000 };
        let mut world = World {
            now,
            hosts: Vec::new(),
            is_direct_open: true,
            blocked: Vec::new(),
            is_server_down: false,
            is_cut: false,
            mtu: 1500,
            carried: Vec::new(),
            arrived: Vec::new(),
            is_relaying: false,
            is_lan: false,
            beacons: Vec::new(),
            stranger_heard: 0,
            queue: BTreeMap::new(),
            sequence: 0,
        };
        for name in names {
            world.add(*name, Records::default());
        }
        world
    }

    /// Nodes on one LAN that leads nowhere.
    pub fn lan(count: usize) -> World {
        let mut world = World::new(&[]);
        world.is_lan = true;
        for number in 0..count {
            let host = world.host(number, number as u64, None, Records::default());
            world.hosts.push(host);
            world.plug(number);
        }
        world
    }

    /// Tells a node its address.
    fn plug(&mut self, number: usize) {
        let endpoint = self.hosts[number].endpoint;
        self.hosts[number].node.handle_local_addresses(self.now, &[endpoint.ip()], endpoint.port(), 0);
        self.drain(number);
    }

    /// A datagram to the LAN's group as a node hears it.
    pub fn hear(&mut self, from: SocketAddr, number: usize, payload: &[u8]) {
        self.hosts[number].node.handle_multicast(self.now, from, payload);
        self.drain(number);
    }

    /// Adds a node, with its address and link.
    pub fn add(&mut self, name: Option<&str>, records: Records) -> usize {
        let number = self.hosts.len();
        let host = self.host(number, number as u64, name, records);
        self.hosts.push(host);
        self.start(number);
        number
    }

    /// Starts a node over, with the same identity and what it saved, at another port.
    pub fn restart(&mut self, number: usize, records: Records) {
        let name = self.hosts[number].name.clone();
        let seed = number as u64 + 1000;
        let port = self.hosts[number].endpoint.port() + 1;
        self.hosts[number] = self.host(number, seed, name.as_deref(), records);
        self.hosts[number].endpoint.set_port(port);
        self.start(number);
    }

    fn host(&self, number: usize, seed: u64, name: Option<&str>, records: Records) -> Host {
        let identity = identity(number as u64);
        let key = identity.public_key();
        let id = derive(&key);
        let drops = Arc::new(Drops::default());
        let mut settings_seed = [0; 32];
        settings_seed[..8].copy_from_slice(&seed.to_be_bytes());
        let settings = Settings {
            network: Network(0),
            prefix: Prefix::default(),
            hostname: name.map(|name| name.parse().unwrap()),
            rendezvous: vec![format!("pilot://{}@203.0.113.1", self.server_key()).parse().unwrap()],
            mutual: Mutual::Name,
            wireguard: Vec::new(),
            mtu: 1420,
            lan_discovery: self.is_lan,
            relay_for_friends: self.is_relaying,
            lane: true,
            seed: settings_seed,
            drops: drops.clone(),
        };
        let state =
            State { identity, id, tunnel: TunnelSecret::from_bytes([number as u8 + 1; 32]), tunnel_serial: 1, records };
        Host {
            node: Node::new(settings, state, self.now),
            key,
            id,
            endpoint: SocketAddr::new([198, 51, 100, number as u8 + 1].into(), 40_000),
            packets: Vec::new(),
            events: Vec::new(),
            answers: BTreeMap::new(),
            saved: Vec::new(),
            transmitted: 0,
            drops,
            name: name.map(str::to_owned),
            is_linked: false,
            relay_bound: None,
            redials: 0,
            wake: self.now.monotonic,
            why: "start",
        }
    }

    fn server_key(&self) -> PublicKey {
        identity(999).public_key()
    }

    fn start(&mut self, number: usize) {
        self.plug(number);
        if !self.is_lan {
            self.link(number);
        }
    }

    /// Brings the link of a node up.
    pub fn link(&mut self, number: usize) {
        let server: SocketAddr = SERVER.parse().unwrap();
        let stun = vec![server, SERVER_STUN.parse().unwrap()];
        let event = LinkEvent::Up { stun, relay: vec![server] };
        self.hosts[number].is_linked = true;
        self.hosts[number].node.handle_link(self.now, 0, event);
        self.drain(number);
    }

    /// Moves a node to another address, which it knows.
    pub fn relocate(&mut self, number: usize, ip: &str) {
        let host = &mut self.hosts[number];
        host.endpoint.set_ip(ip.parse().unwrap());
        let endpoint = host.endpoint;
        host.node.handle_local_addresses(self.now, &[endpoint.ip()], endpoint.port(), 0);
        self.drain(number);
    }

    /// The relay no longer knows where a node is, as when a router gave it another address.
    pub fn forget_binding(&mut self, number: usize) {
        self.hosts[number].relay_bound = None;
    }

    /// A node is gone without a word.
    pub fn vanish(&mut self, number: usize) {
        self.forget_binding(number);
        let host = &mut self.hosts[number];
        host.is_linked = false;
        host.endpoint.set_ip("192.0.2.200".parse().unwrap());
        host.wake = self.now.monotonic + Duration::from_secs(86_400);
    }

    /// Handshake initiations that reached a node.
    pub fn initiations(&self, number: usize) -> usize {
        let of = |payload: &[u8]| is_initiation(payload) || payload.get(20..).is_some_and(is_initiation);
        self.arrived.iter().filter(|(_, host, payload)| *host == number && of(payload)).count()
    }

    pub fn unlink(&mut self, number: usize) {
        let reason = "the test cut it".to_owned();
        self.hosts[number].is_linked = false;
        self.hosts[number].node.handle_link(self.now, 0, LinkEvent::Down { reason });
        self.drain(number);
    }

    pub fn command(&mut self, number: usize, id: u64, command: Command) {
        self.hosts[number].node.handle_command(self.now, CommandId(id), command);
        self.drain(number);
    }

    /// Gives a command and runs until it is answered.
    pub fn ask(&mut self, number: usize, command: Command) -> Result<Answer, CommandError> {
        let id = CommandId(1_000_000 + self.sequence);
        self.sequence += 1;
        self.command(number, id.0, command);
        for _ in 0..1000 {
            if let Some(answer) = self.hosts[number].answers.remove(&id) {
                return answer;
            }
            self.run(Duration::from_millis(10));
        }
        panic!("no answer to a command within 10 s");
    }

    /// Both trust each other by key.
    pub fn befriend(&mut self, a: usize, b: usize) {
        for (us, them) in [(a, b), (b, a)] {
            let key = self.hosts[them].key;
            self.ask(us, Command::Trust(key, Default::default())).unwrap();
        }
    }

    pub fn address(&self, number: usize) -> std::net::Ipv6Addr {
        let node = self.hosts[number].id;
        Prefix::default().ipv6(Address { network: Network(0), node })
    }

    /// A packet of a program on `from` to `to`.
    pub fn packet(&self, from: usize, to: usize, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        packet.extend_from_slice(&[17, 64]);
        packet.extend_from_slice(&self.address(from).octets());
        packet.extend_from_slice(&self.address(to).octets());
        packet.extend_from_slice(payload);
        packet
    }

    pub fn send(&mut self, from: usize, to: usize, payload: &[u8]) {
        let packet = self.packet(from, to, payload);
        self.hosts[from].node.handle_packet(self.now, &packet);
        self.drain(from);
    }

    /// A datagram from anywhere to a node.
    pub fn inject(&mut self, from: SocketAddr, number: usize, payload: &[u8]) {
        self.hosts[number].node.handle_datagram(self.now, MAIN, from, payload);
        self.drain(number);
    }

    pub fn path(&mut self, number: usize, peer: usize) -> PathView {
        let id = self.hosts[peer].id;
        let Ok(Answer::Peers(peers)) = self.ask(number, Command::Peers) else {
            panic!("no list of peers");
        };
        let peer = peers.into_iter().find(|peer| peer.id == id);
        peer.map_or(PathView::None, |peer| peer.path)
    }

    pub fn dropped(&self, number: usize, reason: Drop) -> u64 {
        self.hosts[number].drops.get(reason)
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        for _ in 0..2_000_000 {
            let wake = self.hosts.iter().map(|host| host.wake).min();
            let delivery = self.queue.keys().next().map(|(at, _)| *at);
            let next = wake.into_iter().chain(delivery).min().unwrap_or(end);
            if next > end {
                return self.advance(end);
            }
            self.advance(next);
            self.deliver_due();
            for number in 0..self.hosts.len() {
                if self.hosts[number].wake <= self.now.monotonic {
                    self.hosts[number].node.handle_timeout(self.now);
                    self.drain(number);
                    let host = &self.hosts[number];
                    assert!(host.wake > self.now.monotonic, "livelock: {}", host.why);
                }
            }
        }
        panic!("the world does not come to rest");
    }

    fn advance(&mut self, to: Instant) {
        let step = to.saturating_duration_since(self.now.monotonic);
        self.now = self.now.after(step);
        #[cfg(feature = "sim")]
        crate::peer::advance_clock(step);
    }

    fn deliver_due(&mut self) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > self.now.monotonic {
                return;
            }
            match entry.remove() {
                Delivery::Message { host, message } if self.hosts[host].is_linked => {
                    let event = LinkEvent::Message(message);
                    self.hosts[host].node.handle_link(self.now, 0, event);
                    self.drain(host);
                }
                Delivery::Message { .. } => {}
                Delivery::Datagram { .. } | Delivery::Beacon { .. } if self.is_cut => {}
                Delivery::Datagram { payload, .. } if !may_fragment(&payload) && payload.len() + 28 > self.mtu => {}
                Delivery::Beacon { from, payload } => {
                    (0..self.hosts.len()).for_each(|number| self.hear(from, number, &payload));
                }
                Delivery::Datagram { from, to, payload } => self.arrive(from, to, payload),
            }
        }
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, payload: Vec<u8>) {
        if to.ip() == SERVER.parse::<SocketAddr>().unwrap().ip() {
            if !self.is_server_down {
                self.serve_udp(from, to, payload);
            }
            return;
        }
        let is_from_server = from.ip() == SERVER.parse::<SocketAddr>().unwrap().ip();
        let Some(host) = self.hosts.iter().position(|host| host.endpoint == to) else {
            self.stranger_heard += usize::from(to == STRANGER.parse().unwrap());
            return;
        };
        let sender = self.hosts.iter().position(|other| other.endpoint == from);
        let is_blocked = sender
            .is_some_and(|sender| self.blocked.contains(&(sender, host)) || self.blocked.contains(&(host, sender)));
        if is_from_server || (self.is_direct_open && !is_blocked) {
            self.inject(from, host, &payload);
            self.arrived.push((from, host, payload));
        }
    }

    fn post(&mut self, delivery: Delivery) {
        self.sequence += 1;
        let at = self.now.monotonic + LATENCY;
        self.queue.insert((at, self.sequence), delivery);
    }

    pub fn drain(&mut self, number: usize) {
        for _ in 0..100_000 {
            let host = &mut self.hosts[number];
            match host.node.poll_output(self.now) {
                Output::Transmit { hop: Hop::Stream(_), .. }
                | Output::Stream(..)
                | Output::Opener { .. }
                | Output::OpenSpares(_)
                | Output::CloseSpares(_) => {}
                Output::Transmit { hop: Hop::Udp { to, .. }, payload } => {
                    host.transmitted += 1;
                    let from = host.endpoint;
                    self.post(Delivery::Datagram { from, to, payload });
                }
                Output::Multicast(payload) => {
                    let from = host.endpoint;
                    self.beacons.push((number, payload.clone()));
                    self.post(Delivery::Beacon { from, payload });
                }
                Output::Redial => host.redials += 1,
                Output::Packet(packet) => host.packets.push(packet),
                Output::Link(_, message) => self.serve(number, message),
                Output::Derive(key) => {
                    let id = derive(&key);
                    host.node.handle_derived(self.now, key, id);
                }
                Output::Save(change) => host.saved.push(change),
                Output::Table(_) => {}
                Output::Answer(id, answer) => {
                    host.answers.insert(id, answer);
                }
                Output::Event(event) => host.events.push(event),
                Output::Wait { deadline, why } => {
                    host.wake = deadline;
                    host.why = why;
                    return;
                }
            }
        }
        panic!("a node does not come to rest");
    }

    fn serve(&mut self, from: usize, message: ClientMessage) {
        if !self.hosts[from].is_linked {
            return;
        }
        match message.body.unwrap() {
            client_message::Body::Hello(hello) => {
                self.hosts[from].name = hello.hostname.clone();
                let welcome = message::Welcome {
                    relay_session: from as u64 + 100,
                    relay_key: RELAY_KEY.to_vec(),
                    relay_allocation: from as u64 + 1,
                    hostname: hello.hostname,
                    hostname_taken: false,
                };
                self.tell(from, welcome);
            }
            client_message::Body::Deliver(deliver) => {
                let key = PublicKey::from_bytes(deliver.recipient.try_into().unwrap()).unwrap();
                self.carried.push((from, key, deliver.sealed.clone()));
                let to = self.hosts.iter().position(|host| host.key == key);
                if let Some(to) = to.filter(|to| self.hosts[*to].is_linked) {
                    let sealed = deliver.sealed;
                    self.tell(to, message::Delivered { sealed, delivery: 0 });
                }
            }
            client_message::Body::RequestTrust(request) => self.pass_on(from, request),
            client_message::Body::SetHostname(set) => {
                let is_other = |(n, host): (usize, &Host)| n != from && host.name == set.hostname;
                let taken = set.hostname.is_some() && self.hosts.iter().enumerate().any(is_other);
                let request = set.request;
                self.tell(from, message::HostnameSet { request, taken });
            }
            client_message::Body::Acknowledge(_) => {}
        }
    }

    fn pass_on(&mut self, from: usize, request: message::RequestTrust) {
        let is_meant = |host: &Host| match request.target.as_ref().unwrap() {
            message::request_trust::Target::Hostname(name) => host.name.as_ref() == Some(name),
            message::request_trust::Target::NodeId(id) => host.id.to_u64() == *id,
        };
        if let Some(to) = self.hosts.iter().position(is_meant) {
            let sender = &self.hosts[from];
            let requested = message::TrustRequested {
                delivery: 1,
                sender_key: sender.key.as_bytes().to_vec(),
                sender_hostname: sender.name.clone().unwrap_or_default(),
                statement: request.sender_statement,
            };
            self.tell(to, requested);
        }
    }

    pub fn tell(&mut self, host: usize, message: impl Into<ServerMessage>) {
        let message = message.into();
        self.post(Delivery::Message { host, message });
    }

    fn serve_udp(&mut self, from: SocketAddr, to: SocketAddr, mut payload: Vec<u8>) {
        let mut out = [0; 100];
        if let Ok(stun::Reflection { len, .. }) = stun::respond(&payload, from, None, &mut out) {
            let payload = out[..len].to_vec();
            return self.post(Delivery::Datagram { from: to, to: from, payload });
        }
        match Frame::parse(&payload) {
            Ok(Frame::Bind(bind)) if bind.verify(&RELAY_KEY).is_err() => {}
            Ok(Frame::Bind(bind)) => {
                self.hosts[bind.session as usize - 100].relay_bound = Some(from);
                let payload = relay::bound(bind.session, &RELAY_KEY, bind.nonce).to_vec();
                self.post(Delivery::Datagram { from: to, to: from, payload });
            }
            Ok(Frame::Send { session, destination, .. }) => {
                let source = Allocation(session - 100 + 1);
                let host = &self.hosts[destination.0 as usize - 1];
                let is_bound = self.hosts[source.0 as usize - 1].relay_bound == Some(from);
                if let Some(endpoint) = host.relay_bound.filter(|_| is_bound) {
                    payload[..20].copy_from_slice(&relay::deliver_header(source, destination));
                    self.post(Delivery::Datagram { from: to, to: endpoint, payload });
                }
            }
            other => panic!("the server got {other:?}"),
        }
    }
}

/// What a node saved, as it finds it again.
pub fn records(saved: &[Change]) -> Records {
    let mut records = Records::default();
    for change in saved {
        match change {
            Change::PutPeer(peer) => {
                records.peers.retain(|other| other.key != peer.key);
                records.peers.push(peer.clone());
            }
            Change::RemovePeer(key) => records.peers.retain(|other| other.key != *key),
            Change::SetFloor { key, floor } => {
                for peer in records.peers.iter_mut().filter(|peer| peer.key == *key) {
                    peer.initiation_floor = *floor;
                }
            }
            Change::PutRequest(request) => {
                records.requests.retain(|other| other.nonce != request.nonce);
                records.requests.push(request.clone());
            }
            Change::RemoveRequest(nonce) => records.requests.retain(|other| other.nonce != *nonce),
            Change::PutInvite(invite) => {
                records.invites.retain(|other| other.secret != invite.secret);
                records.invites.push(invite.clone());
            }
            Change::RemoveInvite(invite) => records.invites.retain(|other| other.secret != invite.secret),
            _ => {}
        }
    }
    records
}
