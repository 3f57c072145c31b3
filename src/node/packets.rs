//! What goes out: packets of our programs, and control packets of our own.

use super::{Node, Slot};
use crate::peer::Outbound;
use crate::wire::control::{self, Control};
use crate::wire::packet::Packet;
use crate::wire::relay::HEADER;
use crate::wire::{Drop, Now, Path};

impl Node {
    /// Takes a packet from the TUN: any, or one that the peer table called slow.
    pub fn handle_packet(&mut self, now: Now, packet: &[u8]) {
        self.publish();
        let mut packet = packet.to_vec();
        self.table.clamp_outbound(&mut packet);
        match self.table.outbound(&packet, &mut self.buffer) {
            Outbound::Send { hop, range } => {
                let payload = self.buffer.get(range).unwrap_or_default().to_vec();
                self.transmit(hop, payload);
            }
            Outbound::Slow(_) if self.packet_by_friend(now, &packet) => {}
            Outbound::Slow(_) => {
                let result = self.hold(now, &packet);
                self.counted(result);
            }
            Outbound::TooBig { mtu } => self.refuse(now, &packet, mtu),
            Outbound::Drop(reason) => self.drops.count(reason),
        }
    }

    /// Keeps a packet until its peer is connected, and connects.
    fn hold(&mut self, now: Now, packet: &[u8]) -> Result<(), Drop> {
        let destination = Packet::parse(packet)?.destination();
        let id = self.me.node_at(destination).ok_or(Drop::NoRoute)?;
        let slot = self.remotes.of_id(id).ok_or(Drop::NoRoute)?;
        let remote = self.remotes.get_mut(slot).ok_or(Drop::NoRoute)?;
        let displaced = remote.waiting.push(now.monotonic, packet);
        self.drops.add(Drop::WaitingFull, displaced as u64);
        self.want(now, slot);
        Ok(())
    }

    /// Sends what waited for a session. Each packet is tried once: one that still cannot go waits on.
    pub(super) fn flush(&mut self, now: Now, slot: Slot) {
        let Some(waiting) = self.remotes.get_mut(slot).map(|r| &mut r.waiting) else {
            return;
        };
        let mut packets = std::mem::take(waiting);
        while let Some(packet) = packets.pop() {
            self.handle_packet(now, &packet);
        }
    }

    /// Sends a control packet inside the tunnel of a peer, never in its lane: WireGuard's timers must see that there is
    /// an answer, or none. Nothing without a session.
    pub(super) fn send_control(&mut self, slot: Slot, via: Path, control: &Control) {
        let Some(remote) = self.remotes.get(slot) else {
            return;
        };
        let Some(tunnel) = remote.tunnel.clone() else {
            return;
        };
        let packet = control::encode(self.me.id, remote.id, control);
        if let Some(len) = tunnel.seal_in_wireguard(&packet, &mut self.buffer) {
            self.send_buffer(via, len);
        }
    }

    /// Sends the first bytes of the buffer by a path.
    pub(super) fn send_buffer(&mut self, via: Path, len: usize) {
        if let Path::Friend { friend, node } = via {
            return self.send_by_friend(friend, node, len);
        }
        self.publish();
        let Some((hop, header)) = self.table.first_hop(via) else {
            return self.drops.count(Drop::NoPath);
        };
        let body = self.buffer.get(..len).unwrap_or_default();
        let mut payload = Vec::with_capacity(HEADER + len);
        payload.extend(header.iter().flatten());
        payload.extend_from_slice(body);
        self.transmit(hop, payload);
    }
}
