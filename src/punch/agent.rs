//! The path agent of one peer: what it is told, and what it tells. `decisions` is its other half.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;

use super::candidates::admit;
use super::mtu::Discovery;
use super::paths::Paths;
use super::probes::Probes;
use super::remote::{PathReport, Remote};
use super::search::Search;
use super::together::Together;
use super::watch::Watch;
use super::{Families, Output, Tactic};
use crate::identity::NodeId;
use crate::wire::control::Punch;
use crate::wire::{Candidate, Nat, Now, Path};

/// Finds and keeps the best path to one peer. The module page tells how.
pub struct Agent {
    pub(super) paths: Paths,
    pub(super) probes: Probes,
    pub(super) search: Search,
    pub(super) session: Option<Session>,
    pub(super) introduce: bool,
    pub(super) mtu: Discovery,
    pub(super) outputs: VecDeque<Output>,
    pub(super) together: Together,
    pub(super) nats: (Nat, Nat),
    pub(super) leads: bool,
    /// When something was last carried.
    pub(super) carried: Option<Instant>,
    announced: Option<Path>,
    /// Whether the last introduction no longer told the chosen path.
    withdrawn: bool,
}

/// What exists while a session is up: the path in use.
pub(super) struct Session {
    pub(super) chosen: Path,
    pub(super) since: Instant,
    pub(super) watch: Watch,
}

impl Agent {
    /// An agent that knows no path, and can send nothing until [`Agent::set_local`]. Probe ids are
    /// drawn from `id_seed`; candidates inside `overlay` are refused, so that the tunnel never
    /// runs through itself.
    ///
    /// Of the two agents of a pair one `leads`: it starts the attempts to punch together, and asks first where both would ask
    /// at once.
    pub fn new(id_seed: u64, overlay: Ipv6Net, leads: bool) -> Self {
        Self {
            paths: Paths::new(overlay),
            probes: Probes::new(id_seed),
            search: Search::closed(),
            session: None,
            introduce: false,
            mtu: Discovery::new(),
            outputs: VecDeque::new(),
            together: Together::new(leads, !id_seed),
            nats: (Nat::default(), Nat::default()),
            leads,
            carried: None,
            announced: None,
            withdrawn: false,
        }
    }

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

    /// Takes the spare sockets of an [`Output::Prepare`], and where STUN saw the first of them.
    pub fn prepared(&mut self, now: Now, sockets: &[u16], endpoint: SocketAddr) {
        let between = self.between();
        let step = self.together.prepared(now.monotonic, &between, sockets, endpoint);
        self.carry_out(step);
    }

    /// There are no spare sockets to be had now, or STUN did not answer.
    pub fn unprepared(&mut self, now: Now) {
        let step = self.together.unprepared(now.monotonic, &self.between());
        self.carry_out(Some(step));
    }

    /// The peer offers to punch together.
    pub fn handle_offer(&mut self, now: Now, offer: Punch) {
        if self.session.is_some() && !self.settled() && self.may_aim_at(offer) {
            let step = self.together.offered(now.monotonic, &self.between(), offer);
            self.carry_out(step);
        }
    }

    /// The peer accepts our offer.
    pub fn handle_accept(&mut self, now: Now, accept: Punch) {
        if self.session.is_some() && self.may_aim_at(accept) {
            self.together.accepted(now.monotonic, &self.between(), accept);
        }
    }

    /// Whether a spare socket is still of use: an attempt goes on, or a path by it is known to work.
    pub fn uses(&self, socket: u16) -> bool {
        self.together.is_busy() || self.paths.uses(socket)
    }

    /// Whether a direct path is being looked for right now.
    pub fn is_searching(&self) -> bool {
        self.session.is_some() && !self.settled() && (self.search.is_shooting() || self.together.is_busy())
    }

    /// What it takes to punch to this peer.
    pub fn tactic(&self) -> Tactic {
        Tactic::between(self.nats.0, self.nats.1)
    }

    /// The networks around us changed: every direct path is in doubt, and all are probed now. Where addresses of a
    /// family are gone (`lost`), a direct path of that family gives way at once.
    pub fn network_changed(&mut self, now: Now, lost: Families) {
        self.paths.doubt_direct(self.chosen());
        if self.session.is_some() {
            self.leave(now.monotonic, lost);
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
            self.fall_back(now.monotonic);
        }
    }

    /// The kernel refuses to send by this path: there is no route, or a rule forbids it.
    pub fn refused(&mut self, now: Now, via: Path) {
        if self.chosen() == Some(via) {
            self.fall_back(now.monotonic);
            self.check(now.monotonic);
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

    /// A probe came by this path.
    pub fn handle_probe(&mut self, now: Now, via: Path, id: u64) {
        let now = now.monotonic;
        let observed = via;
        self.push(Output::Answer { via, id, observed });
        self.arrived(now, via);
        if let Some(session) = self.session.as_mut().filter(|session| session.chosen == via) {
            session.watch.probed(now);
        }
        let chosen = self.chosen();
        if chosen.is_some() && self.paths.worth_probing_back(now, via, chosen) {
            self.probe(now, via);
        }
    }

    /// An answer came by this path. It counts only if it answers an outstanding probe that went
    /// by the same path.
    pub fn handle_answer(&mut self, now: Now, via: Path, id: u64, observed: Path) {
        let now = now.monotonic;
        let Some(rtt) = self.probes.answer(now, via, id) else {
            return;
        };
        let (Some(session), Some(remote)) = (&mut self.session, self.paths.get_mut(via)) else {
            return;
        };
        remote.answered(now, rtt, observed);
        if session.chosen == via {
            let has_recovered = session.watch.is_failed();
            session.watch.answered(now);
            self.mtu_path_answered(now, rtt);
            if has_recovered {
                self.reopen(now);
            }
        } else if self.better(now, via) {
            self.choose(now, via);
        }
    }

    /// An authenticated packet of any kind came by this path. For bulk data one call for many
    /// packets is enough; probes and answers need none, and do no harm.
    pub fn received(&mut self, now: Now, via: Path) {
        self.arrived(now.monotonic, via);
        self.carried = Some(now.monotonic);
        if let Some(session) = self.session.as_mut().filter(|s| s.chosen == via) {
            session.watch.heard(now.monotonic);
            if session.watch.is_failed() {
                self.check(now.monotonic);
            }
        }
    }

    /// Data of the peer's programs came in by the chosen path; [`Agent::received`] is called for it as well.
    pub fn replied(&mut self, now: Now) {
        if let Some(session) = &mut self.session {
            session.watch.replied(now.monotonic);
        }
    }

    /// User data went out over the chosen path, at this time at the earliest. For bulk data one call for many packets is
    /// enough, before [`Agent::received`] for what came in during the same time. Not for probes,
    /// answers and keepalives, which need no reply of their own.
    pub fn sent(&mut self, now: Now) {
        self.carried = Some(now.monotonic);
        self.mtu.used();
        if let Some(session) = &mut self.session {
            session.watch.sent(now.monotonic);
        }
    }

    /// Does what is due. Calling it early does nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        let now = now.monotonic;
        if self.session.is_none() {
            return;
        }
        self.run_watch(now);
        self.run_search(now);
        self.run_together(now);
        self.run_mtu(now);
    }

    /// When [`Agent::handle_timeout`] is next needed, and why; none without a session.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let watch = self.session.as_ref()?.watch.deadline(self.rtt());
        let search = self.search.deadline().map(|due| (due, "path search"));
        let together = self.together.deadline().map(|due| (due, "punching together"));
        let mtu = self.mtu.deadline().map(|due| (due, "MTU search"));
        [search, together, mtu].into_iter().flatten().chain([watch]).min()
    }

    /// The next thing to do; none when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        let chosen = self.chosen();
        if std::mem::replace(&mut self.announced, chosen) != chosen {
            return Some(Output::Chosen(chosen));
        }
        if let Some(mtu) = self.mtu.poll_change() {
            return Some(Output::Mtu(mtu));
        }
        if std::mem::take(&mut self.introduce) {
            let via = self.paths.working_relay().or(chosen);
            return via.map(|via| Output::Introduce { via });
        }
        self.outputs.pop_front()
    }

    /// Where a handshake initiation goes now: the chosen path while it is healthy, otherwise every
    /// path, relayed ones first. The `first` initiation of a connection leaves out endpoints on NATs
    /// where a relay is there: a datagram that comes too early spoils the mapping on some of them.
    pub fn handshake_paths(&self, first: bool) -> Vec<Path> {
        let healthy = |session: &&Session| {
            let working = self.remote(session.chosen).is_some_and(Remote::working);
            working && self.paths.sendable(session.chosen) && !session.watch.doubtful()
        };
        match self.session.as_ref().filter(healthy) {
            Some(session) => vec![session.chosen],
            None => self.paths.for_handshake(first && self.session.is_none()),
        }
    }

    /// Whether an answer of the chosen path is due right now.
    pub fn is_asking(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.watch.is_asking())
    }

    /// Whether a session is up and no path is known by which it could be used.
    pub fn is_stranded(&self) -> bool {
        let is_lost = |path| self.remote(path).is_some_and(|remote| remote.failed);
        self.chosen().is_some_and(is_lost) && !self.paths.any_works()
    }

    /// The relayed path that works, for what must arrive whatever happens to direct ones.
    pub fn relay(&self) -> Option<Path> {
        self.paths.working_relay()
    }

    /// The path that data goes by; none without a session.
    pub fn chosen(&self) -> Option<Path> {
        self.session.as_ref().map(|session| session.chosen)
    }

    /// The smoothed round-trip time of the chosen path, once a probe of it was answered.
    pub fn rtt(&self) -> Option<Duration> {
        self.remote(self.chosen()?)?.rtt
    }

    /// What was tried and what came of it: told candidates by rank, then paths seen.
    pub fn report(&self) -> Vec<PathReport> {
        self.paths.report(self.chosen())
    }

    #[cfg(test)]
    pub(super) fn assert_bounded(&self, paths: usize) {
        assert!(self.paths.len() <= paths);
        assert!(self.probes.len() <= super::probes::MAX_OUTSTANDING);
        assert!(self.outputs.len() <= super::decisions::MAX_OUTPUTS);
    }
}
