//! A network address translator with the behaviours that RFC 4787 names.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand_core::RngCore;

/// What an outside port, or permission, depends on (RFC 4787 sections 4.1 and 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependence {
    /// On the inside endpoint only.
    Endpoint,
    /// Also on the remote address.
    Address,
    /// Also on the remote port.
    AddressAndPort,
}

/// How a mapping gets its outside port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// The inside port where it is free.
    Preserved,
    /// Any.
    Random,
}

/// The behaviour of one translator.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// On what a mapping depends.
    pub mapping: Dependence,
    /// Who may send to a mapping.
    pub filtering: Dependence,
    /// Port assignment.
    pub ports: Ports,
    /// How long an unused mapping lives.
    pub timeout: Duration,
    /// Whether inside hosts reach each other by their outside endpoints.
    pub hairpin: bool,
}

impl Behaviour {
    /// The ordinary home router.
    pub const PORT_RESTRICTED: Behaviour = Behaviour {
        mapping: Dependence::Endpoint,
        filtering: Dependence::AddressAndPort,
        ports: Ports::Preserved,
        timeout: Duration::from_secs(30),
        hairpin: false,
    };
    /// A router that lets anyone answer who knows the endpoint.
    pub const FULL_CONE: Behaviour =
        Behaviour { filtering: Dependence::Endpoint, hairpin: true, ..Behaviour::PORT_RESTRICTED };
    /// Filters by address only.
    pub const RESTRICTED: Behaviour = Behaviour { filtering: Dependence::Address, ..Behaviour::PORT_RESTRICTED };
    /// A new random port for every destination.
    pub const SYMMETRIC: Behaviour =
        Behaviour { mapping: Dependence::AddressAndPort, ports: Ports::Random, ..Behaviour::PORT_RESTRICTED };

    /// Whether two hosts behind these translators can open a direct path by plain punching:
    /// both sides learn their mapping towards a server and send to the other's.
    pub fn punchable(self, other: Behaviour) -> bool {
        let predictable = |b: Behaviour| b.mapping == Dependence::Endpoint;
        let tolerant = |b: Behaviour| b.filtering != Dependence::AddressAndPort;
        match (predictable(self), predictable(other)) {
            (true, true) => true,
            (true, false) => tolerant(self),
            (false, true) => tolerant(other),
            (false, false) => false,
        }
    }
}

struct Mapping {
    inside: SocketAddr,
    permitted: BTreeMap<SocketAddr, Instant>,
    used: Instant,
}

/// One translator with its table.
pub struct Nat {
    /// How it behaves.
    pub behaviour: Behaviour,
    outside: IpAddr,
    ports: BTreeMap<(SocketAddr, Option<IpAddr>, Option<u16>), u16>,
    mappings: BTreeMap<u16, Mapping>,
}

impl Nat {
    /// A translator with the given outside address.
    pub fn new(outside: IpAddr, behaviour: Behaviour) -> Nat {
        Nat { behaviour, outside, ports: BTreeMap::new(), mappings: BTreeMap::new() }
    }

    /// Whether this is its outside address.
    pub fn is_at(&self, ip: IpAddr) -> bool {
        self.outside == ip
    }

    /// Forgets every mapping, as a reboot does.
    pub fn reboot(&mut self) {
        self.ports.clear();
        self.mappings.clear();
    }

    /// A datagram from inside to `to`: the source endpoint it leaves with.
    pub fn outbound(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, rng: &mut impl RngCore) -> SocketAddr {
        self.expire(now);
        let key = match self.behaviour.mapping {
            Dependence::Endpoint => (from, None, None),
            Dependence::Address => (from, Some(to.ip()), None),
            Dependence::AddressAndPort => (from, Some(to.ip()), Some(to.port())),
        };
        let port = match self.ports.get(&key) {
            Some(port) => *port,
            None => self.assign(key, now, rng),
        };
        if let Some(mapping) = self.mappings.get_mut(&port) {
            mapping.used = now;
            mapping.permitted.insert(to, now);
        }
        SocketAddr::new(self.outside, port)
    }

    fn assign(&mut self, key: (SocketAddr, Option<IpAddr>, Option<u16>), now: Instant, rng: &mut impl RngCore) -> u16 {
        let wanted = match self.behaviour.ports {
            Ports::Preserved => key.0.port(),
            Ports::Random => 1024 + (rng.next_u32() % 64_000) as u16,
        };
        let port = (0..=u16::MAX)
            .map(|step| wanted.wrapping_add(step).max(1024))
            .find(|port| !self.mappings.contains_key(port))
            .expect("a free port");
        self.ports.insert(key, port);
        self.mappings.insert(port, Mapping { inside: key.0, permitted: BTreeMap::new(), used: now });
        port
    }

    /// A datagram from outside to the outside endpoint `to`: where it goes inside, if it may.
    pub fn inbound(&mut self, now: Instant, from: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        self.expire(now);
        let filtering = self.behaviour.filtering;
        let mapping = self.mappings.get(&to.port())?;
        let permitted = match filtering {
            Dependence::Endpoint => true,
            Dependence::Address => mapping.permitted.keys().any(|known| known.ip() == from.ip()),
            Dependence::AddressAndPort => mapping.permitted.contains_key(&from),
        };
        permitted.then_some(mapping.inside)
    }

    fn expire(&mut self, now: Instant) {
        let alive = |used: Instant| now.saturating_duration_since(used) < self.behaviour.timeout;
        for mapping in self.mappings.values_mut() {
            mapping.permitted.retain(|_, used| alive(*used));
        }
        self.mappings.retain(|_, mapping| alive(mapping.used));
        self.ports.retain(|_, port| self.mappings.contains_key(port));
    }
}
