//! What the fast path knows of all peers, and the two ways through it.
//!
//! Out: [`PeerTable::outbound`] takes a packet of our programs to a sealed datagram and its
//! endpoint. In: [`PeerTable::inbound`] takes a datagram to a packet whose inner addresses are
//! proven. Whatever needs a decision comes back as slow, for the node; everything refused comes back
//! with its reason, to be counted by the caller.
//!
//! A table is never changed: the node makes another one, and whoever reads swaps it.

mod inbound;
mod mss;
mod outbound;

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::Ipv6Net;

use super::slot::Slot;
use super::tunnel::Tunnel;
use crate::identity::{Address, NodeId, Prefix, link_local};
use crate::wire::{Allocation, Hop, Mtu, Path, RelayAddress};

pub use inbound::{Arrival, Inbound};
pub use outbound::{Outbound, Way, Why};

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
}

/// All peers by address, and those with a tunnel by slot.
pub struct PeerTable {
    own: Ipv6Addr,
    own_link_local: Ipv6Addr,
    route: Ipv6Net,
    relays: Vec<Relay>,
    entries: Vec<Entry>,
    /// Interface ID and place in `entries`, in order.
    by_interface: Vec<(u64, usize)>,
    /// Place in `entries` by slot.
    by_slot: Vec<Option<usize>>,
}

impl PeerTable {
    /// Slots should be dense: the table has room for all up to the largest.
    pub fn new(overlay: Overlay, relays: impl IntoIterator<Item = Relay>, entries: Vec<Entry>) -> Self {
        let places = || entries.iter().enumerate();
        let mut by_interface: Vec<_> = places().map(|(place, entry)| (interface(entry.address), place)).collect();
        by_interface.sort_unstable();
        let slot = |entry: &Entry| Some(number(entry.tunnel.as_ref()?.slot()));
        let last = entries.iter().filter_map(slot).max();
        let mut by_slot = vec![None; last.map_or(0, |last| last + 1)];
        for (place, entry) in places() {
            if let Some(slot) = slot(entry).and_then(|slot| by_slot.get_mut(slot)) {
                *slot = Some(place);
            }
        }
        PeerTable {
            own: overlay.prefix.ipv6(overlay.address),
            own_link_local: link_local(overlay.address.node),
            route: overlay.prefix.route(overlay.address.network),
            relays: relays.into_iter().collect(),
            entries,
            by_interface,
            by_slot,
        }
    }

    /// The entry at this slot.
    pub fn by_slot(&self, slot: Slot) -> Option<&Entry> {
        let place = (*self.by_slot.get(number(slot))?)?;
        self.entries.get(place)
    }

    /// The entry with this overlay address.
    pub fn by_address(&self, address: Ipv6Addr) -> Option<&Entry> {
        let wanted = interface(address);
        let found = self.by_interface.binary_search_by_key(&wanted, |&(interface, _)| interface);
        let &(_, place) = self.by_interface.get(found.ok()?)?;
        let entry = self.entries.get(place)?;
        (entry.address == address).then_some(entry)
    }

    /// All entries, in the order in which they were given.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
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

fn number(slot: Slot) -> usize {
    slot.number() as usize
}

impl std::fmt::Debug for PeerTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerTable")
            .field("own", &self.own)
            .field("relays", &self.relays)
            .field("entries", &self.entries)
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
