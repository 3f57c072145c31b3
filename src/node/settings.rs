//! What a node is made of.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::trust::Mutual;
use crate::identity::{Hostname, Identity, Network, NodeId, Prefix, RendezvousUrl, TunnelKey, TunnelSecret};
use crate::peer::record::Records;
use crate::wire::Drops;

/// How the node is to behave.
pub struct Settings {
    /// The network that it is in.
    pub network: Network,
    /// Where overlay addresses are.
    pub prefix: Prefix,
    /// The name to claim; none keeps the one that was set by command, or that the rendezvous has.
    pub hostname: Option<Hostname>,
    /// The servers that links connect to, at most four with different keys; the first goes into our tokens.
    pub rendezvous: Vec<RendezvousUrl>,
    /// What makes two requests approve each other.
    pub mutual: Mutual,
    /// Peers without an identity, configured by hand.
    pub wireguard: Vec<WireguardPeer>,
    /// The MTU of our interface: no path is searched for more.
    pub mtu: u16,
    /// Whether to look for peers on the LAN by multicast.
    pub lan_discovery: bool,
    /// Whether to pass on what our friends send each other.
    pub relay_for_friends: bool,
    /// Whether to have AES-256-GCM lanes with peers that want them, too: not without instructions for AES.
    pub lane: bool,
    /// All randomness of the node comes from here: 32 bytes that nobody else knows.
    pub seed: [u8; 32],
    /// Where drops are counted; the datapath counts there too.
    pub drops: Arc<Drops>,
}

/// An ordinary WireGuard device as a peer.
#[derive(Clone, Debug)]
pub struct WireguardPeer {
    /// Its tunnel key.
    pub key: TunnelKey,
    /// The overlay address that it may use: in our network's /64, of the form of a node's address.
    pub address: Ipv6Addr,
    /// Where it listens; none: it must call first.
    pub endpoint: Option<SocketAddr>,
    /// How large packets to it may be: its path is not searched.
    pub mtu: u16,
}

/// What outlives a restart.
pub struct State {
    /// Who we are.
    pub identity: Identity,
    /// The ID derived from the identity's key.
    pub id: NodeId,
    /// The key of our tunnels.
    pub tunnel: TunnelSecret,
    /// When that key was made, in milliseconds since 1970.
    pub tunnel_serial: u64,
    /// Trust.
    pub records: Records,
}
