//! The relay machine: carries datagrams between nodes that have no direct path.
//!
//! Comes in: the credentials of those who are logged in, from the directory; datagrams with the endpoint they came from.
//! Goes out: for each datagram at most one, never longer, rewritten in its own buffer, and where to send it.
//! It sees only sealed WireGuard messages. Sockets are left to the daemon, logins and allocations
//! to the directory.
//!
//! A node is reached by UDP or by a stream over TLS: both are endpoints to which a session binds, and between which it
//! moves, in the same way. A session forwards nothing before a [Bind](crate::wire::relay) proved its key from the endpoint
//! that it sends from; over a stream, its owner must be the node that TLS proved.
//! The nonces of a session's Binds grow: a recorded Bind replayed from elsewhere moves nothing.

mod fair;
mod run;
mod sessions;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::bucket::Rate;
use crate::identity::PublicKey;
use crate::wire::relay::{self, Frame};
use crate::wire::{Allocation, Drop, Drops, RelayCredential, put};

pub use fair::FairQueue;
pub use run::Forward;
use sessions::Sessions;

/// What one session may send through the relay: 100 Mbit/s, 4 MiB at once. Units are bytes of UDP payload.
pub const SESSION_RATE: Rate = Rate { per_second: 100_000_000 / 8, burst: 4 << 20 };
/// The most sessions that are open at once, lingering ones included.
pub const MAX_SESSIONS: usize = 20_000;

/// Where a datagram came from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A UDP endpoint.
    Udp {
        /// Which of the relay's own sockets, as its owner numbers them: a node is answered from the one it spoke to.
        socket: usize,
        /// The node's address and port, as that socket saw it.
        remote: SocketAddr,
    },
    /// A stream over TLS: what UDP would carry in datagrams it carries in frames.
    Stream {
        /// The stream, as its owner numbers them: never the same twice.
        number: u64,
        /// The node at its other end, as TLS proved it.
        key: PublicKey,
    },
}

/// What passed since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sessions with an endpoint now.
    pub bound: usize,
    /// Datagrams forwarded.
    pub datagrams: u64,
    /// Bytes of UDP payload forwarded, headers included.
    pub bytes: u64,
}

/// Forwards between the sessions that are open.
pub struct Relay {
    rate: Rate,
    drops: Arc<Drops>,
    sessions: Sessions,
    datagrams: u64,
    bytes: u64,
}

impl Relay {
    /// An empty relay, where each session may send at `rate`; refused datagrams are counted in `drops`.
    pub fn new(rate: Rate, drops: Arc<Drops>) -> Relay {
        Relay { rate, drops, sessions: Sessions::default(), datagrams: 0, bytes: 0 }
    }

    /// Lets the owner of a credential bind; it follows the allocation's former session. A full relay opens no more.
    pub fn open(&mut self, now: Instant, owner: PublicKey, credential: RelayCredential) {
        self.sessions.open(now, owner, credential);
    }

    /// Ends a session; its datagrams are dropped from now on. An unknown one has ended already.
    pub fn close(&mut self, session: u64) {
        self.sessions.close(session);
    }

    /// Takes a datagram; where there is one to send, it stands at the front of the same buffer: where to, and its length.
    pub fn handle_datagram(&mut self, now: Instant, from: Endpoint, datagram: &mut [u8]) -> Option<(Endpoint, usize)> {
        self.handle(now, from, datagram).map_err(|reason| self.drops.count(reason)).ok()
    }

    fn handle(&mut self, now: Instant, from: Endpoint, datagram: &mut [u8]) -> Result<(Endpoint, usize), Drop> {
        match Frame::parse(datagram)? {
            Frame::Bind(binding) => {
                let session = self.sessions.bind(now, from, &binding)?;
                let answer = relay::bound(binding.session, &session.credential.key, binding.nonce);
                put(datagram, 0, answer).ok_or(Drop::MalformedRelay)?;
                Ok((from, answer.len()))
            }
            Frame::Send { session, destination, .. } => {
                let source = self.charge(now, from, session, datagram.len())?;
                let to = self.sessions.receiver(destination)?;
                put(datagram, 0, relay::deliver_header(source, destination)).ok_or(Drop::MalformedRelay)?;
                self.datagrams += 1;
                self.bytes += datagram.len() as u64;
                Ok((to, datagram.len()))
            }
            Frame::Bound(_) | Frame::Deliver { .. } => Err(Drop::Unexpected),
        }
    }

    /// Checks that the sender may send, takes the bytes from its share, and gives its allocation.
    fn charge(&mut self, now: Instant, from: Endpoint, session: u64, bytes: usize) -> Result<Allocation, Drop> {
        let sender = self.sessions.sender(now, session, from)?;
        sender.bucket.take(now, bytes as u64, self.rate).map_err(|_| Drop::RateLimited)?;
        Ok(sender.credential.allocation)
    }

    /// What passed so far.
    pub fn counters(&self) -> Counters {
        Counters { bound: self.sessions.bound(), datagrams: self.datagrams, bytes: self.bytes }
    }
}
