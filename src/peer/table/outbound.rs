//! From a packet of our programs to a sealed datagram.

use std::ops::Range;

use super::{Entry, PeerTable};
use crate::peer::tunnel::{MIN_BUFFER, OVERHEAD};
use crate::wire::packet::Packet;
use crate::wire::relay::{self, send_header};
use crate::wire::{Drop, Hop, Path};

/// What becomes of a packet of our programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outbound {
    /// Send this part of the buffer there.
    Send {
        /// The way: to the peer or to the relay.
        hop: Hop,
        /// The datagram in `out`.
        range: Range<usize>,
    },
    /// The node must connect first: the packet is for it to keep.
    Slow(Why),
    /// Refused, and the program should be told what fits.
    TooBig {
        /// The most that the path carries, in bytes.
        mtu: u16,
    },
    /// Refused.
    Drop(Drop),
}

/// What is missing to send a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No session with the peer.
    NoSession,
    /// No path to the peer, or a relayed one while we are not bound to that relay.
    NoPath,
}

impl PeerTable {
    /// Seals a packet from our own TUN device for the peer that it is addressed to.
    ///
    /// `out` must have 52 bytes more than the packet, and 168 at least: the sealed packet stands
    /// behind 20 bytes of headroom, where a relayed one gets its header.
    pub fn outbound(&self, packet: &[u8], out: &mut [u8]) -> Outbound {
        let entry = match self.allowed(packet) {
            Ok(entry) => entry,
            Err(reason) => return Outbound::Drop(reason),
        };
        let Some(tunnel) = &entry.tunnel else {
            return Outbound::Slow(Why::NoSession);
        };
        let Some((hop, header)) = entry.path.and_then(|path| self.first_hop(path)) else {
            return Outbound::Slow(Why::NoPath);
        };
        if packet.len() > usize::from(entry.mtu.inner) {
            return Outbound::TooBig { mtu: entry.mtu.inner };
        }
        let Some((headroom, body)) = out.split_first_chunk_mut::<{ relay::HEADER }>() else {
            return Outbound::Drop(Drop::Oversized);
        };
        if body.len() < MIN_BUFFER.max(packet.len() + OVERHEAD) {
            return Outbound::Drop(Drop::Oversized);
        }
        let Some(len) = tunnel.seal(packet, body) else {
            return Outbound::Slow(Why::NoSession);
        };
        tunnel.traffic().count_sent(packet.len());
        let start = header.map_or(relay::HEADER, |header| {
            *headroom = header;
            0
        });
        Outbound::Send { hop, range: start..relay::HEADER + len }
    }

    /// The peer that a packet of our programs may go to.
    fn allowed(&self, packet: &[u8]) -> Result<&Entry, Drop> {
        let packet = Packet::parse(packet)?;
        if packet.is_local_only() {
            return Err(Drop::TunControl);
        }
        if packet.source() != self.own {
            return Err(Drop::WrongSource);
        }
        let destination = packet.destination();
        let entry = self.by_address(destination);
        entry.filter(|_| self.route.contains(&destination)).ok_or(Drop::NoRoute)
    }

    /// The way to a path, and the header that the relay needs; none for a path over a relay to which
    /// we are not bound.
    pub fn first_hop(&self, path: Path) -> Option<(Hop, Option<[u8; relay::HEADER]>)> {
        match path {
            Path::Direct(endpoint) => Some((Hop::main(endpoint), None)),
            Path::Spare { socket, remote } => Some((Hop::Udp { socket, to: remote }, None)),
            // That is for the node: the datagram leaves inside another tunnel.
            Path::Friend { .. } => None,
            Path::Relayed(to) => {
                let ours = self.relays.iter().find(|relay| relay.server == to.server)?;
                let header = send_header(ours.session, to.allocation);
                Some((ours.hop, Some(header)))
            }
        }
    }
}
