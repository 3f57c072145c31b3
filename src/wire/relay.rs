//! Frames between a node and the relay: 20 bytes in front of the datagram that is carried.
//!
//! ```text
//! 0x10 Bind     node → relay   type 1 | zero 3 | session 8 | nonce 8 | mac 16 | zero 4
//! 0x11 Bound    relay → node   the same, with the nonce of the Bind
//! 0x12 Send     node → relay   type 1 | zero 3 | session 8 | destination allocation 8 | payload
//! 0x13 Deliver  relay → node   type 1 | zero 3 | source allocation 8 | destination allocation 8 | payload
//! ```
//!
//! Numbers are big-endian. The MAC is keyed BLAKE2s with 16 bytes of output (RFC 7693) over the
//! first 20 bytes, under the key that the rendezvous server gave to the session inside TLS. A Bind
//! tells the relay where its session's datagrams come from and go to; the payload is a WireGuard
//! message or one of a lane, which the relay cannot read. An answer is never longer than what it answers.

use blake2::Blake2sMac;
use blake2::digest::consts::U16;
use blake2::digest::{KeyInit, Mac, Output};

use super::bytes::{take, take_u64};
pub use super::credential::RelayCredential;
use super::drops::Drop;
use super::path::Allocation;

/// The length in bytes of the header of Send and Deliver, and of what a MAC covers.
pub const HEADER: usize = 20;
/// The length in bytes of Bind and Bound.
pub const BIND_LEN: usize = 40;

const BIND: u8 = 0x10;
const BOUND: u8 = 0x11;
/// The first byte of Send.
pub const SEND: u8 = 0x12;
/// The first byte of Deliver.
pub const DELIVER: u8 = 0x13;

/// A frame, by type; the MAC of a binding is still unproven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A node asks the relay to bind its session to the endpoint that this came from.
    Bind(Binding),
    /// The relay did so.
    Bound(Binding),
    /// A node sends a payload to another's allocation.
    Send {
        /// The sender's session.
        session: u64,
        /// Where the payload goes.
        destination: Allocation,
        /// The datagram that is carried.
        payload: &'a [u8],
    },
    /// The relay delivers a payload from another's allocation.
    Deliver {
        /// Where the payload came from.
        source: Allocation,
        /// The receiver's own allocation.
        destination: Allocation,
        /// The datagram that is carried.
        payload: &'a [u8],
    },
}

impl<'a> Frame<'a> {
    /// Reads a frame; anything else is [`Drop::MalformedRelay`].
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Drop> {
        Self::read(datagram).ok_or(Drop::MalformedRelay)
    }

    fn read(datagram: &'a [u8]) -> Option<Self> {
        let mut rest = datagram;
        let [kind, 0, 0, 0] = take(&mut rest)? else {
            return None;
        };
        let first = take_u64(&mut rest)?;
        let second = take_u64(&mut rest)?;
        match kind {
            BIND => Binding::read(datagram).map(Frame::Bind),
            BOUND => Binding::read(datagram).map(Frame::Bound),
            SEND => Some(Frame::Send { session: first, destination: Allocation(second), payload: rest }),
            DELIVER => {
                Some(Frame::Deliver { source: Allocation(first), destination: Allocation(second), payload: rest })
            }
            _ => None,
        }
    }
}

/// The contents of a Bind or Bound, to be checked with [`Binding::verify`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The session to bind.
    pub session: u64,
    /// Ties a Bound to its Bind. Grows from one Bind of a session to the next: a relay moves a session to another
    /// endpoint for a new nonce only, so that a recorded Bind moves nothing.
    pub nonce: u64,
    covered: [u8; HEADER],
    mac: [u8; 16],
}

impl Binding {
    fn read(datagram: &[u8]) -> Option<Self> {
        let (&covered, mut rest) = datagram.split_first_chunk::<HEADER>()?;
        let mac = take(&mut rest)?;
        let mut header = &covered[4..];
        let binding = Binding { session: take_u64(&mut header)?, nonce: take_u64(&mut header)?, covered, mac };
        (datagram.len() == BIND_LEN).then_some(binding)
    }

    /// Checks in constant time that the MAC was made with the session's key.
    pub fn verify(&self, key: &[u8; 32]) -> Result<(), Drop> {
        keyed(key, &self.covered).verify_slice(&self.mac).map_err(|_| Drop::RelayBadMac)
    }
}

/// A Bind frame.
pub fn bind(credential: &RelayCredential, nonce: u64) -> [u8; BIND_LEN] {
    binding(BIND, credential.session, &credential.key, nonce)
}

/// The Bound frame that answers a Bind of this session and nonce.
pub fn bound(session: u64, key: &[u8; 32], nonce: u64) -> [u8; BIND_LEN] {
    binding(BOUND, session, key, nonce)
}

/// The header in front of a payload that a node sends through the relay.
pub fn send_header(session: u64, destination: Allocation) -> [u8; HEADER] {
    header(SEND, session, destination.0)
}

/// The header in front of a payload that the relay delivers.
pub fn deliver_header(source: Allocation, destination: Allocation) -> [u8; HEADER] {
    header(DELIVER, source.0, destination.0)
}

fn header(kind: u8, first: u64, second: u64) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[0] = kind;
    out[4..12].copy_from_slice(&first.to_be_bytes());
    out[12..].copy_from_slice(&second.to_be_bytes());
    out
}

fn binding(kind: u8, session: u64, key: &[u8; 32], nonce: u64) -> [u8; BIND_LEN] {
    let covered = header(kind, session, nonce);
    let mac: Output<Blake2sMac<U16>> = keyed(key, &covered).finalize().into_bytes();
    let mut out = [0; BIND_LEN];
    out[..HEADER].copy_from_slice(&covered);
    out[HEADER..HEADER + 16].copy_from_slice(&mac);
    out
}

fn keyed(key: &[u8; 32], covered: &[u8; HEADER]) -> Blake2sMac<U16> {
    <Blake2sMac<U16> as KeyInit>::new(key.into()).chain_update(covered)
}

#[cfg(test)]
mod tests;
