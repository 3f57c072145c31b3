//! What the directory asks of the daemon, and what it tells of itself.

use std::time::Instant;

use super::{Change, SessionId};
use crate::identity::PublicKey;
use crate::wire::RelayCredential;
use crate::wire::rendezvous::ServerMessage;

/// What the daemon is to do, in this order.
pub enum Output {
    /// Send a message to a session; where its queue is full the message is lost.
    Send(SessionId, ServerMessage),
    /// End a session after what was sent to it.
    Close(SessionId),
    /// Let this node use the relay with this credential.
    OpenRelay(PublicKey, RelayCredential),
    /// End a session at the relay.
    CloseRelay(u64),
    /// Derive the node ID of a key and give it to [`Directory::handle_derived`](super::Directory::handle_derived).
    Derive(PublicKey),
    /// Make a change durable before any later output is carried out.
    Save(Change),
    /// Nothing more until the next input, or the deadline.
    Wait {
        /// When [`Directory::handle_timeout`](super::Directory::handle_timeout) is due.
        deadline: Instant,
        /// What is waited for.
        why: &'static str,
    },
}

/// How much there is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Nodes that are logged in.
    pub sessions: usize,
    /// Names that are held.
    pub hostnames: usize,
    /// Items that wait in mailboxes.
    pub mailbox: usize,
    /// Items refused since the start because of a quota.
    pub refused: u64,
}
