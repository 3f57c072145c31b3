//! What the path agent learns about either end: addresses, relays, NATs, sessions, and that something is not as it was.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::accord::Accord;
use super::candidates::admit;
use super::search::Search;
use super::standby::Standby;
use super::{Agent, Families, Output};
use crate::identity::NodeId;
use crate::wire::{Candidate, Nat, Now, Path};

impl Agent {
    /// Takes the candidates of the peer's latest introduction, which replace the earlier ones.
    ///
    /// The introduction also says that the peer searches now: with a session up, this side joins
    /// even if nothing in it is new.
    pub fn set_remote_candidates(&mut self, now: Now, candidates: &[Candidate]) {
        let told = admit(candidates, self.paths.overlay());
        let now = now.monotonic;
        let was_told = self.is_told();
        let new = self.paths.replace(now, &told, self.chosen());
        self.withdrawn = was_told && !self.is_told();
        if self.session.is_none() {
            return;
        }
        match new {
            true => self.search.open(now),
            // Joining again and again this side would never start a round of its own, in which the peer is told where we
            // are: what was told before may have been lost.
            false => self.introduce |= self.search.join(now),
        }
        self.check(now);
        self.run_search(now);
    }

    /// Takes what we can send from.
    pub fn set_local(&mut self, now: Now, families: Families, relays: Vec<SocketAddr>) {
        let now = now.monotonic;
        let new = self.paths.set_local(families, relays);
        let Some(chosen) = self.chosen() else { return };
        if !self.paths.sendable(chosen) {
            self.fail(now);
        }
        if new {
            self.reopen(now);
        }
    }

    /// Takes the friends that pass on what we send.
    pub fn set_friends(&mut self, now: Now, friends: BTreeSet<NodeId>) {
        self.paths.set_friends(friends);
        if self.chosen().is_some_and(|chosen| !self.paths.sendable(chosen)) {
            self.fail(now.monotonic);
        }
    }

    /// Takes what is known of the NATs in front of us and of the peer.
    pub fn set_nats(&mut self, now: Now, ours: Nat, theirs: Nat) {
        if self.nats != (ours, theirs) {
            self.nats = (ours, theirs);
            if self.session.is_some() && !self.together.is_busy() {
                self.together.open(now.monotonic, &self.between());
            }
        }
    }

    /// The networks around us changed: every direct path is in doubt, and all are probed now. Where addresses of a
    /// family are gone (`lost`), a direct path of that family gives way at once.
    pub fn network_changed(&mut self, now: Now, lost: Families) {
        let former = self.chosen();
        self.paths.doubt_direct(|path| Some(path) != former && lost.has(path));
        if self.session.is_some() {
            self.leave(now.monotonic, lost);
        }
        let kept = self.chosen();
        self.paths.doubt_direct(|path| Some(path) != kept);
        if self.session.is_some() {
            self.check(now.monotonic);
            self.search.restart(now.monotonic);
            self.reopen(now.monotonic);
            self.mtu.moved(now.monotonic);
        }
    }

    /// The last introduction came inside the tunnel, by this path. If it withdrew the endpoint that we use, then the peer
    /// is there no longer, and is where it spoke.
    pub fn introduced_by(&mut self, now: Now, via: Path) {
        let is_withdrawn = std::mem::take(&mut self.withdrawn);
        let is_elsewhere = self.chosen().is_some_and(|chosen| chosen.is_direct() && chosen != via);
        if is_withdrawn && is_elsewhere {
            self.withdraw(now.monotonic, via);
        }
    }

    /// The kernel refuses to send by this path: there is no route, or a rule forbids it.
    pub fn refused(&mut self, now: Now, via: Path) {
        if self.chosen() == Some(via) {
            self.give_up(now.monotonic);
            self.check(now.monotonic);
            self.ask_standby(now.monotonic);
        }
    }

    /// A session is up: the first authenticated packet in it came by this path. A re-key of a
    /// session that is up already changes nothing.
    pub fn session_established(&mut self, now: Now, via: Path) {
        if self.session.is_some() {
            return self.received(now, via);
        }
        let now = now.monotonic;
        self.paths.carried(now, via);
        self.choose(now, via);
        self.search.open(now);
        self.together.open(now, &self.between());
        self.run_search(now);
    }

    /// The session is gone, and with it all proofs; the candidates stay for the next handshake.
    pub fn session_lost(&mut self, _now: Now) {
        self.session = None;
        self.search = Search::closed();
        self.standby = Standby::default();
        self.accord = Accord::default();
        self.probes.clear();
        self.paths.doubt_all();
        self.introduce = false;
        self.mtu.lost();
        self.outputs.clear();
        self.paths.forget_spares();
        if self.together.stop() {
            self.outputs.push_back(Output::Release);
        }
    }
}
