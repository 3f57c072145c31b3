//! The network between hosts: private LANs behind translators, a public segment, latency and loss.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;

use crate::nat::{Behaviour, Nat};

/// A host on the network; its number is also its identity in a story.
pub type HostId = usize;

/// What one link does to datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// One-way delay of this host's access link.
    pub latency: Duration,
    /// Additional random delay, which also reorders.
    pub jitter: Duration,
    /// Datagrams lost in a thousand.
    pub loss_per_mille: u32,
}

impl Link {
    /// A quick clean link.
    pub const GOOD: Link = Link { latency: Duration::from_millis(10), jitter: Duration::ZERO, loss_per_mille: 0 };
    /// A mobile link on a bad day.
    pub const BAD: Link =
        Link { latency: Duration::from_millis(60), jitter: Duration::from_millis(20), loss_per_mille: 30 };
}

struct Port {
    ip: IpAddr,
    lan: Option<usize>,
    link: Link,
    cut: bool,
}

/// A datagram that will arrive.
pub struct Arrival {
    /// When.
    pub at: Instant,
    /// Where.
    pub host: HostId,
    /// The source endpoint as the receiver sees it.
    pub from: SocketAddr,
    /// The receiver's own endpoint.
    pub to: SocketAddr,
}

/// All LANs, translators and links.
#[derive(Default)]
pub struct Fabric {
    ports: Vec<Port>,
    nats: Vec<Nat>,
    public: u8,
}

impl Fabric {
    /// Adds a translator with a public address; gives its LAN.
    pub fn lan(&mut self, behaviour: Behaviour) -> usize {
        let outside = self.next_public();
        self.nats.push(Nat::new(outside, behaviour));
        self.nats.len() - 1
    }

    fn next_public(&mut self) -> IpAddr {
        self.public += 1;
        IpAddr::V4(Ipv4Addr::new(203, 0, 113, self.public))
    }

    /// Adds a host on the public segment, or on a LAN. All LANs use the same private addresses.
    pub fn host(&mut self, lan: Option<usize>, link: Link) -> HostId {
        let ip = match lan {
            None => self.next_public(),
            Some(_) => {
                let before = self.ports.iter().filter(|port| port.lan == lan).count() as u8;
                IpAddr::V4(Ipv4Addr::new(192, 168, 1, 2 + before))
            }
        };
        self.ports.push(Port { ip, lan, link, cut: false });
        self.ports.len() - 1
    }

    /// The address that a host has on its own segment.
    pub fn ip(&self, host: HostId) -> IpAddr {
        self.ports[host].ip
    }

    /// Moves a host to another LAN (or the public segment).
    pub fn roam(&mut self, host: HostId, lan: Option<usize>) {
        self.ports[host].lan = lan;
        if lan.is_none() {
            self.ports[host].ip = self.next_public();
        } else {
            let others: Vec<IpAddr> =
                self.ports.iter().enumerate().filter(|(n, p)| *n != host && p.lan == lan).map(|(_, p)| p.ip).collect();
            self.ports[host].ip = (2..250)
                .map(|n| IpAddr::V4(Ipv4Addr::new(192, 168, 1, n)))
                .find(|ip| !others.contains(ip))
                .expect("a free address");
        }
    }

    /// Unplugs a host, or plugs it in again.
    pub fn cut(&mut self, host: HostId, cut: bool) {
        self.ports[host].cut = cut;
    }

    /// Every link works again, and well.
    pub fn heal(&mut self) {
        for port in &mut self.ports {
            port.cut = false;
            port.link = Link::GOOD;
        }
    }

    /// Whether two hosts can reach each other by plain punching: the oracle.
    pub fn punchable(&self, a: HostId, b: HostId) -> bool {
        let (a, b) = (self.ports[a].lan, self.ports[b].lan);
        match (a, b) {
            (Some(a), Some(b)) if a == b => true,
            (Some(a), Some(b)) => self.nats[a].behaviour.punchable(self.nats[b].behaviour),
            _ => true,
        }
    }

    /// The translator in front of a LAN.
    pub fn nat(&mut self, lan: usize) -> &mut Nat {
        &mut self.nats[lan]
    }

    /// Carries a datagram: when and where it arrives, if it does.
    pub fn carry(
        &mut self,
        now: Instant,
        host: HostId,
        port: u16,
        to: SocketAddr,
        rng: &mut ChaCha8Rng,
    ) -> Option<Arrival> {
        let source = SocketAddr::new(self.ports[host].ip, port);
        let (receiver, from, to) = self.route(now, host, source, to, rng)?;
        let links = [self.ports[host].link, self.ports[receiver].link];
        if self.ports[host].cut || self.ports[receiver].cut {
            return None;
        }
        let mut at = now;
        for link in links {
            if rng.next_u32() % 1000 < link.loss_per_mille {
                return None;
            }
            at += link.latency + link.jitter.mul_f64(f64::from(rng.next_u32()) / f64::from(u32::MAX));
        }
        Some(Arrival { at, host: receiver, from, to })
    }

    fn route(
        &mut self,
        now: Instant,
        host: HostId,
        source: SocketAddr,
        to: SocketAddr,
        rng: &mut ChaCha8Rng,
    ) -> Option<(HostId, SocketAddr, SocketAddr)> {
        let lan = self.ports[host].lan;
        if let Some(neighbour) = self.find(lan, to.ip()) {
            return Some((neighbour, source, to));
        }
        let from = match lan {
            Some(lan) => self.nats[lan].outbound(now, source, to, rng),
            None => source,
        };
        if let Some(public) = self.find(None, to.ip()) {
            return Some((public, from, to));
        }
        let target = self.nats.iter().position(|nat| nat.is_at(to.ip()))?;
        if Some(target) == lan && !self.nats[target].behaviour.hairpin {
            return None;
        }
        let inside = self.nats[target].inbound(now, from, to)?;
        Some((self.find(Some(target), inside.ip())?, from, inside))
    }

    fn find(&self, lan: Option<usize>, ip: IpAddr) -> Option<HostId> {
        self.ports.iter().position(|port| port.lan == lan && port.ip == ip)
    }
}

/// Something that happens at a moment, in the order in which it was planned.
pub struct Agenda<T> {
    planned: BTreeMap<(Instant, u64), T>,
    counter: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Agenda { planned: BTreeMap::new(), counter: 0 }
    }
}

impl<T> Agenda<T> {
    /// Plans `what` for `at`.
    pub fn plan(&mut self, at: Instant, what: T) {
        self.counter += 1;
        self.planned.insert((at, self.counter), what);
    }

    /// When the next thing happens.
    pub fn next(&self) -> Option<Instant> {
        self.planned.keys().next().map(|(at, _)| *at)
    }

    /// The next thing that happens no later than `now`.
    pub fn due(&mut self, now: Instant) -> Option<T> {
        let key = *self.planned.keys().next().filter(|(at, _)| *at <= now)?;
        self.planned.remove(&key)
    }

    /// How much is planned.
    pub fn len(&self) -> usize {
        self.planned.len()
    }
}
