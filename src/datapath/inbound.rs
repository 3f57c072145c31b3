//! UDP → open → join → TUN.

use super::{Parts, Slow, sparse, urgency::Urgency};
use crate::{
    peer::{Arrival, Inbound, PeerTable},
    tun::Coalescer,
    udp::Receiver,
    wire::{
        Drop, Ecn,
        packet::{set_ecn, traffic_class},
    },
};
use std::{
    io,
    net::{SocketAddr, UdpSocket},
    ops::Range,
};

/// The largest datagram, in bytes, that the slow path has a use for: its own formats all fit in less.
const MAX_SLOW: usize = 2048;

/// Packets that wait to be joined stand in so many bytes.
const ROOM: usize = 256 << 10;

/// Times that a socket is read before the others have their turn.
const ROUNDS: usize = 4;

/// Carries the datagrams of the receiver of this number until it is time to stop.
pub fn run(parts: &Parts, number: usize) -> io::Result<()> {
    let mut taker =
        Taker { parts, receiver: Receiver::default(), opener: Opener::new(parts), urgency: Urgency::of_receiver() };
    while parts.sockets.wait_each(number, |number, socket| taker.drain(number, socket))? {
        taker.urgency.turn();
    }
    Ok(())
}

struct Taker<'a> {
    parts: &'a Parts,
    receiver: Receiver,
    opener: Opener,
    urgency: Urgency,
}

impl Taker<'_> {
    /// Takes what the socket holds, up to a few rounds; programs get what came before the next is waited for.
    fn drain(&mut self, number: u16, socket: &UdpSocket) {
        let table = self.parts.table.load();
        for _ in 0..ROUNDS {
            // An error is an ICMP message about an earlier datagram, which says nothing that can be trusted, or that there
            // is nothing.
            let Ok(more) = self.receiver.receive(socket) else { break };
            for received in self.receiver.received() {
                for datagram in received.bytes.chunks(received.size) {
                    let from = (number, received.from);
                    let place = self.opener.take(self.parts, &table, from, received.ecn, datagram);
                    place.inspect(|&place| self.urgency.carried(place, 1));
                }
            }
            self.opener.flush(self.parts);
            if !more {
                break;
            }
        }
    }
}

/// Opens datagrams, and keeps the packets until they are written.
pub(super) struct Opener {
    opened: Vec<u8>,
    used: usize,
    coalescer: Coalescer,
}

impl Opener {
    pub(super) fn new(parts: &Parts) -> Opener {
        Opener { opened: vec![0; ROOM], used: 0, coalescer: Coalescer::new(parts.device.offloads()) }
    }

    /// Takes one datagram to where it belongs, or keeps its packet until [`Opener::flush`] and says where that counts.
    pub(super) fn take(
        &mut self,
        parts: &Parts,
        table: &PeerTable,
        (socket, from): (u16, SocketAddr),
        ecn: Ecn,
        datagram: &[u8],
    ) -> Option<usize> {
        if self.opened.len() - self.used < datagram.len() {
            self.flush(parts);
        }
        let room = self.opened.get_mut(self.used..).unwrap_or_default();
        match table.inbound(socket, from, datagram, room) {
            Inbound::Packet { arrival, range } => {
                let place = self.keep(parts, table, arrival, ecn, range);
                heard(parts, arrival);
                return place;
            }
            Inbound::Control { arrival, range } => {
                let packet = room.get(range).unwrap_or_default();
                parts.hand_over(Slow::Control(arrival, packet.to_vec()));
            }
            Inbound::Keepalive(arrival) => heard(parts, arrival),
            Inbound::NotGranted(arrival) => {
                parts.drops.count(Drop::NotGranted);
                heard(parts, arrival);
            }
            Inbound::Slow if datagram.len() > MAX_SLOW => parts.drops.count(Drop::Oversized),
            Inbound::Slow => parts.hand_over(Slow::Datagram(socket, from, datagram.to_vec())),
            Inbound::Drop(reason) => parts.drops.count(reason),
        }
        None
    }

    fn keep(
        &mut self,
        parts: &Parts,
        table: &PeerTable,
        arrival: Arrival,
        outer: Ecn,
        range: Range<usize>,
    ) -> Option<usize> {
        let range = self.used + range.start..self.used + range.end;
        let packet = self.opened.get_mut(range.clone()).unwrap_or_default();
        let inner = Ecn::from_bits(traffic_class(packet));
        let Some(ecn) = inner.out_of_tunnel(outer) else {
            parts.drops.count(Drop::Congested);
            return None;
        };
        if ecn != inner {
            set_ecn(packet, ecn);
        }
        table.clamp_inbound(arrival.slot, packet);
        self.used = range.end;
        let tag = self.coalescer.push(&self.opened, range.clone());
        Some(sparse::place(self.opened.get(range).unwrap_or_default(), tag))
    }

    /// Writes all packets that wait.
    pub(super) fn flush(&mut self, parts: &Parts) {
        self.coalescer.flush(&self.opened, |offload, headers, rest| {
            if parts.device.write_parts(offload, headers, rest).is_err() {
                parts.drops.count(Drop::TunFailed);
            }
        });
        self.used = 0;
    }
}

fn heard(parts: &Parts, arrival: Arrival) {
    if arrival.news {
        parts.hand_over(Slow::Heard(arrival));
    }
}
