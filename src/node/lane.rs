//! Lanes: what their agreement and their traffic ask of the node (`docs/lane.md`).

use super::{Node, Slot};
use crate::peer::{Party, Tunnel};
use crate::wire::{Drop, LaneShare, Now, Path};

impl Node {
    /// The tunnel of an identified peer wants lanes, if we do.
    pub(super) fn with_lane(&self, slot: Slot, tunnel: Tunnel) -> Tunnel {
        let theirs = self.remotes.get(slot).and_then(|remote| remote.key).filter(|_| self.me.has_lanes);
        let Some(identity) = theirs else {
            return tunnel;
        };
        let ours = Party { identity: self.me.key, tunnel: self.me.certificate.key };
        let theirs = Party { identity, tunnel: tunnel.peer_key() };
        tunnel.with_lane(ours, theirs)
    }

    /// Says what the lane of a peer has to say: after each handshake that has something to carry, and again while nothing
    /// comes back.
    pub(super) fn tend_lane(&mut self, now: Now, slot: Slot) {
        let Some(remote) = self.remotes.get(slot) else { return };
        let Some(tunnel) = remote.tunnel.clone() else { return };
        let path = remote.path();
        let control = tunnel.tend_lane(now.monotonic, &mut self.rng);
        if let (Some(control), Some(path)) = (control, path) {
            self.send_control(slot, path, &control);
        }
    }

    /// Begins the handshake that WireGuard's timers would begin, had they seen what the lane carried.
    pub(super) fn renew_lane(&mut self, slot: Slot) {
        let tunnel = self.remotes.get(slot).filter(|remote| remote.is_up).and_then(|remote| remote.tunnel.as_ref());
        if tunnel.is_some_and(|tunnel| tunnel.wants_handshake()) {
            self.initiate(slot);
        }
    }

    pub(super) fn lane_offered(&mut self, now: Now, slot: Slot, via: Path, offer: LaneShare) -> Result<(), Drop> {
        let remote = self.remotes.get(slot).ok_or(Drop::UnknownSession)?;
        let tunnel = remote.tunnel.clone().ok_or(Drop::UnknownSession)?;
        let acceptance = tunnel.handle_lane_offer(now.monotonic, offer, &mut self.rng)?;
        self.send_control(slot, via, &acceptance);
        Ok(())
    }

    pub(super) fn lane_accepted(&mut self, now: Now, slot: Slot, via: Path, share: LaneShare) -> Result<(), Drop> {
        let remote = self.remotes.get(slot).ok_or(Drop::UnknownSession)?;
        let tunnel = remote.tunnel.clone().ok_or(Drop::UnknownSession)?;
        let len = tunnel.handle_lane_accept(now.monotonic, share, &mut self.buffer)?;
        self.send_buffer(via, len);
        Ok(())
    }
}
