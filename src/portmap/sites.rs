//! Whom to ask: which of our addresses stand behind which gateway, and need its help. No IO.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::mapping::{is_global_v6, is_public_v4};
use super::pcp;

/// At most so many mappings are kept.
const MAX_SITES: usize = 8;

/// Addresses of one interface that are mapped, a family: temporary IPv6 addresses come in numbers.
const MAX_EACH: usize = 2;

/// Our UDP ports; zero where the machine lacks the family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// For IPv4.
    pub v4: u16,
    /// For IPv6.
    pub v6: u16,
}

/// One of our addresses, and the interface that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// The address.
    pub ip: IpAddr,
    /// The kernel's number of the interface.
    pub interface: u32,
}

/// A port of ours that a gateway can map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Our own address and port.
    pub internal: SocketAddr,
    /// The gateway's port for PCP and NAT-PMP.
    pub gateway: SocketAddr,
}

/// What to map where. Addresses that are reached from everywhere anyway need no IPv4 gateway's help; IPv6 addresses
/// that are routed need a firewall opened at most; others need nothing.
pub fn places(locals: &[Local], gateways: &[crate::udp::Gateway], ports: Ports) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for gateway in gateways {
        let behind = locals.iter().filter(|local| local.interface == gateway.interface && local.ip != gateway.ip);
        let found = behind.filter_map(|local| place(local.ip, gateway, ports)).take(MAX_EACH);
        for place in found {
            if places.iter().all(|known| known.internal != place.internal) {
                places.push(place);
            }
        }
    }
    places.truncate(MAX_SITES);
    places
}

fn place(local: IpAddr, gateway: &crate::udp::Gateway, ports: Ports) -> Option<Place> {
    let (port, server) = match (local, gateway.ip) {
        (IpAddr::V4(ip), IpAddr::V4(router)) if is_translated(ip) => (ports.v4, SocketAddr::from((router, pcp::PORT))),
        (IpAddr::V6(ip), IpAddr::V6(router)) if is_global_v6(ip) => (ports.v6, scoped(router, gateway.interface)),
        _ => return None,
    };
    (port != 0).then_some(Place { internal: SocketAddr::new(local, port), gateway: server })
}

fn is_translated(ip: Ipv4Addr) -> bool {
    !is_public_v4(ip) && !ip.is_link_local()
}

fn scoped(router: Ipv6Addr, interface: u32) -> SocketAddr {
    let scope = if router.is_unicast_link_local() { interface } else { 0 };
    SocketAddrV6::new(router, pcp::PORT, 0, scope).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udp::Gateway;

    const PORTS: Ports = Ports { v4: 4000, v6: 6000 };

    fn local(ip: &str, interface: u32) -> Local {
        Local { ip: ip.parse().unwrap(), interface }
    }

    fn gateway(ip: &str, interface: u32) -> Gateway {
        Gateway { ip: ip.parse().unwrap(), interface }
    }

    fn shown(locals: &[Local], gateways: &[Gateway]) -> Vec<String> {
        places(locals, gateways, PORTS).iter().map(|place| format!("{} at {}", place.internal, place.gateway)).collect()
    }

    #[test]
    fn private_addresses_are_mapped_at_the_gateway_of_their_own_network() {
        let locals = [local("192.168.1.2", 2), local("10.0.0.5", 3), local("172.17.0.1", 4)];
        let gateways = [gateway("192.168.1.1", 2), gateway("10.0.0.1", 3)];
        assert_eq!(
            shown(&locals, &gateways),
            ["192.168.1.2:4000 at 192.168.1.1:5351", "10.0.0.5:4000 at 10.0.0.1:5351"]
        );
    }

    #[test]
    fn an_address_that_needs_no_help_is_left_out() {
        let locals = [local("203.0.113.5", 2), local("fd00::5", 2), local("fe80::5", 2)];
        assert_eq!(shown(&locals, &[gateway("203.0.113.1", 2), gateway("fe80::1", 2)]), Vec::<String>::new());
        assert_eq!(places(&[local("10.0.0.5", 2)], &[gateway("10.0.0.1", 2)], Ports::default()), []);
        assert_eq!(
            shown(&[local("10.0.0.1", 2)], &[gateway("10.0.0.1", 2)]),
            Vec::<String>::new(),
            "we are the gateway"
        );
    }

    #[test]
    fn a_carrier_behind_the_address_is_asked() {
        assert_eq!(
            shown(&[local("100.64.0.7", 2)], &[gateway("100.64.0.1", 2)]),
            ["100.64.0.7:4000 at 100.64.0.1:5351"]
        );
    }

    #[test]
    fn routed_ipv6_addresses_are_opened_a_few_of_them() {
        let locals = ["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(|ip| local(ip, 7));
        assert_eq!(
            shown(&locals, &[gateway("fe80::1", 7)]),
            ["[2001:db8::1]:6000 at [fe80::1%7]:5351", "[2001:db8::2]:6000 at [fe80::1%7]:5351"]
        );
    }

    #[test]
    fn the_preferred_of_two_gateways_maps_an_address() {
        let gateways = [gateway("192.168.1.1", 2), gateway("192.168.1.254", 2)];
        assert_eq!(shown(&[local("192.168.1.2", 2)], &gateways), ["192.168.1.2:4000 at 192.168.1.1:5351"]);
    }
}
