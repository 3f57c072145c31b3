//! A relay whose way out is blocked for a while.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Instant;

use nix::sys::socket::{setsockopt, sockopt};
use rand_core::OsRng;

use super::*;
use crate::identity::Identity;
use crate::rendezvous::bucket::Rate;
use crate::tun::netns::Namespace;
use crate::wire::relay::{Frame, HEADER, bind, send_header};
use crate::wire::{Allocation, RelayCredential};

const RATE: Rate = Rate { per_second: 1 << 40, burst: 1 << 40 };
const HEAVY: (u64, u16) = (1, 1001);
const LIGHT: (u64, u16) = (2, 1002);
/// The receiver, which no neighbour discovery finds at first.
const RECEIVER: (u64, u16) = (3, 1003);
const LEN: usize = HEADER + 1_000;

fn at(node: (u64, u16)) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 77], node.1))
}

/// A relay to which three nodes are bound.
fn relay(socket: UdpSocket) -> Forwarding {
    let forwarding = Forwarding::new(vec![socket], Vec::new(), RATE);
    for node in [HEAVY, LIGHT, RECEIVER] {
        let owner = Identity::generate(&mut OsRng).public_key();
        let credential = RelayCredential { session: node.0, key: [7; 32], allocation: Allocation(node.0) };
        let mut frame = bind(&credential, 1);
        forwarding.relay().open(Instant::now(), owner, credential);
        let from = Endpoint::Udp { socket: 0, remote: at(node) };
        assert!(forwarding.relay().handle_datagram(Instant::now(), from, &mut frame).is_some());
    }
    forwarding
}

/// Numbered frames to the receiver, one behind the other.
fn frames(node: (u64, u16), numbers: std::ops::Range<u32>) -> Vec<u8> {
    let frame = |number: u32| {
        let mut payload = [0; LEN - HEADER];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        [&send_header(node.0, Allocation(RECEIVER.0))[..], &payload].concat()
    };
    numbers.flat_map(frame).collect()
}

fn take(rounds: &mut Rounds<'_>, node: (u64, u16), numbers: std::ops::Range<u32>) {
    let mut bytes = frames(node, numbers);
    rounds.take(Received { from: at(node), ecn: Ecn::Congested, bytes: &mut bytes, size: LEN });
}

/// Who sent the next datagram, and its number.
fn next(receiver: &UdpSocket) -> (u64, u32) {
    let mut buffer = [0; 2_000];
    let len = receiver.recv(&mut buffer).expect("all come");
    let Ok(Frame::Deliver { source, payload, .. }) = Frame::parse(&buffer[..len]) else { panic!("not a Deliver") };
    (source.0, u32::from_be_bytes(*payload.first_chunk().unwrap()))
}

#[test]
fn kernel_a_full_socket_loses_nothing_and_a_heavy_sender_holds_up_nobody() {
    let (Some(here), Some(there)) = (Namespace::new(), Namespace::new()) else { return };
    here.cable("192.0.2.1/24", &there, "192.0.2.2/24");
    // What waits for a neighbour is kept as long as it is looked for.
    here.run("sysctl -qw net.ipv4.neigh.eth0.mcast_solicit=1000");
    let socket = here.enter(|| UdpSocket::bind("192.0.2.1:0").unwrap());
    socket.set_nonblocking(true).unwrap();
    socket2::SockRef::from(&socket).set_send_buffer_size(64 << 10).unwrap();
    let forwarding = relay(socket);
    let mut rounds = Rounds::new(&forwarding, 0);

    rounds.shares.start_round();
    let mut heavy = 0;
    while rounds.waiting.is_empty() {
        take(&mut rounds, HEAVY, heavy..heavy + 20);
        heavy += 20;
    }
    let left = heavy - 20;
    take(&mut rounds, HEAVY, heavy..heavy + 400);
    heavy += 400;
    take(&mut rounds, LIGHT, 0..2);
    rounds.send_waiting();
    assert!(rounds.stuck.is_some());

    there.run("ip address add 192.0.2.77/24 dev eth0");
    let receiver = there.enter(|| UdpSocket::bind(at(RECEIVER)).unwrap());
    setsockopt(&receiver, sockopt::RcvBufForce, &(4 << 20)).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let link = there.run("ip -br link show dev eth0");
    let mac = link.split_whitespace().nth(2).unwrap();
    here.run(&format!("ip neighbour replace 192.0.2.77 lladdr {mac} dev eth0 nud permanent"));
    let mut came = Vec::new();
    while rounds.stuck.is_some() || !rounds.waiting.is_empty() {
        let mut out = [PollFd::new(forwarding.relays[0].as_fd(), PollFlags::POLLOUT)];
        assert_eq!(poll(&mut out, PollTimeout::from(10_000_u16)), Ok(1));
        rounds.send_waiting();
        receiver.set_nonblocking(true).unwrap();
        while receiver.peek(&mut [0]).is_ok() {
            came.push(next(&receiver));
        }
        receiver.set_nonblocking(false).unwrap();
    }
    while came.len() < heavy as usize + 2 {
        came.push(next(&receiver));
    }
    let of =
        |node: (u64, u16)| came.iter().filter(|(source, _)| *source == node.0).map(|(_, number)| *number).collect();
    let (all, few): (Vec<u32>, Vec<u32>) = (of(HEAVY), of(LIGHT));
    assert_eq!(all, (0..heavy).collect::<Vec<_>>());
    assert_eq!(few, [0, 1]);
    let place = came.iter().rposition(|(source, _)| *source == LIGHT.0).unwrap();
    assert!(place < left as usize + 100, "the light sender waited for {place} of {}", came.len());
    assert!(forwarding.relay_drops().iter().all(|(_, count)| count == 0));
}

#[test]
fn what_is_no_frame_is_counted_each() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let forwarding = relay(socket);
    let mut rounds = Rounds::new(&forwarding, 0);
    let mut run = [&[0xff; LEN][..], &frames((9, 1009), 0..2), &[0xff; LEN], &[0xff; 3]].concat();
    for (bytes, size) in [(&mut run[..], LEN), (&mut [], 1)] {
        rounds.take(Received { from: at(HEAVY), ecn: Ecn::NotCapable, bytes, size });
    }
    let drops = forwarding.relay_drops();
    assert_eq!(drops.get(Drop::RelayUnknownSession), 2);
    assert_eq!(drops.iter().map(|(_, count)| count).sum::<u64>(), 6);
}
