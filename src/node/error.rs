//! Why a command was not carried out, in words for people and codes for scripts.

use crate::identity::{Hostname, Network, PublicKey, RendezvousUrl, Target};

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Nobody like this is trusted, or asks for trust, or exists: which is not told.
    #[error("no node {0} is known here")]
    NotFound(Target),
    /// The name fits several.
    #[error("several nodes are called {0}")]
    Ambiguous(Target),
    /// The target is this node.
    #[error("{0} is this node")]
    ThisNode(Target),
    /// No answer in time.
    #[error("{target} did not answer within {seconds} s")]
    Timeout {
        /// Who did not.
        target: Target,
        /// How long it had.
        seconds: u64,
    },
    /// The name belongs to another node.
    #[error("the name {0} belongs to another node of the network")]
    HostnameTaken(Hostname),
    /// The link to the rendezvous is down, or it does not answer.
    #[error("the rendezvous server cannot be reached: {0}")]
    RendezvousUnreachable(String),
    /// No rendezvous is configured.
    #[error("no rendezvous server is configured")]
    NoRendezvous,
    /// The token is no longer valid.
    #[error("the token has expired")]
    TokenExpired,
    /// The token is for another network.
    #[error("the token is for network {theirs}, and this node is in network {ours}")]
    WrongNetwork {
        /// Our network.
        ours: Network,
        /// The token's network.
        theirs: Network,
    },
    /// The token's rendezvous server is not ours.
    #[error("the token is for the rendezvous server {theirs}")]
    WrongRendezvous {
        /// The token's server.
        theirs: RendezvousUrl,
    },
    /// A limit is reached.
    #[error("there are too many {what}: at most {max}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// Another trusted key has the same node ID.
    #[error("another trusted key already has the node ID of {0}")]
    NodeIdTaken(PublicKey),
    /// An argument is out of its bounds.
    #[error("{0}")]
    BadArgument(String),
}

impl CommandError {
    /// The word that scripts compare: the same in every release.
    pub fn code(&self) -> &'static str {
        match self {
            CommandError::NotFound(_) => "not_found",
            CommandError::Ambiguous(_) => "ambiguous",
            CommandError::ThisNode(_) => "this_node",
            CommandError::Timeout { .. } => "timeout",
            CommandError::HostnameTaken(_) => "hostname_taken",
            CommandError::RendezvousUnreachable(_) => "rendezvous_unreachable",
            CommandError::NoRendezvous => "no_rendezvous",
            CommandError::TokenExpired => "token_expired",
            CommandError::WrongNetwork { .. } => "wrong_network",
            CommandError::WrongRendezvous { .. } => "wrong_rendezvous",
            CommandError::TooMany { .. } => "too_many",
            CommandError::NodeIdTaken(_) => "node_id_taken",
            CommandError::BadArgument(_) => "bad_argument",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            CommandError::NotFound(_) => {
                "list known nodes with `pilotctl trusted` and `pilotctl pending`; ask for trust with `pilotctl handshake`"
            }
            CommandError::Ambiguous(_) => "name the node by its ID",
            CommandError::ThisNode(_) => "name another node",
            CommandError::Timeout { .. } => {
                "see `pilotctl peers` for the path; the node may be off, or may not trust this one"
            }
            CommandError::HostnameTaken(_) => "choose another name",
            CommandError::RendezvousUnreachable(_) => "check the network and the server; the daemon keeps trying",
            CommandError::NoRendezvous => "start the daemon with --rendezvous URL or --join TOKEN",
            CommandError::TokenExpired => "ask for a fresh one: `pilotctl invite` on the other node",
            CommandError::WrongNetwork { .. } => "start the daemon with --network",
            CommandError::WrongRendezvous { .. } => "start the daemon with --join TOKEN",
            CommandError::TooMany { .. } => "remove some that are no longer needed",
            CommandError::NodeIdTaken(_) => "the other node must make another identity, or untrust the former key",
            CommandError::BadArgument(_) => "see the limits in docs/cli.md",
        }
    }
}
