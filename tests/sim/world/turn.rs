//! The crank: what arrives is handed to machines, and what they want is carried out.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pilot::node::Output;
use pilot::wire::Hop;
use rand_core::RngCore;

use super::links::Which;
use super::{World, id_of};
use crate::fabric::{HostId, Origin, Transit};
use crate::pipe::Upward;
use crate::resident::Resident;

/// How long a shell takes to open sockets.
const OPENING: Duration = Duration::from_millis(1);

/// Something that is under way.
pub(super) enum Happening {
    Transit { sender: Option<usize>, transit: Transit, payload: Vec<u8> },
    Datagram { sender: Option<usize>, host: HostId, from: SocketAddr, to: SocketAddr, payload: Vec<u8> },
    Multicast { host: HostId, from: SocketAddr, payload: Vec<u8> },
    Spares { node: usize, life: u32, opened: Vec<(u16, u16)> },
}

impl World {
    /// Lets time pass until `done` holds; gives how long that took, or nothing if it did not within `limit`.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&World) -> bool) -> Option<Duration> {
        let (start, end) = (self.now.monotonic, self.now.monotonic + limit);
        loop {
            if done(self) {
                return Some(self.now.monotonic - start);
            }
            let next = self.next_moment();
            if next > end {
                self.advance(end);
                return None;
            }
            self.advance(next);
            self.step();
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    fn next_moment(&self) -> Instant {
        let awake = || self.nodes.iter().filter(|node| !node.is_asleep());
        let pipes = self.nodes.iter().flat_map(|node| [node.link.due(), node.stream.due()]).flatten();
        let timers = awake().map(Resident::deadline).chain([self.server.deadline()]).chain(pipes);
        timers.chain(self.agenda.next()).min().unwrap_or(self.now.monotonic).max(self.now.monotonic)
    }

    fn advance(&mut self, to: Instant) {
        let elapsed = to - self.now.monotonic;
        self.now = self.now.after(elapsed);
        pilot::peer::advance_clock(elapsed);
        crate::clock::advance(elapsed);
    }

    fn step(&mut self) {
        self.steps += 1;
        self.check_progress();
        while let Some(happening) = self.agenda.due(self.now.monotonic) {
            self.happen(happening);
        }
        for node in 0..self.nodes.len() {
            self.tend(node, Which::Link);
            self.tend(node, Which::Stream);
            if !self.nodes[node].is_asleep() && self.nodes[node].deadline() <= self.now.monotonic {
                self.nodes[node].machine().handle_timeout(self.now);
                self.drain(node);
            }
        }
        if self.server.deadline() <= self.now.monotonic {
            self.server.handle_timeout(self.now);
            self.drain_server();
        }
    }

    fn check_progress(&self) {
        let seconds = (self.now.monotonic - self.started).as_secs() + 10;
        let (steps, most) = (self.steps, seconds * 5_000 * (self.nodes.len() as u64 + 1));
        assert!(steps < most, "livelock: {steps} steps in {seconds} s");
        assert!(self.agenda.len() < 100_000, "the network fills up");
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Transit { sender, transit, payload } => {
                if let Some(arrival) = self.fabric.arrive(self.now.monotonic, &transit, &mut self.rng) {
                    let (host, from, to) = (arrival.host, arrival.from, arrival.to);
                    self.agenda.plan(arrival.at, Happening::Datagram { sender, host, from, to, payload });
                }
            }
            Happening::Datagram { sender, host, from, to, payload } if host == self.server_host => {
                self.count(sender, None);
                let sent = self.server.handle_datagram(self.now, from, to, payload);
                self.sent(sent);
            }
            Happening::Datagram { sender, host, from, to, payload } => self.arrive(sender, host, from, to, payload),
            Happening::Multicast { host, from, payload } => {
                if let Some(node) = self.awake_on(host) {
                    self.nodes[node].machine().handle_multicast(self.now, from, &payload);
                    self.drain(node);
                }
            }
            Happening::Spares { node, life, opened } if life == self.nodes[node].lives => {
                self.nodes[node].machine().handle_spares(self.now, &opened);
                self.drain(node);
            }
            Happening::Spares { .. } => {}
        }
    }

    fn awake_on(&self, host: HostId) -> Option<usize> {
        self.nodes
            .iter()
            .position(|resident| resident.host == host && !resident.is_asleep() && resident.habits.seeks_lan)
    }

    fn arrive(&mut self, sender: Option<usize>, host: HostId, from: SocketAddr, to: SocketAddr, payload: Vec<u8>) {
        let Some(node) = self.nodes.iter().position(|resident| resident.host == host) else {
            return self.overheard.push((self.now.monotonic, host, from, payload));
        };
        self.count(sender, Some(node));
        if let Some(sender) = sender.filter(|sender| *sender != node)
            && !self.nodes[sender].ever_trusted(&self.nodes[node].key())
        {
            self.astray.entry((sender, node)).or_default().push(self.now.monotonic);
        }
        if let Some(socket) = self.nodes[node].socket_on(to.port()).filter(|_| !self.nodes[node].is_asleep()) {
            if self.recorded.len() < 200 {
                self.recorded.push((node, payload.clone()));
            }
            self.nodes[node].machine().handle_datagram(self.now, socket, from, &payload);
            self.drain(node);
        }
    }

    fn count(&mut self, sender: Option<usize>, receiver: Option<usize>) {
        if let Some(sender) = sender {
            *self.delivered.entry((sender, receiver)).or_default() += 1;
        }
    }

    /// A stranger's datagram, from a host without a node.
    pub fn throw(&mut self, host: HostId, to: SocketAddr, payload: Vec<u8>) {
        self.carry(None, host, Origin::Port(40_000), to, payload);
    }

    pub(super) fn carry(
        &mut self,
        sender: Option<usize>,
        host: HostId,
        origin: Origin,
        to: SocketAddr,
        payload: Vec<u8>,
    ) {
        self.datagrams += 1;
        self.sent_to.extend(sender.map(|sender| (sender, to)));
        if let Some(left) = self.swallowed.get_mut(&payload.len()).filter(|left| **left > 0) {
            *left -= 1;
            return;
        }
        let now = self.now.monotonic;
        if let Some(transit) = self.fabric.depart(now, host, origin, to, payload.len(), &mut self.rng) {
            self.agenda.plan(transit.at, Happening::Transit { sender, transit, payload });
        }
    }

    /// Carries out what a node decided, and checks what it must never decide.
    pub(super) fn drain(&mut self, node: usize) {
        loop {
            match self.nodes[node].machine().poll_output(self.now) {
                Output::Transmit { hop, payload } => self.transmit(node, hop, payload),
                Output::Multicast(payload) => self.multicast(node, &payload),
                Output::OpenSpares(count) => self.open_spares(node, count),
                Output::CloseSpares(sockets) => self.nodes[node].close_spares(&sockets),
                Output::Opener { socket, to, hops } => self.open_way(node, socket, to, hops),
                Output::Redial => self.redial(node),
                Output::Stream(_, wish) if wish.is_open => self.nodes[node].stream.dial(self.now.monotonic),
                Output::Stream(..) => self.nodes[node].stream.close(),
                Output::Link(_, message) => {
                    let at = self.now.monotonic + self.fabric.delay(self.nodes[node].host) * 2;
                    self.nodes[node].link.say_up(at, Upward::Message(message));
                }
                Output::Derive(key) => self.nodes[node].machine().handle_derived(self.now, key, id_of(&key)),
                Output::Wait { deadline, .. } => {
                    self.nodes[node].set_deadline(deadline);
                    break;
                }
                other => self.nodes[node].take(other),
            }
        }
    }

    fn transmit(&mut self, node: usize, hop: Hop, payload: Vec<u8>) {
        let host = self.nodes[node].host;
        match hop {
            Hop::Udp { socket, to } => {
                if !self.fabric.has_route(host, to) {
                    self.nodes[node].machine().handle_refused(self.now, hop);
                } else if let Some(port) = self.nodes[node].port_of(socket) {
                    self.carry(Some(node), host, Origin::Port(port), to, payload);
                }
            }
            Hop::Stream(_) => {
                let at = self.now.monotonic + self.fabric.delay(host) * 2;
                self.nodes[node].stream.say_up(at, Upward::Frame(payload));
            }
        }
    }

    fn open_way(&mut self, node: usize, socket: u16, to: SocketAddr, hops: u8) {
        if let Some(port) = self.nodes[node].port_of(socket) {
            let (now, host) = (self.now.monotonic, self.nodes[node].host);
            self.fabric.expire(now, host, port, to, hops, &mut self.rng);
        }
    }

    fn multicast(&mut self, node: usize, payload: &[u8]) {
        let resident = &self.nodes[node];
        for (at, host, from) in self.fabric.broadcast(self.now.monotonic, resident.host, resident.port) {
            self.agenda.plan(at, Happening::Multicast { host, from, payload: payload.to_vec() });
        }
    }

    fn open_spares(&mut self, node: usize, count: u16) {
        let rng = &mut self.rng;
        let opened = self.nodes[node].open_spares(count, || 32_768 + (rng.next_u32() % 28_232) as u16);
        let life = self.nodes[node].lives;
        self.agenda.plan(self.now.monotonic + OPENING, Happening::Spares { node, life, opened });
    }
}
