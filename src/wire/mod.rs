//! Our messages as bytes, and back.
//!
//! In come datagrams, IP packets and message bodies; out come typed, bounded views of them, or the
//! [`Drop`] reason that says why they are refused. Nothing here keeps state (apart from the shared
//! [`Drops`] counters), knows the time, or decides what a message means: that is left to the
//! machines above. Every decoder accepts arbitrary bytes without panicking.
//!
//! `docs/protocol.md` shows all formats on one page.

pub mod beacon;
pub mod clock;
pub mod content;
pub mod control;
pub mod datagram;
pub mod drops;
pub mod introduction;
pub mod lane;
pub mod mss;
pub mod mtu;
pub mod nat;
pub mod packet;
pub mod path;
pub mod relay;
pub mod rendezvous;
pub mod stun;
pub mod too_big;
pub mod transport;

mod bytes;
mod credential;

pub(crate) use bytes::put;
pub use clock::Now;
pub use content::Content;
pub use credential::RelayCredential;
pub use datagram::{Datagram, classify};
pub use drops::{Drop, Drops};
pub use lane::LaneShare;
pub use mtu::Mtu;
pub use nat::Nat;
pub use packet::Ecn;
pub use path::{Allocation, Candidate, CandidateKind, Hop, Path, RelayAddress, RelayId};
