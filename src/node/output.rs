//! What the node wants done.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::command::{Answer, CommandId, PathView};
use super::error::CommandError;
use crate::identity::{Hostname, NodeId, PublicKey};
use crate::peer::PeerTable;
use crate::peer::record::Change;
use crate::rendezvous::client::Wish;
use crate::wire::Hop;
use crate::wire::rendezvous::ClientMessage;

/// One thing to do, in order.
#[derive(Debug)]
pub enum Output {
    /// Send this datagram.
    Transmit {
        /// How.
        hop: Hop,
        /// All of it.
        payload: Vec<u8>,
    },
    /// Send this datagram from the main sockets to the LAN's group, by every interface that leads to a LAN.
    Multicast(Vec<u8>),
    /// Send a datagram of one byte that means nothing from a spare socket: it opens our own NAT, and ends on its way.
    Opener {
        /// The socket.
        socket: u16,
        /// Where it would go.
        to: SocketAddr,
        /// Its hop limit.
        hops: u8,
    },
    /// Open so many more IPv4 sockets on ports of their own, and report them with `handle_spares`: fewer, or
    /// none, if there cannot be more.
    OpenSpares(u16),
    /// Close these spare sockets.
    CloseSpares(Vec<u16>),
    /// Write this packet to the TUN device.
    Packet(Vec<u8>),
    /// Open the relay stream of the rendezvous server with this number, or let it be closed.
    Stream(u8, Wish),
    /// Give this message to the link to the rendezvous server with this number.
    Link(u8, ClientMessage),
    /// Leave the connections to the rendezvous as they are and make others at once: they lead nowhere any more.
    Redial,
    /// Derive this key's node ID off the machine, and report it with `handle_derived`. One at a time.
    Derive(PublicKey),
    /// Make this durable before any later output is carried out.
    Save(Change),
    /// Let the datapath use this table from now on.
    Table(Arc<PeerTable>),
    /// Tell whoever gave the command.
    Answer(CommandId, Result<Answer, CommandError>),
    /// Something happened.
    Event(Event),
    /// Nothing more to do until an input comes, or this time.
    Wait {
        /// When to call `handle_timeout`.
        deadline: Instant,
        /// What for.
        why: &'static str,
    },
}

/// Something that people and scripts wait for or want to read about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Logged in at the rendezvous.
    RendezvousUp {
        /// The name that is ours now.
        hostname: Option<Hostname>,
    },
    /// The rendezvous is away.
    RendezvousDown {
        /// Why.
        reason: String,
    },
    /// What peers are told about where we are is known, or changed.
    Candidates,
    /// A peer is reached in another way than before.
    PeerPath {
        /// Which peer.
        id: NodeId,
        /// How.
        path: PathView,
    },
    /// A node is trusted now.
    PeerTrusted {
        /// Its node ID.
        id: NodeId,
        /// The name that it told.
        hostname: Option<Hostname>,
    },
    /// A node is no longer trusted.
    PeerUntrusted {
        /// Its node ID.
        id: NodeId,
    },
    /// A node asks for trust.
    TrustRequested {
        /// Its node ID.
        id: NodeId,
        /// The name that it claims.
        hostname: Option<Hostname>,
        /// What it says it wants.
        reason: String,
    },
    /// The name that we ask for belongs to another node.
    HostnameTaken(Hostname),
}
