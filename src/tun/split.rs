//! Splits a packet from the kernel into the packets that travel.
//!
//! In: a packet of up to 64 KiB and what the kernel left to do for it. Out: whole packets with sound checksums, one at a
//! time, each in place: the header of a segment is stamped right in front of its payload, over what was handed out before.
//! So whoever takes a segment is done with it before it asks for the next.

use super::checksum::{finish, number, pseudo, sum};
use super::offload::{Offload, Transport};
use crate::wire::packet::{HEADER_LEN, PAYLOAD_LEN};
use crate::wire::transport::{tcp, udp};
use crate::wire::{Drop, put};

/// The longest headers, in bytes, that a packet of several segments may have: IPv6 with extensions, and the transport.
const MAX_HEADERS: usize = 256;

/// The segments of one packet.
pub struct Segments<'a> {
    packet: &'a mut [u8],
    cut: Option<Cut>,
    /// Where the payload of the next segment starts.
    at: usize,
}

/// How a packet of several segments is cut.
struct Cut {
    transport: Transport,
    /// The headers of the first segment, with zeros where segments differ.
    headers: [u8; MAX_HEADERS],
    headers_len: usize,
    /// Where the transport header starts.
    start: usize,
    /// Payload bytes of each segment but the last.
    size: usize,
    /// The sum over what is the same in all of them.
    sum: u64,
    sequence: u32,
    flags: u8,
}

/// Prepares to split `packet`.
///
/// # Errors
/// [`Drop::MalformedPacket`] where what the kernel says does not fit the packet.
pub fn split<'a>(offload: &Offload, packet: &'a mut [u8]) -> Result<Segments<'a>, Drop> {
    let cut = match (offload.segments, offload.checksum) {
        (Some((transport, size)), checksum) => {
            let (start, _) = checksum.ok_or(Drop::MalformedPacket)?;
            Some(Cut::new(transport, size.into(), start.into(), packet).ok_or(Drop::MalformedPacket)?)
        }
        (None, Some((start, offset))) => {
            complete(packet, start.into(), offset.into()).ok_or(Drop::MalformedPacket)?;
            None
        }
        (None, None) => None,
    };
    let at = cut.as_ref().map_or(0, |cut| cut.headers_len);
    Ok(Segments { packet, cut, at })
}

impl Segments<'_> {
    /// The next packet.
    pub fn next_segment(&mut self) -> Option<&mut [u8]> {
        if self.at >= self.packet.len() {
            return None;
        }
        let Some(cut) = &self.cut else {
            self.at = self.packet.len();
            return Some(self.packet);
        };
        let start = self.at - cut.headers_len;
        let end = self.packet.len().min(self.at + cut.size);
        let is_last = end == self.packet.len();
        let segment = self.packet.get_mut(start..end)?;
        cut.stamp(segment, start, is_last)?;
        self.at = end;
        Some(segment)
    }
}

impl Cut {
    fn new(transport: Transport, size: usize, start: usize, packet: &[u8]) -> Option<Cut> {
        let header = packet.get(start..)?;
        let transport_len = match transport {
            Transport::Tcp => usize::from(header.get(tcp::DATA_OFFSET)? >> 4) * 4,
            Transport::Udp => udp::HEADER_LEN,
        };
        let least = if transport == Transport::Tcp { tcp::HEADER_LEN } else { udp::HEADER_LEN };
        let headers_len = start + transport_len;
        if start < HEADER_LEN || transport_len < least || size == 0 || headers_len > MAX_HEADERS {
            return None;
        }
        let mut headers = [0; MAX_HEADERS];
        headers.get_mut(..headers_len)?.copy_from_slice(packet.get(..headers_len)?);
        let (sequence, flags) = match transport {
            Transport::Tcp => {
                (u32::from_be_bytes(*header.get(tcp::SEQUENCE..)?.first_chunk()?), *header.get(tcp::FLAGS)?)
            }
            Transport::Udp => (0, 0),
        };
        let mut cut = Cut { transport, headers, headers_len, start, size, sum: 0, sequence, flags };
        cut.blank()?;
        Some(cut)
    }

    /// Blanks what differs, and sums up the rest: the addresses and the transport's header.
    fn blank(&mut self) -> Option<()> {
        let header = self.headers.get_mut(self.start..self.headers_len)?;
        let protocol = match self.transport {
            Transport::Tcp => {
                put(header, tcp::SEQUENCE, [0; 4])?;
                put(header, tcp::CHECKSUM, [0; 2])?;
                put(header, tcp::FLAGS, [0])?;
                tcp::NUMBER
            }
            Transport::Udp => {
                put(header, udp::LEN, [0; 2])?;
                put(header, udp::CHECKSUM, [0; 2])?;
                udp::NUMBER
            }
        };
        self.sum = sum(header) + pseudo(&self.headers, protocol, 0);
        Some(())
    }

    /// Writes the headers of the segment whose payload starts `offset` bytes behind that of the first.
    fn stamp(&self, segment: &mut [u8], offset: usize, is_last: bool) -> Option<()> {
        let (headers, payload) = segment.split_at_mut_checked(self.headers_len)?;
        headers.copy_from_slice(self.headers.get(..self.headers_len)?);
        let len = (self.headers_len - self.start + payload.len()) as u16;
        let total = (self.headers_len - HEADER_LEN + payload.len()) as u16;
        put(headers, PAYLOAD_LEN, total.to_be_bytes())?;
        let header = headers.get_mut(self.start..)?;
        let sum = self.sum + number(len.into()) + sum(payload);
        match self.transport {
            Transport::Tcp => self.stamp_tcp(header, sum, offset, is_last),
            Transport::Udp => {
                put(header, udp::LEN, len.to_be_bytes())?;
                put(header, udp::CHECKSUM, not_zero(finish(sum + number(len.into()))))
            }
        }
    }

    fn stamp_tcp(&self, header: &mut [u8], sum: u64, offset: usize, is_last: bool) -> Option<()> {
        let sequence = self.sequence.wrapping_add(offset as u32);
        let only_last = if is_last { 0 } else { tcp::FIN | tcp::PUSH };
        let only_first = if offset == 0 { 0 } else { tcp::CWR };
        let flags = self.flags & !(only_last | only_first);
        put(header, tcp::SEQUENCE, sequence.to_be_bytes())?;
        put(header, tcp::FLAGS, [flags])?;
        put(header, tcp::CHECKSUM, finish(sum + number(sequence) + number(flags.into())))
    }
}

/// Adds the transport's bytes to the sum of the pseudo header that stands in place of the checksum.
fn complete(packet: &mut [u8], start: usize, offset: usize) -> Option<()> {
    let covered = packet.get_mut(start..)?;
    let checksum = finish(sum(covered));
    let is_udp = offset == udp::CHECKSUM;
    put(covered, offset, if is_udp { not_zero(checksum) } else { checksum })
}

/// Zero would say that there is no checksum (RFC 768; never so over IPv6, RFC 8200, section 8.1).
fn not_zero(checksum: [u8; 2]) -> [u8; 2] {
    if checksum == [0, 0] { [0xff, 0xff] } else { checksum }
}

#[cfg(test)]
mod tests;
