//! Which way datagrams would leave, as the kernel sees it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use nix::sys::socket::{getsockopt, sockopt::IpMtu};

/// The way to somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WayOut {
    /// The address that datagrams leave from.
    pub source: IpAddr,
    /// The MTU of the way, as far as the kernel knows; it tells that for IPv4.
    pub mtu: Option<u32>,
}

/// Asks the routing table; connecting a UDP socket sends nothing. None if there is no way.
pub fn way_out(to: SocketAddr) -> Option<WayOut> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    let source = socket.local_addr().ok()?.ip();
    let mtu = getsockopt(&socket, IpMtu).ok().filter(|_| to.is_ipv4());
    (!source.is_unspecified()).then(|| WayOut { source, mtu: mtu.and_then(|mtu| u32::try_from(mtu).ok()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_ourselves_is_the_loopback() {
        let found = way_out("127.0.0.1:9".parse().unwrap()).unwrap();
        assert_eq!(found.source, IpAddr::from(Ipv4Addr::LOCALHOST));
        assert_eq!(found.mtu, Some(65_535));
    }

    #[test]
    fn there_is_no_way_where_no_host_can_be() {
        assert_eq!(way_out("[ff02::1]:9".parse().unwrap()).and_then(|found| found.mtu), None);
        assert_eq!(way_out("255.255.255.255:9".parse().unwrap()), None);
    }
}
