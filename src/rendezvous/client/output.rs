//! What the client wants done, and what the node learns from it.

use std::net::SocketAddr;

use crate::identity::{Hostname, PublicKey};
use crate::wire::rendezvous::ClientMessage;

/// What the client wants done.
#[derive(Debug)]
pub enum Output {
    /// Give this to the link.
    Send(ClientMessage),
    /// Open so many spare sockets, and give them with [`super::Client::handle_spares`].
    OpenSpares(u16),
    /// Close them.
    CloseSpares,
    /// Send this datagram from one of the node's sockets.
    Transmit {
        /// Which: the main one, or one of the spare ones.
        socket: u16,
        /// A UDP port of a server.
        to: SocketAddr,
        /// A STUN request or a Bind.
        payload: Vec<u8>,
    },
    /// Send this frame through the relay stream.
    Frame(Vec<u8>),
    /// Open the relay stream, or let it be closed.
    Stream(Wish),
    /// Tell the node.
    Notice(Notice),
}

/// Which relay stream is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Whether one is.
    pub is_open: bool,
    /// Another number than before asks for another stream: the former leads nowhere.
    pub epoch: u64,
}

/// How frames for the relay leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// By UDP to this endpoint of it.
    Udp(SocketAddr),
    /// Through the relay stream.
    Stream,
}

/// What the node learns from its client.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice {
    /// The server knows us now.
    LoggedIn {
        /// The name that is ours.
        hostname: Option<Hostname>,
        /// Whether the name that we asked for is another node's.
        hostname_taken: bool,
    },
    /// The link ended or does not come up.
    Down {
        /// Why, for a person.
        reason: String,
    },
    /// Our relay binding or our reflexive endpoints are known as far as they will be soon: introduce
    /// the node now. Once after each login and each change of network.
    Gathered,
    /// They, or what is known of our NAT, changed later: tell those who know the former.
    Changed,
    /// Frames for the relay leave in another way than before; our address there is the same.
    Moved,
    /// An envelope for us, unopened.
    Delivered {
        /// The sealed bytes.
        sealed: Vec<u8>,
        /// To be acknowledged unless 0.
        delivery: u64,
    },
    /// Somebody asks for trust who knows our name or ID only.
    TrustRequested {
        /// To be acknowledged.
        delivery: u64,
        /// Whose request the server says it is; the statement's signature proves it.
        sender: PublicKey,
        /// The sender's name as the server knows it.
        hostname: Option<Hostname>,
        /// An undecoded trust statement.
        statement: Vec<u8>,
    },
    /// The answer to [`super::Client::set_hostname`].
    HostnameSet {
        /// Its number.
        request: u64,
        /// Whether the name is another node's, so that nothing changed.
        taken: bool,
    },
}

/// Where the link stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No connection; the link keeps trying.
    Down {
        /// Why, for a person.
        reason: String,
    },
    /// Connected; the server has not welcomed us yet.
    LoggingIn,
    /// Welcomed.
    LoggedIn,
}
