//! From a packet of our programs to a sealed datagram.

use std::ops::Range;

use super::{Entry, PeerTable};
use crate::peer::tunnel::{MIN_BUFFER, OVERHEAD, Tunnel};
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

/// Why there is no way for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoWay {
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

impl From<NoWay> for Outbound {
    fn from(reason: NoWay) -> Outbound {
        match reason {
            NoWay::Slow(why) => Outbound::Slow(why),
            NoWay::TooBig { mtu } => Outbound::TooBig { mtu },
            NoWay::Drop(reason) => Outbound::Drop(reason),
        }
    }
}

/// What is missing to send a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No session with the peer.
    NoSession,
    /// No path to the peer, or a relayed one while we are not bound to that relay.
    NoPath,
}

/// The way of packets of our programs to one peer, as long as the table is in use.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    tunnel: &'a Tunnel,
    /// To the peer or to the relay.
    pub hop: Hop,
    /// What stands in front of each datagram, for the relay.
    header: Option<[u8; relay::HEADER]>,
    mtu: u16,
}

impl PeerTable {
    /// Seals a packet from our own TUN device for the peer that it is addressed to.
    ///
    /// `out` must have 52 bytes more than the packet, and 168 at least.
    pub fn outbound(&self, packet: &[u8], out: &mut [u8]) -> Outbound {
        let way = match self.way(packet) {
            Ok(way) => way,
            Err(reason) => return reason.into(),
        };
        if out.len() < relay::HEADER + MIN_BUFFER.max(packet.len() + OVERHEAD) {
            return Outbound::Drop(Drop::Oversized);
        }
        match way.seal(packet, out) {
            Some(len) => Outbound::Send { hop: way.hop, range: 0..len },
            None => Outbound::Slow(Why::NoSession),
        }
    }

    /// The way of a packet from our own TUN device; any other with the same headers and no larger may take it as well.
    pub fn way(&self, packet: &[u8]) -> Result<Way<'_>, NoWay> {
        let entry = self.allowed(packet).map_err(NoWay::Drop)?;
        let tunnel = entry.tunnel.as_ref().ok_or(NoWay::Slow(Why::NoSession))?;
        let first_hop = entry.path.and_then(|path| self.first_hop(path));
        let (hop, header) = first_hop.ok_or(NoWay::Slow(Why::NoPath))?;
        let way = Way { tunnel, hop, header, mtu: entry.mtu.inner };
        if way.carries(packet.len()) { Ok(way) } else { Err(NoWay::TooBig { mtu: way.mtu }) }
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
        let entry = entry.filter(|_| self.route.contains(&destination)).ok_or(Drop::NoRoute)?;
        match &entry.gate {
            Some(gate) if !gate.notes(&packet) => Err(Drop::NotGranted),
            _ => Ok(entry),
        }
    }

    /// The first hop of a path, and the header that the relay needs; none for a path over a relay to which
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

impl Way<'_> {
    /// Whether the path carries a packet of so many bytes.
    pub fn carries(&self, len: usize) -> bool {
        len <= usize::from(self.mtu)
    }

    /// The length in bytes of the datagram that a packet of so many bytes becomes.
    pub fn sealed_len(&self, len: usize) -> usize {
        self.header.map_or(0, |header| header.len()) + len + OVERHEAD
    }

    /// Seals a packet into the front of `out`, and gives the length of the datagram; none without a session, and if
    /// `out` is not longer than the datagram by what a handshake needs.
    pub fn seal(&self, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        let front = self.header.as_ref().map_or(&[][..], |header| header);
        let (place, body) = out.split_at_mut_checked(front.len())?;
        place.copy_from_slice(front);
        if body.len() < MIN_BUFFER.max(packet.len() + OVERHEAD) {
            return None;
        }
        let len = self.tunnel.seal(packet, body)?;
        self.tunnel.traffic().count_sent(packet.len());
        Some(front.len() + len)
    }
}
