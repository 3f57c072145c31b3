//! Many packets of one flow as one, as the kernel gives and takes them.

use std::hint::black_box;

use pilot::tun::{Coalescer, Offload, Offloads, Transport, split};

use super::{Part, ip};

/// Packets in one.
const PACKETS: usize = 44;
/// The size of each.
const SIZE: usize = 1420;
/// Where the transport header starts, after IPv6's.
const START: usize = 40;

/// Cuts one such packet into those that travel.
pub fn split_one(transport: Transport) -> Part {
    let (offload, mut packet, headers_len) = (offload(transport), packet(transport), headers_len(transport));
    let headers = packet[..headers_len].to_vec();
    Box::new(move || {
        // All that splitting changes and looks at again.
        packet[..headers_len].copy_from_slice(&headers);
        let mut segments = split(&offload, black_box(&mut packet)).expect("it is whole");
        let mut count = 0;
        while let Some(segment) = segments.next_segment() {
            black_box(segment);
            count += 1;
        }
        assert_eq!(count, PACKETS);
    })
}

/// Joins what came of splitting.
pub fn join_one(transport: Transport) -> Part {
    let (mut packet, mut buffer, mut ranges) = (packet(transport), Vec::new(), Vec::new());
    let mut segments = split(&offload(transport), &mut packet).expect("it is whole");
    while let Some(segment) = segments.next_segment() {
        ranges.push(buffer.len()..buffer.len() + segment.len());
        buffer.extend_from_slice(segment);
    }
    let mut coalescer = Coalescer::new(Offloads { tcp: true, udp: true });
    Box::new(move || {
        for range in &ranges {
            coalescer.push(black_box(&buffer), range.clone());
        }
        let mut writes = 0;
        coalescer.flush(&buffer, |offload, headers, parts| {
            black_box((offload, headers, parts));
            writes += 1;
        });
        assert_eq!(writes, 1);
    })
}

fn offload(transport: Transport) -> Offload {
    let offset = if transport == Transport::Tcp { 16 } else { 6 };
    let size = SIZE - headers_len(transport);
    Offload { checksum: Some((START as u16, offset)), segments: Some((transport, size as u16)) }
}

/// TCP with timestamps, or UDP.
fn headers_len(transport: Transport) -> usize {
    START + if transport == Transport::Tcp { 32 } else { 8 }
}

fn packet(transport: Transport) -> Vec<u8> {
    let payload = PACKETS * (SIZE - headers_len(transport));
    let len = (headers_len(transport) - START + payload) as u16;
    let protocol = if transport == Transport::Tcp { 6 } else { 17 };
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(&[protocol, 64]);
    bytes.extend_from_slice(&ip(super::A).octets());
    bytes.extend_from_slice(&ip(super::B).octets());
    bytes.extend_from_slice(&[0xc0, 1, 0, 9]);
    match transport {
        Transport::Udp => bytes.extend_from_slice(&[0; 4]),
        Transport::Tcp => {
            bytes.extend_from_slice(&[0, 0, 1, 0, 0, 0, 2, 0, 0x80, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
            bytes.extend_from_slice(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        }
    }
    bytes.extend((0..payload).map(|at| (at % 251) as u8));
    bytes
}
