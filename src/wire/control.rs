//! Control packets: what two nodes say to each other inside their tunnel.
//!
//! ```text
//! IPv6: link-local(sender) → link-local(receiver), next header 253, hop limit 1
//! 1 Probe         kind 1 | id 8
//! 2 ProbeAnswer   kind 1 | id 8 | observed path
//! 3 Ping          kind 1 | id 8
//! 4 Pong          kind 1 | id 8
//! 5 Introduction  kind 1 | protobuf pilot.node.v1.Introduction
//! 6 PunchOffer    kind 1 | attempt 8 | endpoint path
//! 7 PunchAccept   kind 1 | attempt 8 | endpoint path
//! 8 MtuProbe      kind 1 | id 8 | zeros up to the size of the packet that is tried
//! 9 MtuAnswer     kind 1 | id 8 | size 2
//! 10 Carry        kind 1 | destination node 6 | WireGuard message
//! 11 Carried      kind 1 | source node 6 | WireGuard message
//! 12 LaneOffer    kind 1 | initiator's index 4 | responder's index 4 | X25519 ephemeral 32
//! 13 LaneAccept   the same
//!
//! path: family 1 (4 or 6, with 0x80 added when relayed) | IP 4 or 16 | port 2 | allocation 8 if relayed;
//!       or 1 (by a friend) | friend node 6 | node 6
//! ```
//!
//! Numbers are big-endian. The tunnel authenticates the sender; whoever opens it compares the
//! addresses with the peer's and its own. Such packets never come from or go to the TUN device.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::bytes::{take, take_u8, take_u16, take_u64};
use super::drops::Drop;
use super::introduction::Introduction;
use super::lane::LaneShare;
use super::packet::{CONTROL, HEADER_LEN, Packet};
use super::path::{Allocation, Path, RelayAddress};
use crate::identity::{NodeId, link_local, link_local_node};

/// The most bytes after the kind byte, so that a control packet has at most 1280 bytes. Those that carry a WireGuard
/// message are as long as that makes them.
pub const MAX_BODY: usize = 1280 - HEADER_LEN - 1;

/// The length of the shortest [`Control::MtuProbe`], in bytes: that of its answer.
pub const MTU_PROBE_MIN: u16 = HEADER_LEN as u16 + 11;

const PROBE: u8 = 1;
const PROBE_ANSWER: u8 = 2;
const PING: u8 = 3;
const PONG: u8 = 4;
const INTRODUCTION: u8 = 5;
const PUNCH_OFFER: u8 = 6;
const PUNCH_ACCEPT: u8 = 7;
const MTU_PROBE: u8 = 8;
const MTU_ANSWER: u8 = 9;
const CARRY: u8 = 10;
const CARRIED: u8 = 11;
const LANE_OFFER: u8 = 12;
const LANE_ACCEPT: u8 = 13;
const FRIEND: u8 = 1;
const RELAYED: u8 = 0x80;

/// What a control packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Does this path work? Answered on the path that it came by.
    Probe {
        /// Chosen at random by the prober.
        id: u64,
    },
    /// It does.
    ProbeAnswer {
        /// From the probe.
        id: u64,
        /// Where the probe came from, as the answerer saw it.
        observed: Path,
    },
    /// Are you there? Answered on the best path.
    Ping {
        /// Chosen at random by the asker.
        id: u64,
    },
    /// I am.
    Pong {
        /// From the ping.
        id: u64,
    },
    /// The sender's new candidates or tunnel key.
    Introduction(Introduction),
    /// Let us punch together, at once, from fresh sockets.
    PunchOffer(Punch),
    /// We are about to.
    PunchAccept(Punch),
    /// Does a packet as large as this one arrive? Answered on the path that it came by.
    MtuProbe {
        /// Chosen by the prober.
        id: u64,
        /// The length of the whole packet in bytes, at least [`MTU_PROBE_MIN`].
        size: u16,
    },
    /// It does.
    MtuAnswer {
        /// From the probe.
        id: u64,
        /// The length of the packet that arrived, in bytes.
        size: u16,
    },
    /// Please pass this on to your friend.
    Carry {
        /// For whom.
        to: NodeId,
        /// A WireGuard message between the sender and that node.
        payload: Vec<u8>,
    },
    /// A friend of yours and mine has sent this.
    Carried {
        /// Who.
        from: NodeId,
        /// A WireGuard message between that node and the receiver.
        payload: Vec<u8>,
    },
    /// The initiator of a WireGuard handshake would have a lane beside its session.
    LaneOffer(LaneShare),
    /// Its responder would, too, and can open what comes in it.
    LaneAccept(LaneShare),
}

/// One side of an attempt to punch together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Punch {
    /// Chosen at random by who offers; an acceptance repeats it.
    pub attempt: u64,
    /// The outside of the sender's fresh socket, as a STUN server saw it a moment ago.
    pub endpoint: SocketAddr,
}

/// Makes the IPv6 packet that carries `control`: at most 1280 bytes, or as many as a [`Control::MtuProbe`] wants or the
/// WireGuard message that is passed on takes.
pub fn encode(sender: NodeId, receiver: NodeId, control: &Control) -> Vec<u8> {
    let mut out = vec![0; HEADER_LEN];
    push_control(&mut out, control);
    let length = out.len() - HEADER_LEN;
    out[0] = 0x60;
    out[4..6].copy_from_slice(&(length as u16).to_be_bytes());
    out[6] = CONTROL;
    out[7] = 1;
    out[8..24].copy_from_slice(&link_local(sender).octets());
    out[24..40].copy_from_slice(&link_local(receiver).octets());
    out
}

/// Reads a control packet: from whom, to whom, and what it says.
pub fn parse(packet: &[u8]) -> Result<(NodeId, NodeId, Control), Drop> {
    let packet = Packet::parse(packet)?;
    if !packet.is_control() {
        return Err(Drop::MalformedControl);
    }
    let sender = link_local_node(packet.source()).ok_or(Drop::WrongSource)?;
    let receiver = link_local_node(packet.destination()).ok_or(Drop::WrongDestination)?;
    let control = read_control(packet.payload())?;
    Ok((sender, receiver, control))
}

fn push_control(out: &mut Vec<u8>, control: &Control) {
    let mut push = |kind: u8, id: u64| {
        out.push(kind);
        out.extend_from_slice(&id.to_be_bytes());
    };
    match control {
        Control::Probe { id } => push(PROBE, *id),
        Control::Ping { id } => push(PING, *id),
        Control::Pong { id } => push(PONG, *id),
        Control::ProbeAnswer { id, observed } => {
            push(PROBE_ANSWER, *id);
            push_path(out, *observed);
        }
        Control::Introduction(introduction) => {
            out.push(INTRODUCTION);
            out.extend_from_slice(&introduction.encode());
        }
        Control::PunchOffer(punch) => {
            push(PUNCH_OFFER, punch.attempt);
            push_path(out, Path::Direct(punch.endpoint));
        }
        Control::PunchAccept(punch) => {
            push(PUNCH_ACCEPT, punch.attempt);
            push_path(out, Path::Direct(punch.endpoint));
        }
        Control::MtuProbe { id, size } => {
            push(MTU_PROBE, *id);
            out.resize(usize::from(*size.max(&MTU_PROBE_MIN)), 0);
        }
        Control::MtuAnswer { id, size } => {
            push(MTU_ANSWER, *id);
            out.extend_from_slice(&size.to_be_bytes());
        }
        Control::Carry { to, payload } => push_carried(out, CARRY, *to, payload),
        Control::Carried { from, payload } => push_carried(out, CARRIED, *from, payload),
        Control::LaneOffer(share) => push_share(out, LANE_OFFER, share),
        Control::LaneAccept(share) => push_share(out, LANE_ACCEPT, share),
    }
}

fn push_carried(out: &mut Vec<u8>, kind: u8, node: NodeId, payload: &[u8]) {
    out.push(kind);
    push_node(out, node);
    out.extend_from_slice(payload);
}

fn push_share(out: &mut Vec<u8>, kind: u8, share: &LaneShare) {
    out.push(kind);
    share.push(out);
}

fn push_node(out: &mut Vec<u8>, node: NodeId) {
    let [_, _, id @ ..] = node.to_u64().to_be_bytes();
    out.extend_from_slice(&id);
}

fn read_control(payload: &[u8]) -> Result<Control, Drop> {
    if let [INTRODUCTION, body @ ..] = payload {
        return Ok(Control::Introduction(Introduction::decode(body)?));
    }
    let control = match payload {
        [kind @ (CARRY | CARRIED), rest @ ..] => read_carried(*kind, rest),
        [LANE_OFFER, rest @ ..] => LaneShare::read(rest).map(Control::LaneOffer),
        [LANE_ACCEPT, rest @ ..] => LaneShare::read(rest).map(Control::LaneAccept),
        _ => read_fixed(payload),
    };
    control.ok_or(Drop::MalformedControl)
}

fn read_carried(kind: u8, mut rest: &[u8]) -> Option<Control> {
    let node = read_node(&mut rest)?;
    let payload = rest.to_vec();
    match kind {
        CARRY => Some(Control::Carry { to: node, payload }),
        _ => Some(Control::Carried { from: node, payload }),
    }
}

fn read_node(rest: &mut &[u8]) -> Option<NodeId> {
    let [a, b, c, d, e, f] = take::<6>(rest)?;
    NodeId::from_u64(u64::from_be_bytes([0, 0, a, b, c, d, e, f])).ok()
}

fn read_fixed(mut rest: &[u8]) -> Option<Control> {
    let kind = take_u8(&mut rest)?;
    let id = take_u64(&mut rest)?;
    let control = match kind {
        PROBE => Control::Probe { id },
        PING => Control::Ping { id },
        PONG => Control::Pong { id },
        PROBE_ANSWER => Control::ProbeAnswer { id, observed: read_path(&mut rest)? },
        PUNCH_OFFER => Control::PunchOffer(read_punch(id, &mut rest)?),
        PUNCH_ACCEPT => Control::PunchAccept(read_punch(id, &mut rest)?),
        MTU_PROBE => {
            take::<2>(&mut rest)?;
            let filling = u16::try_from(std::mem::take(&mut rest).len()).ok()?;
            Control::MtuProbe { id, size: MTU_PROBE_MIN.checked_add(filling)? }
        }
        MTU_ANSWER => Control::MtuAnswer { id, size: take_u16(&mut rest)? },
        _ => return None,
    };
    rest.is_empty().then_some(control)
}

fn read_punch(attempt: u64, rest: &mut &[u8]) -> Option<Punch> {
    match read_path(rest)? {
        Path::Direct(endpoint) => Some(Punch { attempt, endpoint }),
        _ => None,
    }
}

fn push_path(out: &mut Vec<u8>, path: Path) {
    if let Path::Friend { friend, node } = path {
        out.push(FRIEND);
        push_node(out, friend);
        return push_node(out, node);
    }
    let relayed = if path.is_direct() { 0 } else { RELAYED };
    let endpoint = path.first_hop();
    match endpoint.ip() {
        IpAddr::V4(ip) => {
            out.push(4 | relayed);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6 | relayed);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&endpoint.port().to_be_bytes());
    if let Path::Relayed(relay) = path {
        out.extend_from_slice(&relay.allocation.0.to_be_bytes());
    }
}

fn read_path(rest: &mut &[u8]) -> Option<Path> {
    let family = take_u8(rest)?;
    let ip = match family & !RELAYED {
        FRIEND if family == FRIEND => {
            return Some(Path::Friend { friend: read_node(rest)?, node: read_node(rest)? });
        }
        4 => IpAddr::V4(Ipv4Addr::from(take::<4>(rest)?)),
        6 => IpAddr::V6(Ipv6Addr::from(take::<16>(rest)?)),
        _ => return None,
    };
    let endpoint = SocketAddr::new(ip, take_u16(rest)?);
    if family & RELAYED == 0 {
        return Some(Path::Direct(endpoint));
    }
    Some(Path::Relayed(RelayAddress { server: endpoint, allocation: Allocation(take_u64(rest)?) }))
}

#[cfg(test)]
mod tests;
