//! What the datapath may know: the peer table, and a new one whenever it would differ.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::me::Me;
use super::remote::Remote;
use super::{Node, Output, Slot};
use crate::identity::Address;
use crate::peer::{Entry, Overlay, PeerTable, Relay};
use crate::rendezvous::client::{Clients, Via};
use crate::wire::Hop;

/// The table of a node without peers.
pub(super) fn empty(me: &Me) -> PeerTable {
    PeerTable::new(overlay(me), None, Vec::new())
}

/// What is not in the table as it is.
#[derive(Default)]
pub(super) struct Stale {
    slots: BTreeSet<Slot>,
    relays: bool,
}

impl Stale {
    /// A peer came, went, or is reached in another way.
    pub fn peer(&mut self, slot: Slot) {
        self.slots.insert(slot);
    }

    /// Our places on the relays are others.
    pub fn relays(&mut self) {
        self.relays = true;
    }
}

impl Node {
    /// Makes and gives out the table, if the former is no longer true. All that changed since is in it at once.
    pub(super) fn publish(&mut self) {
        let Stale { slots, relays: has_moved } = std::mem::take(&mut self.stale);
        if slots.is_empty() && !has_moved {
            return;
        }
        let changes = slots.into_iter().map(|slot| (slot, self.remotes.get(slot).map(entry)));
        // A place on a relay is of use before all of them are known, which is when they are announced.
        let table = self.table.changed(changes).with_relays(relays(&self.clients));
        self.table = Arc::new(table);
        // Ahead of everything: what leaves after it may be answered before the next output is carried out.
        self.outputs.push_front(Output::Table(self.table.clone()));
    }
}

fn entry(remote: &Remote) -> Entry {
    Entry {
        tunnel: remote.tunnel.clone(),
        id: remote.key.map(|_| remote.id),
        address: remote.address,
        path: remote.path(),
        mtu: remote.mtu(),
        gate: remote.gate.clone(),
    }
}

fn overlay(me: &Me) -> Overlay {
    Overlay { prefix: me.prefix, address: Address { network: me.network, node: me.id } }
}

/// Our places on the relays.
fn relays(clients: &Clients) -> impl Iterator<Item = Relay> {
    clients.places().map(|place| Relay {
        number: place.number,
        server: place.address.server,
        hop: match place.via {
            Via::Udp(to) => Hop::main(to),
            Via::Stream => Hop::Stream(place.number),
        },
        session: place.credential.session,
        allocation: place.credential.allocation,
    })
}
