//! Introductions: who is told where we are, and what another's introduction sets off.

use std::net::SocketAddr;
use std::time::Duration;

use super::handshake::FALLBACK;
use super::remote::Remote;
use super::{Node, Slot, lan};
use crate::identity::PublicKey;
use crate::wire::introduction::{EnvelopeKind, Introduction};
use crate::wire::{Drop, Now, Path};

/// Where both sides received an answer, the one with the greater key lets the other go first.
const YIELD: Duration = Duration::from_secs(1);
/// Introductions at once after a login, and the pause until as many more.
const PACE: usize = 64;
const PACE_PAUSE: Duration = Duration::from_millis(100);
/// Candidates that change together are told together.
const SETTLE: Duration = Duration::from_millis(100);

/// How an introduction came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Through the rendezvous.
    Rendezvous,
    /// In a beacon on the LAN, from the peer's socket.
    Lan(SocketAddr),
    /// In the tunnel, by this path.
    Inside(Path),
}

impl Node {
    /// Something wants to reach a peer: introduce the node, and try what is known already.
    pub(super) fn want(&mut self, now: Now, slot: Slot) {
        let Some(remote) = self.remotes.get_mut(slot).filter(|remote| !remote.is_up) else {
            return;
        };
        remote.attempt.demand(now.monotonic);
        if remote.tunnel_key.is_some() && !remote.handshake_paths().is_empty() {
            remote.attempt.initiate_at(now.monotonic);
        }
        self.step(now, slot);
    }

    /// Does what the schedule of one peer says is due.
    pub(super) fn step(&mut self, now: Now, slot: Slot) {
        let Some(remote) = self.remotes.get_mut(slot) else {
            return;
        };
        let key = remote.key;
        let introduce = remote.attempt.take_introduction(now.monotonic);
        let initiate = remote.attempt.take_initiation(now.monotonic);
        if let Some(key) = key.filter(|_| introduce) {
            self.introduce(now, &key, false);
        }
        if initiate {
            self.initiate(slot);
        }
    }

    /// Tells a trusted node where we are: through the rendezvous, while the link is up, and, unless it is an answer to
    /// what came from there, on the LAN.
    pub(super) fn introduce(&mut self, now: Now, key: &PublicKey, answer: bool) {
        let body = self.introduction_to(key, answer).encode();
        self.deliver(now, key, EnvelopeKind::Introduction, &body, false);
        if !answer {
            self.lan.ask(now.monotonic, key);
        }
    }

    /// Takes a peer's introduction.
    pub(super) fn introduced(
        &mut self,
        now: Now,
        key: &PublicKey,
        introduction: Introduction,
        heard: Heard,
    ) -> Result<(), Drop> {
        let slot = self.remotes.of_key(key).ok_or(Drop::Untrusted)?;
        let remote = self.remotes.get_mut(slot).ok_or(Drop::Untrusted)?;
        if !remote.introductions.take(now.monotonic) {
            return Err(Drop::RateLimited);
        }
        self.take_certificate(now, slot, key, &introduction)?;
        self.book.set_hostname(key, introduction.hostname);
        self.save();
        let remote = self.remotes.get_mut(slot).ok_or(Drop::Untrusted)?;
        let known = remote.boot.replace(introduction.boot);
        remote.is_renewing |= remote.is_up && known.is_some_and(|b| b != introduction.boot);
        remote.nat = introduction.nat;
        remote.told = match heard {
            Heard::Lan(_) => lan::merge(introduction.candidates, &remote.told),
            _ => introduction.candidates,
        };
        remote.told.shrink_to_fit();
        // What is said to a whole LAN speaks of no friends.
        if !matches!(heard, Heard::Lan(_)) {
            remote.friends = introduction.friends;
        }
        self.friends.is_stale |= std::mem::replace(&mut remote.relays, introduction.relays) != introduction.relays;
        self.update_way(now, slot);
        if let Heard::Inside(via) = heard {
            self.with_agent(slot, |agent| agent.introduced_by(now, via));
        }
        self.drive(now, slot);
        if !matches!(heard, Heard::Inside(_)) {
            self.respond(now, slot, key, introduction.answer, heard);
        }
        Ok(())
    }

    /// Answers an introduction, or starts the handshake that an answer allows.
    fn respond(&mut self, now: Now, slot: Slot, key: &PublicKey, is_answer: bool, heard: Heard) {
        let Some(remote) = self.remotes.get_mut(slot) else {
            return;
        };
        let needs_session = !remote.is_up || remote.is_renewing;
        let is_second = remote.attempt.is_crossing(now.monotonic) && self.me.key > *key;
        let delay = match is_answer {
            true if is_second => YIELD,
            true => Duration::ZERO,
            false => FALLBACK,
        };
        let may_answer = !is_answer && remote.attempt.may_answer(now.monotonic);
        if needs_session {
            remote.attempt.initiate_at(now.monotonic + delay);
        }
        match heard {
            Heard::Lan(from) if may_answer => self.answer_beacon(now, key, from),
            _ if may_answer => self.introduce(now, key, true),
            _ => {}
        }
        self.step(now, slot);
    }

    /// Checks the tunnel key of an introduction. Another one than before ends the former tunnel.
    fn take_certificate(
        &mut self,
        now: Now,
        slot: Slot,
        key: &PublicKey,
        introduction: &Introduction,
    ) -> Result<(), Drop> {
        let certificate = introduction.certificate;
        certificate.verify(key).map_err(|_| Drop::MalformedIntroduction)?;
        if !self.book.set_certificate(key, certificate) {
            return Err(Drop::Replayed);
        }
        self.save();
        let remote = self.remotes.get(slot).ok_or(Drop::Untrusted)?;
        if remote.tunnel_key == Some(certificate.key) {
            return Ok(());
        }
        if !self.remotes.set_tunnel_key(slot, certificate.key) {
            return Err(Drop::MalformedIntroduction);
        }
        self.end_tunnel(now, slot);
        Ok(())
    }

    /// Where we are has changed: connected peers are told inside the tunnel, others by introduction.
    pub(super) fn candidates_changed(&mut self, now: Now) {
        self.stale.relays();
        self.me.set_nat(&self.clients);
        self.update_ways(now);
        self.announce_later(now);
        self.event(super::Event::Candidates);
    }

    pub(super) fn announce_later(&mut self, now: Now) {
        self.timers.announce_at = Some(now.monotonic + SETTLE);
    }

    /// Tells the candidates that changed a moment ago: by the path in use, and over the relay where that is another.
    pub(super) fn announce(&mut self, now: Now) {
        let identified = self.remotes.iter().filter(|(_, remote)| remote.key.is_some());
        let connected: Vec<(Slot, Path)> =
            identified.flat_map(|(slot, remote)| remote.sure_paths().map(move |path| (slot, path))).collect();
        for (slot, path) in connected {
            self.introduce_inside(slot, path);
        }
        self.introduce_to_all(now);
    }

    /// Introduces the node to every trusted peer that is not reached, a few at a time.
    pub(super) fn introduce_to_all(&mut self, now: Now) {
        let away = self.remotes.iter().filter(|(_, remote)| remote.is_away());
        self.to_introduce = away.filter_map(|(_, remote)| remote.key).collect();
        self.introduce_some(now);
    }

    pub(super) fn introduce_some(&mut self, now: Now) {
        let count = self.to_introduce.len().min(PACE);
        let some: Vec<PublicKey> = self.to_introduce.drain(..count).collect();
        for key in some {
            let slot = self.remotes.of_key(&key);
            if slot.is_some_and(|slot| self.remotes.get(slot).is_some_and(Remote::is_away)) {
                self.introduce(now, &key, false);
            }
        }
        let more = !self.to_introduce.is_empty();
        self.timers.introduce_at = more.then_some(now.monotonic + PACE_PAUSE);
    }
}
