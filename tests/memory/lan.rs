//! A hub and its peers, nodes without IO on one LAN, where beacons let them find each other. Time is virtual.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilot::identity::{Address, Identity, Network, NodeId, Prefix, TunnelSecret};
use pilot::node::trust::Mutual;
use pilot::node::{Node, Output, Settings, State};
use pilot::peer::Grant;
use pilot::peer::record::{PeerRecord, Records, Via};
use pilot::wire::path::MAIN;
use pilot::wire::{Drops, Hop, Now};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

const STEP: Duration = Duration::from_millis(50);
const PORT: u16 = 40_000;

/// Who a node is.
pub struct Who {
    identity: Identity,
    id: NodeId,
    addresses: [IpAddr; 3],
}

/// A node, and when it wants to be called.
pub struct Host {
    pub node: Node,
    address: Ipv6Addr,
    /// What it tells its peers, of which the first leads to it.
    addresses: [IpAddr; 3],
    wake: Instant,
}

/// The hub and its peers, at a moment.
pub struct Lan {
    pub hub: Host,
    pub peers: Vec<Host>,
    now: Now,
}

/// What goes over the LAN.
struct Sent {
    from: SocketAddr,
    /// None: the LAN's group.
    to: Option<SocketAddr>,
    payload: Vec<u8>,
}

impl Who {
    /// A hub, and so many peers.
    pub fn all(peers: u16) -> (Who, Vec<Who>) {
        let mut rng = ChaCha20Rng::seed_from_u64(peers.into());
        (Who::new(1, &mut rng), (2..peers + 2).map(|number| Who::new(number, &mut rng)).collect())
    }

    fn new(number: u16, rng: &mut ChaCha20Rng) -> Who {
        let [high, low] = number.to_be_bytes();
        let inside = [[10, 7, high, low], [172, 17, high, low]].map(IpAddr::from);
        let outside = Ipv6Addr::new(0x2a01, 0x4f8, 0, 0, 0, 0, 0, number);
        let id = NodeId::from_u64(rng.next_u64() >> 16).expect("48 bits");
        Who { identity: Identity::generate(rng), id, addresses: [inside[0], inside[1], outside.into()] }
    }

    fn record(&self) -> PeerRecord {
        PeerRecord {
            key: self.identity.public_key(),
            id: self.id,
            hostname: None,
            since_unix_ms: 1_800_000_000_000,
            via: Via::Key,
            tunnel: None,
            initiation_floor: [0; 12],
            grant: Grant::All,
            expires_unix_ms: None,
        }
    }
}

impl Host {
    /// A node that trusts these.
    pub fn new(who: &Who, friends: &[Who], now: Now) -> Host {
        let mut seed = [0; 32];
        seed[..6].copy_from_slice(&who.id.to_u64().to_be_bytes()[2..]);
        let state = State {
            identity: who.identity.clone(),
            id: who.id,
            tunnel: TunnelSecret::generate(&mut ChaCha20Rng::from_seed(seed)),
            tunnel_serial: 1,
            records: Records { peers: friends.iter().map(Who::record).collect(), ..Records::default() },
        };
        let address = Prefix::default().ipv6(Address { network: Network(0), node: who.id });
        let node = Node::new(settings(seed), state, now);
        Host { node, address, addresses: who.addresses, wake: now.monotonic }
    }

    fn endpoint(&self) -> SocketAddr {
        SocketAddr::new(self.addresses[0], PORT)
    }

    /// Carries out what the node wants. The group is heard by the hub alone: its answers find everybody.
    fn drain(&mut self, now: Now, sent: &mut Vec<Sent>) {
        let from = self.endpoint();
        loop {
            match self.node.poll_output(now) {
                Output::Transmit { hop: Hop::Udp { to, .. }, payload } => {
                    sent.push(Sent { from, to: Some(to), payload })
                }
                Output::Multicast(payload) => sent.push(Sent { from, to: None, payload }),
                Output::OpenSpares(_) => self.node.handle_spares(now, &[]),
                Output::Wait { deadline, .. } => {
                    self.wake = deadline;
                    return;
                }
                _ => {}
            }
        }
    }

    fn hear(&mut self, now: Now, Sent { from, to, payload }: Sent, sent: &mut Vec<Sent>) {
        match to {
            Some(_) => self.node.handle_datagram(now, MAIN, from, &payload),
            None => self.node.handle_multicast(now, from, &payload),
        }
        self.drain(now, sent);
    }
}

fn settings(seed: [u8; 32]) -> Settings {
    Settings {
        network: Network(0),
        prefix: Prefix::default(),
        hostname: None,
        rendezvous: Vec::new(),
        mutual: Mutual::Name,
        wireguard: Vec::new(),
        mtu: 1420,
        lan_discovery: true,
        relay_for_friends: false,
        lane: true,
        seed,
        drops: Arc::new(Drops::default()),
    }
}

impl Lan {
    /// A hub that knows these peers, and the first few of them, which know it.
    pub fn new((hub, peers): &(Who, Vec<Who>), present: u16, now: Now) -> Lan {
        let friend = std::slice::from_ref(hub);
        let present = peers.iter().take(present.into());
        let mut lan = Lan {
            hub: Host::new(hub, peers, now),
            peers: present.map(|peer| Host::new(peer, friend, now)).collect(),
            now,
        };
        for host in lan.peers.iter_mut().chain([&mut lan.hub]) {
            host.node.handle_local_addresses(now, &host.addresses, PORT, PORT);
        }
        lan
    }

    /// Goes on for a while.
    pub fn run(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        while self.now.monotonic < end {
            let mut sent = Vec::new();
            for host in self.peers.iter_mut().chain([&mut self.hub]) {
                if host.wake <= self.now.monotonic {
                    host.node.handle_timeout(self.now);
                }
                host.drain(self.now, &mut sent);
            }
            self.deliver(sent);
            self.now.monotonic += STEP;
            self.now.unix_millis += STEP.as_millis() as u64;
            pilot::peer::advance_clock(STEP);
        }
    }

    /// Each peer says something to the hub, and the hub to each peer.
    pub fn talk(&mut self) {
        let mut sent = Vec::new();
        for peer in &mut self.peers {
            peer.node.handle_packet(self.now, &packet(peer.address, self.hub.address));
            peer.drain(self.now, &mut sent);
            self.hub.node.handle_packet(self.now, &packet(self.hub.address, peer.address));
            self.hub.drain(self.now, &mut sent);
        }
        self.deliver(sent);
    }

    /// Each peer says so much to the hub that nothing of it arrives.
    pub fn shout(&mut self, times: usize) {
        for peer in &mut self.peers {
            for _ in 0..times {
                peer.node.handle_packet(self.now, &packet(peer.address, self.hub.address));
                peer.drain(self.now, &mut Vec::new());
            }
        }
    }

    fn deliver(&mut self, mut sent: Vec<Sent>) {
        while !sent.is_empty() {
            for datagram in std::mem::take(&mut sent) {
                let is_meant = |host: &&mut Host| datagram.to.is_none_or(|to| host.endpoint() == to);
                if let Some(host) = [&mut self.hub].into_iter().chain(&mut self.peers).find(is_meant) {
                    host.hear(self.now, datagram, &mut sent);
                }
            }
        }
    }
}

/// A UDP packet without content.
fn packet(from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    let header = [0x60, 0, 0, 0, 0, 8, 17, 64];
    [&header[..], &from.octets(), &to.octets(), &[0, 7, 0, 7, 0, 8, 0, 0]].concat()
}
