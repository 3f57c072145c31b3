//! The UDP ports: STUN on both of each address, the relay on the first.
//!
//! Comes in: datagrams. Goes out: at most one datagram for each, never longer, or a counted drop. Each relay socket is
//! served by a plain thread ([`rounds`]), since all that nodes carry through the relay passes there; STUN alone by tasks.

mod reflect;
mod rounds;
mod shares;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use tokio::task::JoinSet;

use super::streams::Streams;
use crate::identity::PublicKey;
use crate::rendezvous::bucket::Rate;
use crate::rendezvous::relay::{Endpoint, Forward, Relay};
use crate::threads::Threads;
use crate::udp::{Run, Socket};
use crate::wire::{Datagram, Drop, Drops, Ecn, classify};

use reflect::Port;

/// The sockets, the relay machine and the counters.
pub struct Forwarding {
    relays: Vec<Socket>,
    reflectors: Vec<tokio::net::UdpSocket>,
    relay: Mutex<Relay>,
    streams: Streams,
    relay_drops: Arc<Drops>,
    stun_requests: AtomicU64,
    stun_dropped: AtomicU64,
}

impl Forwarding {
    /// Serves the relay and STUN on `relays`, which are non-blocking, STUN alone on `reflectors`; `rate` is what one
    /// session may send.
    pub fn new(relays: Vec<UdpSocket>, reflectors: Vec<tokio::net::UdpSocket>, rate: Rate) -> Forwarding {
        let relay_drops = Arc::new(Drops::default());
        let is_v6 = |socket: &UdpSocket| socket.local_addr().is_ok_and(|address| address.is_ipv6());
        let open = |socket: UdpSocket| {
            let is_v6 = is_v6(&socket);
            Socket::new(socket, is_v6)
        };
        Forwarding {
            relays: relays.into_iter().map(open).collect(),
            reflectors,
            relay: Mutex::new(Relay::new(rate, relay_drops.clone())),
            streams: Streams::default(),
            relay_drops,
            stun_requests: AtomicU64::new(0),
            stun_dropped: AtomicU64::new(0),
        }
    }

    /// The relay machine, to open and close sessions and to read its counters.
    pub fn relay(&self) -> MutexGuard<'_, Relay> {
        self.relay.lock()
    }

    /// The relay streams that are open.
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Why the relay refused datagrams.
    pub fn relay_drops(&self) -> &Drops {
        &self.relay_drops
    }

    /// STUN requests answered, and those refused.
    pub fn stun_counts(&self) -> (u64, u64) {
        (self.stun_requests.load(Ordering::Relaxed), self.stun_dropped.load(Ordering::Relaxed))
    }

    /// Takes datagrams of one sender that came to a relay socket, `size` bytes each but for the last, and answers what
    /// is not for the relay. What the relay sends on is put into `forwards`.
    fn take(&self, socket: usize, from: SocketAddr, bytes: &mut [u8], size: usize, forwards: &mut Vec<Forward>) {
        let (all, mut start) = (bytes.len(), 0);
        // An empty datagram is one, too.
        loop {
            let rest = bytes.get_mut(start..).unwrap_or_default();
            let (frames, first) = (frames(rest, size), size.min(rest.len()));
            if frames > 0 {
                let (from, run) = (Endpoint::Udp { socket, remote: from }, rest.get_mut(..frames).unwrap_or_default());
                let forward = |forward: Forward| forwards.push(forward.behind(start));
                self.relay().handle_run(Instant::now(), from, run, size, forward);
            } else {
                self.take_other(socket, from, rest.get(..first).unwrap_or_default());
            }
            start += frames.max(first);
            if start >= all {
                return;
            }
        }
    }

    fn take_other(&self, socket: usize, from: SocketAddr, datagram: &[u8]) {
        match classify(datagram) {
            Ok(Datagram::Stun(request)) => self.reflect(Port::Relay(socket), from, request),
            Ok(_) => self.relay_drops.count(Drop::NotOurs),
            Err(reason) => self.relay_drops.count(reason),
        }
    }

    /// Takes a frame of a stream, and sends on what the relay makes of it: where to.
    pub fn forward(&self, from: Endpoint, frame: &mut [u8]) -> Option<Endpoint> {
        let (to, len) = self.relay().handle_datagram(Instant::now(), from, frame)?;
        let frame = frame.get(..len)?;
        match to {
            Endpoint::Udp { socket, remote } => {
                // What finds no room now is lost: the node's own queue before its stream is where frames wait.
                if self.offer(socket, &Run::one(remote, Ecn::NotCapable, frame)) < frame.len() {
                    self.relay_drops.count(Drop::SendFailed);
                }
            }
            Endpoint::Stream { number, key } => self.send_by_stream(number, &key, from, frame),
        }
        Some(to)
    }

    fn send_by_stream(&self, number: u64, key: &PublicKey, from: Endpoint, frame: &[u8]) {
        if let Err(reason) = self.streams.send(number, key, from, frame) {
            self.relay_drops.count(reason);
        }
    }

    /// Sends datagrams by a relay socket, as many as it takes now: how many bytes of them. What is taken and does not
    /// leave is counted.
    fn offer(&self, socket: usize, run: &Run<'_>) -> usize {
        let Some(socket) = self.relays.get(socket) else {
            self.relay_drops.add(Drop::SendFailed, run.count());
            return run.bytes.len();
        };
        let mut taken = 0;
        while let Some(part) = run.part(taken) {
            let now = socket.offer(&part, |_, many| self.relay_drops.add(Drop::SendFailed, many));
            taken += now;
            if now < part.bytes.len() {
                break;
            }
        }
        taken
    }
}

/// How many bytes at the front hold relay frames, and nothing else.
fn frames(bytes: &[u8], size: usize) -> usize {
    let is_frame = |datagram: &&[u8]| matches!(classify(datagram), Ok(Datagram::Relay(_)));
    bytes.chunks(size).take_while(is_frame).map(<[u8]>::len).sum()
}

/// Serves all sockets: those of the relay each by a thread, the others each by one of `tasks`.
pub fn spawn(forwarding: &Arc<Forwarding>, tasks: &mut JoinSet<()>) -> io::Result<Threads> {
    for index in 0..forwarding.reflectors.len() {
        tasks.spawn(reflect::serve(forwarding.clone(), index));
    }
    let mut threads = Threads::new()?;
    for index in 0..forwarding.relays.len() {
        let forwarding = forwarding.clone();
        threads.start(&format!("relay-{index}"), move |stopped| rounds::run(&forwarding, index, stopped))?;
    }
    Ok(threads)
}
