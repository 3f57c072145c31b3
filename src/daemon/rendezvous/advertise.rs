//! Under which hosts nodes reach the server.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::str::FromStr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

use crate::identity::{Host, IdentityError, PublicKey, RendezvousUrl};

/// A host with or without a port, as `--advertise` takes it: `HOST`, `HOST:PORT`, `[IPV6]:PORT` or an IPv6 address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A DNS name or an IP address.
    pub host: Host,
    /// The TCP port; without one it is the port that is listened on.
    pub port: Option<u16>,
}

impl FromStr for HostPort {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<HostPort, IdentityError> {
        if let Ok(host) = text.parse() {
            return Ok(HostPort { host, port: None });
        }
        if let Some(host) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            return Ok(HostPort { host: host.parse()?, port: None });
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| IdentityError::Host(format!("{text:?}")))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|port| (1..=RendezvousUrl::MAX_PORT).contains(port));
        let port = port.ok_or_else(|| IdentityError::Host(format!("{text:?}")))?;
        Ok(HostPort { host: host.parse()?, port: Some(port) })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) if self.host.as_str().contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => self.host.fmt(f),
        }
    }
}

/// One URL for each host to advertise; without any, the addresses where this machine is most likely reached.
pub fn urls(key: &PublicKey, advertise: &[HostPort], listen: &[SocketAddr]) -> Vec<RendezvousUrl> {
    let first_port = listen.first().map_or(RendezvousUrl::DEFAULT_PORT, SocketAddr::port);
    let url = |host: Host, port| RendezvousUrl { key: *key, host, port };
    if advertise.is_empty() {
        let guessed = guess(listen).into_iter();
        return guessed.filter_map(|at| Some(url(at.ip().to_string().parse().ok()?, at.port()))).collect();
    }
    advertise.iter().map(|at| url(at.host.clone(), at.port.unwrap_or(first_port))).collect()
}

/// Each address listened on; in place of "all addresses" the one that reaches out. Loopback only if there is no other.
fn guess(listen: &[SocketAddr]) -> Vec<SocketAddr> {
    let addresses = listen.iter().map(|at| {
        let ip = if at.ip().is_unspecified() { outgoing(at.ip()) } else { Some(at.ip()) };
        ip.map(|ip| SocketAddr::new(ip, at.port()))
    });
    let (loopback, reachable): (Vec<_>, Vec<_>) = addresses.flatten().partition(|at| at.ip().is_loopback());
    match (reachable.is_empty(), loopback.is_empty()) {
        (false, _) => reachable,
        (true, false) => loopback,
        (true, true) => listen.iter().take(1).map(|at| (Ipv4Addr::LOCALHOST, at.port()).into()).collect(),
    }
}

/// The source address towards the rest of the world, or that of any interface that is up.
fn outgoing(family: IpAddr) -> Option<IpAddr> {
    // Documentation addresses (RFC 5737, RFC 3849): connecting a UDP socket asks the routing table and sends nothing.
    let (from, to): (SocketAddr, SocketAddr) = match family {
        IpAddr::V4(_) => ((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into()),
        IpAddr::V6(_) => {
            let remote = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
            ((Ipv6Addr::UNSPECIFIED, 0).into(), (remote, 9).into())
        }
    };
    let routed = UdpSocket::bind(from).and_then(|socket| socket.connect(to).and_then(|()| socket.local_addr()));
    routed.ok().map(|at| at.ip()).filter(|ip| !ip.is_unspecified()).or_else(|| of_an_interface(family))
}

fn of_an_interface(family: IpAddr) -> Option<IpAddr> {
    let is_up =
        |flags: InterfaceFlags| flags.contains(InterfaceFlags::IFF_UP) && !flags.contains(InterfaceFlags::IFF_LOOPBACK);
    getifaddrs()
        .ok()?
        .filter(|interface| is_up(interface.flags))
        .filter_map(|interface| ip(&interface.address?))
        .find(|ip| ip.is_ipv4() == family.is_ipv4() && !is_link_local(*ip))
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|at| IpAddr::V4(at.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|at| IpAddr::V6(at.ip())))
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use rand_core::OsRng;

    fn at(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    #[test]
    fn every_spelling_of_host_and_port() {
        for (text, host, port) in [
            ("example.org", "example.org", None),
            ("example.org:9443", "example.org", Some(9443)),
            ("192.0.2.1", "192.0.2.1", None),
            ("192.0.2.1:1", "192.0.2.1", Some(1)),
            ("2001:db8::1", "2001:db8::1", None),
            ("[2001:db8::1]", "2001:db8::1", None),
            ("[2001:db8::1]:9000", "2001:db8::1", Some(9000)),
        ] {
            let read = at(text);
            assert_eq!((read.host.as_str(), read.port), (host, port), "{text}");
            assert_eq!(at(&read.to_string()), read);
        }
        for wrong in ["", ":", ":9000", "example.org:", "example.org:0", "example.org:65534", "a b", "[example.org:1"] {
            assert!(wrong.parse::<HostPort>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_advertised_host_without_a_port_has_the_one_listened_on() {
        let key = Identity::generate(&mut OsRng).public_key();
        let listen = ["0.0.0.0:7000".parse().unwrap()];
        let made = urls(&key, &[at("example.org"), at("[2001:db8::1]:5000")], &listen);
        let texts: Vec<_> = made.iter().map(RendezvousUrl::to_string).collect();
        assert_eq!(texts, [format!("pilot://{key}@example.org:7000"), format!("pilot://{key}@[2001:db8::1]:5000")]);
    }

    #[test]
    fn loopback_is_guessed_only_when_alone() {
        let a = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(guess(&[a("127.0.0.1:1"), a("192.0.2.7:2")]), [a("192.0.2.7:2")]);
        assert_eq!(guess(&[a("127.0.0.1:1")]), [a("127.0.0.1:1")]);
        assert!(!guess(&[a("0.0.0.0:1")]).is_empty());
    }
}
