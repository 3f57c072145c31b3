//! Which of this machine's addresses a peer might reach, and in which order they are worth trying.

use ipnet::Ipv6Net;
use std::net::IpAddr;

/// At most so many addresses are reported: more would only crowd out the useful ones.
const MAX_ADDRESSES: usize = 64;

/// Interfaces whose names begin so carry containers and virtual machines of this host: their addresses are
/// seldom reached from elsewhere, and the same on thousands of machines.
const VIRTUAL: [&str; 11] =
    ["docker", "br-", "virbr", "veth", "vnet", "cni", "flannel", "cali", "lxc", "lxd", "podman"];

/// An address of this machine that a peer might reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAddress {
    /// IPv4 or IPv6; never loopback, link-local, multicast or of the overlay.
    pub ip: IpAddr,
    /// The interface that has it.
    pub interface: String,
}

/// What is ours and therefore no way to reach us from outside.
#[derive(Clone, Debug)]
pub struct Excluded {
    /// The name of our own interface.
    pub interface: String,
    /// All addresses of the overlay, on whichever interface.
    pub prefix: Ipv6Net,
}

/// An address as the kernel reports it.
pub(super) struct Found {
    pub ip: IpAddr,
    pub interface: String,
    /// The kernel's number of the interface.
    pub index: u32,
    /// The interface is up and has a carrier.
    pub running: bool,
    /// The address may be used for new traffic: not tentative, duplicate or deprecated.
    pub preferred: bool,
}

/// The usable ones of `found`, real interfaces before virtual ones, each in the order of its number.
pub(super) fn choose(mut found: Vec<Found>, excluded: &Excluded) -> Vec<LocalAddress> {
    found.retain(|address| usable(address, excluded));
    found.sort_by_key(|address| (is_virtual(&address.interface), address.index, address.ip));
    found.dedup_by_key(|address| address.ip);
    found.truncate(MAX_ADDRESSES);
    let local = |Found { ip, interface, .. }| LocalAddress { ip, interface };
    found.into_iter().map(local).collect()
}

fn usable(address: &Found, excluded: &Excluded) -> bool {
    address.running
        && address.preferred
        && address.interface != excluded.interface
        && reachable(address.ip, excluded.prefix)
}

fn reachable(ip: IpAddr, overlay: Ipv6Net) -> bool {
    let special = ip.is_loopback() || ip.is_unspecified() || ip.is_multicast();
    let local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || overlay.contains(&ip),
    };
    !special && !local
}

/// Whether an interface carries containers or virtual machines of this host.
pub(super) fn is_virtual(interface: &str) -> bool {
    VIRTUAL.iter().any(|prefix| interface.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(ip: &str, interface: &str, index: u32) -> Found {
        Found { ip: ip.parse().unwrap(), interface: interface.into(), index, running: true, preferred: true }
    }

    fn excluded() -> Excluded {
        Excluded { interface: "pilot0".into(), prefix: "fd50:494c:4f54::/48".parse().unwrap() }
    }

    fn chosen(found: Vec<Found>) -> Vec<String> {
        choose(found, &excluded()).into_iter().map(|address| address.ip.to_string()).collect()
    }

    #[test]
    fn addresses_that_nobody_else_reaches_are_left_out() {
        let nowhere = [
            "127.0.0.1",
            "::1",
            "169.254.3.4",
            "fe80::1",
            "224.0.0.1",
            "ff02::1",
            "0.0.0.0",
            "::",
            "255.255.255.255",
            "fd50:494c:4f54:9::1",
        ];
        let mut all: Vec<Found> = nowhere.iter().map(|ip| found(ip, "eth0", 2)).collect();
        all.push(found("192.0.2.9", "pilot0", 5));
        assert_eq!(chosen(all), Vec::<String>::new());
    }

    #[test]
    fn global_private_and_unique_local_addresses_are_kept() {
        let kept = ["10.0.0.1", "100.64.0.1", "203.0.113.5", "2001:db8::1", "fd00::1"];
        assert_eq!(chosen(kept.iter().map(|ip| found(ip, "eth0", 2)).collect()), kept);
    }

    #[test]
    fn interfaces_without_carrier_and_addresses_not_to_be_used_are_left_out() {
        let down = Found { running: false, ..found("10.0.0.1", "eth0", 2) };
        let tentative = Found { preferred: false, ..found("2001:db8::1", "eth0", 2) };
        assert_eq!(chosen(vec![down, tentative]), Vec::<String>::new());
    }

    #[test]
    fn container_bridges_come_last_and_each_address_once() {
        let all = vec![
            found("172.17.0.1", "docker0", 3),
            found("172.18.0.1", "br-0a1b", 2),
            found("192.168.1.5", "wlan0", 4),
            found("192.168.1.5", "wlan0", 4),
        ];
        assert_eq!(chosen(all), ["192.168.1.5", "172.18.0.1", "172.17.0.1"]);
    }
}
