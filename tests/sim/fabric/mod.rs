//! The networks between hosts: zones in a tree, a gateway in front of each but the internet, links that delay, lose and
//! cut. `route` carries datagrams, `faults` changes things, `ways` says what two hosts can expect.
//!
//! A zone is a segment: the internet, a carrier's network, a home. Homes have the same private addresses everywhere.

mod faults;
mod route;
mod ways;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

pub use route::{Origin, Transit};

use crate::nat::{Behaviour, Dependence, Firewall, Nat, Timeouts};

/// A host on the network; its number is also its identity in a story.
pub type HostId = usize;
/// A segment.
pub type ZoneId = usize;

/// The zone that has no gateway.
pub const INTERNET: ZoneId = 0;

/// The network of every home.
const HOME: [u8; 3] = [192, 168, 1];

/// What one link does to datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// One-way delay.
    pub latency: Duration,
    /// Additional random delay, which also reorders.
    pub jitter: Duration,
    /// Datagrams lost in a thousand.
    pub loss_per_mille: u32,
    /// Larger IP packets vanish.
    pub mtu: usize,
}

impl Link {
    /// A quick clean link.
    pub const GOOD: Link =
        Link { latency: Duration::from_millis(10), jitter: Duration::ZERO, loss_per_mille: 0, mtu: 1500 };
    /// A mobile link on a bad day.
    pub const BAD: Link = Link {
        latency: Duration::from_millis(60),
        jitter: Duration::from_millis(20),
        loss_per_mille: 30,
        ..Link::GOOD
    };
    /// A cable from a gateway to what is in front of it.
    const SHORT: Link = Link { latency: Duration::ZERO, ..Link::GOOD };
}

/// How a zone is connected to the one outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The zone outside.
    pub outer: ZoneId,
    /// The translator, where there is IPv4.
    pub nat: Option<Behaviour>,
    /// The firewall, where there is IPv6.
    pub firewall: Option<Dependence>,
    /// How many outside addresses the translator has.
    pub addresses: usize,
    /// Whether other gateways are inside: a network of addresses from 100.64.0.0/10, each different.
    pub is_carrier: bool,
}

impl Access {
    /// An IPv4 home on the internet.
    pub fn home(behaviour: Behaviour) -> Access {
        Access { outer: INTERNET, nat: Some(behaviour), firewall: None, addresses: 1, is_carrier: false }
    }

    /// A carrier's IPv4 network.
    pub fn carrier(behaviour: Behaviour) -> Access {
        Access { is_carrier: true, ..Access::home(behaviour) }
    }

    /// The same behind another zone.
    pub fn behind(self, outer: ZoneId) -> Access {
        Access { outer, ..self }
    }

    /// The same with IPv6 beside.
    pub fn with_v6(self, firewall: Dependence) -> Access {
        Access { firewall: Some(firewall), ..self }
    }

    /// Nothing but IPv6.
    pub fn v6_only(firewall: Dependence) -> Access {
        Access { nat: None, ..Access::home(Behaviour::PORT_RESTRICTED).with_v6(firewall) }
    }
}

/// What connects a zone to the one outside.
pub struct Gateway {
    /// The zone outside.
    pub outer: ZoneId,
    /// The translator, where there is IPv4.
    pub nat: Option<Nat>,
    /// Whether UDP is refused.
    pub udp_blocked: bool,
    /// Whether it carries nothing at all.
    pub is_down: bool,
    /// Its link to the outside.
    pub link: Link,
    firewall: Option<Firewall>,
    /// Grows when connections through it die.
    stamp: u32,
}

struct Zone {
    gateway: Option<Gateway>,
    v4: [u8; 3],
    v6: Option<u16>,
    /// The number of the last address.
    last: u16,
}

struct Interface {
    zone: ZoneId,
    addresses: Vec<IpAddr>,
    link: Link,
    is_up: bool,
}

#[derive(Default)]
struct Host {
    interfaces: Vec<Interface>,
    is_cut: bool,
    /// Grows when connections from it die.
    stamp: u32,
}

/// All zones, gateways, hosts and links.
pub struct Fabric {
    zones: Vec<Zone>,
    hosts: Vec<Host>,
    parted: BTreeSet<(HostId, HostId)>,
    /// Between whom nothing passes of IPv4, or of IPv6.
    barred: BTreeSet<(HostId, HostId, bool)>,
}

impl Fabric {
    /// The internet, with nobody on it.
    pub fn new() -> Fabric {
        let internet = Zone { gateway: None, v4: [45, 83, 0], v6: Some(0), last: 0 };
        Fabric { zones: vec![internet], hosts: Vec::new(), parted: BTreeSet::new(), barred: BTreeSet::new() }
    }

    /// Adds a zone behind a gateway.
    pub fn zone(&mut self, access: Access) -> ZoneId {
        let number = self.zones.len();
        let outside = (0..access.addresses).map(|_| self.next_v4(access.outer)).collect();
        let nat = access.nat.map(|behaviour| Nat::new(outside, behaviour));
        let v6 = self.zones[access.outer].v6.and(access.firewall).map(|_| number as u16);
        let firewall = access.firewall.map(|filtering| Firewall::new(filtering, Timeouts::LINUX));
        let gateway = Gateway {
            outer: access.outer,
            nat,
            udp_blocked: false,
            is_down: false,
            link: Link::SHORT,
            firewall,
            stamp: 0,
        };
        let v4 = if access.is_carrier { [100, 64, number as u8] } else { HOME };
        self.zones.push(Zone { gateway: Some(gateway), v4, v6, last: 1 });
        number
    }

    /// Adds a host in a zone.
    pub fn host(&mut self, zone: ZoneId, link: Link) -> HostId {
        self.hosts.push(Host::default());
        let host = self.hosts.len() - 1;
        self.attach(host, zone, link);
        host
    }

    /// Gives a host another interface, in another zone; the first that is up leads out.
    pub fn attach(&mut self, host: HostId, zone: ZoneId, link: Link) {
        let addresses = self.next_addresses(zone);
        self.hosts[host].interfaces.push(Interface { zone, addresses, link, is_up: true });
    }

    /// Gives a host one more IPv4 address on its first interface.
    pub fn add_address(&mut self, host: HostId) {
        let address = self.next_v4(self.hosts[host].interfaces[0].zone);
        self.hosts[host].interfaces[0].addresses.push(address);
    }

    /// The addresses of a host, those of the interface that leads out first.
    pub fn addresses(&self, host: HostId) -> Vec<IpAddr> {
        self.up(host).flat_map(|interface| interface.addresses.clone()).collect()
    }

    /// The first address of a host.
    pub fn ip(&self, host: HostId) -> IpAddr {
        self.hosts[host].interfaces[0].addresses[0]
    }

    /// The zone of a host's first interface.
    pub fn home_of(&self, host: HostId) -> ZoneId {
        self.hosts[host].interfaces[0].zone
    }

    /// The gateway in front of a zone.
    pub fn gateway(&mut self, zone: ZoneId) -> &mut Gateway {
        self.zones[zone].gateway.as_mut().expect("the internet has no gateway")
    }

    /// The translator in front of a zone.
    pub fn nat(&mut self, zone: ZoneId) -> &mut Nat {
        self.gateway(zone).nat.as_mut().expect("a zone with IPv4")
    }

    /// The most entries that one host ever had in the table of its own gateway.
    pub fn peak(&self) -> usize {
        let is_home = |zone: &&Zone| zone.v4 == HOME;
        let nats = self.zones.iter().filter(is_home).filter_map(|zone| zone.gateway.as_ref()?.nat.as_ref());
        nats.map(Nat::peak).max().unwrap_or(0)
    }

    fn up(&self, host: HostId) -> impl Iterator<Item = &Interface> {
        self.hosts[host].interfaces.iter().filter(|interface| interface.is_up)
    }

    fn has_v4(&self, zone: ZoneId) -> bool {
        self.zones[zone].gateway.as_ref().is_none_or(|gateway| gateway.nat.is_some())
    }

    fn next_addresses(&mut self, zone: ZoneId) -> Vec<IpAddr> {
        let v4 = self.has_v4(zone).then(|| self.next_v4(zone));
        let v6 = self.zones[zone].v6.map(|prefix| {
            self.zones[zone].last += u16::from(v4.is_none());
            IpAddr::V6(Ipv6Addr::new(0x2a05, 0xd01c, 0, prefix, 0, 0, 0, self.zones[zone].last))
        });
        v4.into_iter().chain(v6).collect()
    }

    /// An address that nobody in the zone has: after 253 of them the next network begins.
    fn next_v4(&mut self, zone: ZoneId) -> IpAddr {
        let zone = &mut self.zones[zone];
        zone.last += 1;
        let [a, b, c] = zone.v4;
        IpAddr::V4(Ipv4Addr::new(a, b, c + (zone.last / 254) as u8, (zone.last % 254) as u8 + 1))
    }
}
