//! Roaming: what changes around this machine, and what is done about it before anything is missed.
//!
//! Whatever happens here, sessions go on: paths change under them. Order matters: the relay learns first where we are, so
//! that what follows can go through it.

use std::time::Duration;

use super::{Node, Output, Slot};
use crate::punch::Families;
use crate::wire::{Hop, Now, Path};

/// A peer does not keep a session for longer than this without hearing from us (Reject-After-Time of WireGuard is 180 s);
/// we might believe in it after a sleep, because our clock stood still.
const SESSION: Duration = Duration::from_secs(150);

impl Node {
    /// Takes note that packets may leave this machine by another way than before, though its addresses are the same:
    /// another default route, or a cable that was out for a moment.
    pub fn handle_network_change(&mut self, now: Now) {
        self.output_redial();
        self.rearrange(now, Families::default(), true);
    }

    /// Takes note that this machine slept for so long, its clock included.
    pub fn handle_wake(&mut self, now: Now, asleep: Duration) {
        self.output_redial();
        self.rearrange(now, Families { v4: true, v6: true }, true);
        for slot in self.remotes.slots() {
            let is_up = self.remotes.get(slot).is_some_and(|remote| remote.is_up);
            if is_up && asleep >= SESSION {
                self.session_down(now, slot);
            }
            if is_up {
                self.reconnect(now, slot);
            }
        }
    }

    /// Takes note that the kernel refused to send by this hop: there is no route, or a rule forbids it.
    pub fn handle_refused(&mut self, now: Now, hop: Hop) {
        if !self.refused.take(now.monotonic) {
            return;
        }
        for slot in self.remotes.live() {
            let path = self.remotes.get(slot).and_then(|remote| remote.path());
            let Some(path) = path.filter(|path| self.leaves_by(*path, hop)) else { continue };
            self.with_agent(slot, |agent| agent.refused(now, path));
            self.drive(now, slot);
        }
    }

    /// Our own addresses changed, and those of some families are gone.
    pub(super) fn moved(&mut self, now: Now, lost: Families) {
        let is_elsewhere = lost.v4 || lost.v6;
        if is_elsewhere {
            self.output_redial();
        }
        self.rearrange(now, lost, is_elsewhere);
    }

    /// A peer did not answer in time: perhaps a router gave us another address, and nobody knows where we are.
    pub(super) fn doubt(&mut self, now: Now) {
        if self.doubts.take(now.monotonic) {
            self.clients.doubt(now);
            self.drain_clients(now);
        }
    }

    fn rearrange(&mut self, now: Now, lost: Families, is_elsewhere: bool) {
        match is_elsewhere {
            true => self.clients.network_changed(now),
            false => self.clients.network_grew(now),
        }
        self.drain_clients(now);
        self.candidates_changed(now);
        for slot in self.remotes.slots() {
            self.with_agent(slot, |agent| agent.network_changed(now, lost));
            self.drive(now, slot);
        }
        self.lan.network_changed(now.monotonic);
    }

    /// Makes a fresh session with a peer, by all ways that there are.
    fn reconnect(&mut self, now: Now, slot: Slot) {
        let Some(remote) = self.remotes.get_mut(slot) else { return };
        remote.attempt.stop_initiating();
        if remote.is_up {
            remote.attempt.initiate_at(now.monotonic);
            self.step(now, slot);
        } else {
            self.want(now, slot);
        }
    }

    fn leaves_by(&self, path: Path, hop: Hop) -> bool {
        self.table.first_hop(path).is_some_and(|(first, _)| first == hop)
    }

    fn output_redial(&mut self) {
        self.outputs.push_back(Output::Redial);
    }
}
