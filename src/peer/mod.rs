//! Keeps one remote node: its tunnel, what may come out of it, what is remembered of it.
//!
//! In: packets to seal and datagrams to open, in buffers of the caller; the time, where it matters.
//! Out: sealed datagrams with the endpoint that they leave to, opened packets whose inner addresses
//! are proven, and a [`Drop`](crate::wire::Drop) reason for everything else.
//! Left to others: whom to trust, when to connect and which slot a peer gets (`node`), which path is
//! best (`punch`), sockets and devices (`datapath`), durable state (`store`).
//!
//! [`PeerTable`] is what the fast path reads: immutable, made by the node, used alike by the node
//! itself and by the threads of `datapath`. [`Tunnel`] is WireGuard with one peer, and the lane beside it;
//! [`initiation`] reads a handshake before any tunnel sees it; [`Waiting`] keeps packets until there
//! is a session; [`record`] is what outlives a restart. A [`Grant`] says what a peer may open here, and its [`Gate`] keeps
//! packets to that.

pub mod initiation;
pub mod record;

mod gate;
mod grant;
mod lane;
mod sessions;
mod slot;
mod table;
#[cfg(test)]
mod testing;
mod traffic;
mod tunnel;
mod waiting;

pub use gate::{Clock, Gate};
pub use grant::{Grant, GrantError, Item, MAX_ITEMS, Ports, Service};
pub use lane::Party;
pub use slot::{Slot, receiver};
pub use table::{Arrival, Entry, Inbound, NoWay, Outbound, Overlay, PeerTable, Relay, Way, Why};
pub use traffic::{Traffic, TrafficCounts};
#[cfg(feature = "sim")]
pub use tunnel::advance_clock;
pub use tunnel::{Admission, Cipher, Limiter, MIN_BUFFER, Opened, Tick, Tunnel};
pub use waiting::Waiting;
