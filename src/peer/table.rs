//! What the fast path knows of all peers, and the two ways through it.
//!
//! Out: [`PeerTable::outbound`] takes a packet of our programs to a sealed datagram and its
//! endpoint. In: [`PeerTable::inbound`] takes a datagram to a packet whose inner addresses are
//! proven. Whatever needs a decision comes back as slow, for the node; everything refused comes back
//! with its reason, to be counted by the caller.
//!
//! A table is never changed: the node makes another one, and whoever reads swaps it. The next one shares with the former
//! all that is the same in both, so that a change costs about as much with one peer as with ten thousand.

mod inbound;
mod mss;
mod outbound;
mod places;

use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::Ipv6Net;

use super::gate::Gate;
use super::slot::Slot;
use super::tunnel::Tunnel;
use crate::identity::{Address, NodeId, Prefix, link_local};
use crate::wire::{Allocation, Hop, Mtu, Path, RelayAddress};

pub use inbound::{Arrival, Inbound};
pub use outbound::{NoWay, Outbound, Way, Why};
use places::Places;

/// Where we are in the overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// The prefix of all overlay addresses.
    pub prefix: Prefix,
    /// Our own address.
    pub address: Address,
}

/// Our place on the relay, while we are bound there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Relay {
    /// The number of the rendezvous server that it belongs to, and of its stream.
    pub number: u8,
    /// The relay's UDP endpoint.
    pub server: SocketAddr,
    /// How frames for it leave.
    pub hop: Hop,
    /// Names our login in the frames that we send.
    pub session: u64,
    /// Where others send to reach us.
    pub allocation: Allocation,
}

/// A peer as the fast path sees it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its tunnel, which also says the entry's slot; none until the first handshake is wanted.
    pub tunnel: Option<Arc<Tunnel>>,
    /// Its node ID; none for a plain WireGuard peer, which sends no control packets.
    pub id: Option<NodeId>,
    /// The only address that it may send from, within our network's /64.
    pub address: Ipv6Addr,
    /// The path that packets to it take.
    pub path: Option<Path>,
    /// How large they may be.
    pub mtu: Mtu,
    /// What keeps its packets to what it may open here; none where that is everything.
    pub gate: Option<Arc<Gate>>,
}

/// All peers by address, and those with a tunnel by slot.
#[derive(Clone)]
pub struct PeerTable {
    own: Ipv6Addr,
    own_link_local: Ipv6Addr,
    route: Ipv6Net,
    relays: Vec<Relay>,
    entries: Places,
    /// Slot by interface ID. Peers choose their IDs to some degree, so the hash has a secret key; nothing iterates over it.
    by_interface: Arc<HashMap<u64, Slot>>,
}

impl PeerTable {
    /// An entry stands at the slot of its tunnel, one without a tunnel at the lowest that is left. Slots should be dense:
    /// the table has room for all up to the largest.
    pub fn new(overlay: Overlay, relays: impl IntoIterator<Item = Relay>, entries: Vec<Entry>) -> Self {
        let empty = PeerTable {
            own: overlay.prefix.ipv6(overlay.address),
            own_link_local: link_local(overlay.address.node),
            route: overlay.prefix.route(overlay.address.network),
            relays: relays.into_iter().collect(),
            entries: Places::default(),
            by_interface: Arc::default(),
        };
        let (placed, others): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| entry.tunnel.is_some());
        let table =
            empty.changed(placed.into_iter().filter_map(|entry| Some((entry.tunnel.as_ref()?.slot(), Some(entry)))));
        let free: Vec<Slot> =
            (0..).map_while(Slot::new).filter(|slot| table.entries.get(*slot).is_none()).take(others.len()).collect();
        table.changed(free.into_iter().zip(others.into_iter().map(Some)))
    }

    /// The same table with other entries at these slots; none removes what stands there.
    #[must_use]
    pub fn changed(&self, changes: impl IntoIterator<Item = (Slot, Option<Entry>)>) -> Self {
        let mut table = self.clone();
        for (slot, entry) in changes {
            let former = table.entries.get(slot).map(|entry| entry.address);
            let address = entry.as_ref().map(|entry| entry.address);
            table.entries.set(slot, entry);
            if former != address {
                table.rename(slot, former, address);
            }
        }
        table
    }

    /// The same table with our places on these relays.
    #[must_use]
    pub fn with_relays(&self, relays: impl IntoIterator<Item = Relay>) -> Self {
        PeerTable { relays: relays.into_iter().collect(), ..self.clone() }
    }

    /// Finds the entry at a slot by another address than before.
    fn rename(&mut self, slot: Slot, former: Option<Ipv6Addr>, address: Option<Ipv6Addr>) {
        let slots = Arc::make_mut(&mut self.by_interface);
        if let Some(former) = former.map(interface)
            && slots.get(&former) == Some(&slot)
        {
            slots.remove(&former);
        }
        if let Some(address) = address {
            slots.insert(interface(address), slot);
        }
    }

    /// The entry at this slot, if it has a tunnel.
    pub fn by_slot(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(slot).filter(|entry| entry.tunnel.is_some())
    }

    /// The entry with this overlay address.
    pub fn by_address(&self, address: Ipv6Addr) -> Option<&Entry> {
        let slot = self.by_interface.get(&interface(address))?;
        self.entries.get(*slot).filter(|entry| entry.address == address)
    }

    /// All entries, in the order of their slots.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Our place on the relay whose stream has this number, while we are bound there.
    pub fn relay_of(&self, stream: u8) -> Option<&Relay> {
        self.relays.iter().find(|relay| relay.number == stream)
    }

    /// The path by which our relay delivers what this allocation sent.
    fn relayed(relay: &Relay, allocation: Allocation) -> Path {
        let server = relay.server;
        Path::Relayed(RelayAddress { server, allocation })
    }
}

/// The low 64 bits of an address: all that differs within a network.
fn interface(address: Ipv6Addr) -> u64 {
    u128::from(address) as u64
}

impl std::fmt::Debug for PeerTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerTable")
            .field("own", &self.own)
            .field("relays", &self.relays)
            .field("entries", &self.entries.iter().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Relay {
    // The session authorises sending.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay")
            .field("server", &self.server)
            .field("allocation", &self.allocation)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
