//! Packets for the tests of splitting and joining.

use super::offload::{Offload, Transport};
use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};

pub const US: [u8; 16] = [0xfd; 16];
pub const THEM: [u8; 16] = [0xfc; 16];

/// A flow: its transport and what its headers say.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub transport: Transport,
    pub port: u16,
    pub acknowledged: u32,
    /// 0, or 12 for timestamps.
    pub options: usize,
}

impl Flow {
    /// A whole packet with a sound checksum.
    pub fn packet(&self, sequence: u32, push: bool, payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv6(THEM, US, 64);
        match self.transport {
            Transport::Udp => builder.udp(self.port, 9).write(&mut packet, payload).unwrap(),
            Transport::Tcp => {
                let step = builder.tcp(self.port, 9, sequence, 500).ack(self.acknowledged);
                let step = if push { step.psh() } else { step };
                let options = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
                step.options_raw(&options[..self.options]).unwrap().write(&mut packet, payload).unwrap();
            }
        }
        packet
    }

    pub fn offload(&self, size: usize) -> Offload {
        let offset = if self.transport == Transport::Tcp { 16 } else { 6 };
        Offload { checksum: Some((40, offset)), segments: Some((self.transport, size as u16)) }
    }
}

/// Whether the checksum of a TCP or UDP packet is right.
pub fn has_valid_checksum(packet: &[u8]) -> bool {
    let sliced = SlicedPacket::from_ip(packet).unwrap();
    let ends = (packet[8..24].try_into().unwrap(), packet[24..40].try_into().unwrap());
    match sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => tcp.calc_checksum_ipv6(ends.0, ends.1).unwrap() == tcp.checksum(),
        Some(TransportSlice::Udp(udp)) => {
            let sum = udp.to_header().calc_checksum_ipv6_raw(ends.0, ends.1, udp.payload()).unwrap();
            sum == udp.checksum()
        }
        other => panic!("{other:?}"),
    }
}

/// All packets that come out of one.
pub fn split_all(offload: &Offload, packet: &mut [u8]) -> Vec<Vec<u8>> {
    let mut segments = super::split(offload, packet).unwrap();
    let mut all = Vec::new();
    while let Some(segment) = segments.next_segment() {
        all.push(segment.to_vec());
    }
    all
}
