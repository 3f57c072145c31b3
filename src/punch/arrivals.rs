//! What comes in from the peer and goes out to it, as far as it says something about paths.

use super::{Agent, Output};
use crate::wire::{Now, Path};

impl Agent {
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
        let is_known = remote.rtt.is_some();
        remote.answered(now, rtt, observed);
        if session.chosen == via {
            let has_recovered = session.watch.is_failed();
            session.watch.answered(now);
            self.mtu_path_answered(now, rtt);
            if has_recovered {
                self.reopen(now);
            }
        } else {
            self.weigh(now, via, is_known);
        }
        self.agree(now);
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
            self.accord.joined(now.monotonic);
            self.standby.used(now.monotonic);
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
            self.accord.spoke(now.monotonic);
            self.standby.used(now.monotonic);
        }
    }
}
