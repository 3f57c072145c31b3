//! Sealed packets that leave together: datagrams of one size that take the same way.

use super::{Parts, Slow, refusals::Refusals};
use crate::{
    peer::Way,
    udp::{MAX_BYTES, MAX_DATAGRAMS, Run, Sent},
    wire::{Ecn, Hop, mtu::inner_len},
};

/// Room for a run, and for what sealing needs beyond the last datagram.
const ROOM: usize = MAX_BYTES + 256;

/// Datagrams that wait to be sent by one system call.
pub struct Batch {
    bytes: Vec<u8>,
    used: usize,
    count: usize,
    /// Of the first, and so of all.
    hop: Option<Hop>,
    ecn: Ecn,
    size: usize,
    /// Whether the last was as large as the first: otherwise none may follow.
    is_even: bool,
}

impl Batch {
    pub fn new() -> Batch {
        Batch { bytes: vec![0; ROOM], used: 0, count: 0, hop: None, ecn: Ecn::NotCapable, size: 0, is_even: true }
    }

    /// Seals a packet into the batch, after sending what it cannot join; whether there was a session.
    pub fn seal(&mut self, parts: &Parts, refusals: &mut Refusals, way: &Way<'_>, ecn: Ecn, packet: &[u8]) -> bool {
        let len = way.sealed_len(packet.len());
        if !self.takes(way.hop, ecn, len) {
            self.send(parts, refusals);
        }
        let sealed = self.bytes.get_mut(self.used..).and_then(|room| way.seal(packet, room));
        let Some(len) = sealed else { return false };
        if self.count == 0 {
            (self.hop, self.ecn, self.size) = (Some(way.hop), ecn, len);
        }
        self.is_even = len == self.size;
        self.used += len;
        self.count += 1;
        true
    }

    fn takes(&self, hop: Hop, ecn: Ecn, len: usize) -> bool {
        let fits = self.count < MAX_DATAGRAMS && self.used + len <= MAX_BYTES && len <= self.size;
        self.count == 0 || (fits && self.is_even && self.hop == Some(hop) && self.ecn == ecn)
    }

    /// Sends what is there.
    pub fn send(&mut self, parts: &Parts, refusals: &mut Refusals) {
        let bytes = self.bytes.get(..self.used).unwrap_or_default();
        match self.hop.take() {
            Some(Hop::Udp { socket, to }) => {
                let run = Run { to, ecn: self.ecn, bytes, size: self.size };
                match parts.sockets.send_run(socket, &run) {
                    Sent::TooBig => {
                        let largest = inner_len(bytes.get(..self.size).unwrap_or_default());
                        parts.hand_over(Slow::TooBig(Hop::Udp { socket, to }, largest));
                    }
                    Sent::Refused => refusals.tell(parts, Hop::Udp { socket, to }),
                    Sent::Out | Sent::Lost => {}
                }
            }
            Some(Hop::Stream(stream)) => {
                bytes.chunks(self.size.max(1)).for_each(|frame| parts.streams.send(stream, frame));
            }
            None => {}
        }
        (self.used, self.count, self.is_even) = (0, 0, true);
    }
}
