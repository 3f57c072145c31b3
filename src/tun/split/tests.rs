use super::*;
use crate::tun::testing::*;
use proptest::prelude::*;

fn flow(transport: Transport, options: usize) -> Flow {
    Flow { transport, port: 1234, acknowledged: 77, options }
}

/// What the kernel hands over: one header, all payload, the sum of the pseudo header in place of the checksum.
fn whole(flow: &Flow, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = flow.packet(sequence, true, payload);
    let (_, offset) = flow.offload(1).checksum.unwrap();
    let at = 40 + usize::from(offset);
    packet[at..at + 2].fill(0);
    packet
}

#[test]
fn flags_that_are_said_once_are_said_once() {
    let flow = flow(Transport::Tcp, 0);
    let mut packet = whole(&flow, 0, &[7; 250]);
    packet[40 + tcp::FLAGS] = 0x10 | tcp::FIN | tcp::PUSH | tcp::CWR;
    let flags: Vec<_> =
        split_all(&flow.offload(100), &mut packet).iter().map(|packet| packet[40 + tcp::FLAGS]).collect();
    assert_eq!(flags, [0x10 | tcp::CWR, 0x10, 0x10 | tcp::FIN | tcp::PUSH]);
}

#[test]
fn extension_headers_travel_with_each_segment() {
    let flow = flow(Transport::Udp, 0);
    let mut packet = whole(&flow, 0, &[7; 200]);
    // An empty hop-by-hop header: next header UDP, PadN.
    packet.splice(40..40, [17, 0, 1, 4, 0, 0, 0, 0]);
    packet[6] = 0;
    let offload = Offload { checksum: Some((48, 6)), segments: Some((Transport::Udp, 150)) };
    let segments = split_all(&offload, &mut packet);
    let lens: Vec<_> = segments.iter().map(Vec::len).collect();
    assert_eq!(lens, [48 + 8 + 150, 48 + 8 + 50]);
    assert!(segments.iter().all(|packet| has_valid_checksum(packet)));
}

#[test]
fn a_lone_packet_gets_its_checksum_and_a_finished_one_stays() {
    for transport in [Transport::Tcp, Transport::Udp] {
        let flow = flow(transport, 0);
        let done = flow.packet(5, false, b"hello");
        assert_eq!(split_all(&Offload::default(), &mut done.clone()), std::slice::from_ref(&done));
        let mut partial = done.clone();
        let (start, offset) = flow.offload(1).checksum.unwrap();
        let at = usize::from(start + offset);
        let protocol = if transport == Transport::Tcp { 6 } else { 17 };
        let pseudo = sum(&done[8..40]) + number(protocol) + number(done.len() as u32 - 40);
        partial[at..at + 2].copy_from_slice(&super::super::checksum::fold(pseudo));
        let offload = Offload { checksum: Some((start, offset)), segments: None };
        assert_eq!(split_all(&offload, &mut partial), [done]);
    }
}

#[test]
fn what_does_not_fit_the_packet_is_refused() {
    let flow = flow(Transport::Tcp, 0);
    let packet = whole(&flow, 0, &[7; 100]);
    let good = flow.offload(50);
    for (offload, len) in [
        (Offload { checksum: None, ..good }, packet.len()),
        (Offload { checksum: Some((39, 16)), ..good }, packet.len()),
        (Offload { checksum: Some((60_000, 16)), ..good }, packet.len()),
        (Offload { segments: Some((Transport::Tcp, 0)), ..good }, packet.len()),
        (Offload { checksum: Some((40, 60_000)), segments: None }, packet.len()),
        (good, 45),
    ] {
        let mut packet = packet[..len].to_vec();
        assert_eq!(split(&offload, &mut packet).err(), Some(Drop::MalformedPacket), "{offload:?} {len}");
    }
}

proptest! {
    /// Each segment is the packet that a machine without offloads would have sent.
    #[test]
    fn segments_are_what_a_slow_machine_sends(
        is_tcp: bool,
        has_options: bool,
        sequence: u32,
        size in 1..2_000_usize,
        payload in proptest::collection::vec(any::<u8>(), 1..8_000),
    ) {
        let transport = if is_tcp { Transport::Tcp } else { Transport::Udp };
        let flow = flow(transport, if has_options && is_tcp { 12 } else { 0 });
        let mut packet = whole(&flow, sequence, &payload);
        let count = payload.len().div_ceil(size);
        let expected: Vec<_> = payload.chunks(size).enumerate().map(|(number, chunk)| {
            flow.packet(sequence.wrapping_add((number * size) as u32), number + 1 == count, chunk)
        }).collect();
        prop_assert_eq!(split_all(&flow.offload(size), &mut packet), expected);
    }

    #[test]
    fn arbitrary_packets_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        checksum: Option<(u8, u8)>,
        segments: Option<(bool, u8)>,
    ) {
        let transport = |is_tcp| if is_tcp { Transport::Tcp } else { Transport::Udp };
        let offload = Offload {
            checksum: checksum.map(|(start, offset)| (start.into(), offset.into())),
            segments: segments.map(|(is_tcp, size)| (transport(is_tcp), size.into())),
        };
        let mut bytes = bytes;
        if let Ok(mut segments) = split(&offload, &mut bytes) {
            while segments.next_segment().is_some() {}
        }
    }
}
