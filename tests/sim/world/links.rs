//! The connections of nodes to the server, and what goes through them.

use pilot::rendezvous::LinkEvent;
use rand_core::RngCore;

use super::World;
use crate::fabric::Origin;
use crate::pipe::{Downward, News, Pipe, Upward};
use crate::server::Sent;

/// The two connections of a node.
#[derive(Clone, Copy)]
pub(super) enum Which {
    Link,
    Stream,
}

impl World {
    /// What the server lets go.
    pub(super) fn sent(&mut self, sent: Option<Sent>) {
        match sent {
            Some(Sent::Datagram { from, to, payload }) => {
                self.carry(None, self.server_host, Origin::Exactly(from), to, payload);
            }
            Some(Sent::Frame { stream, payload }) => {
                let to = self.nodes.iter_mut().find(|node| node.stream.is_open() && node.stream.number == stream);
                if let Some(node) = to {
                    let at = self.now.monotonic + self.fabric.delay(node.host) * 2;
                    node.stream.say_down(at, Downward::Frame(payload));
                }
            }
            None => {}
        }
    }

    /// Does what is due for one connection of a node.
    pub(super) fn tend(&mut self, node: usize, which: Which) {
        let now = self.now.monotonic;
        if self.pipe(node, which).due().is_none_or(|due| now < due) {
            return;
        }
        let resident = &self.nodes[node];
        let is_possible = self.server.is_up() && !resident.is_asleep();
        let stamps = self.fabric.connection(resident.host, self.server_host).filter(|_| is_possible);
        let round_trip = self.fabric.delay(resident.host) * 4;
        let share = self.share();
        let news = self.pipe(node, which).tend(now, stamps, round_trip, share);
        match (news, which) {
            (Some(News::Opened), Which::Link) => self.link_up(node),
            (Some(News::Opened), Which::Stream) => {
                self.streams += 1;
                self.nodes[node].stream.number = self.streams;
                self.tell(node, LinkEvent::StreamUp);
            }
            (Some(News::Broken), Which::Link) => self.link_down(node, "nothing came back"),
            (Some(News::Broken), Which::Stream) => self.tell(node, LinkEvent::StreamDown),
            (Some(News::Arrived(up, down)), _) => self.heard(node, up, down),
            (None, _) => {}
        }
    }

    /// Any number between 0 and 1.
    pub(super) fn share(&mut self) -> f64 {
        f64::from(self.rng.next_u32()) / f64::from(u32::MAX)
    }

    fn pipe(&mut self, node: usize, which: Which) -> &mut Pipe {
        match which {
            Which::Link => &mut self.nodes[node].link,
            Which::Stream => &mut self.nodes[node].stream,
        }
    }

    fn link_up(&mut self, node: usize) {
        self.nodes[node].link.number += 1;
        let (epoch, key) = (self.nodes[node].link.number, self.nodes[node].key());
        self.logins.push((node, self.now.monotonic));
        self.server.connected(self.now, node, epoch, key);
        let event = self.server.up();
        self.tell(node, event);
        self.drain_server();
    }

    /// Both ends learn that the link is dead; a node that sleeps learns it when it wakes.
    pub(super) fn link_down(&mut self, node: usize, reason: &str) {
        let epoch = self.nodes[node].link.number;
        self.server.disconnected(self.now, node, epoch);
        self.drain_server();
        self.tell(node, LinkEvent::Down { reason: reason.into() });
    }

    pub(super) fn tell(&mut self, node: usize, event: LinkEvent) {
        if !self.nodes[node].is_asleep() {
            self.nodes[node].machine().handle_link(self.now, 0, event);
            self.drain(node);
        }
    }

    fn heard(&mut self, node: usize, up: Vec<Upward>, down: Vec<Downward>) {
        for said in up {
            match said {
                Upward::Message(message) => {
                    let epoch = self.nodes[node].link.number;
                    self.server.message(self.now, node, epoch, message);
                }
                Upward::Frame(payload) => {
                    let (stream, key) = (self.nodes[node].stream.number, self.nodes[node].key());
                    let sent = self.server.handle_frame(self.now, stream, key, payload);
                    self.sent(sent);
                }
            }
        }
        self.drain_server();
        for said in down {
            match said {
                Downward::Event(event) => self.nodes[node].machine().handle_link(self.now, 0, event),
                Downward::Frame(payload) => self.nodes[node].machine().handle_frame(self.now, 0, &payload),
            }
            self.drain(node);
        }
    }

    pub(super) fn drain_server(&mut self) {
        while let Some((node, epoch, event)) = self.server.poll() {
            let resident = &mut self.nodes[node];
            if resident.link.number == epoch {
                let at = self.now.monotonic + self.fabric.delay(resident.host) * 2;
                resident.link.say_down(at, Downward::Event(event));
            }
        }
    }
}
