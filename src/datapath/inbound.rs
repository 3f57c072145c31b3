//! UDP → open → TUN.

use super::{BATCH, BUFFER, Parts, Slow, wake};
use crate::{
    peer::{Arrival, Inbound, PeerTable},
    wire::Drop,
};
use std::{
    io::{self, PipeReader},
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
};

/// The largest datagram, in bytes, that the slow path has a use for: its own formats all fit in less.
const MAX_SLOW: usize = 2048;

/// Carries datagrams until `stop` is closed.
pub fn run(parts: &Parts, stop: &PipeReader) -> io::Result<()> {
    let mut datagram = vec![0; BUFFER];
    let mut opened = vec![0; BUFFER];
    while wake::wait(stop, &[parts.sockets.as_fd()])? {
        let table = parts.table.load();
        parts.sockets.each_ready(|number, socket| {
            drain(parts, &table, (number, socket), &mut datagram, &mut opened);
        });
    }
    Ok(())
}

/// Takes what the socket holds, up to a batch.
fn drain(
    parts: &Parts,
    table: &PeerTable,
    (number, socket): (u16, &UdpSocket),
    datagram: &mut [u8],
    opened: &mut [u8],
) {
    for _ in 0..BATCH {
        match socket.recv_from(datagram) {
            Ok((length, from)) => {
                receive(parts, table, (number, from), datagram.get(..length).unwrap_or_default(), opened);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // An ICMP error about an earlier datagram, which says nothing that can be trusted.
            Err(_) => {}
        }
    }
}

/// Takes one datagram to where it belongs.
pub(super) fn receive(
    parts: &Parts,
    table: &PeerTable,
    (socket, from): (u16, SocketAddr),
    datagram: &[u8],
    opened: &mut [u8],
) {
    match table.inbound(socket, from, datagram, opened) {
        Inbound::Packet { arrival, range } => {
            let packet = opened.get_mut(range).unwrap_or_default();
            table.clamp_inbound(arrival.slot, packet);
            deliver(parts, packet);
            heard(parts, arrival);
        }
        Inbound::Control { arrival, range } => {
            let packet = opened.get(range).unwrap_or_default();
            parts.hand_over(Slow::Control(arrival, packet.to_vec()));
        }
        Inbound::Keepalive(arrival) => heard(parts, arrival),
        Inbound::Slow if datagram.len() > MAX_SLOW => parts.drops.count(Drop::Oversized),
        Inbound::Slow => parts.hand_over(Slow::Datagram(socket, from, datagram.to_vec())),
        Inbound::Drop(reason) => parts.drops.count(reason),
    }
}

fn deliver(parts: &Parts, packet: &[u8]) {
    if parts.device.write(packet).is_err() {
        parts.drops.count(Drop::TunFailed);
    }
}

fn heard(parts: &Parts, arrival: Arrival) {
    if arrival.news {
        parts.hand_over(Slow::Heard(arrival));
    }
}
