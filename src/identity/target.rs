//! The node that somebody means: what command lines and configuration call NODE.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use super::text::{quoted, serde_as_text};
use super::{Address, Hostname, IdentityError, NodeId, Prefix, PublicKey};

/// A node by whole key, by ID or by name: from certain to as honest as the rendezvous.
///
/// Read in this order: public key, address, node ID, IPv6 address of the default prefix, host name.
/// Of an address only the node is kept: a node is in one network, and looks for others there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The node with this key.
    Key(PublicKey),
    /// The node with this ID.
    Node(NodeId),
    /// The node with this host name.
    Name(Hostname),
}

impl FromStr for Target {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let key = || text.parse().map(Self::Key).ok();
        let node = || node(text).map(Self::Node);
        let name = || text.parse().map(Self::Name).ok();
        key().or_else(node).or_else(name).ok_or_else(|| IdentityError::Target(quoted(text)))
    }
}

/// The node in any form that holds a node ID.
fn node(text: &str) -> Option<NodeId> {
    let address = || text.parse().ok().map(|address: Address| address.node);
    let id = || text.parse().ok();
    let ipv6 = || {
        let ipv6: Ipv6Addr = text.parse().ok()?;
        Prefix::default().address(ipv6).map(|address| address.node)
    };
    address().or_else(id).or_else(ipv6)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::Node(node) => node.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

serde_as_text!(Target);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::identity;
    use proptest::prelude::*;

    #[test]
    fn each_form_is_told_from_the_others() {
        let key = identity(1).public_key();
        assert_eq!(key.to_string().parse(), Ok(Target::Key(key)));
        let node = NodeId::from_bytes([0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6]);
        for text in [
            "a1b2.c3d4.e5f6",
            "A1B2.C3D4.E5F6",
            "0:a1b2.c3d4.e5f6",
            "fd50:494c:4f54::a1b2:c3d4:e5f6",
            "FD50:494C:4F54:0:0:A1B2:C3D4:E5F6",
        ] {
            assert_eq!(text.parse(), Ok(Target::Node(node)), "{text}");
        }
        assert_eq!("worker-1".parse(), Ok(Target::Name("worker-1".parse().unwrap())));
    }

    #[test]
    fn a_refusal_names_all_forms() {
        for wrong in ["", "Worker", "fd00::1", "0:worker", "worker.pilot", "a1b2.c3d4"] {
            let error = wrong.parse::<Target>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("\"{wrong}\" names no node")));
            for form in ["node ID", "address", "IPv6", "public key", "host name"] {
                assert!(error.contains(form), "{error} lacks {form}");
            }
        }
    }

    proptest! {
        #[test]
        fn text_comes_back(seed: u64, node: [u8; 6], name in "[a-z0-9]{1,42}") {
            let targets = [
                Target::Key(identity(seed).public_key()),
                Target::Node(NodeId::from_bytes(node)),
                Target::Name(name.parse().unwrap()),
            ];
            for target in targets {
                prop_assert_eq!(target.to_string().parse::<Target>(), Ok(target));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-f.:-]{0,45}|.*") {
            if let Ok(target) = text.parse::<Target>() {
                prop_assert_eq!(target.to_string().parse::<Target>(), Ok(target));
            }
        }
    }
}
