//! Introduces nodes to each other: a node's client, and the directory and relay of a rendezvous server.
//!
//! - [`client`]: a node's side: login, relay binding, STUN.
//! - [`directory`]: who is connected, host names, mailboxes; passes sealed envelopes and trust requests on.
//! - [`relay`]: carries sealed datagrams between nodes without a direct path.
//! - [`bucket`]: how much one sender may send.
//!
//! Comes in: messages and datagrams with the key or endpoint that they came from, and the time. Goes out: what to send
//! to whom, what to save. Sockets, TLS, disks and clocks are left to `link`, `store` and `daemon`. The server reads no
//! envelope and answers the same whether or not somebody exists.

pub mod bucket;
pub mod client;
pub mod directory;
pub mod relay;

use std::net::SocketAddr;

use crate::wire::rendezvous::ServerMessage;

/// What the client's end of the link tells the node.
#[derive(Debug)]
pub enum LinkEvent {
    /// The server proved its key and listens: say Hello.
    Up {
        /// Where to ask for our reflexive address: each address of the server with its first UDP port, then its second.
        stun: Vec<SocketAddr>,
        /// Where its relay is: each address of the server with its first UDP port.
        relay: Vec<SocketAddr>,
    },
    /// The link ended or did not come up; it is being tried again.
    Down {
        /// What went wrong and what to do, for a person.
        reason: String,
    },
    /// The relay stream that was wished for is open.
    StreamUp,
    /// The relay stream is closed; while it is wished for, it is being opened again.
    StreamDown,
    /// The server said something.
    Message(ServerMessage),
}
