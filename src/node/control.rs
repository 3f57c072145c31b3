//! Control packets: what peers say to each other inside their tunnel.

use super::Node;
use super::connect::Heard;
use super::remote::Ways;
use crate::peer::{Arrival, Slot};
use crate::punch::Agent;
use crate::wire::control::{self, Control};
use crate::wire::{Drop, Now, Path};

impl Node {
    /// Takes a control packet that the peer table opened.
    pub fn handle_control(&mut self, now: Now, arrival: Arrival, packet: &[u8]) {
        self.heard(now, arrival, Agent::received);
        let result = self.control(now, arrival, packet);
        self.counted(result);
        self.drive(now, arrival.slot);
    }

    fn control(&mut self, now: Now, arrival: Arrival, packet: &[u8]) -> Result<(), Drop> {
        let Arrival { slot, via, .. } = arrival;
        let (sender, receiver, control) = control::parse(packet)?;
        let remote = self.remotes.get(slot).ok_or(Drop::UnknownSession)?;
        // Told again, though the table checks it: the slot may be another peer's by now.
        if sender != remote.id || receiver != self.me.id {
            return Err(Drop::WrongSource);
        }
        match control {
            Control::Probe { id } => self.agent(slot)?.handle_probe(now, via, id),
            Control::ProbeAnswer { id, observed } => {
                self.agent(slot)?.handle_answer(now, via, id, observed);
            }
            Control::PunchOffer(punch) => self.agent(slot)?.handle_offer(now, punch),
            Control::PunchAccept(punch) => self.agent(slot)?.handle_accept(now, punch),
            Control::MtuProbe { id, size } => self.agent(slot)?.handle_mtu_probe(now, via, id, size),
            Control::MtuAnswer { id, size } => self.agent(slot)?.handle_mtu_answer(now, via, id, size),
            Control::Ping { id } => {
                let back = remote.path().unwrap_or(via);
                self.send_control(slot, back, &Control::Pong { id });
            }
            Control::Pong { id } => self.pong(now, slot, via, id)?,
            Control::Carry { to, payload } => self.carry(now, arrival, to, payload)?,
            Control::Carried { from, payload } => self.carried(now, arrival, from, &payload)?,
            Control::LaneOffer(share) => self.lane_offered(now, slot, via, share)?,
            Control::LaneAccept(share) => self.lane_accepted(now, slot, via, share)?,
            Control::Introduction(introduction) => {
                let key = remote.key.ok_or(Drop::Untrusted)?;
                self.introduced(now, &key, introduction, Heard::Inside(via))?;
            }
        }
        Ok(())
    }

    fn agent(&mut self, slot: Slot) -> Result<&mut Agent, Drop> {
        match self.remotes.get_mut(slot).map(|remote| &mut remote.ways) {
            Some(Ways::Agent(agent)) => Ok(agent),
            _ => Err(Drop::Untrusted),
        }
    }

    /// Tells a connected peer where we are, inside the tunnel.
    pub(super) fn introduce_inside(&mut self, slot: Slot, via: Path) {
        let Some(key) = self.remotes.get(slot).and_then(|remote| remote.key) else {
            return;
        };
        let introduction = self.introduction_to(&key, true);
        self.send_control(slot, via, &Control::Introduction(introduction));
    }
}
