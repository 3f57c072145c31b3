//! Joins packets of one flow into one for the kernel, which then has one to carry instead of forty.
//!
//! In: packets with proven addresses, by their place in a buffer of the caller. Out: in the order of each flow, packets
//! of up to 64 KiB with what is left to the kernel, as pieces to be gathered; nothing is copied but one header a packet.
//!
//! Packets are joined if the kernel could split the whole into just these again: the same headers but for lengths,
//! sequence number, checksum and PSH; each as long as the first, the last perhaps shorter; sound checksums, because the
//! kernel takes the whole's for granted. All else goes through as it came.

use super::Offloads;
use super::checksum::{fold, pseudo, sum};
use super::flow::{DATA_OFFSET, FLAGS, PORTS, tag};
use super::offload::{Offload, Transport};
use crate::wire::packet::{HEADER_LEN, NEXT_HEADER, PAYLOAD_LEN};
use crate::wire::put;
use crate::wire::transport::{tcp, udp};
use std::io::IoSlice;
use std::ops::Range;

/// The most packets in one, and so the most pieces to gather; the kernel takes no more of UDP.
pub const MAX_PACKETS: usize = 64;
/// The most bytes in one packet.
const MAX_LEN: usize = 65_535;
/// Flows that are looked at to find the one of a packet, the latest first.
const SEARCHED: usize = 16;

/// Where things are in an IPv6 packet without extension headers.
const SEQUENCE: usize = HEADER_LEN + tcp::SEQUENCE;
const TCP_CHECKSUM: usize = HEADER_LEN + tcp::CHECKSUM;
const UDP_LEN: usize = HEADER_LEN + udp::LEN;
const UDP_CHECKSUM: usize = HEADER_LEN + udp::CHECKSUM;
/// The longest headers of what is joined.
const MAX_HEADERS: usize = HEADER_LEN + 60;

/// Packets that wait to be joined and written.
pub struct Coalescer {
    takes: Offloads,
    runs: Vec<Run>,
    pieces: Vec<Piece>,
}

/// A packet, and which follows it in its run.
struct Piece {
    start: usize,
    len: usize,
    next: Option<usize>,
}

/// Packets to be written as one.
struct Run {
    /// Tells flows apart at a glance.
    tag: u64,
    /// Unless the packet is of no use to be joined.
    shape: Option<Shape>,
    /// Places in `pieces`.
    first: usize,
    last: usize,
    count: usize,
    /// Payload bytes of all.
    payload: usize,
    /// Payload bytes of the first.
    size: usize,
    /// Whether the checksum of the first has been looked at.
    is_proven: bool,
    /// Whether another may follow.
    is_open: bool,
    /// What the sequence number of the next must be.
    sequence: u32,
    /// Whether the last has PSH.
    push: bool,
}

/// What a packet is, as far as joining is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    transport: Transport,
    headers: usize,
}

impl Coalescer {
    /// Joins what the device takes.
    pub fn new(takes: Offloads) -> Coalescer {
        Coalescer { takes, runs: Vec::with_capacity(64), pieces: Vec::with_capacity(1024) }
    }

    /// Takes the packet that stands in this part of `buffer`, which must stay as it is until [`Coalescer::flush`], and
    /// gives the tag of its flow, of which [`super::flow_place`] makes a number.
    pub fn push(&mut self, buffer: &[u8], packet: Range<usize>) -> u64 {
        let bytes = buffer.get(packet.clone()).unwrap_or_default();
        let tag = tag(bytes);
        let shape = self.shape(bytes);
        if let Some(shape) = shape
            && let Some(number) = self.runs.iter().rev().take(SEARCHED).position(|run| run.tag == tag)
            && let Some(run) = self.runs.iter_mut().rev().nth(number)
            && run.takes(&self.pieces, buffer, bytes, shape)
        {
            run.append(&mut self.pieces, packet, bytes, shape);
            return tag;
        }
        self.pieces.push(Piece { start: packet.start, len: bytes.len(), next: None });
        self.runs.push(Run::new(tag, shape, self.pieces.len() - 1, bytes));
        tag
    }

    /// Whether nothing waits.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Gives all to `write`, each as what is left to the kernel, the headers, and the rest; then there is nothing left.
    pub fn flush(&mut self, buffer: &[u8], mut write: impl FnMut(Offload, &[u8], &[IoSlice<'_>])) {
        for run in self.runs.drain(..) {
            run.give(&self.pieces, buffer, &mut write);
        }
        self.pieces.clear();
    }

    fn shape(&self, packet: &[u8]) -> Option<Shape> {
        let shape = match *packet.get(NEXT_HEADER)? {
            tcp::NUMBER if self.takes.tcp => {
                let len = usize::from(packet.get(DATA_OFFSET)? >> 4) * 4;
                let plain = packet.get(FLAGS)? & !tcp::PUSH == tcp::ACK && len >= tcp::HEADER_LEN;
                plain.then_some(Shape { transport: Transport::Tcp, headers: HEADER_LEN + len })
            }
            udp::NUMBER if self.takes.udp => {
                Some(Shape { transport: Transport::Udp, headers: HEADER_LEN + udp::HEADER_LEN })
            }
            _ => None,
        };
        shape.filter(|shape| packet.len() > shape.headers)
    }
}

impl Run {
    fn new(tag: u64, shape: Option<Shape>, piece: usize, packet: &[u8]) -> Run {
        let payload = shape.map_or(0, |shape| packet.len() - shape.headers);
        let push = shape.is_some_and(|shape| shape.pushes(packet));
        Run {
            tag,
            shape,
            first: piece,
            last: piece,
            count: 1,
            payload,
            size: payload,
            is_proven: false,
            is_open: shape.is_some() && !push,
            sequence: shape.map_or(0, |shape| shape.sequence(packet)).wrapping_add(payload as u32),
            push,
        }
    }

    /// Whether a packet of the same flow may follow.
    fn takes(&mut self, pieces: &[Piece], buffer: &[u8], packet: &[u8], shape: Shape) -> bool {
        let payload = packet.len() - shape.headers;
        let fits = self.is_open
            && self.shape == Some(shape)
            && payload <= self.size
            && self.count < MAX_PACKETS
            && shape.headers + self.payload + payload <= MAX_LEN
            && (shape.transport == Transport::Udp || shape.sequence(packet) == self.sequence);
        let Some(first) = pieces.get(self.first).and_then(|first| buffer.get(first.range())) else { return false };
        if !fits || !shape.same_headers(first, packet) || !is_sound(packet) {
            return false;
        }
        if !self.is_proven {
            self.is_proven = is_sound(first);
            self.is_open = self.is_proven;
        }
        self.is_proven
    }

    fn append(&mut self, pieces: &mut Vec<Piece>, packet: Range<usize>, bytes: &[u8], shape: Shape) {
        let payload = bytes.len() - shape.headers;
        let place = pieces.len();
        if let Some(last) = pieces.get_mut(self.last) {
            last.next = Some(place);
        }
        pieces.push(Piece { start: packet.start, len: bytes.len(), next: None });
        self.last = place;
        self.count += 1;
        self.payload += payload;
        self.push = shape.pushes(bytes);
        self.is_open = payload == self.size && !self.push;
        self.sequence = self.sequence.wrapping_add(payload as u32);
    }

    fn give(&self, pieces: &[Piece], buffer: &[u8], write: &mut impl FnMut(Offload, &[u8], &[IoSlice<'_>])) {
        let bytes = |piece: &Piece| buffer.get(piece.range()).unwrap_or_default();
        let Some(first) = pieces.get(self.first).map(bytes) else { return };
        let Some(shape) = self.shape.filter(|_| self.count > 1) else {
            write(Offload::default(), first, &[]);
            return;
        };
        let mut headers = [0; MAX_HEADERS];
        let Some(headers) = headers.get_mut(..shape.headers) else { return };
        headers.copy_from_slice(first.get(..shape.headers).unwrap_or_default());
        self.stamp(shape, headers);
        let mut slices = [IoSlice::new(&[]); MAX_PACKETS];
        let mut next = Some(self.first);
        for slice in &mut slices {
            let Some(piece) = next.and_then(|place| pieces.get(place)) else { break };
            *slice = IoSlice::new(bytes(piece).get(shape.headers..).unwrap_or_default());
            next = piece.next;
        }
        write(shape.offload(self.size), headers, slices.get(..self.count).unwrap_or_default());
    }

    /// Makes the first packet's headers those of the whole; the kernel finishes the checksum.
    fn stamp(&self, shape: Shape, headers: &mut [u8]) {
        let len = (shape.headers - HEADER_LEN + self.payload) as u16;
        put(headers, PAYLOAD_LEN, len.to_be_bytes());
        let protocol = if shape.transport == Transport::Tcp { tcp::NUMBER } else { udp::NUMBER };
        let pseudo = pseudo(headers, protocol, len);
        match shape.transport {
            Transport::Tcp => {
                let push = if self.push { tcp::PUSH } else { 0 };
                put(headers, FLAGS, [tcp::ACK | push]);
                put(headers, TCP_CHECKSUM, fold(pseudo));
            }
            Transport::Udp => {
                put(headers, UDP_LEN, len.to_be_bytes());
                put(headers, UDP_CHECKSUM, fold(pseudo));
            }
        }
    }
}

impl Shape {
    fn offload(self, size: usize) -> Offload {
        let offset = match self.transport {
            Transport::Tcp => tcp::CHECKSUM,
            Transport::Udp => udp::CHECKSUM,
        };
        Offload { checksum: Some((HEADER_LEN as u16, offset as u16)), segments: Some((self.transport, size as u16)) }
    }

    fn sequence(self, packet: &[u8]) -> u32 {
        let bytes = packet.get(SEQUENCE..).and_then(|rest| rest.first_chunk());
        bytes.filter(|_| self.transport == Transport::Tcp).map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }

    fn pushes(self, packet: &[u8]) -> bool {
        self.transport == Transport::Tcp && packet.get(FLAGS).is_some_and(|flags| flags & tcp::PUSH != 0)
    }

    /// Whether two packets differ in nothing but lengths, sequence number, PSH and checksum.
    fn same_headers(self, one: &[u8], other: &[u8]) -> bool {
        let same = |range: Range<usize>| {
            let ranges = (one.get(range.clone()), other.get(range));
            matches!(ranges, (Some(one), Some(other)) if one == other)
        };
        let network = same(0..4) && same(NEXT_HEADER..HEADER_LEN) && same(PORTS);
        match self.transport {
            Transport::Udp => network,
            // The flags are those of a plain segment in both.
            Transport::Tcp => {
                network
                    && same(SEQUENCE + 4..FLAGS)
                    && same(FLAGS + 1..TCP_CHECKSUM)
                    && same(TCP_CHECKSUM + 2..self.headers)
            }
        }
    }
}

impl Piece {
    fn range(&self) -> Range<usize> {
        self.start..self.start + self.len
    }
}

/// Whether the checksum of a TCP or UDP packet without extension headers is right.
fn is_sound(packet: &[u8]) -> bool {
    let protocol = packet.get(NEXT_HEADER).copied().unwrap_or(0);
    let transport = packet.get(HEADER_LEN..).unwrap_or_default();
    // A UDP length of its own, or no checksum, is for the kernel to judge.
    let is_odd = protocol == udp::NUMBER
        && (packet.get(UDP_LEN..UDP_LEN + 2) != Some(&(transport.len() as u16).to_be_bytes())
            || packet.get(UDP_CHECKSUM..UDP_CHECKSUM + 2) == Some(&[0, 0]));
    !is_odd && fold(pseudo(packet, protocol, transport.len() as u16) + sum(transport)) == [0xff, 0xff]
}

#[cfg(test)]
mod tests;
