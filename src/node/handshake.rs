//! Handshakes: whom we answer, and what a completed one changes.
//!
//! Silence to everybody whose tunnel key is no peer's, and to whatever was seen before: the floor
//! under a peer's timestamps is durable before the response leaves.

use std::time::Duration;

use super::remote::Ways;
use super::{Node, Slot};
use crate::peer::{Admission, initiation};
use crate::wire::{Drop, Now, Path};

/// Initiations that are looked at each second before a cookie is asked for.
pub(super) const ADMITTED: u64 = 100;

impl Node {
    pub(super) fn initiation(&mut self, now: Now, via: Path, bytes: &[u8]) -> Result<(), Drop> {
        if self.timers.take_second(now.monotonic) {
            self.limiter.reset();
            self.expected = None;
        }
        let from = via.first_hop().ip();
        if let Admission::Cookie(len) = self.limiter.admit(from, bytes, &mut self.buffer)? {
            if self.is_expected(via) {
                self.send_buffer(via, len);
            }
            return Err(Drop::UnderLoad);
        }
        let claim = initiation::read(&self.me.secret, bytes)?;
        let slot = self.remotes.of_tunnel(&claim.static_key);
        let slot = slot.ok_or(Drop::Stranger)?;
        self.accept(now, slot, via, bytes, claim.timestamp)
    }

    /// Answers a peer's initiation.
    fn accept(
        &mut self,
        now: Now,
        slot: Slot,
        via: Path,
        bytes: &[u8],
        timestamp: initiation::Timestamp,
    ) -> Result<(), Drop> {
        let remote = self.remotes.get_mut(slot).ok_or(Drop::Stranger)?;
        let key = remote.key;
        let saved = key.and_then(|key| self.book.peer(&key));
        let floor = saved.map_or(remote.floor, |peer| peer.initiation_floor);
        // TAI64N is big-endian: it compares as bytes.
        if timestamp <= floor {
            return Err(Drop::Replayed);
        }
        if !remote.handshakes.take(now.monotonic) {
            return Err(Drop::RateLimited);
        }
        let tunnel = self.tunnel(slot).ok_or(Drop::Stranger)?;
        let len = tunnel.handle_initiation(bytes, &mut self.buffer)?;
        if let Some(key) = key {
            self.book.raise_floor(&key, timestamp);
            self.save();
        }
        self.send_buffer(via, len);
        // A direct way may be open in one direction only, until both sides have sent.
        if let Some(relay) = self.relay_beside(slot, via) {
            self.send_buffer(relay, len);
        }
        if let Some(remote) = self.remotes.get_mut(slot) {
            remote.floor = timestamp;
            remote.attempt.stop_initiating();
        }
        self.renew(now, slot);
        Ok(())
    }

    /// Takes the response to our initiation: the session is up, and the keepalive tells the peer so.
    pub(super) fn response(&mut self, now: Now, slot: Slot, via: Path, bytes: &[u8]) -> Result<(), Drop> {
        let remote = self.remotes.get(slot).ok_or(Drop::UnknownSession)?;
        let tunnel = remote.tunnel.clone().ok_or(Drop::UnknownSession)?;
        let len = tunnel.handle_response(bytes, &mut self.buffer)?;
        self.send_buffer(via, len);
        self.renew(now, slot);
        let is_up = self.remotes.get(slot).is_some_and(|remote| remote.is_up);
        if is_up {
            if let Some(remote) = self.remotes.get_mut(slot) {
                remote.attempt.succeeded();
                if let Ways::Agent(agent) = &mut remote.ways {
                    agent.received(now, via);
                }
            }
            self.drive(now, slot);
        } else {
            self.session_up(now, slot, via);
        }
        self.tend_lane(now, slot);
        Ok(())
    }

    pub(super) fn cookie(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), Drop> {
        let remote = self.remotes.get(slot).ok_or(Drop::UnknownSession)?;
        let tunnel = remote.tunnel.as_ref().ok_or(Drop::UnknownSession)?;
        tunnel.handle_cookie(bytes)
    }

    /// The peer restarted and now proved it by a handshake: its former session and paths are void.
    fn renew(&mut self, now: Now, slot: Slot) {
        let is_renewing = self.remotes.get(slot).is_some_and(|remote| remote.is_renewing);
        if is_renewing {
            self.session_down(now, slot);
        }
    }

    /// Whether a peer may be behind this path: only then a cookie is worth sending. All peers are looked at once a second
    /// of load, however many initiations come.
    fn is_expected(&mut self, via: Path) -> bool {
        let ways = self.remotes.iter().map(|(_, remote)| &remote.ways);
        let expected = self.expected.get_or_insert_with(|| ways.flat_map(Ways::all).collect());
        expected.contains(&via)
    }

    /// The relayed path to a peer that is not connected, beside a direct one.
    fn relay_beside(&self, slot: Slot, via: Path) -> Option<Path> {
        let remote = self.remotes.get(slot).filter(|remote| !remote.is_up)?;
        let mut paths = remote.handshake_paths().into_iter();
        let relay = paths.find(|path| !path.is_direct());
        relay.filter(|_| via.is_direct())
    }

    /// Starts a handshake, or repeats it: the same bytes go wherever the peer might be.
    pub(super) fn initiate(&mut self, slot: Slot) {
        let Some(tunnel) = self.tunnel(slot) else {
            return;
        };
        if let Some(len) = tunnel.initiate(&mut self.buffer) {
            self.send_initiation(slot, len);
        }
    }

    /// Sends the initiation in the buffer along the handshake paths of a peer.
    pub(super) fn send_initiation(&mut self, slot: Slot, len: usize) {
        let paths = self.remotes.get(slot).map(|remote| remote.handshake_paths());
        for path in paths.unwrap_or_default() {
            self.send_buffer(path, len);
        }
    }
}

/// How long a peer whose introduction we answered has to initiate before we do.
pub(super) const FALLBACK: Duration = Duration::from_secs(2);
