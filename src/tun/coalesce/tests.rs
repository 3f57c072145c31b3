use super::*;
use crate::tun::testing::*;
use proptest::prelude::*;

const TCP_FLOW: Flow = Flow { transport: Transport::Tcp, port: 1, acknowledged: 2, options: 12 };
const UDP_FLOW: Flow = Flow { transport: Transport::Udp, port: 1, acknowledged: 0, options: 0 };

/// What comes out: what is left to the kernel, and the packet.
fn join(udp: bool, packets: &[Vec<u8>]) -> Vec<(Offload, Vec<u8>)> {
    let mut coalescer = Coalescer::new(Offloads { tcp: true, udp });
    let buffer = packets.concat();
    let mut start = 0;
    for packet in packets {
        coalescer.push(&buffer, start..start + packet.len());
        start += packet.len();
    }
    let mut out = Vec::new();
    coalescer.flush(&buffer, |offload, headers, rest| {
        let mut packet = headers.to_vec();
        rest.iter().for_each(|slice| packet.extend_from_slice(slice));
        out.push((offload, packet));
    });
    assert!(coalescer.is_empty());
    out
}

fn joined(packets: &[Vec<u8>]) -> usize {
    join(true, packets).len()
}

#[test]
fn a_stretch_of_tcp_becomes_one_packet() {
    let packets: Vec<_> = (0..40).map(|n| TCP_FLOW.packet(n * 1000, n == 39, &[n as u8; 1000])).collect();
    let out = join(false, &packets);
    assert_eq!(out.len(), 1);
    let (offload, mut packet) = out.into_iter().next().unwrap();
    assert_eq!(offload, TCP_FLOW.offload(1000));
    assert_eq!(packet.len(), 72 + 40_000);
    assert_eq!(split_all(&offload, &mut packet), packets);
}

#[test]
fn flows_are_told_apart_and_joined_side_by_side() {
    let flows = [TCP_FLOW, Flow { port: 2, ..TCP_FLOW }, Flow { acknowledged: 3, ..TCP_FLOW }, UDP_FLOW];
    let packets: Vec<_> = (0..4).flat_map(|n| flows.map(|flow| flow.packet(n * 100, false, &[0; 100]))).collect();
    // Two acknowledgement numbers on one flow: neither may overtake the other.
    assert_eq!(joined(&packets), 1 + 8 + 1);
}

#[test]
fn a_gap_a_repetition_a_larger_one_and_a_push_start_anew() {
    let packet = |sequence, len: usize| TCP_FLOW.packet(sequence, false, &vec![1; len]);
    assert_eq!(joined(&[packet(0, 100), packet(100, 100)]), 1);
    assert_eq!(joined(&[packet(0, 100), packet(200, 100)]), 2);
    assert_eq!(joined(&[packet(0, 100), packet(0, 100)]), 2);
    assert_eq!(joined(&[packet(0, 100), packet(100, 101)]), 2);
    assert_eq!(joined(&[packet(0, 100), packet(100, 99), packet(199, 99)]), 2);
    assert_eq!(joined(&[TCP_FLOW.packet(0, true, &[1; 100]), packet(100, 100)]), 2);
}

#[test]
fn only_plain_segments_with_sound_checksums_are_joined() {
    let packet = |n: u32| TCP_FLOW.packet(n * 100, false, &[1; 100]);
    let marked = |at: usize, bit: u8| {
        let mut packet = packet(1);
        packet[at] ^= bit;
        packet
    };
    assert_eq!(joined(&[packet(0), packet(1)]), 1);
    for (at, bit, what) in [
        (1, 0x10, "a congestion mark"),
        (FLAGS, 0x01, "FIN"),
        (FLAGS, 0x80, "CWR"),
        (FLAGS + 2, 1, "the window"),
        (FLAGS + 10, 1, "an option"),
        (7, 1, "the hop limit"),
        (TCP_CHECKSUM, 1, "the checksum"),
        (150, 1, "the payload"),
    ] {
        assert_eq!(joined(&[packet(0), marked(at, bit)]), 2, "{what}");
        assert_eq!(join(true, &[packet(0), marked(at, bit)])[1].1, marked(at, bit), "{what}");
    }
    assert_eq!(joined(&[marked(150, 1), packet(2)]), 2, "the first one's payload");
    let empty = TCP_FLOW.packet(100, false, &[]);
    assert_eq!(joined(&[packet(0), empty]), 2);
}

#[test]
fn udp_is_joined_where_the_kernel_takes_it() {
    let packets: Vec<_> = (0..100).map(|n| UDP_FLOW.packet(0, false, &[n; 64])).collect();
    assert_eq!(join(false, &packets).len(), 100);
    let out = join(true, &packets);
    assert_eq!(out.len(), 2);
    let all: Vec<_> = out.into_iter().flat_map(|(offload, mut packet)| split_all(&offload, &mut packet)).collect();
    assert_eq!(all, packets);
}

#[test]
fn a_whole_is_never_longer_than_an_ip_packet() {
    let packets: Vec<_> = (0..60).map(|n| TCP_FLOW.packet(n * 1400, false, &[0; 1400])).collect();
    let out = join(false, &packets);
    assert_eq!(out.len(), 2);
    assert!(out.iter().all(|(_, packet)| packet.len() <= 65_535));
}

proptest! {
    /// Split again, what came out is what went in, in the order of each flow.
    #[test]
    fn joined_and_split_again_is_the_same(
        steps in proptest::collection::vec((0..4_u16, 0..3_usize, any::<bool>(), any::<bool>()), 1..200),
        udp: bool,
    ) {
        let mut sequences = [0_u32; 4];
        let mut packets = Vec::new();
        for (port, len, push, gap) in steps {
            let transport = if port < 3 { Transport::Tcp } else { Transport::Udp };
            let flow = Flow { transport, port, acknowledged: 1, options: if port == 1 { 12 } else { 0 } };
            let payload = vec![port as u8; [1000, 700, 0][len]];
            let sequence = &mut sequences[usize::from(port)];
            packets.push(flow.packet(*sequence, push, &payload));
            *sequence = sequence.wrapping_add(payload.len() as u32 + u32::from(gap && push));
        }
        let of = |port: u16, packets: &[Vec<u8>]| -> Vec<Vec<u8>> {
            packets.iter().filter(|packet| packet[40..42] == port.to_be_bytes()).cloned().collect()
        };
        let out: Vec<_> = join(udp, &packets)
            .into_iter()
            .flat_map(|(offload, mut packet)| split_all(&offload, &mut packet))
            .collect();
        for port in 0..4 {
            prop_assert_eq!(of(port, &out), of(port, &packets));
        }
    }

    #[test]
    fn arbitrary_bytes_come_out_as_they_went_in(packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20)) {
        let out: Vec<_> = join(true, &packets).into_iter().map(|(_, packet)| packet).collect();
        prop_assert_eq!(out, packets);
    }
}
