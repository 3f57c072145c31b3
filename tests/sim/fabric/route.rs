//! How a datagram crosses the zones: up through gateways until a zone knows its destination, and down again.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;

use super::{Fabric, Gateway, HostId, Interface, Link, ZoneId};

/// Bytes of the UDP header, and of the IP header before it.
const UDP: usize = 8;
const IPV4: usize = 20;
const IPV6: usize = 40;

/// Where a datagram leaves a host.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    /// From a port; the address is the one of the interface that leads there.
    Port(u16),
    /// From this endpoint.
    Exactly(SocketAddr),
}

/// A datagram that reached the zone which knows its destination.
#[derive(Debug)]
pub struct Transit {
    /// When.
    pub at: Instant,
    sender: HostId,
    zone: ZoneId,
    size: usize,
    from: SocketAddr,
    to: SocketAddr,
}

/// A datagram that will arrive.
#[derive(Debug)]
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

/// A datagram on its way.
struct Trip<'a> {
    now: Instant,
    at: Instant,
    size: usize,
    from: SocketAddr,
    to: SocketAddr,
    rng: &'a mut ChaCha8Rng,
}

impl Trip<'_> {
    /// Crosses a link, unless that loses it.
    fn cross(&mut self, link: Link) -> Option<()> {
        let is_lost = link.loss_per_mille > 0 && self.rng.next_u32() % 1000 < link.loss_per_mille;
        if is_lost || self.size > link.mtu {
            return None;
        }
        self.at += link.latency;
        if !link.jitter.is_zero() {
            self.at += link.jitter.mul_f64(f64::from(self.rng.next_u32()) / f64::from(u32::MAX));
        }
        Some(())
    }

    /// Leaves a zone.
    fn leave(&mut self, gateway: &mut Gateway) -> Option<()> {
        if gateway.is_down || gateway.udp_blocked {
            return None;
        }
        match self.to {
            SocketAddr::V4(_) => self.from = gateway.nat.as_mut()?.outbound(self.now, self.from, self.to, self.rng)?,
            SocketAddr::V6(_) => gateway.firewall.as_mut()?.outbound(self.now, self.from, self.to),
        }
        Some(())
    }

    /// Enters a zone.
    fn enter(&mut self, gateway: &mut Gateway) -> Option<()> {
        if gateway.is_down || gateway.udp_blocked {
            return None;
        }
        match self.to {
            SocketAddr::V4(_) => self.to = gateway.nat.as_mut()?.inbound(self.now, self.from, self.to)?,
            SocketAddr::V6(_) if gateway.firewall.as_mut()?.inbound(self.now, self.from, self.to) => {}
            SocketAddr::V6(_) => return None,
        }
        Some(())
    }
}

impl Fabric {
    /// Sends a datagram of `len` bytes: when it is where its destination is known, if it gets there.
    pub fn depart(
        &mut self,
        now: Instant,
        host: HostId,
        origin: Origin,
        to: SocketAddr,
        len: usize,
        rng: &mut ChaCha8Rng,
    ) -> Option<Transit> {
        let (zone, link, from) = self.departure(host, origin, to)?;
        let header = if to.is_ipv4() { IPV4 } else { IPV6 };
        let mut trip = Trip { now, at: now, size: len + UDP + header, from, to, rng };
        if self.hosts[host].is_cut {
            return None;
        }
        trip.cross(link)?;
        let zone = self.rise(&mut trip, zone)?;
        Some(Transit { at: trip.at, sender: host, zone, size: trip.size, from: trip.from, to: trip.to })
    }

    /// Sends a datagram whose hop limit ends its way: what that opens of the sender's own gateways is all that it does. The
    /// last router that it reaches does not forward it.
    pub fn expire(&mut self, now: Instant, host: HostId, port: u16, to: SocketAddr, hops: u8, rng: &mut ChaCha8Rng) {
        let Some((mut zone, _, from)) = self.departure(host, Origin::Port(port), to) else { return };
        let mut trip = Trip { now, at: now, size: 1, from, to, rng };
        for _ in 1..hops {
            if self.hosts[host].is_cut || self.knows(zone, to.ip()) {
                return;
            }
            let Some(gateway) = self.zones[zone].gateway.as_mut() else { return };
            if trip.leave(gateway).is_none() {
                return;
            }
            zone = gateway.outer;
        }
    }

    /// Whether a host's system would send to a destination at all.
    pub fn has_route(&self, host: HostId, to: SocketAddr) -> bool {
        self.departure(host, Origin::Port(1), to).is_some()
    }

    /// Carries on with it, at its time: when and where it arrives, if it does.
    pub fn arrive(&mut self, now: Instant, transit: &Transit, rng: &mut ChaCha8Rng) -> Option<Arrival> {
        let Transit { sender, zone, size, from, to, .. } = *transit;
        let mut trip = Trip { now, at: now, size, from, to, rng };
        let (host, link) = self.descend(&mut trip, zone)?;
        let is_barred = self.barred.contains(&(sender, host, to.is_ipv4()));
        if self.hosts[host].is_cut || self.parted.contains(&(sender, host)) || is_barred {
            return None;
        }
        trip.cross(link)?;
        Some(Arrival { at: trip.at, host, from: trip.from, to: trip.to })
    }

    /// Carries a datagram to everybody else in the zones that a host is in: when, whom, and the sender's endpoint.
    pub fn broadcast(&self, now: Instant, host: HostId, port: u16) -> Vec<(Instant, HostId, SocketAddr)> {
        let mut reached = Vec::new();
        for interface in self.up(host).filter(|_| !self.hosts[host].is_cut) {
            let neighbours = (0..self.hosts.len()).filter(|other| *other != host && !self.hosts[*other].is_cut);
            for other in neighbours.filter(|other| self.up(*other).any(|theirs| theirs.zone == interface.zone)) {
                let from = interface.addresses.iter().map(|ip| SocketAddr::new(*ip, port));
                reached.extend(from.take(1).map(|from| (now + interface.link.latency, other, from)));
            }
        }
        reached
    }

    /// The zone that a datagram starts in, by which link, and its source: of the interface on whose network the
    /// destination is, otherwise of the first that is up.
    fn departure(&self, host: HostId, origin: Origin, to: SocketAddr) -> Option<(ZoneId, Link, SocketAddr)> {
        let fits = |ip: &&IpAddr| ip.is_ipv4() == to.is_ipv4();
        let usable = || self.up(host).filter(|interface| interface.addresses.iter().any(|ip| fits(&ip)));
        let is_near = |interface: &&Interface| self.is_inside(interface.zone, to.ip());
        let interface = usable().find(is_near).or_else(|| usable().next())?;
        let own = *interface.addresses.iter().find(fits)?;
        let from = match origin {
            Origin::Port(port) => SocketAddr::new(own, port),
            Origin::Exactly(from) => from,
        };
        Some((interface.zone, interface.link, from))
    }

    /// Whether an address is on the network of a zone that is not the internet.
    fn is_inside(&self, zone: ZoneId, ip: IpAddr) -> bool {
        let home = &self.zones[zone];
        match ip {
            _ if home.gateway.is_none() => false,
            IpAddr::V4(ip) => ip.octets().starts_with(&home.v4),
            IpAddr::V6(ip) => Some(ip.segments()[3]) == home.v6,
        }
    }

    /// Up to the zone that knows the destination.
    fn rise(&mut self, trip: &mut Trip, mut zone: ZoneId) -> Option<ZoneId> {
        while !self.knows(zone, trip.to.ip()) {
            let gateway = self.zones[zone].gateway.as_mut()?;
            let link = gateway.link;
            let turns_back = gateway.nat.as_ref().is_some_and(|nat| nat.outside().contains(&trip.to.ip()));
            if turns_back && !gateway.nat.as_ref()?.behaviour.hairpin {
                return None;
            }
            trip.leave(gateway)?;
            if turns_back {
                trip.enter(gateway)?;
                return Some(zone);
            }
            trip.cross(link)?;
            zone = gateway.outer;
        }
        Some(zone)
    }

    /// Down to the host, and the link that it is on.
    fn descend(&mut self, trip: &mut Trip, mut zone: ZoneId) -> Option<(HostId, Link)> {
        for _ in 0..self.zones.len() {
            if let Some(found) = self.resident(zone, trip.to.ip()) {
                return Some(found);
            }
            let inner = self.toward(zone, trip.to.ip())?;
            let gateway = self.zones[inner].gateway.as_mut()?;
            let link = gateway.link;
            trip.enter(gateway)?;
            trip.cross(link)?;
            zone = inner;
        }
        None
    }

    fn knows(&self, zone: ZoneId, ip: IpAddr) -> bool {
        self.resident(zone, ip).is_some() || self.toward(zone, ip).is_some()
    }

    fn resident(&self, zone: ZoneId, ip: IpAddr) -> Option<(HostId, Link)> {
        let hosts = 0..self.hosts.len();
        hosts.into_iter().find_map(|host| {
            let here = self.up(host).find(|interface| interface.zone == zone && interface.addresses.contains(&ip));
            here.map(|interface| (host, interface.link))
        })
    }

    /// The zone right inside of this one that leads to an address.
    fn toward(&self, zone: ZoneId, ip: IpAddr) -> Option<ZoneId> {
        let is_child = |inner: &ZoneId| self.zones[*inner].gateway.as_ref().is_some_and(|g| g.outer == zone);
        (0..self.zones.len()).filter(is_child).find(|inner| match ip {
            IpAddr::V4(_) => {
                let nat = self.zones[*inner].gateway.as_ref().and_then(|gateway| gateway.nat.as_ref());
                nat.is_some_and(|nat| nat.outside().contains(&ip))
            }
            IpAddr::V6(v6) => self.zones[*inner].v6 == Some(v6.segments()[3]) || self.toward(*inner, ip).is_some(),
        })
    }
}
