//! What the path agent makes of what it is told: which path to use, check and probe.

use std::time::{Duration, Instant};

use super::agent::{Agent, Session};
use super::remote::Remote;
use super::search::Due;
use super::watch::{Beside, Verdict, Watch};
use super::{Families, Output};
use crate::wire::Path;

/// Probes and answers that wait to be polled; more are dropped, as a network would.
pub(super) const MAX_OUTPUTS: usize = 320;
/// A direct path replaces another only if its round trip is shorter by more than both of these.
const FASTER_BY: Duration = Duration::from_millis(5);
const FASTER_BY_PERCENT: u32 = 20;

impl Agent {
    /// A packet from an unknown endpoint: the peer moved, or its NAT shows us another side of it. One by another path
    /// than ours: the peer may have left ours for a reason.
    pub(super) fn arrived(&mut self, now: Instant, via: Path) {
        let new = self.paths.heard(now, via, self.chosen());
        let rtt = self.rtt();
        let Some(session) = &mut self.session else { return };
        let chosen = session.chosen;
        if new {
            self.probe(now, via);
            self.check(now);
        } else if chosen != via && session.watch.suspect(now, rtt) {
            self.probe(now, chosen);
            self.ask_standby(now);
        }
    }

    /// What is due of the watch over the chosen path.
    pub(super) fn run_watch(&mut self, now: Instant) {
        let (rtt, beside) = (self.rtt(), self.beside(now));
        let Some(session) = &mut self.session else { return };
        let chosen = session.chosen;
        match session.watch.handle_timeout(now, rtt, beside) {
            Verdict::Nothing => {}
            Verdict::Probe => self.probe(now, chosen),
            Verdict::Suspect => {
                self.probe(now, chosen);
                self.ask_standby(now);
            }
            Verdict::Doubt => self.doubt(now, chosen),
            Verdict::Failed => {
                self.push(Output::Doubt);
                self.fail(now);
            }
        }
    }

    /// What was found alive beside the chosen path since its check began.
    fn beside(&self, now: Instant) -> Beside {
        let session = self.session.as_ref();
        let check = session.and_then(|session| Some((session.chosen, session.watch.since()?)));
        check.map_or(Beside::Nothing, |(chosen, since)| self.paths.beside(now, chosen, since))
    }

    /// Another path than the chosen one answered: takes it if it is better, or if the chosen one is about to fail. In a
    /// round and at the first answer the faster one wins at once.
    pub(super) fn weigh(&mut self, now: Instant, path: Path, is_known: bool) {
        let is_calm = is_known && path.is_direct() && self.settled() && !self.search.is_shooting();
        let is_better = self.better(now, path);
        let has_lasted = self.has_lasted(path, is_better);
        let beside = self.beside(now);
        if is_better && (!is_calm || (has_lasted && !self.is_led(now))) {
            self.choose(now, path);
        } else if path.is_direct() && self.session.as_ref().is_some_and(|s| s.watch.is_overdue(beside)) {
            self.fail(now);
        }
    }

    /// The chosen path did not answer in time: it is asked again, and so is what could take its place.
    fn doubt(&mut self, now: Instant, chosen: Path) {
        self.push(Output::Doubt);
        self.probe(now, chosen);
        for path in self.paths.substitutes(chosen) {
            self.probe(now, path);
        }
    }

    /// Whether the chosen path is one that the peer tells.
    pub(super) fn is_told(&self) -> bool {
        self.chosen().and_then(|chosen| self.remote(chosen)).is_some_and(Remote::is_told)
    }

    pub(super) fn better(&self, now: Instant, path: Path) -> bool {
        let Some(chosen) = self.chosen() else {
            return false;
        };
        let (Some(new), Some(old)) = (self.remote(path), self.remote(chosen)) else {
            return false;
        };
        let promotes = match (path.is_direct(), chosen.is_direct()) {
            (true, false) => !new.held(now),
            (true, true) => !new.held(now) && faster(new.rtt, old.rtt),
            (false, false) => {
                let is_nearer = chosen.is_by_friend() || faster(new.rtt, old.rtt);
                is_nearer && !path.is_by_friend() && !new.held(now)
            }
            (false, true) => false,
        };
        self.paths.sendable(path) && (old.failed || promotes)
    }

    pub(super) fn choose(&mut self, now: Instant, path: Path) {
        self.session = Some(Session { chosen: path, since: now, watch: Watch::new(now, self.leads) });
        self.mtu.choose(now, path);
        self.paths.compare_anew();
        self.accord.begin_anew();
        if !self.remote(path).is_some_and(|remote| remote.fresh(now)) {
            self.check(now);
        }
    }

    pub(super) fn check(&mut self, now: Instant) {
        let rtt = self.rtt();
        if let Some(session) = &mut self.session
            && session.watch.check(now, rtt)
        {
            let chosen = session.chosen;
            self.probe(now, chosen);
        }
    }

    /// The chosen path failed its check: demote to what is known to work, and search.
    pub(super) fn fail(&mut self, now: Instant) {
        let Some(session) = &mut self.session else {
            return;
        };
        let checked_since = session.watch.since();
        session.watch.failed(now);
        let (failed, since) = (session.chosen, session.since);
        let remote = self.paths.get_mut(failed);
        let news = remote.is_some_and(|remote| remote.fail(now, since));
        if let Some(path) = self.paths.fallback(now, failed, checked_since) {
            self.choose(now, path);
        }
        if news {
            self.reopen(now);
        }
    }

    /// Leaves the chosen path for another without a check, if there is another: it is not the path's fault, so that the
    /// next answer by it brings it back. Whether there was one.
    fn fall_back(&mut self, now: Instant, refuge: Option<Path>) -> bool {
        let Some(chosen) = self.chosen() else { return false };
        let path = refuge.or_else(|| self.paths.fallback(now, chosen, Some(now)));
        if let Some(path) = path {
            if let Some(remote) = self.paths.get_mut(chosen) {
                remote.forget_proof();
            }
            self.choose(now, path);
            self.reopen(now);
        }
        path.is_some()
    }

    /// Nothing can be sent by the chosen path: whatever is warm takes over, or else the first that answers.
    pub(super) fn give_up(&mut self, now: Instant) {
        let refuge = self.refuge(now, |_| true);
        let has_failed = self.chosen().and_then(|chosen| self.remote(chosen)).is_some_and(|remote| remote.failed);
        if !self.fall_back(now, refuge) && !has_failed {
            self.fail(now);
        }
    }

    /// The peer is at the end of the chosen path no longer, and spoke by this one.
    pub(super) fn withdraw(&mut self, now: Instant, via: Path) {
        let refuge = self.refuge(now, |remote| remote.is_told() && !via.is_direct());
        self.fall_back(now, refuge);
    }

    /// Leaves a direct path of a family of which addresses are gone.
    pub(super) fn leave(&mut self, now: Instant, lost: Families) {
        if self.chosen().is_some_and(|chosen| lost.has(chosen)) {
            self.give_up(now);
        }
    }

    pub(super) fn reopen(&mut self, now: Instant) {
        self.search.open(now);
        self.together.open(now, &self.between());
        self.introduce = true;
        self.run_search(now);
    }

    pub(super) fn run_search(&mut self, now: Instant) {
        let (settled, probes) = (self.settled(), &mut self.probes);
        let stretch = |bound| probes.jitter(bound);
        match self.search.handle_timeout(now, settled, stretch) {
            Due::Nothing => return,
            Due::Shot => self.introduce |= !settled && self.search.is_time_to_repeat(),
            Due::NewRound => self.introduce = true,
        }
        for path in self.paths.targets(self.search.started(), self.chosen()) {
            self.probe(now, path);
        }
    }

    /// Whether a direct path that answered is in use.
    pub fn settled(&self) -> bool {
        let direct = self.chosen().filter(|path| path.is_direct());
        let remote = direct.and_then(|path| self.remote(path));
        remote.is_some_and(|remote| remote.working() && remote.rtt.is_some())
    }

    pub(super) fn probe(&mut self, now: Instant, via: Path) {
        let room = self.outputs.len() < MAX_OUTPUTS;
        if !room || !self.paths.sendable(via) {
            return;
        }
        if let Some(remote) = self.paths.get_mut(via) {
            remote.probed(now);
            let id = self.probes.send(now, via);
            self.push(Output::Probe { via, id });
        }
    }

    pub(super) fn push(&mut self, output: Output) {
        if self.outputs.len() < MAX_OUTPUTS {
            self.outputs.push_back(output);
        }
    }

    pub(super) fn remote(&self, path: Path) -> Option<&Remote> {
        self.paths.get(path)
    }
}

/// A path whose round trip is unknown has not answered yet: any that has is faster.
pub(super) fn faster(new: Option<Duration>, old: Option<Duration>) -> bool {
    match (new, old) {
        (Some(new), Some(old)) => new + FASTER_BY < old && new * 100 < old * (100 - FASTER_BY_PERCENT),
        (new, old) => old.is_none() && new.is_some(),
    }
}
