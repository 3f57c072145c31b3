//! What happens to networks.

use super::{Fabric, HostId, INTERNET, Link, ZoneId};

impl Fabric {
    /// Moves the first interface of a host to another zone, with another address.
    pub fn roam(&mut self, host: HostId, zone: ZoneId) {
        let addresses = self.next_addresses(zone);
        let interface = &mut self.hosts[host].interfaces[0];
        (interface.zone, interface.addresses) = (zone, addresses);
        self.hosts[host].stamp += 1;
    }

    /// Sets one interface of a host up or down.
    pub fn set_up(&mut self, host: HostId, interface: usize, is_up: bool) {
        self.hosts[host].interfaces[interface].is_up = is_up;
        self.hosts[host].stamp += 1;
    }

    /// Unplugs a host, or plugs it in again; it keeps its addresses.
    pub fn cut(&mut self, host: HostId, is_cut: bool) {
        self.hosts[host].is_cut = is_cut;
    }

    /// Lets nothing pass between two hosts, or lets it pass again; the rest of the network sees both.
    pub fn part(&mut self, one: HostId, other: HostId, is_parted: bool) {
        for pair in [(one, other), (other, one)] {
            let _ = if is_parted { self.parted.insert(pair) } else { self.parted.remove(&pair) };
        }
    }

    /// Lets nothing of IPv4, or of IPv6, pass between two hosts; the rest of the network sees both.
    pub fn bar(&mut self, one: HostId, other: HostId, is_v4: bool) {
        self.barred.extend([(one, other, is_v4), (other, one, is_v4)]);
    }

    /// The gateway of a zone starts anew: what it knew is lost; with another outside address if that is wanted, and then
    /// connections through it die.
    pub fn reboot(&mut self, zone: ZoneId, is_renumbered: bool) {
        let outer = self.gateway(zone).outer;
        let address = is_renumbered.then(|| self.next_v4(outer));
        let gateway = self.gateway(zone);
        gateway.stamp += u32::from(is_renumbered);
        if let Some(nat) = &mut gateway.nat {
            nat.reboot(address);
        }
        if let Some(firewall) = &mut gateway.firewall {
            firewall.reboot();
        }
    }

    /// Every link works again, and well.
    pub fn heal(&mut self) {
        self.parted.clear();
        self.barred.clear();
        for host in &mut self.hosts {
            host.is_cut = false;
            host.interfaces.iter_mut().for_each(|interface| interface.link = Link::GOOD);
        }
        for gateway in self.zones.iter_mut().filter_map(|zone| zone.gateway.as_mut()) {
            (gateway.is_down, gateway.udp_blocked) = (false, false);
        }
    }

    /// What a connection from a host to the internet depends on: another value than before, and it is dead; none, and
    /// nothing passes.
    pub fn connection(&self, host: HostId, server: HostId) -> Option<Vec<u32>> {
        let interface = self.up(host).next()?;
        let is_away = self.hosts[host].is_cut || self.hosts[server].is_cut || self.parted.contains(&(host, server));
        let mut stamps = vec![self.hosts[host].stamp];
        let mut zone = interface.zone;
        while let Some(gateway) = &self.zones[zone].gateway {
            stamps.push(gateway.stamp);
            zone = gateway.outer;
            if gateway.is_down {
                return None;
            }
        }
        (!is_away && zone == INTERNET).then_some(stamps)
    }

    /// How long a byte takes from a host to the internet.
    pub fn delay(&self, host: HostId) -> std::time::Duration {
        self.up(host).next().map_or(Link::GOOD.latency, |interface| interface.link.latency)
    }
}
