//! Where a datagram can go: straight to an endpoint, by one of our sockets, to an allocation on a relay, or to a node
//! that a friend passes it to.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::identity::{NodeId, PublicKey};

/// A node's mailbox number on a relay server, unique there and stable across the server's restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Allocation(pub u64);

impl fmt::Display for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The prefix 100::/64.
const DISCARD: u128 = 0x0100 << 112;

/// Names a relay in what nodes tell each other: the first 8 bytes of its server's key, for each node may reach it at
/// another address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId([u8; 8]);

impl RelayId {
    /// The name of the relay of the server with this key.
    pub fn of(key: &PublicKey) -> RelayId {
        let [a, b, c, d, e, f, g, h, ..] = *key.as_bytes();
        RelayId([a, b, c, d, e, f, g, h])
    }

    /// The name in the place of an endpoint: an address of the discard prefix 100::/64 (RFC 6666), to which nothing is
    /// ever sent.
    pub fn endpoint(self) -> SocketAddr {
        let address = DISCARD | u128::from(u64::from_be_bytes(self.0));
        SocketAddr::new(Ipv6Addr::from(address).into(), 1)
    }

    /// The name that stands in the place of an endpoint, where it is one.
    pub fn at(endpoint: SocketAddr) -> Option<RelayId> {
        let SocketAddr::V6(endpoint) = endpoint else { return None };
        let id = u128::from(*endpoint.ip()) ^ DISCARD;
        u64::try_from(id).ok().filter(|_| endpoint.port() == 1).map(|id| RelayId(id.to_be_bytes()))
    }
}

impl fmt::Display for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "relay {:016x}", u64::from_be_bytes(self.0))
    }
}

/// A node's allocation together with the relay server that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelayAddress {
    /// The relay's UDP endpoint; in what nodes tell each other, [`RelayId::endpoint`].
    pub server: SocketAddr,
    /// The node's allocation there.
    pub allocation: Allocation,
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match RelayId::at(self.server) {
            Some(relay) => write!(f, "{relay}/{}", self.allocation),
            None => write!(f, "{}/{}", self.server, self.allocation),
        }
    }
}

/// The number of the socket that every node has; spare sockets count from 1.
pub const MAIN: u16 = 0;

/// One way to reach a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// Straight to its UDP endpoint, from our main socket.
    Direct(SocketAddr),
    /// Straight to its UDP endpoint, from a spare socket of ours: the only one whose mapping leads back.
    Spare {
        /// The number of the socket, from 1 on.
        socket: u16,
        /// The peer's endpoint.
        remote: SocketAddr,
    },
    /// Through a relay.
    Relayed(RelayAddress),
    /// Through a node that both sides trust: inside our tunnel with it, and then inside its tunnel with the other.
    Friend {
        /// Who passes it on.
        friend: NodeId,
        /// Whom it is for.
        node: NodeId,
    },
}

impl Path {
    /// Whether no relay is in between.
    pub fn is_direct(self) -> bool {
        !matches!(self, Path::Relayed(_) | Path::Friend { .. })
    }

    /// The direct path on which a datagram came to one of our sockets.
    pub fn direct(socket: u16, remote: SocketAddr) -> Path {
        match socket {
            MAIN => Path::Direct(remote),
            socket => Path::Spare { socket, remote },
        }
    }

    /// Whether a node that both sides trust is in between.
    pub fn is_by_friend(self) -> bool {
        matches!(self, Path::Friend { .. })
    }

    /// The UDP endpoint that the datagram leaves to: the node's own, or the relay's. Unspecified where a friend passes it
    /// on: it leaves inside the tunnel with the friend, by whatever path that has.
    pub fn first_hop(self) -> SocketAddr {
        match self {
            Path::Direct(endpoint) | Path::Spare { remote: endpoint, .. } => endpoint,
            Path::Relayed(relay) => relay.server,
            Path::Friend { .. } => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
        }
    }
}

/// How a datagram leaves this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// From one of our UDP sockets.
    Udp {
        /// [`MAIN`] or the number of a spare one.
        socket: u16,
        /// Where to.
        to: SocketAddr,
    },
    /// Through the stream to the relay of the rendezvous server with this number, where UDP does not pass.
    Stream(u8),
}

impl Hop {
    /// From the main socket.
    pub fn main(to: SocketAddr) -> Hop {
        Hop::Udp { socket: MAIN, to }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Direct(endpoint) | Path::Spare { remote: endpoint, .. } => endpoint.fmt(f),
            Path::Relayed(relay) => relay.fmt(f),
            Path::Friend { friend, .. } => write!(f, "via {friend}"),
        }
    }
}

/// How a node learnt of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CandidateKind {
    /// An address of one of its interfaces.
    Host,
    /// A port that its gateway keeps open for it (PCP, NAT-PMP, UPnP).
    Mapped,
    /// What a STUN server saw: the outside of its NAT.
    Reflexive,
    /// Its allocation on a relay, or a friend that passes things on.
    Relayed,
}

impl fmt::Display for CandidateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CandidateKind::Host => "host",
            CandidateKind::Mapped => "mapped",
            CandidateKind::Reflexive => "reflexive",
            CandidateKind::Relayed => "relayed",
        })
    }
}

/// A path that might reach a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Candidate {
    /// How the node learnt of it. [`CandidateKind::Relayed`] goes with [`Path::Relayed`] and [`Path::Friend`] only.
    pub kind: CandidateKind,
    /// Where it leads.
    pub path: Path,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        let endpoint: SocketAddr = "[2001:db8::1]:9001".parse().unwrap();
        let relayed = Path::Relayed(RelayAddress { server: endpoint, allocation: Allocation(0xab) });
        assert_eq!(relayed.to_string(), "[2001:db8::1]:9001/00000000000000ab");
        let node = |text: &str| text.parse::<NodeId>().unwrap();
        let by_friend = Path::Friend { friend: node("a1b2.c3d4.e5f6"), node: node("b1b2.c3d4.e5f6") };
        assert_eq!(by_friend.to_string(), "via a1b2.c3d4.e5f6");
        let host = Candidate { kind: CandidateKind::Host, path: Path::Direct(endpoint) };
        assert_eq!(host.to_string(), "host [2001:db8::1]:9001");
    }

    #[test]
    fn a_relays_name_stands_in_the_place_of_an_endpoint_and_is_told_from_one() {
        let key = crate::identity::Identity::generate(&mut rand_core::OsRng).public_key();
        let relay = RelayId::of(&key);
        assert_eq!(RelayId::at(relay.endpoint()), Some(relay));
        for other in ["[2001:db8::1]:1", "[100::1:0:0:0:1]:2", "[100:0:0:1::]:1", "192.0.2.1:1"] {
            assert_eq!(RelayId::at(other.parse().unwrap()), None, "{other}");
        }
        let address = RelayAddress { server: relay.endpoint(), allocation: Allocation(1) };
        assert!(address.to_string().starts_with(&format!("{relay}/")));
    }

    #[test]
    fn direct_paths_sort_before_relayed_ones() {
        let endpoint: SocketAddr = "255.255.255.255:65535".parse().unwrap();
        let relayed = Path::Relayed(RelayAddress { server: "0.0.0.0:0".parse().unwrap(), allocation: Allocation(0) });
        assert!(Path::Direct(endpoint) < relayed);
        assert!(Path::Direct(endpoint).is_direct() && !relayed.is_direct());
        let node = NodeId::from_u64(1).unwrap();
        let by_friend = Path::Friend { friend: node, node };
        assert!(relayed < by_friend && !by_friend.is_direct());
    }
}
