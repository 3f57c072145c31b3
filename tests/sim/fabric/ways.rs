//! What two hosts can expect: the oracle's question, put together from where they are.

use super::{Fabric, Gateway, HostId, INTERNET, Interface, ZoneId};
use crate::nat::{Behaviour, Nat};
use crate::oracle::{Class, between, compose};

impl Fabric {
    /// The best way from one host to the other that is there now. `sees_addresses`: STUN is asked at two addresses.
    pub fn feasible(&self, one: HostId, other: HostId, sees_addresses: bool) -> Class {
        if self.parted.contains(&(one, other)) || self.hosts[one].is_cut || self.hosts[other].is_cut {
            return Class::RelayOnly;
        }
        let pairs = self.up(one).flat_map(|ours| self.up(other).map(move |theirs| (ours, theirs)));
        let near = pairs.map(|(ours, theirs)| self.local(ours, theirs)).min();
        // Whatever is not near goes by the first interface of its family.
        let by = |host, is_v4| self.up(host).find(|up| up.addresses.iter().any(|ip| ip.is_ipv4() == is_v4));
        let v6 = by(one, false).zip(by(other, false)).map(|(ours, theirs)| self.by_v6(ours, theirs));
        let v4 = by(one, true).zip(by(other, true)).map(|(ours, theirs)| self.by_v4(ours, theirs, sees_addresses));
        near.into_iter().chain(v6).chain(v4).min().unwrap_or(Class::RelayOnly)
    }

    fn local(&self, ours: &Interface, theirs: &Interface) -> Class {
        let is_shared = ours.zone == theirs.zone && ours.zone != INTERNET;
        if is_shared { Class::Lan } else { Class::RelayOnly }
    }

    fn by_v6(&self, ours: &Interface, theirs: &Interface) -> Class {
        let passes = |interface: &Interface| self.row(interface.zone).all(|gateway| !is_closed(gateway));
        if passes(ours) && passes(theirs) { Class::V6 } else { Class::RelayOnly }
    }

    fn by_v4(&self, ours: &Interface, theirs: &Interface, sees_addresses: bool) -> Class {
        let (Some(one), Some(other)) = (self.translators(ours), self.translators(theirs)) else {
            return Class::RelayOnly;
        };
        // Who is in a zone that the other's way leads through is met there without a translator of its own.
        let is_on_the_way = |inner: ZoneId, outer: ZoneId| outer == INTERNET || self.zones_out(inner).contains(&outer);
        if is_on_the_way(ours.zone, theirs.zone) || is_on_the_way(theirs.zone, ours.zone) {
            return Class::Plain;
        }
        if self.is_mapped(ours, theirs.zone) || self.is_mapped(theirs, ours.zone) {
            return Class::Mapped;
        }
        let outermost = |zone: ZoneId| self.zones_out(zone).into_iter().rev().nth(1);
        let is_shared = outermost(ours.zone) == outermost(theirs.zone);
        if is_shared && !one.last().is_some_and(|nat| nat.hairpin) {
            return Class::RelayOnly;
        }
        between(compose(&one), compose(&other), is_shared, sees_addresses)
    }

    /// Whether a port is open for an interface at the only gateway on the way to where the ways meet.
    fn is_mapped(&self, interface: &Interface, other: ZoneId) -> bool {
        let theirs = self.zones_out(other);
        let between = self.zones_out(interface.zone).into_iter().take_while(|zone| !theirs.contains(zone));
        let gateways: Vec<&Gateway> = between.filter_map(|zone| self.zones[zone].gateway.as_ref()).collect();
        let is_open = |nat: &Nat| interface.addresses.iter().any(|ip| nat.is_open(*ip));
        gateways.len() == 1 && gateways.iter().filter_map(|gateway| gateway.nat.as_ref()).any(is_open)
    }

    /// The translators in front of an interface, the innermost first; none where IPv4 does not pass.
    fn translators(&self, interface: &Interface) -> Option<Vec<Behaviour>> {
        let behaviour = |gateway: &Gateway| Some(gateway.nat.as_ref()?.behaviour).filter(|_| !is_closed(gateway));
        self.row(interface.zone).map(behaviour).collect()
    }

    /// The gateways in front of a zone, the innermost first.
    fn row(&self, zone: ZoneId) -> impl Iterator<Item = &Gateway> {
        let zones = self.zones_out(zone).into_iter();
        zones.filter_map(|zone| self.zones[zone].gateway.as_ref())
    }

    /// A zone and all outside of it, up to the internet.
    fn zones_out(&self, zone: ZoneId) -> Vec<ZoneId> {
        let outer = |zone: &ZoneId| self.zones[*zone].gateway.as_ref().map(|gateway| gateway.outer);
        std::iter::successors(Some(zone), outer).collect()
    }
}

fn is_closed(gateway: &Gateway) -> bool {
    gateway.is_down || gateway.udp_blocked
}
