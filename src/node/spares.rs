//! Spare sockets: who asked for them, and when they are closed.
//!
//! The shell opens sockets in the order in which they were asked for and reports each batch; the batch belongs to
//! whoever asked first. A socket is closed when its owner lets it go.

use std::collections::{BTreeMap, VecDeque};

use super::{Node, Output, Slot};
use crate::wire::Now;

/// What spare sockets are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Finding out how our NAT behaves, with the rendezvous server of this number.
    Nat(u8),
    /// Punching towards a peer.
    Peer(Slot),
}

/// All spare sockets.
#[derive(Default)]
pub(super) struct Spares {
    asked: VecDeque<Owner>,
    open: BTreeMap<u16, Owner>,
}

impl Spares {
    /// Whose a socket is.
    pub fn owner(&self, socket: u16) -> Option<Owner> {
        self.open.get(&socket).copied()
    }

    /// The sockets of an owner.
    pub fn of(&self, owner: Owner) -> Vec<u16> {
        self.open.iter().filter(|(_, of)| **of == owner).map(|(socket, _)| *socket).collect()
    }

    /// Whether this owner waits for sockets.
    pub fn is_asked(&self, owner: Owner) -> bool {
        self.asked.contains(&owner)
    }
}

impl Node {
    /// Takes the spare sockets that the shell opened for the oldest [`Output::OpenSpares`], by number and local port:
    /// fewer than wanted, or none, if it could not.
    pub fn handle_spares(&mut self, now: Now, opened: &[(u16, u16)]) {
        let Some(owner) = self.spares.asked.pop_front() else {
            return self.outputs.push_back(Output::CloseSpares(opened.iter().map(|(socket, _)| *socket).collect()));
        };
        self.spares.open.extend(opened.iter().map(|(socket, _)| (*socket, owner)));
        match owner {
            Owner::Nat(server) => {
                self.clients.handle_spares(now, server, opened);
                self.drain_clients(now);
            }
            Owner::Peer(slot) => self.prepared(now, slot, opened.iter().map(|(socket, _)| *socket).collect()),
        }
    }

    /// Asks for sockets.
    pub(super) fn ask_spares(&mut self, owner: Owner, count: u16) {
        self.spares.asked.push_back(owner);
        self.outputs.push_back(Output::OpenSpares(count));
    }

    /// Closes sockets.
    pub(super) fn close_spares(&mut self, sockets: Vec<u16>) {
        if !sockets.is_empty() {
            self.spares.open.retain(|socket, _| !sockets.contains(socket));
            self.outputs.push_back(Output::CloseSpares(sockets));
        }
    }
}
