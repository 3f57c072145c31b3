//! The UDP ports: STUN on both of each address, the relay on the first.
//!
//! Comes in: datagrams. Goes out: at most one datagram for each, never longer, or a counted drop.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::streams::Streams;
use crate::rendezvous::bucket::Rate;
use crate::rendezvous::relay::{Endpoint, FairQueue, Relay};
use crate::udp::Fragmenting;
use crate::wire::stun::{self, Change};
use crate::wire::{Datagram, Drop, Drops, classify};

/// The largest UDP payload.
const MAX_DATAGRAM: usize = 65_535;
/// Datagrams that are taken from one socket before any is sent on. More than are then sent: when more come than can be
/// forwarded, it is here that the surplus is shared out, and not in the socket's buffer, where who sends most gets most.
const BATCH: usize = 256;
/// Datagrams that are sent on before the others have their turn.
const SENT: usize = 64;
/// Bytes that wait to be sent on, as long as one node sends.
const WAITING: usize = 1 << 20;
/// The pause after a failure to receive.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// The sockets, the relay machine and the counters.
pub struct Forwarding {
    relays: Vec<UdpSocket>,
    fragmenting: Vec<Fragmenting>,
    reflectors: Vec<UdpSocket>,
    relay: Mutex<Relay>,
    streams: Streams,
    relay_drops: Arc<Drops>,
    stun_requests: AtomicU64,
    stun_dropped: AtomicU64,
}

/// What came by one socket and is to be sent on: from whom, where to.
type Waiting = FairQueue<Endpoint, (Endpoint, Endpoint, Vec<u8>)>;

/// Which socket a datagram came to.
#[derive(Clone, Copy)]
enum Port {
    Relay(usize),
    Reflector(usize),
}

impl Forwarding {
    /// Serves the relay and STUN on `relays`, STUN alone on `reflectors`; `rate` is what one session may send.
    pub fn new(relays: Vec<UdpSocket>, reflectors: Vec<UdpSocket>, rate: Rate) -> Forwarding {
        let relay_drops = Arc::new(Drops::default());
        let is_v6 = |socket: &UdpSocket| socket.local_addr().is_ok_and(|address| address.is_ipv6());
        Forwarding {
            fragmenting: relays.iter().map(|socket| Fragmenting::new(socket, is_v6(socket))).collect(),
            relays,
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

    fn socket(&self, port: Port) -> Option<&UdpSocket> {
        match port {
            Port::Relay(index) => self.relays.get(index),
            Port::Reflector(index) => self.reflectors.get(index),
        }
    }

    fn handle(&self, port: Port, from: SocketAddr, datagram: &mut [u8], waiting: &mut Waiting) {
        match (classify(datagram), port) {
            (Ok(Datagram::Stun(request)), _) => self.reflect(port, from, request),
            (Ok(Datagram::Relay(_)), Port::Relay(socket)) => {
                self.queue(Endpoint::Udp { socket, remote: from }, datagram, waiting);
            }
            (Err(reason), Port::Relay(_)) => self.relay_drops.count(reason),
            (Ok(_), Port::Relay(_)) => self.relay_drops.count(Drop::NotOurs),
            (_, Port::Reflector(_)) => self.count_stun(Err(Drop::NotOurs)),
        }
    }

    fn reflect(&self, port: Port, from: SocketAddr, request: &[u8]) {
        let mut answer = [0; stun::RESPONSE_MAX_LEN];
        let other = self.elsewhere(port, Change { ip: true, port: true });
        let address = other.and_then(|other| self.socket(other)?.local_addr().ok());
        let done = stun::respond(request, from, address, &mut answer).and_then(|reflection| {
            let answer = answer.get(..reflection.len).ok_or(Drop::Oversized)?;
            let source = self.elsewhere(port, reflection.from).ok_or(Drop::MalformedStun)?;
            self.send(source, from, answer)
        });
        self.count_stun(done);
    }

    /// The socket from which an answer is wanted; none if there is no other address of the same family to send from.
    fn elsewhere(&self, port: Port, change: Change) -> Option<Port> {
        let (Port::Relay(index) | Port::Reflector(index)) = port;
        let index = if change.ip { self.other_address(index)? } else { index };
        Some(match (port, change.port) {
            (Port::Relay(_), false) | (Port::Reflector(_), true) => Port::Relay(index),
            (Port::Relay(_), true) | (Port::Reflector(_), false) => Port::Reflector(index),
        })
    }

    /// The place of another address that we listen on, of the same family; the sockets on all addresses are none.
    fn other_address(&self, index: usize) -> Option<usize> {
        let address = |index: usize| Some(self.relays.get(index)?.local_addr().ok()?.ip());
        let ours = address(index).filter(|ip| !ip.is_unspecified())?;
        let is_other = |ip: IpAddr| ip != ours && ip.is_ipv4() == ours.is_ipv4() && !ip.is_unspecified();
        (1..self.relays.len())
            .map(|step| (index + step) % self.relays.len())
            .find(|other| address(*other).is_some_and(is_other))
    }

    fn count_stun(&self, done: Result<(), Drop>) {
        let counter = if done.is_ok() { &self.stun_requests } else { &self.stun_dropped };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a frame, and lets what the relay makes of it wait for its turn; answers leave at once.
    fn queue(&self, from: Endpoint, frame: &mut [u8], waiting: &mut Waiting) {
        let Some((to, len)) = self.relay().handle_datagram(Instant::now(), from, frame) else {
            return;
        };
        let Some(frame) = frame.get(..len) else {
            return;
        };
        let taken = match to {
            Endpoint::Udp { socket, remote } if to == from => self.send(Port::Relay(socket), remote, frame),
            to => waiting.push(from, (from, to, frame.to_vec()), len),
        };
        if let Err(reason) = taken {
            self.relay_drops.count(reason);
        }
    }

    /// Takes a frame, and sends on what the relay makes of it: where to.
    pub fn forward(&self, from: Endpoint, frame: &mut [u8]) -> Option<Endpoint> {
        let (to, len) = self.relay().handle_datagram(Instant::now(), from, frame)?;
        self.pass(from, to, frame.get(..len)?);
        Some(to)
    }

    fn pass(&self, from: Endpoint, to: Endpoint, frame: &[u8]) {
        let sent = match to {
            Endpoint::Udp { socket, remote } => self.send(Port::Relay(socket), remote, frame),
            Endpoint::Stream { number, key } => self.streams.send(number, &key, from, frame),
        };
        if let Err(reason) = sent {
            self.relay_drops.count(reason);
        }
    }

    /// Never waits: a full socket buffer is a full link, where datagrams are lost anyway.
    fn send(&self, port: Port, to: SocketAddr, datagram: &[u8]) -> Result<(), Drop> {
        let socket = self.socket(port).ok_or(Drop::SendFailed)?;
        let sent = match port {
            Port::Relay(index) => {
                let fragmenting = self.fragmenting.get(index).ok_or(Drop::SendFailed)?;
                fragmenting.send(socket, datagram, || socket.try_send_to(datagram, to))
            }
            Port::Reflector(_) => socket.try_send_to(datagram, to),
        };
        sent.map(|_| ()).map_err(|_| Drop::SendFailed)
    }
}

/// Serves all sockets, each by one of `tasks`, until these are ended.
pub fn spawn(forwarding: &Arc<Forwarding>, tasks: &mut JoinSet<()>) {
    let relays = (0..forwarding.relays.len()).map(Port::Relay);
    for port in relays.chain((0..forwarding.reflectors.len()).map(Port::Reflector)) {
        tasks.spawn(serve(forwarding.clone(), port));
    }
}

async fn serve(forwarding: Arc<Forwarding>, port: Port) {
    let Some(socket) = forwarding.socket(port) else {
        return;
    };
    let mut buffer = vec![0; MAX_DATAGRAM];
    let mut waiting = Waiting::new(WAITING);
    loop {
        if waiting.is_empty() && socket.readable().await.is_err() {
            return;
        }
        if !take_batch(&forwarding, port, socket, &mut buffer, &mut waiting) {
            tokio::time::sleep(ERROR_PAUSE).await;
        }
        for (from, to, frame) in std::iter::from_fn(|| waiting.pop()).take(SENT) {
            forwarding.pass(from, to, &frame);
        }
        tokio::task::yield_now().await;
    }
}

/// Takes what has arrived; false when the socket failed for another reason than being empty.
fn take_batch(
    forwarding: &Forwarding,
    port: Port,
    socket: &UdpSocket,
    buffer: &mut [u8],
    waiting: &mut Waiting,
) -> bool {
    for _ in 0..BATCH {
        match socket.try_recv_from(buffer) {
            Ok((len, from)) => {
                if let Some(datagram) = buffer.get_mut(..len) {
                    forwarding.handle(port, from, datagram, waiting);
                }
            }
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
    true
}
