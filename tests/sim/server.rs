//! The simulated rendezvous server: the real directory, relay and STUN, and a disk.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilot::identity::{PublicKey, RendezvousUrl};
use pilot::rendezvous::LinkEvent;
use pilot::rendezvous::bucket::Rate;
use pilot::rendezvous::directory::{Change, Directory, Item, Output, Registration, Saved, SessionId, Settings};
use pilot::rendezvous::relay::{Endpoint, Relay};
use pilot::wire::rendezvous::{ClientMessage, ServerMessage};
use pilot::wire::stun::Change as From;
use pilot::wire::{Drops, Now, stun};

use crate::world::{id_of, identities};

/// The TCP port; STUN and the relay are on the next, STUN alone on the one after.
pub const PORT: u16 = 9000;
const RELAY_RATE: Rate = Rate { per_second: 10_000_000, burst: 4_000_000 };

/// What all nodes of a world are told.
pub fn url() -> RendezvousUrl {
    RendezvousUrl::from_authority(identities()[0].0.public_key(), "rendezvous.example.net").expect("a URL")
}

/// What goes out of the server beside the messages of its links.
pub enum Sent {
    /// A datagram from one of its endpoints.
    Datagram { from: SocketAddr, to: SocketAddr, payload: Vec<u8> },
    /// A frame through the relay stream of a node, by the number of the stream.
    Frame { stream: u64, payload: Vec<u8> },
}

/// The server with what survives its crashes.
pub struct Server {
    /// Of both families; STUN and the relay are on each.
    addresses: Vec<IpAddr>,
    running: Option<Running>,
    registrations: BTreeMap<PublicKey, Registration>,
    items: BTreeMap<u64, Item>,
    outbox: VecDeque<(usize, u64, LinkEvent)>,
    starts: u64,
    seed: u64,
    /// Bytes that earlier lives of the relay carried.
    carried: u64,
}

struct Running {
    directory: Directory,
    relay: Relay,
    sessions: BTreeMap<SessionId, (usize, u64)>,
    last: u64,
    deadline: Instant,
}

impl Server {
    /// A server that runs.
    pub fn new(seed: u64, now: Now, addresses: Vec<IpAddr>) -> Server {
        let mut server = Server {
            addresses,
            running: None,
            registrations: BTreeMap::new(),
            items: BTreeMap::new(),
            outbox: VecDeque::new(),
            starts: 0,
            seed,
            carried: 0,
        };
        server.start(now);
        server
    }

    /// Starts it from its disk.
    pub fn start(&mut self, now: Now) {
        self.starts += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&self.starts.to_le_bytes());
        let settings = Settings { network: None, secret: [7; 32].into(), seed: seed.into() };
        let saved = Saved {
            registrations: self.registrations.values().cloned().collect(),
            items: self.items.iter().map(|(number, item)| (*number, item.clone())).collect(),
        };
        self.running = Some(Running {
            directory: Directory::new(settings, saved, now),
            relay: Relay::new(RELAY_RATE, Arc::new(Drops::default())),
            sessions: BTreeMap::new(),
            last: 0,
            deadline: now.monotonic,
        });
    }

    /// Ends it without warning.
    pub fn kill(&mut self) {
        self.carried = self.relayed();
        self.running = None;
        self.outbox.clear();
    }

    /// Whether it runs.
    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// Bytes that the relay carried.
    pub fn relayed(&self) -> u64 {
        self.carried + self.running.as_ref().map_or(0, |running| running.relay.counters().bytes)
    }

    /// What a node's link tells it once it is up.
    pub fn up(&self) -> LinkEvent {
        let on = |offset: u16| move |ip: &IpAddr| SocketAddr::new(*ip, PORT + offset);
        let stun = self.addresses.iter().flat_map(|ip| [on(1)(ip), on(2)(ip)]).collect();
        LinkEvent::Up { stun, relay: self.addresses.iter().map(on(1)).collect() }
    }

    /// Whether STUN can be asked at two IPv4 addresses.
    pub fn has_two_addresses(&self) -> bool {
        self.addresses.iter().filter(|ip| ip.is_ipv4()).count() > 1
    }

    /// When it wants to be woken.
    pub fn deadline(&self) -> Instant {
        let far = || Instant::now() + Duration::from_secs(1 << 30);
        self.running.as_ref().map_or_else(far, |running| running.deadline)
    }

    /// A node's connection, by its epoch.
    pub fn connected(&mut self, now: Now, node: usize, epoch: u64, key: PublicKey) {
        let Some(running) = &mut self.running else { return };
        running.last += 1;
        let session = SessionId(running.last);
        running.sessions.insert(session, (node, epoch));
        running.directory.connected(now, session, key);
        self.drain(now);
    }

    /// A connection broke.
    pub fn disconnected(&mut self, now: Now, node: usize, epoch: u64) {
        if let Some(session) = self.session(node, epoch)
            && let Some(running) = &mut self.running
        {
            running.sessions.remove(&session);
            running.directory.disconnected(now, session);
            self.drain(now);
        }
    }

    fn session(&self, node: usize, epoch: u64) -> Option<SessionId> {
        let running = self.running.as_ref()?;
        running.sessions.iter().find(|(_, of)| **of == (node, epoch)).map(|(session, _)| *session)
    }

    /// A message of a node.
    pub fn message(&mut self, now: Now, node: usize, epoch: u64, message: ClientMessage) {
        if let Some(session) = self.session(node, epoch)
            && let Some(running) = &mut self.running
        {
            running.directory.message(now, session, message);
            self.drain(now);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        if let Some(running) = &mut self.running {
            running.directory.handle_timeout(now);
            self.drain(now);
        }
    }

    /// The next thing to tell a node: which, on which of its connections, what.
    pub fn poll(&mut self) -> Option<(usize, u64, LinkEvent)> {
        self.outbox.pop_front()
    }

    /// A datagram to one of its endpoints; gives what leaves.
    pub fn handle_datagram(&mut self, now: Now, from: SocketAddr, to: SocketAddr, payload: Vec<u8>) -> Option<Sent> {
        self.running.as_ref()?;
        match self.reflect(from, to, &payload) {
            Some(sent) => sent,
            None if to.port() == PORT + 1 => {
                let socket = self.addresses.iter().position(|ip| *ip == to.ip())?;
                self.relay(now, Endpoint::Udp { socket, remote: from }, payload)
            }
            None => None,
        }
    }

    /// A frame from the relay stream of a node; gives what leaves.
    pub fn handle_frame(&mut self, now: Now, stream: u64, key: PublicKey, payload: Vec<u8>) -> Option<Sent> {
        self.relay(now, Endpoint::Stream { number: stream, key }, payload)
    }

    /// Answers a STUN request, if it is one, from where it asks to be answered.
    fn reflect(&self, from: SocketAddr, to: SocketAddr, request: &[u8]) -> Option<Option<Sent>> {
        let mut answer = [0; stun::RESPONSE_MAX_LEN];
        let other = self.elsewhere(to, From { ip: true, port: true });
        let reflection = stun::respond(request, from, other, &mut answer).ok()?;
        assert!(reflection.len <= request.len(), "STUN amplifies");
        let source = self.elsewhere(to, reflection.from);
        let payload = answer[..reflection.len].to_vec();
        Some(source.map(|source| Sent::Datagram { from: source, to: from, payload }))
    }

    /// The endpoint from which an answer is wanted, if there is one.
    fn elsewhere(&self, at: SocketAddr, change: From) -> Option<SocketAddr> {
        let is_other = |ip: &&IpAddr| **ip != at.ip() && ip.is_ipv4() == at.is_ipv4();
        let ip = if change.ip { *self.addresses.iter().find(is_other)? } else { at.ip() };
        let port = if change.port { 2 * PORT + 3 - at.port() } else { at.port() };
        Some(SocketAddr::new(ip, port))
    }

    fn relay(&mut self, now: Now, from: Endpoint, mut payload: Vec<u8>) -> Option<Sent> {
        let running = self.running.as_mut()?;
        let came = payload.len();
        let (to, length) = running.relay.handle_datagram(now.monotonic, from, &mut payload)?;
        assert!(length <= came, "the relay amplifies");
        payload.truncate(length);
        Some(match to {
            Endpoint::Stream { number, .. } => Sent::Frame { stream: number, payload },
            Endpoint::Udp { socket, remote } => {
                Sent::Datagram { from: SocketAddr::new(self.addresses[socket], PORT + 1), to: remote, payload }
            }
        })
    }

    fn drain(&mut self, now: Now) {
        let Some(running) = &mut self.running else { return };
        loop {
            match running.directory.poll_output() {
                Output::Send(session, message) => self.outbox.extend(addressed(&running.sessions, session, message)),
                Output::Close(session) => drop(running.sessions.remove(&session)),
                Output::OpenRelay(key, credential) => running.relay.open(now.monotonic, key, credential),
                Output::CloseRelay(session) => running.relay.close(session),
                Output::Derive(key) => running.directory.handle_derived(now, key, id_of(&key)),
                Output::Save(Change::Register(registration)) => {
                    self.registrations.insert(registration.key, registration);
                }
                Output::Save(Change::Forget(key)) => drop(self.registrations.remove(&key)),
                Output::Save(Change::Store(number, item)) => drop(self.items.insert(number, item)),
                Output::Save(Change::Remove(number)) => drop(self.items.remove(&number)),
                Output::Wait { deadline, .. } => {
                    running.deadline = deadline;
                    return;
                }
            }
        }
    }
}

fn addressed(
    sessions: &BTreeMap<SessionId, (usize, u64)>,
    session: SessionId,
    message: ServerMessage,
) -> Option<(usize, u64, LinkEvent)> {
    let (node, epoch) = sessions.get(&session)?;
    Some((*node, *epoch, LinkEvent::Message(message)))
}
