//! Finds and keeps the best path to one peer.
//!
//! In come the peer's candidates, the fact that a session is up, the probes and answers that
//! arrived inside the tunnel, and the time. Out go probes and answers to send inside the tunnel,
//! the chosen path, and the wish that the peer be told our candidates. Left to others: what a
//! tunnel or a session is, whether the peer is trusted, and every other peer.
//!
//! Everything handed to an [`Agent`] must have been authenticated by the tunnel. The methods sort
//! into facts about either end (`set_*`, `session_*`, `network_changed`), arrivals (`handle_*`,
//! `received`, `spoken`, `sent`), `poll_*`, and getters. After any call that takes `now`, drain
//! [`Agent::poll_output`], then call [`Agent::handle_timeout`] when [`Agent::poll_timeout`] says.
//!
//! There are no pairs or nominations as in ICE (RFC 8445); each side chooses for itself, and where the two differ, one
//! follows the other without a word (see `accord`):
//!
//! 1. The path that carried the session, usually the relay, is used from the first moment.
//! 2. A *round* of probes goes to every direct candidate. An answer that comes back by the path
//!    that was probed proves it; the first proven direct path is promoted.
//! 3. The chosen path is *checked* every 20 s, and as soon as data sent over it met silence. Only
//!    a failed check demotes, never a lost packet; it starts a new round.
//! 4. While there is traffic, up to two more direct paths are kept *warm*: what they need to stay open, and no more. On
//!    evidence against the chosen path they are asked together with it, and the first that answers when it does not takes
//!    its place: see `standby`.
//! 5. Where NATs need more than that (they map by destination, or early datagrams spoil a mapping), both
//!    sides agree inside the tunnel on fresh sockets, ports and moments: see `together` and [`Tactic`].
//! 6. Without a direct path, rounds repeat for ever with growing pauses. The peer is asked to
//!    join each ([`Output::Introduce`]), because a NAT in front of either side lets probes in only
//!    while that side sends its own.

mod accord;
mod agent;
mod arrivals;
mod by_path;
mod candidates;
mod decisions;
mod draws;
mod facts;
mod hush;
mod mtu;
mod paths;
mod probes;
mod remote;
mod search;
mod standby;
mod tactic;
mod together;
mod watch;
mod why;

pub use agent::Agent;
pub use candidates::{MAX_DIRECT, MAX_RELAYED};
pub use paths::MAX_SEEN;
pub use remote::{Origin, PathReport, PathState};
pub use tactic::Tactic;
pub use why::{Circumstances, Reason};

use std::net::SocketAddr;

use crate::wire::control::Punch;
use crate::wire::{Mtu, Path};

/// The IP families that we can send from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Families {
    /// An IPv4 socket and a route.
    pub v4: bool,
    /// An IPv6 socket and a global address.
    pub v6: bool,
}

impl Families {
    /// Whether a direct path is of one of these.
    pub(crate) fn has(self, path: Path) -> bool {
        match path {
            Path::Direct(SocketAddr::V6(_)) => self.v6,
            Path::Direct(SocketAddr::V4(_)) | Path::Spare { .. } => self.v4,
            Path::Relayed(_) | Path::Friend { .. } => false,
        }
    }
}

/// What the node is to do for an [`Agent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a probe inside the tunnel by this path.
    Probe {
        /// The path to probe.
        via: Path,
        /// The id that its answer must carry.
        id: u64,
    },
    /// Send an answer to a probe, by the path that the probe came by.
    Answer {
        /// The path that the probe came by.
        via: Path,
        /// The id of the probe.
        id: u64,
        /// The path as we see it, which tells the peer its outside endpoint.
        observed: Path,
    },
    /// Send our introduction inside the tunnel: it asks the peer to join the round that starts now.
    Introduce {
        /// The path to send it by.
        via: Path,
    },
    /// Send a probe of this size inside the tunnel by this path.
    MtuProbe {
        /// The chosen path.
        via: Path,
        /// The id that its answer must carry.
        id: u64,
        /// The length of the whole packet, in bytes.
        size: u16,
    },
    /// Say that a probe of this size arrived, by the path that it came by.
    MtuAnswer {
        /// The path that the probe came by.
        via: Path,
        /// The id of the probe.
        id: u64,
        /// The length of the packet that arrived, in bytes.
        size: u16,
    },
    /// Packets may have this size from now on.
    Mtu(Mtu),
    /// All data goes by this path from now on; none when there is no session.
    Chosen(Option<Path>),
    /// Open spare sockets, learn from STUN how the first is seen, and report both with
    /// [`Agent::prepared`], or [`Agent::unprepared`] where that cannot be.
    Prepare {
        /// How many.
        sockets: u16,
        /// Whether the attempt fills a good part of a home gateway's table.
        heavy: bool,
    },
    /// Offer the peer to punch together.
    Offer {
        /// The path to send it by.
        via: Path,
        /// Which attempt, and our end of it.
        punch: Punch,
    },
    /// Accept the peer's offer.
    Accept {
        /// The path to send it by.
        via: Path,
        /// Which attempt, and our end of it.
        punch: Punch,
    },
    /// Send a datagram that means nothing from a spare socket, and let it end after so many hops.
    Opener {
        /// The socket.
        socket: u16,
        /// Where it would go.
        to: SocketAddr,
        /// Its hop limit.
        hops: u8,
    },
    /// Close the spare sockets that [`Agent::uses`] does not name.
    Release,
    /// The chosen path did not answer in time: what the relay and STUN know of us may be out of date, and should be made
    /// true again before the outputs that follow go out.
    Doubt,
}

#[cfg(test)]
mod tests;
