//! Sizes: how large a packet a path carries, and which datagrams may be cut on the way.
//!
//! In: a path or a datagram. Out: what fits. All sizes are of *inner* packets, as programs send them, unless said
//! otherwise. IPv6 needs [`BASE`] everywhere, so that a datagram with such a packet may be fragmented rather than
//! lost; anything larger travels whole or not at all, which is what makes probes of it mean something (RFC 8899).

use super::path::Path;
use super::relay;

/// The least MTU of IPv6 (RFC 8200, section 5): every path carries it.
pub const BASE: u16 = 1280;
/// The most that any path is used for: with IPv6, UDP and WireGuard around it fills an Ethernet frame.
pub const CEILING: u16 = 1420;
/// What WireGuard puts around a packet: 16 bytes in front, 16 behind.
pub const TUNNEL_OVERHEAD: u16 = 32;

const RELAY_HEADER: u16 = relay::HEADER as u16;
const ETHERNET: u16 = 1500;
const UDP: u16 = 8;
const IPV4: u16 = 20;
const IPV6: u16 = 40;

/// What is known of the MTU of one peer's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtu {
    /// The largest inner packet that is known to pass, in bytes.
    pub inner: u16,
    /// Whether nobody looks for a larger one now.
    pub is_settled: bool,
}

impl Mtu {
    /// Of a path that nobody has probed yet.
    pub const UNKNOWN: Mtu = Mtu { inner: BASE, is_settled: false };

    /// Of a path whose MTU is given and not looked for.
    pub const fn fixed(inner: u16) -> Mtu {
        Mtu { inner, is_settled: true }
    }
}

/// The largest inner packet that fits an Ethernet frame on this path, at most `ceiling`.
///
/// Through a relay the second leg is another node's affair: it is taken to be like the first. A friend passes on what
/// IPv6 needs, and no more: it has to fit into two tunnels, one in the other.
pub fn largest(path: Path, ceiling: u16) -> u16 {
    if path.is_by_friend() {
        return BASE;
    }
    let ip = if path.first_hop().ip().to_canonical().is_ipv4() { IPV4 } else { IPV6 };
    let relay = if path.is_direct() { 0 } else { RELAY_HEADER };
    ceiling.min(ETHERNET - ip - UDP - relay - TUNNEL_OVERHEAD)
}

/// The inner packet that a datagram of ours could carry, in bytes: what is left without our headers.
pub fn inner_len(datagram: &[u8]) -> usize {
    let relayed = matches!(datagram, [relay::SEND | relay::DELIVER, ..]);
    let header = if relayed { relay::HEADER } else { 0 };
    datagram.len().saturating_sub(header + usize::from(TUNNEL_OVERHEAD))
}

/// Whether a datagram may be cut into fragments on the way: it carries no more than [`BASE`].
pub fn may_fragment(datagram: &[u8]) -> bool {
    inner_len(datagram) <= usize::from(BASE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::relay::{deliver_header, send_header};
    use crate::wire::{Allocation, RelayAddress};

    fn direct(text: &str) -> Path {
        Path::Direct(text.parse().unwrap())
    }

    fn relayed(text: &str) -> Path {
        Path::Relayed(RelayAddress { server: text.parse().unwrap(), allocation: Allocation(1) })
    }

    #[test]
    fn a_friend_passes_on_the_least_of_ipv6_and_no_more() {
        let node = crate::identity::NodeId::from_u64(1).unwrap();
        assert_eq!(largest(Path::Friend { friend: node, node }, CEILING), BASE);
    }

    #[test]
    fn an_ethernet_frame_holds_all_but_ipv6_through_a_relay() {
        for (path, fits) in [
            (direct("192.0.2.1:9"), 1420),
            (direct("[2001:db8::1]:9"), 1420),
            (relayed("192.0.2.1:9"), 1420),
            (relayed("[::ffff:192.0.2.1]:9"), 1420),
            (relayed("[2001:db8::1]:9"), 1400),
        ] {
            assert_eq!(largest(path, CEILING), fits, "{path}");
        }
        assert_eq!(largest(relayed("[2001:db8::1]:9"), 1300), 1300);
    }

    #[test]
    fn the_base_may_be_cut_and_nothing_larger() {
        let sealed = |inner: usize| vec![4; inner + 32];
        let sent = |inner| [&send_header(1, Allocation(2))[..], &sealed(inner)].concat();
        let delivered = |inner| [&deliver_header(Allocation(1), Allocation(2))[..], &sealed(inner)].concat();
        for inner in [0, 100, 1280] {
            assert!(may_fragment(&sealed(inner)) && may_fragment(&sent(inner)) && may_fragment(&delivered(inner)));
        }
        for inner in [1281, 1300, 1420] {
            assert!(!may_fragment(&sealed(inner)) && !may_fragment(&sent(inner)) && !may_fragment(&delivered(inner)));
        }
        assert!(may_fragment(&[]));
    }
}
