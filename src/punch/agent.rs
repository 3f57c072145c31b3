//! The path agent of one peer: what it is made of, what it wants next, and what it tells.
//!
//! What it learns is in `facts` and `arrivals`, what it makes of that in `decisions`; `mtu` and `together` hold their own
//! parts of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;

use super::accord::Accord;
use super::mtu::Discovery;
use super::paths::Paths;
use super::probes::Probes;
use super::remote::{PathReport, Remote};
use super::search::Search;
use super::standby::Standby;
use super::together::Together;
use super::watch::Watch;
use super::{Output, Tactic};
use crate::wire::{Nat, Now, Path};

/// Finds and keeps the best path to one peer. The module page tells how.
pub struct Agent {
    pub(super) paths: Paths,
    pub(super) probes: Probes,
    pub(super) search: Search,
    pub(super) standby: Standby,
    pub(super) accord: Accord,
    pub(super) session: Option<Session>,
    pub(super) introduce: bool,
    pub(super) mtu: Discovery,
    pub(super) outputs: VecDeque<Output>,
    pub(super) together: Together,
    pub(super) nats: (Nat, Nat),
    pub(super) leads: bool,
    /// When something was last carried.
    pub(super) carried: Option<Instant>,
    pub(super) announced: Option<Path>,
    /// Whether the last introduction no longer told the chosen path.
    pub(super) withdrawn: bool,
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
    /// Of the two agents of a pair one `leads`: it starts the attempts to punch together, asks first where both would ask
    /// at once, and is followed where both use different paths.
    pub fn new(id_seed: u64, overlay: Ipv6Net, leads: bool) -> Self {
        Self {
            paths: Paths::new(overlay),
            probes: Probes::new(id_seed),
            search: Search::closed(),
            standby: Standby::default(),
            accord: Accord::default(),
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

    /// Whether a direct path is being looked for right now.
    pub fn is_searching(&self) -> bool {
        self.session.is_some() && !self.settled() && (self.search.is_shooting() || self.together.is_busy())
    }

    /// What it takes to punch to this peer.
    pub fn tactic(&self) -> Tactic {
        Tactic::between(self.nats.0, self.nats.1)
    }

    /// Does what is due. Calling it early does nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        let now = now.monotonic;
        if self.session.is_none() {
            return;
        }
        self.run_watch(now);
        self.run_search(now);
        self.run_standby(now);
        self.run_together(now);
        self.run_mtu(now);
    }

    /// When [`Agent::handle_timeout`] is next needed, and why; none without a session.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let watch = self.session.as_ref()?.watch.deadline(self.rtt());
        let search = self.search.deadline().map(|due| (due, "path search"));
        let together = self.together.deadline().map(|due| (due, "punching together"));
        let mtu = self.mtu.deadline().map(|due| (due, "MTU search"));
        let standby = self.standby.deadline().map(|due| (due, "paths kept warm"));
        [search, standby, together, mtu].into_iter().flatten().chain([watch]).min()
    }

    /// The next thing to do; none when all is done, and then no room is kept for more.
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
        let output = self.outputs.pop_front();
        if output.is_none() {
            self.outputs.shrink_to_fit();
        }
        output
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

    /// All paths by which the peer may be reached.
    pub fn known(&self) -> impl Iterator<Item = Path> {
        self.paths.all().chain(self.chosen())
    }

    /// What was tried and what came of it: told candidates by rank, then paths seen.
    pub fn report(&self) -> Vec<PathReport> {
        self.paths.report(self.chosen(), &self.standby_paths())
    }

    #[cfg(test)]
    pub(super) fn assert_bounded(&self, paths: usize) {
        assert!(self.paths.len() <= paths);
        assert!(self.probes.len() <= super::probes::MAX_OUTSTANDING);
        assert!(self.outputs.len() <= super::decisions::MAX_OUTPUTS);
    }
}
