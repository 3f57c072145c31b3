//! TUN → seal → UDP.

use super::{BATCH, BUFFER, Parts, Slow, wake};
use crate::{
    peer::{Outbound, PeerTable},
    wire::{Drop, Hop},
};
use std::{
    io::{self, PipeReader},
    os::fd::AsFd,
};

/// Carries packets until `stop` is closed; an error means that the device is gone.
pub fn run(parts: &Parts, stop: &PipeReader) -> io::Result<()> {
    let mut packet = vec![0; BUFFER];
    let mut sealed = vec![0; BUFFER];
    while wake::wait(stop, &[parts.device.as_fd()])? {
        let table = parts.table.load();
        for _ in 0..BATCH {
            let length = match parts.device.read(&mut packet) {
                Ok(length) => length,
                Err(error) if passing(&error) => break,
                Err(error) => return Err(error),
            };
            send(parts, &table, packet.get(..length).unwrap_or_default(), &mut sealed);
        }
    }
    Ok(())
}

fn send(parts: &Parts, table: &PeerTable, packet: &[u8], sealed: &mut [u8]) {
    match table.outbound(packet, sealed) {
        Outbound::Send { hop: Hop::Udp { socket, to }, range } => {
            parts.sockets.send_to(socket, to, sealed.get(range).unwrap_or_default());
        }
        Outbound::Send { hop: Hop::Stream, .. } => parts.drops.count(Drop::NoPath),
        Outbound::Slow(_) => parts.hand_over(Slow::Packet(packet.to_vec())),
        Outbound::Drop(reason) => parts.drops.count(reason),
    }
}

/// Nothing to read now, or an interruption: no reason to stop.
fn passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
