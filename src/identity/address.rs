//! Overlay addresses in Pilot's own notation: a network, a node in it, a port on the node.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::text::{decimal, quoted, serde_as_text};
use super::{IdentityError, NodeId};

/// A network: nodes reach each other within one. As text a decimal number, in JSON a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Network(pub u16);

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Network {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        decimal(text).map(Self).ok_or_else(|| IdentityError::Network(quoted(text)))
    }
}

/// The overlay address of a node, written `0:a1b2.c3d4.e5f6`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The network, in decimal in the text form.
    pub network: Network,
    /// The node.
    pub node: NodeId,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.network, self.node))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl FromStr for Address {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let parse = || {
            let (network, node) = text.split_once(':')?;
            Some(Self { network: network.parse().ok()?, node: node.parse().ok()? })
        };
        parse().ok_or_else(|| IdentityError::Address(quoted(text)))
    }
}

/// A port of a node, written `0:a1b2.c3d4.e5f6:1000`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketAddress {
    /// The node's address.
    pub address: Address,
    /// The TCP or UDP port, in decimal in the text form.
    pub port: u16,
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.address, self.port))
    }
}

impl fmt::Debug for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketAddress({self})")
    }
}

impl FromStr for SocketAddress {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let parse = || {
            let (address, port) = text.rsplit_once(':')?;
            Some(Self { address: address.parse().ok()?, port: decimal(port)? })
        };
        parse().ok_or_else(|| IdentityError::SocketAddress(quoted(text)))
    }
}

serde_as_text!(Address, SocketAddress);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_network_is_decimal() {
        let address: Address = "10:a1b2.c3d4.e5f6".parse().unwrap();
        assert_eq!(address.network, Network(10));
        assert_eq!(serde_json::to_string(&address.network).unwrap(), "10");
    }

    #[test]
    fn other_shapes_are_refused() {
        let node = "a1b2.c3d4.e5f6";
        for wrong in ["", ":", node, &format!("65536:{node}"), &format!("00:{node}")] {
            assert_eq!(wrong.parse::<Address>(), Err(IdentityError::Address(format!("\"{wrong}\""))));
        }
        for port in ["", "65536", "+1", "http"] {
            let wrong = format!("0:{node}:{port}");
            let error = IdentityError::SocketAddress(format!("\"{wrong}\""));
            assert_eq!(wrong.parse::<SocketAddress>(), Err(error));
        }
        assert!(format!("0:{node}:7").parse::<Address>().is_err());
        assert!(format!("0:{node}").parse::<SocketAddress>().is_err());
    }

    proptest! {
        #[test]
        fn text_comes_back(network: u16, node: [u8; 6], port: u16) {
            let address = Address { network: Network(network), node: NodeId::from_bytes(node) };
            prop_assert_eq!(address.to_string().parse(), Ok(address));
            let socket = SocketAddress { address, port };
            prop_assert_eq!(socket.to_string().parse(), Ok(socket));
            let json = serde_json::to_string(&socket).unwrap();
            prop_assert_eq!(serde_json::from_str::<SocketAddress>(&json).unwrap(), socket);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9]{1,6}:[0-9a-f.]{13,15}(:[0-9]{1,6})?|.*") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string(), &*text);
            }
            if let Ok(address) = text.parse::<SocketAddress>() {
                prop_assert_eq!(address.to_string(), &*text);
            }
        }
    }
}
