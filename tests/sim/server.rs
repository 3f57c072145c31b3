//! The simulated rendezvous server: the real directory, relay and STUN, and a disk.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilot::identity::{PublicKey, RendezvousUrl};
use pilot::rendezvous::LinkEvent;
use pilot::rendezvous::bucket::Rate;
use pilot::rendezvous::directory::{Change, Directory, Item, Output, Registration, Saved, SessionId, Settings};
use pilot::rendezvous::relay::{Endpoint, Relay};
use pilot::wire::rendezvous::{ClientMessage, ServerMessage};
use pilot::wire::{Drops, Now, stun};

use crate::world::{id_of, identities};

/// The TCP port; STUN and the relay are on the next, STUN alone on the one after.
pub const PORT: u16 = 9000;
const RELAY_RATE: Rate = Rate { per_second: 10_000_000, burst: 4_000_000 };

/// What all nodes of a world are told.
pub fn url() -> RendezvousUrl {
    RendezvousUrl::from_authority(identities()[0].0.public_key(), "203.0.113.1").expect("a URL")
}

/// The server with what survives its crashes.
pub struct Server {
    address: SocketAddr,
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
    pub fn new(seed: u64, now: Now, address: SocketAddr) -> Server {
        let mut server = Server {
            address,
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
        let on = |port: u16| SocketAddr::new(self.address.ip(), port);
        LinkEvent::Up { stun: vec![on(PORT + 1), on(PORT + 2)], relay: vec![on(PORT + 1)] }
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

    /// A datagram to one of its ports; gives the port that something leaves from, where to, and what.
    pub fn handle_datagram(
        &mut self,
        now: Now,
        from: SocketAddr,
        port: u16,
        mut datagram: Vec<u8>,
    ) -> Option<(u16, SocketAddr, Vec<u8>)> {
        let running = self.running.as_mut()?;
        let mut answer = [0; 128];
        if let Ok(stun::Reflection { len: length, .. }) = stun::respond(&datagram, from, None, &mut answer) {
            assert!(length <= datagram.len(), "STUN amplifies");
            return Some((port, from, answer[..length].to_vec()));
        }
        if port != PORT + 1 {
            return None;
        }
        let came = datagram.len();
        let from = Endpoint::Udp { socket: 0, remote: from };
        let (to, length) = running.relay.handle_datagram(now.monotonic, from, &mut datagram)?;
        assert!(length <= came, "the relay amplifies");
        datagram.truncate(length);
        match to {
            Endpoint::Udp { remote, .. } => Some((port, remote, datagram)),
            Endpoint::Stream { .. } => None,
        }
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
