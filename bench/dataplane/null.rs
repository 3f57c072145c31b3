//! A tunnel without a cipher: the offloads and the batches of Pilot's data path, and nothing else. What it costs is the
//! floor: nobody who moves packets between a TUN device and a UDP socket this way can be cheaper.
//!
//! Usage: `null_tunnel INTERFACE ADDRESS PORT PEER`, where PEER is the endpoint of the other end. Anybody may send to it.

use std::error::Error;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pilot::tun::{self, Coalescer, Device, HEADROOM, Queue, split};
use pilot::udp::{MAX_BYTES, MAX_DATAGRAMS, Receiver, Run, Sockets};
use pilot::wire::Ecn;

/// What WireGuard and our lane put in front of a packet, and behind it.
const FRONT: usize = 16;
const AROUND: usize = 32;
const MAIN: u16 = 0;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, address, port, peer] = arguments.as_slice() else {
        return Err("usage: null_tunnel INTERFACE ADDRESS PORT PEER".into());
    };
    let (address, peer): (Ipv6Addr, SocketAddr) = (address.parse()?, peer.parse()?);
    let device = tun::open(name, address, 64, 1420, 1)?;
    let sockets = Sockets::bind(port.parse()?, Arc::default())?;
    thread::scope(|scope| {
        device.queues().for_each(|queue| drop(scope.spawn(|| outbound(queue, &sockets, peer))));
        scope.spawn(|| inbound(&device, &sockets));
    });
    Ok(())
}

fn wait(source: &impl AsFd) {
    let _ = poll(&mut [PollFd::new(source.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
}

/// Datagrams that leave together.
struct Batch {
    bytes: Vec<u8>,
    used: usize,
    count: usize,
    size: usize,
    is_even: bool,
}

impl Batch {
    fn add(&mut self, packet: &[u8], sockets: &Sockets, to: SocketAddr) {
        let len = packet.len() + AROUND;
        let fits = self.is_even && len <= self.size && self.count < MAX_DATAGRAMS && self.used + len <= MAX_BYTES;
        if self.count > 0 && !fits {
            self.send(sockets, to);
        }
        if self.count == 0 {
            self.size = len;
        }
        let place = &mut self.bytes[self.used..self.used + len];
        place[FRONT..FRONT + packet.len()].copy_from_slice(packet);
        self.is_even = len == self.size;
        self.used += len;
        self.count += 1;
    }

    fn send(&mut self, sockets: &Sockets, to: SocketAddr) {
        if self.count > 0 {
            sockets.send_run(MAIN, &Run { to, ecn: Ecn::NotCapable, bytes: &self.bytes[..self.used], size: self.size });
        }
        (self.used, self.count, self.is_even) = (0, 0, true);
    }
}

fn outbound(queue: &Queue, sockets: &Sockets, to: SocketAddr) {
    let mut buffer = vec![0; (64 << 10) + HEADROOM];
    let mut batch = Batch { bytes: vec![0; MAX_BYTES], used: 0, count: 0, size: 0, is_even: true };
    loop {
        wait(queue);
        while let Ok((offload, packet)) = queue.read(&mut buffer) {
            let Ok(mut segments) = split(&offload, &mut buffer[packet]) else { continue };
            while let Some(segment) = segments.next_segment() {
                batch.add(segment, sockets, to);
            }
        }
        batch.send(sockets, to);
    }
}

fn inbound(device: &Device, sockets: &Sockets) {
    let mut receiver = Receiver::default();
    let mut coalescer = Coalescer::new(device.offloads());
    let mut opened = vec![0; 1 << 20];
    while sockets
        .wait_each(0, |_, socket| {
            let mut used = 0;
            if receiver.receive(socket).is_err() {
                return;
            }
            for received in receiver.received() {
                for datagram in received.bytes.chunks(received.size).filter(|datagram| datagram.len() > AROUND) {
                    let packet = &datagram[FRONT..datagram.len() - (AROUND - FRONT)];
                    let place = used..used + packet.len();
                    opened[place.clone()].copy_from_slice(packet);
                    coalescer.push(&opened, place.clone());
                    used = place.end;
                }
            }
            coalescer.flush(&opened, |offload, headers, rest| {
                let _ = device.write_parts(offload, headers, rest);
            });
        })
        .is_ok()
    {}
}
