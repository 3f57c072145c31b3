//! From a datagram to a packet for our programs.

use std::net::SocketAddr;
use std::ops::Range;

use super::{Entry, PeerTable};
use crate::identity::link_local;
use crate::peer::slot::Slot;
use crate::peer::tunnel::{Opened, Tunnel};
use crate::wire::packet::Packet;
use crate::wire::relay::Frame;
use crate::wire::{Datagram, Drop, Path, classify};

/// What becomes of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// A packet for our programs: its source is the peer's address, its destination ours.
    Packet {
        /// Who sent it, and how it came.
        arrival: Arrival,
        /// The packet in `out`.
        range: Range<usize>,
    },
    /// A control packet for the node, from the peer's link-local address to ours.
    Control {
        /// Who sent it, and how it came.
        arrival: Arrival,
        /// The packet in `out`.
        range: Range<usize>,
    },
    /// A keepalive.
    Keepalive(Arrival),
    /// A packet for our programs that its sender may not send: authentic, and so it tells of the session and the way as
    /// any other does. To be counted as [`Drop::NotGranted`].
    NotGranted(Arrival),
    /// Not data: the datagram is for the node, which reads it with [`PeerTable::unwrap`].
    Slow,
    /// Refused.
    Drop(Drop),
}

/// Where an authenticated datagram came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Whose it is.
    pub slot: Slot,
    /// The way that it took.
    pub via: Path,
    /// Whether the node must hear of it: the session became usable, or the way is not the one that
    /// our packets take (said once a tick of the tunnel only).
    pub news: bool,
}

impl PeerTable {
    /// Opens a datagram that came to one of our sockets; `out` must be as long as it.
    pub fn inbound(&self, socket: u16, from: SocketAddr, datagram: &[u8], out: &mut [u8]) -> Inbound {
        let (via, datagram) = match self.unwrap(socket, from, datagram) {
            Ok(unwrapped) => unwrapped,
            Err(reason) => return Inbound::Drop(reason),
        };
        self.inbound_by(via, datagram, out)
    }

    /// Opens a datagram whatever brought it by the path `via`; `out` must be as long as it.
    pub fn inbound_by(&self, via: Path, datagram: Datagram<'_>, out: &mut [u8]) -> Inbound {
        let (Datagram::Data { receiver_index, bytes } | Datagram::Lane { receiver_index, bytes }) = datagram else {
            return Inbound::Slow;
        };
        let entry = self.by_slot(Slot::of(receiver_index));
        let Some((entry, tunnel)) = entry.and_then(|entry| Some((entry, entry.tunnel.as_ref()?))) else {
            return Inbound::Drop(Drop::UnknownSession);
        };
        match tunnel.open(bytes, out) {
            Ok(opened) => {
                let arrival = entry.arrival(tunnel, via, opened);
                self.deliver(arrival, entry, tunnel, out.get(..opened.len).unwrap_or_default())
            }
            Err(reason) => Inbound::Drop(reason),
        }
    }

    /// Says how a datagram came and what it is, without the header that our relay put in front.
    ///
    /// Frames between us and the relay itself stay frames; the sender of such a one is proven by its
    /// MAC, so that one is only refused if it claims to deliver and is not from our relay.
    pub fn unwrap<'a>(&self, socket: u16, from: SocketAddr, datagram: &'a [u8]) -> Result<(Path, Datagram<'a>), Drop> {
        let outer = classify(datagram)?;
        let Datagram::Relay(bytes) = outer else {
            return Ok((Path::direct(socket, from), outer));
        };
        let Frame::Deliver { source, destination, payload } = Frame::parse(bytes)? else {
            return Ok((Path::direct(socket, from), outer));
        };
        let ours = self.relays.iter().find(|relay| relay.server == from);
        let relay = ours.ok_or(Drop::RelayWrongEndpoint)?;
        if destination != relay.allocation {
            return Err(Drop::RelayUnknownDestination);
        }
        match classify(payload)? {
            Datagram::Relay(_) | Datagram::Stun(_) | Datagram::Beacon(_) => Err(Drop::MalformedRelay),
            inner => Ok((Self::relayed(relay, source), inner)),
        }
    }

    /// Checks the inner addresses of what was opened.
    fn deliver(&self, arrival: Arrival, entry: &Entry, tunnel: &Tunnel, opened: &[u8]) -> Inbound {
        if opened.is_empty() {
            return Inbound::Keepalive(arrival);
        }
        let range = 0..opened.len();
        match self.judge(entry, opened) {
            Ok(Kind::Control) => Inbound::Control { arrival, range },
            Ok(Kind::User) => {
                tunnel.traffic().count_received(opened.len());
                if entry.path == Some(arrival.via) {
                    tunnel.traffic().count_data_on_path();
                }
                Inbound::Packet { arrival, range }
            }
            Ok(Kind::NotGranted) => Inbound::NotGranted(arrival),
            Err(reason) => Inbound::Drop(reason),
        }
    }

    fn judge(&self, entry: &Entry, packet: &[u8]) -> Result<Kind, Drop> {
        let packet = Packet::parse(packet)?;
        let control = packet.is_control();
        let (source, destination) = if control {
            let id = entry.id.ok_or(Drop::WrongSource)?;
            (link_local(id), self.own_link_local)
        } else {
            (entry.address, self.own)
        };
        if packet.source() != source {
            return Err(Drop::WrongSource);
        }
        if packet.destination() != destination {
            return Err(Drop::WrongDestination);
        }
        match (control, packet.is_local_only()) {
            (true, _) => Ok(Kind::Control),
            // The next header of control packets, but addressed to our programs.
            (false, true) => Err(Drop::MalformedControl),
            (false, false) => match &entry.gate {
                Some(gate) if !gate.admits(&packet) => Ok(Kind::NotGranted),
                _ => Ok(Kind::User),
            },
        }
    }
}

/// Whom an authentic packet is for.
enum Kind {
    Control,
    User,
    NotGranted,
}

impl Entry {
    fn arrival(&self, tunnel: &Tunnel, via: Path, opened: Opened) -> Arrival {
        let on_path = self.path == Some(via);
        if on_path {
            tunnel.traffic().count_heard_on_path();
        }
        Arrival { slot: tunnel.slot(), via, news: opened.confirmed || (!on_path && tunnel.report_once()) }
    }
}
