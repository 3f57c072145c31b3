//! Why the directory ends a session, as the node is told.

use crate::wire::rendezvous::Refused;

/// A reason to end a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client speaks another version.
    Version,
    /// The server serves another network.
    Network,
    /// Another key has the same node ID.
    NodeIdTaken,
    /// The same key logged in again.
    Replaced,
    /// A message that no client of this version sends.
    Malformed(&'static str),
    /// No room for another node.
    Full,
    /// Too many new nodes at once.
    Busy,
    /// No Hello came in time.
    Silent,
}

impl Refusal {
    /// The stable word that programs read.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::Version => "version",
            Refusal::Network => "network",
            Refusal::NodeIdTaken => "node_id_taken",
            Refusal::Replaced => "replaced",
            Refusal::Malformed(_) => "malformed",
            Refusal::Full => "full",
            Refusal::Busy => "busy",
            Refusal::Silent => "silent",
        }
    }

    /// What is wrong and what to do.
    fn message(self) -> &'static str {
        match self {
            Refusal::Version => "the rendezvous server speaks protocol version 1 only; install matching versions",
            Refusal::Network => "the rendezvous server serves another network; check the network number",
            Refusal::NodeIdTaken => "another node already has the ID of this key; make a new identity",
            Refusal::Replaced => "this identity connected again; if that was another machine, give it its own identity",
            Refusal::Malformed(what) => what,
            Refusal::Full => "the rendezvous server has no room for another node; try another server",
            Refusal::Busy => "the rendezvous server is checking many new nodes; it will be tried again",
            Refusal::Silent => "no Hello came in time; check that the versions match",
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused { code: refusal.code().to_owned(), message: refusal.message().to_owned() }
    }
}
