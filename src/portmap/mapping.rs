//! What is known of a mapping, and what people are told.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use serde::Serialize;

/// How a gateway is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Protocol {
    /// Port Control Protocol, RFC 6887.
    #[serde(rename = "PCP")]
    Pcp,
    /// NAT Port Mapping Protocol, RFC 6886.
    #[serde(rename = "NAT-PMP")]
    NatPmp,
    /// UPnP Internet Gateway Device.
    #[serde(rename = "UPnP")]
    Upnp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Pcp => "PCP",
            Protocol::NatPmp => "NAT-PMP",
            Protocol::Upnp => "UPnP",
        })
    }
}

/// A port that a gateway keeps open for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Our own address and port.
    pub internal: SocketAddr,
    /// Where the gateway takes datagrams for it; for an IPv6 pinhole our own address again.
    pub external: SocketAddr,
    /// How it was asked for.
    pub protocol: Protocol,
    /// When it ends unless it is renewed.
    pub expires: Instant,
}

impl Mapping {
    /// Whether the external address can be reached from everywhere. One that is private or a carrier's (a second NAT
    /// in front of the gateway) still serves those behind the same second NAT.
    pub fn is_public(&self) -> bool {
        match self.external.ip() {
            IpAddr::V4(ip) => is_public_v4(ip),
            IpAddr::V6(ip) => is_global_v6(ip),
        }
    }
}

/// Whether an IPv4 address is of no private network, and not of a carrier's.
pub(super) fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let carrier = a == 100 && (64..128).contains(&b);
    !(ip.is_private() || carrier || ip.is_link_local() || a == 0 || a == 127 || a >= 224)
}

/// Whether an IPv6 address is routed in the internet: 2000::/3.
pub(super) fn is_global_v6(ip: Ipv6Addr) -> bool {
    ip.octets().first().is_some_and(|first| first >> 5 == 1)
}

/// How things stand with every gateway, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// One entry for each of our addresses behind a gateway.
    pub gateways: Vec<Site>,
}

/// How things stand at one gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Site {
    /// The gateway's address.
    pub gateway: IpAddr,
    /// Our address behind it.
    pub local: IpAddr,
    /// Where the gateway takes datagrams for us, if it does.
    pub external: Option<SocketAddr>,
    /// Whether that address can be reached from everywhere.
    pub public: Option<bool>,
    /// How it was asked for.
    pub protocol: Option<Protocol>,
    /// What was asked last, and what came of it; empty until the first answers are in.
    pub tried: Vec<Tried>,
}

/// One protocol that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// Which.
    pub protocol: Protocol,
    /// What came of it, in words.
    pub outcome: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_carrier_addresses_are_not_public() {
        let of = |text: &str| {
            let internal = "192.168.1.2:1".parse().unwrap();
            let external = SocketAddr::new(text.parse().unwrap(), 1);
            Mapping { internal, external, protocol: Protocol::Pcp, expires: Instant::now() }.is_public()
        };
        for public in ["203.0.113.1", "100.63.0.1", "100.128.0.1", "172.32.0.1", "2001:db8::1"] {
            assert!(of(public), "{public}");
        }
        for private in ["10.1.1.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "100.127.9.9", "169.254.1.1", "fd00::1"]
        {
            assert!(!of(private), "{private}");
        }
    }
}
