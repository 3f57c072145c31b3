//! Keeps TCP connections of our programs to segments that the path carries, both ways.

use std::net::Ipv6Addr;

use super::{Entry, PeerTable};
use crate::peer::slot::Slot;
use crate::wire::mss::{clamp, is_syn};
use crate::wire::packet::Packet;

impl PeerTable {
    /// Lowers the segment size in a SYN of our programs: the peer's will send no larger ones.
    pub fn clamp_outbound(&self, packet: &mut [u8]) {
        if is_syn(packet)
            && let Some(entry) = destination(packet).and_then(|address| self.by_address(address))
        {
            entry.clamp(packet);
        }
    }

    /// Lowers the segment size in a SYN of a peer: our programs will send no larger ones.
    pub fn clamp_inbound(&self, slot: Slot, packet: &mut [u8]) {
        if is_syn(packet)
            && let Some(entry) = self.by_slot(slot)
        {
            entry.clamp(packet);
        }
    }
}

impl Entry {
    /// A connection keeps its segment size for life: nothing is lowered to what a search has merely not exceeded yet.
    fn clamp(&self, packet: &mut [u8]) {
        if self.mtu.is_settled {
            clamp(packet, self.mtu.inner);
        }
    }
}

fn destination(packet: &[u8]) -> Option<Ipv6Addr> {
    Packet::parse(packet).ok().map(|packet| packet.destination())
}
