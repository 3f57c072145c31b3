//! What comes from the network.
//!
//! A datagram first goes through the same table that the datapath threads use. What they opened by
//! themselves comes in as an arrival or a control packet; the rest is sorted here.

use std::net::SocketAddr;

use super::spares::Owner;
use super::{Node, Output, remote::Ways};
use crate::peer::{Arrival, Inbound, Slot, receiver};
use crate::punch::Agent;
use crate::wire::path::MAIN;
use crate::wire::relay::Frame;
use crate::wire::{Datagram, Drop, Now, Path};

impl Node {
    /// Takes a datagram that came to one of our sockets: any, or one that the peer table called slow.
    pub fn handle_datagram(&mut self, now: Now, socket: u16, from: SocketAddr, datagram: &[u8]) {
        if datagram.len() > self.opened.len() {
            return self.drops.count(Drop::Oversized);
        }
        self.publish();
        let table = self.table.clone();
        let mut opened = std::mem::take(&mut self.opened);
        match table.inbound(socket, from, datagram, &mut opened) {
            Inbound::Slow => {
                let result = self.slow(now, socket, from, datagram);
                self.counted(result);
            }
            inbound => self.arrived(now, inbound, &opened),
        }
        self.opened = opened;
    }

    /// Takes what the peer table opened.
    pub(super) fn arrived(&mut self, now: Now, inbound: Inbound, opened: &[u8]) {
        match inbound {
            Inbound::Packet { arrival, range } => {
                let mut packet = opened.get(range).unwrap_or_default().to_vec();
                self.table.clamp_inbound(arrival.slot, &mut packet);
                self.outputs.push_back(Output::Packet(packet));
                self.handle_arrival(now, arrival);
            }
            Inbound::Control { arrival, range } => {
                self.handle_control(now, arrival, opened.get(range).unwrap_or_default());
            }
            Inbound::Keepalive(arrival) => self.handle_arrival(now, arrival),
            Inbound::NotGranted(arrival) => {
                self.drops.count(Drop::NotGranted);
                self.handle_arrival(now, arrival);
            }
            Inbound::Slow => {}
            Inbound::Drop(reason) => self.drops.count(reason),
        }
    }

    /// Takes a frame that came through a relay stream: any, or one that the peer table called slow.
    pub fn handle_frame(&mut self, now: Now, stream: u8, frame: &[u8]) {
        self.publish();
        if let Ok(Frame::Deliver { .. }) = Frame::parse(frame) {
            match self.table.relay_of(stream) {
                Some(relay) => self.handle_datagram(now, MAIN, relay.server, frame),
                None => self.drops.count(Drop::RelayUnbound),
            }
            return;
        }
        let result = self.clients.handle_frame(now, stream, frame);
        self.drain_clients(now);
        self.counted(result);
    }

    /// Takes the news that a packet for our programs or a keepalive arrived, when the peer table says that it is news.
    pub fn handle_arrival(&mut self, now: Now, arrival: Arrival) {
        self.heard(now, arrival, Agent::spoken);
    }

    /// Something authenticated arrived, of which the agent is told in this way.
    pub(super) fn heard(&mut self, now: Now, arrival: Arrival, tell: impl FnOnce(&mut Agent, Now, Path)) {
        let Arrival { slot, via, news } = arrival;
        let Some(remote) = self.remotes.get_mut(slot) else {
            return;
        };
        if !remote.is_up {
            if remote.has_session() {
                self.session_up(now, slot, via);
            }
            return;
        }
        match &mut remote.ways {
            Ways::Agent(agent) => tell(agent, now, via),
            Ways::Fixed(path) if *path == Some(via) => {}
            Ways::Fixed(path) => {
                *path = Some(via);
                self.stale.peer(slot);
            }
        }
        if news {
            self.drive(now, slot);
        }
    }

    /// A session can carry packets: what waited for it goes out.
    pub(super) fn session_up(&mut self, now: Now, slot: Slot, via: Path) {
        let Some(remote) = self.remotes.get_mut(slot) else {
            return;
        };
        remote.is_up = true;
        remote.is_renewing = false;
        remote.attempt.succeeded();
        match &mut remote.ways {
            Ways::Agent(agent) => agent.session_established(now, via),
            Ways::Fixed(path) => *path = Some(via),
        }
        self.stale.peer(slot);
        self.friend_changed(slot);
        self.drive(now, slot);
        self.flush(now, slot);
        self.send_pings(now, slot);
    }

    /// Sorts what is no data of a tunnel.
    fn slow(&mut self, now: Now, socket: u16, from: SocketAddr, datagram: &[u8]) -> Result<(), Drop> {
        let table = self.table.clone();
        let (via, inner) = table.unwrap(socket, from, datagram)?;
        match inner {
            Datagram::Stun(bytes) if let Some(Owner::Peer(slot)) = self.spares.owner(socket) => {
                self.sampled(now, slot, from, bytes)
            }
            Datagram::Stun(bytes) => {
                let result = self.clients.handle_stun(now, socket, from, bytes);
                self.drain_clients(now);
                result
            }
            Datagram::Relay(bytes) => {
                let result = self.clients.handle_relay(now, from, bytes);
                self.drain_clients(now);
                result
            }
            Datagram::Beacon(bytes) => self.beacon(now, from, bytes),
            message => self.message(now, via, message),
        }
    }

    /// Takes a message of WireGuard's handshake.
    pub(super) fn message(&mut self, now: Now, via: Path, message: Datagram<'_>) -> Result<(), Drop> {
        let slot = receiver(&message);
        match message {
            Datagram::Initiation(bytes) => self.initiation(now, via, bytes),
            Datagram::Response(bytes) => self.response(now, slot.ok_or(Drop::UnknownSession)?, via, bytes),
            Datagram::Cookie(bytes) => self.cookie(slot.ok_or(Drop::UnknownSession)?, bytes),
            _ => Err(Drop::UnknownSession),
        }
    }
}
