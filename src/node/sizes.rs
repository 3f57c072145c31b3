//! How large packets may be: what our own system says about datagrams, and what programs are told.

use super::remote::{Remote, Ways};
use super::{Node, Output};
use crate::wire::{Drop, Hop, Mtu, Now, too_big::too_big};

impl Node {
    /// The system refused to send a datagram with an inner packet of this size this way: it exceeds the link.
    pub fn handle_too_big(&mut self, now: Now, hop: Hop, inner: usize) {
        let Ok(inner) = u16::try_from(inner) else { return };
        let uses = |remote: &Remote| {
            let way = remote.path().and_then(|path| self.table.first_hop(path));
            way.is_some_and(|(of, _)| of == hop)
        };
        let mut slots = self.remotes.live();
        slots.retain(|slot| self.remotes.get(*slot).is_some_and(uses));
        for slot in slots {
            if let Some(Ways::Agent(agent)) = self.remotes.get_mut(slot).map(|remote| &mut remote.ways) {
                agent.mtu_refused(now, inner);
                self.drive(now, slot);
            }
        }
    }

    /// Refuses a packet of our programs, and says so a few times a second.
    pub(super) fn refuse(&mut self, now: Now, packet: &[u8], mtu: u16) {
        self.drops.count(Drop::TooBig);
        if self.refusals.take(now.monotonic)
            && let Some(message) = too_big(packet, mtu)
        {
            self.outputs.push_back(Output::Packet(message));
        }
    }
}

impl Remote {
    /// How large packets to it may be.
    pub fn mtu(&self) -> Mtu {
        match &self.ways {
            Ways::Agent(agent) => agent.mtu(),
            Ways::Fixed(_) => Mtu::fixed(self.fixed_mtu),
        }
    }
}
