//! The IPv6 form of overlay addresses, and the link-local form inside tunnels.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use ipnet::Ipv6Net;

use super::text::{quoted, serde_as_text};
use super::{Address, IdentityError, Network, NodeId};

/// Bits of the prefix; the network follows as the 16-bit subnet ID of RFC 4193 section 3.1.
const PREFIX_BITS: u8 = 48;
/// Bits that one network fixes.
const NETWORK_BITS: u8 = 64;

/// The IPv6 /48 that all overlay addresses share: prefix, network, 16 zero bits, node ID.
///
/// `fd50:494c:4f54:<network>::a1b2:c3d4:e5f6` with the default prefix, which is `fd` and the ASCII
/// of `PILOT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(Ipv6Net);

impl Prefix {
    /// Checks that the prefix is a /48 of unique local (fc00::/7) or global (2000::/3) addresses
    /// with no bit set behind it.
    pub fn new(net: Ipv6Net) -> Result<Self, IdentityError> {
        let first = net.addr().segments()[0];
        let unicast = first & 0xfe00 == 0xfc00 || first & 0xe000 == 0x2000;
        if net.prefix_len() == PREFIX_BITS && net.addr() == net.network() && unicast {
            Ok(Self(net))
        } else {
            Err(IdentityError::Prefix(quoted(&net.to_string())))
        }
    }

    /// The prefix as a route.
    pub fn net(self) -> Ipv6Net {
        self.0
    }

    /// The IPv6 address of a node.
    pub fn ipv6(self, address: Address) -> Ipv6Addr {
        let [a, b, c, ..] = self.0.addr().segments();
        let [x, y, z] = address.node.groups();
        Ipv6Addr::from([a, b, c, address.network.0, 0, x, y, z])
    }

    /// The node with this IPv6 address; none when the address is outside the prefix or has bits set
    /// between network and node ID.
    pub fn address(self, ipv6: Ipv6Addr) -> Option<Address> {
        let [_, _, _, network, zero, x, y, z] = ipv6.segments();
        let address = Address { network: Network(network), node: NodeId::from_groups([x, y, z]) };
        (self.0.contains(&ipv6) && zero == 0).then_some(address)
    }

    /// The /64 that holds all nodes of a network.
    pub fn route(self, network: Network) -> Ipv6Net {
        let [a, b, c, ..] = self.0.addr().segments();
        let base = Ipv6Addr::from([a, b, c, network.0, 0, 0, 0, 0]);
        Ipv6Net::new_assert(base, NETWORK_BITS)
    }
}

impl Default for Prefix {
    fn default() -> Self {
        let base = Ipv6Addr::new(0xfd50, 0x494c, 0x4f54, 0, 0, 0, 0, 0);
        Self(Ipv6Net::new_assert(base, PREFIX_BITS))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Prefix {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let wrong = |_| IdentityError::Prefix(quoted(text));
        Self::new(text.parse().map_err(wrong)?)
    }
}

serde_as_text!(Prefix);

/// The address of a node in control packets inside tunnels: `fe80::a1b2:c3d4:e5f6`.
pub fn link_local(node: NodeId) -> Ipv6Addr {
    let [x, y, z] = node.groups();
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, x, y, z)
}

/// The node with this [`link_local`] address; none when the address has another form.
pub fn link_local_node(ipv6: Ipv6Addr) -> Option<NodeId> {
    match ipv6.segments() {
        [0xfe80, 0, 0, 0, 0, x, y, z] => Some(NodeId::from_groups([x, y, z])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_default_spells_pilot() {
        let address: Address = "0:a1b2.c3d4.e5f6".parse().unwrap();
        let prefix = Prefix::default();
        assert_eq!(prefix.net().addr().octets()[1..6], *b"PILOT");
        assert_eq!(prefix.ipv6(address).to_string(), "fd50:494c:4f54::a1b2:c3d4:e5f6");
        assert_eq!(prefix.route(Network(258)).to_string(), "fd50:494c:4f54:102::/64");
        assert_eq!("fd50:494c:4f54::/48".parse(), Ok(prefix));
    }

    #[test]
    fn unsuitable_prefixes_are_refused() {
        for wrong in [
            "",
            "fd50:494c:4f54::",
            "fd50:494c:4f54::/47",
            "fd50:494c:4f54::/64",
            "fd50:494c:4f54::1/48",
            "fe80::/48",
            "ff02::/48",
            "::/48",
            "10.0.0.0/8",
        ] {
            assert!(matches!(wrong.parse::<Prefix>(), Err(IdentityError::Prefix(_))), "{wrong}");
        }
        assert!("2001:db8:1::/48".parse::<Prefix>().is_ok());
    }

    #[test]
    fn foreign_addresses_are_nobodys() {
        for foreign in ["fd50:494c:4f55::1:2:3", "fd50:494c:4f54::1:a1b2:c3d4:e5f6", "::", "fe80::1:2:3"] {
            assert_eq!(Prefix::default().address(foreign.parse().unwrap()), None, "{foreign}");
        }
        for foreign in ["fe80:1::1:2:3", "fe80::1:1:2:3", "fd50:494c:4f54::1:2:3"] {
            assert_eq!(link_local_node(foreign.parse().unwrap()), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn addresses_come_back(network: u16, node: [u8; 6], subnet in 0xfc00..=0xfdff_u16) {
            let base = Ipv6Addr::new(subnet, 1, 2, 0, 0, 0, 0, 0);
            let prefix = Prefix::new(Ipv6Net::new(base, 48).unwrap()).unwrap();
            let node = NodeId::from_bytes(node);
            let address = Address { network: Network(network), node };
            let ipv6 = prefix.ipv6(address);
            prop_assert_eq!(prefix.address(ipv6), Some(address));
            prop_assert!(prefix.route(address.network).contains(&ipv6));
            prop_assert_eq!(link_local_node(link_local(node)), Some(node));
            prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
        }

        #[test]
        fn an_address_has_one_ipv6(low: u128) {
            let base = u128::from(Prefix::default().net().addr());
            let ipv6 = Ipv6Addr::from(base | low >> 48);
            if let Some(address) = Prefix::default().address(ipv6) {
                prop_assert_eq!(Prefix::default().ipv6(address), ipv6);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "f[cd][0-9a-f]{2}:[0-9a-f:]{1,12}::/48|.*") {
            if let Ok(prefix) = text.parse::<Prefix>() {
                prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
            }
        }
    }
}
