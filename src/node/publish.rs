//! What the datapath may know: the peer table, made anew whenever it would differ.

use std::sync::Arc;

use super::me::Me;
use super::{Node, Output};
use crate::identity::Address;
use crate::peer::{Entry, Overlay, PeerTable, Relay};
use crate::rendezvous::client::{Clients, Via};
use crate::wire::Hop;

/// The table of a node without peers.
pub(super) fn empty(me: &Me) -> PeerTable {
    PeerTable::new(overlay(me), None, Vec::new())
}

impl Node {
    /// Makes and gives out the table, if the former is no longer true.
    pub(super) fn publish(&mut self) {
        if !std::mem::take(&mut self.is_stale) {
            return;
        }
        let entries = self.remotes.iter().map(|(_, remote)| Entry {
            tunnel: remote.tunnel.clone(),
            id: remote.key.map(|_| remote.id),
            address: remote.address,
            path: remote.path(),
            mtu: remote.mtu(),
        });
        let table = PeerTable::new(overlay(&self.me), relays(&self.clients), entries.collect());
        self.table = Arc::new(table);
        // Ahead of everything: what leaves after it may be answered before the next output is carried out.
        self.outputs.push_front(Output::Table(self.table.clone()));
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
