//! What the fast path leaves to the slow one, and the way there.

use super::Parts;
use crate::{
    peer::Arrival,
    wire::{Drop, Hop},
};
use std::{io, net::SocketAddr};
use tokio::sync::mpsc::error::TrySendError;

/// Something that the peer table could not settle.
#[derive(Debug)]
pub enum Slow {
    /// A packet of this machine's programs to a peer without session or path.
    Packet(Vec<u8>),
    /// A datagram that is no data of a session (a handshake, STUN, a relay's answer), and to which socket it came.
    Datagram(u16, SocketAddr, Vec<u8>),
    /// A frame of the relay stream with this number that is none of a peer's data.
    Frame(u8, Vec<u8>),
    /// A control packet, opened, and how it came.
    Control(Arrival, Vec<u8>),
    /// The kernel refuses to send by this hop; told a few times a second.
    Refused(Hop),
    /// Something authenticated came that is news: on another path, or the first of a session.
    Heard(Arrival),
    /// The system refused to send a datagram this way: its inner packet of so many bytes is larger than the link allows.
    TooBig(Hop, usize),
    /// A thread of the datapath ended, because its device is gone: no packet moves any more.
    Failed(io::Error),
}

impl Parts {
    /// Hands an item over if there is room; never waits.
    pub(super) fn hand_over(&self, item: Slow) {
        match self.slow.try_send(item) {
            Err(TrySendError::Full(_)) => self.drops.count(Drop::QueueFull),
            // Without a receiver the daemon is stopping.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
        }
    }
}
