//! TUN → seal → UDP.

use super::{BATCH, BUFFER, Parts, Slow, refusals::Refusals, wake};
use crate::{
    peer::{Outbound, PeerTable},
    udp::Sent,
    wire::{Hop, mtu::inner_len},
};
use std::{
    io::{self, PipeReader},
    os::fd::AsFd,
    time::Instant,
};

/// Carries packets until `stop` is closed; an error means that the device is gone.
pub fn run(parts: &Parts, stop: &PipeReader) -> io::Result<()> {
    let mut packet = vec![0; BUFFER];
    let mut sealed = vec![0; BUFFER];
    let mut refusals = Refusals::new(Instant::now());
    while wake::wait(stop, &[parts.device.as_fd()])? {
        let table = parts.table.load();
        for _ in 0..BATCH {
            let length = match parts.device.read(&mut packet) {
                Ok(length) => length,
                Err(error) if passing(&error) => break,
                Err(error) => return Err(error),
            };
            send(parts, &table, packet.get_mut(..length).unwrap_or_default(), &mut sealed, &mut refusals);
        }
    }
    Ok(())
}

fn send(parts: &Parts, table: &PeerTable, packet: &mut [u8], sealed: &mut [u8], refusals: &mut Refusals) {
    table.clamp_outbound(packet);
    match table.outbound(packet, sealed) {
        Outbound::Send { hop: Hop::Udp { socket, to }, range } => {
            let datagram = sealed.get(range).unwrap_or_default();
            let hop = Hop::Udp { socket, to };
            match parts.sockets.send_to(socket, to, datagram) {
                Sent::TooBig => parts.hand_over(Slow::TooBig(hop, inner_len(datagram))),
                Sent::Refused => refusals.tell(parts, hop),
                Sent::Out | Sent::Lost => {}
            }
        }
        Outbound::Send { hop: Hop::Stream(stream), range } => {
            parts.streams.send(stream, sealed.get(range).unwrap_or_default());
        }
        Outbound::Slow(_) => parts.hand_over(Slow::Packet(packet.to_vec())),
        Outbound::TooBig { mtu } => refusals.refuse(parts, packet, mtu),
        Outbound::Drop(reason) => parts.drops.count(reason),
    }
}

/// Nothing to read now, or an interruption: no reason to stop.
fn passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
