//! Paths kept warm: direct ones beside the chosen path, of which one takes its place the moment it fails.
//!
//! While programs send or receive, at most [`MAX_STANDBY`] of them are probed every [`PACE`]: that holds the mappings and
//! the firewalls' states on the way, and tells the round trip. They differ from the chosen path and from each other in
//! family or in the peer's address (over IPv6 in its network), for what shares these shares its fate. A private network
//! forgets nothing, and its paths are asked only when one is needed. Idle peers cost nothing: what has been forgotten when
//! they speak again is opened anew by both sides' probes.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Agent;
use super::paths::Paths;
use super::remote::{Origin, Remote, within};
use crate::wire::{CandidateKind, Path};

/// Paths kept warm beside the chosen one.
pub(super) const MAX_STANDBY: usize = 2;
/// Between two probes of one of them. A freshly punched flow on Linux lives 30 s, and one probe may be lost: each side
/// asks in its own time unless the other has.
pub(super) const PACE: Duration = Duration::from_secs(20);
/// What answered so lately is taken without asking where the chosen path cannot be used at all.
const WARM: Duration = Duration::from_secs(25);
/// How long after a packet of its programs a peer counts as in use.
const IN_USE: Duration = Duration::from_secs(30);
/// Answers in a row that must be clearly faster than the chosen path before a path that is known takes over from one that
/// works.
const LASTING: u32 = 3;

/// When the paths kept warm are looked at.
#[derive(Default)]
pub(super) struct Standby {
    used: Option<Instant>,
    due: Option<Instant>,
}

impl Standby {
    /// A packet of our programs or of the peer's went over the chosen path.
    pub fn used(&mut self, now: Instant) {
        self.used = self.used.max(Some(now));
        self.due.get_or_insert(now);
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Whether to look now; the next look is a while later as long as there is something to carry.
    fn take(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        let is_in_use = within(self.used, now, IN_USE);
        if is_due {
            self.due = is_in_use.then(|| now + PACE);
        }
        is_due && is_in_use
    }

    fn look_at(&mut self, at: Instant) {
        self.due = self.due.map(|due| due.min(at));
    }
}

impl Agent {
    /// Probes what is to be kept warm.
    pub(super) fn run_standby(&mut self, now: Instant) {
        if !self.standby.take(now) {
            return;
        }
        for path in self.standby_paths() {
            let Some(remote) = self.remote(path).filter(|remote| !remote.stays_warm(path)) else { continue };
            match remote.probed.map(|probed| probed + PACE).filter(|due| *due > now) {
                Some(later) => self.standby.look_at(later),
                None => self.probe(now, path),
            }
        }
    }

    /// Asks all that could take the place of the chosen path at once.
    pub(super) fn ask_standby(&mut self, now: Instant) {
        for path in self.standby_paths() {
            self.probe(now, path);
        }
    }

    /// Best first; none while the chosen path is no direct one.
    pub(super) fn standby_paths(&self) -> Vec<Path> {
        self.chosen().map(|chosen| self.paths.standby(chosen)).unwrap_or_default()
    }

    /// A direct path whose answer counts right now, to be taken without a check of its own.
    pub(super) fn refuge(&self, now: Instant, fits: impl Fn(&Remote) -> bool) -> Option<Path> {
        let is_warm = |remote: &Remote| remote.working() && !remote.held(now) && within(remote.answered, now, WARM);
        let usable = |path: &Path| self.remote(*path).is_some_and(|remote| is_warm(remote) && fits(remote));
        self.standby_paths().into_iter().find(usable)
    }

    /// Notes whether an answer by a path that is known was clearly faster than the chosen path, and says whether that has
    /// lasted: round trips vary, and each change of paths measures the MTU anew.
    pub(super) fn has_lasted(&mut self, path: Path, is_faster: bool) -> bool {
        let Some(remote) = self.paths.get_mut(path) else { return false };
        remote.ahead = if is_faster { remote.ahead + 1 } else { 0 };
        remote.ahead >= LASTING
    }
}

impl Paths {
    /// The direct paths to keep warm beside the chosen one, best first: what answers, then another family, then the
    /// shortest round trip. One that failed is asked as well: it may work again.
    pub(super) fn standby(&self, chosen: Path) -> Vec<Path> {
        let mut networks = vec![network(chosen)];
        if !chosen.is_direct() {
            return Vec::new();
        }
        let mut paths = self.ranked(|path, remote| path.is_direct() && remote.answered.is_some());
        let is_v4 = |path: Path| path.first_hop().is_ipv4();
        paths.sort_by_key(|path| {
            let remote = self.get(*path);
            let is_well = remote.is_some_and(|remote| remote.working() && remote.answers());
            (!is_well, is_v4(*path) == is_v4(chosen), remote.and_then(|remote| remote.rtt))
        });
        paths.retain(|path| {
            let is_other = !networks.contains(&network(*path));
            networks.push(network(*path));
            is_other
        });
        paths.truncate(MAX_STANDBY);
        paths
    }

    /// Another path is chosen: what was faster than the former may not be faster than this.
    pub(super) fn compare_anew(&mut self) {
        self.all_mut().for_each(|remote| remote.ahead = 0);
    }
}

impl Remote {
    /// Whether nothing on the way forgets it: it is inside a private network, works, and is not about to take over.
    fn stays_warm(&self, path: Path) -> bool {
        let is_inside = self.origin == Origin::Told(CandidateKind::Host) && is_private(path.first_hop().ip());
        is_inside && self.working() && self.answers() && self.ahead == 0
    }
}

/// What two endpoints of a peer that share their fate have in common.
fn network(path: Path) -> IpAddr {
    match path.first_hop().ip() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
    }
}

/// RFC 1918, RFC 4193.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}
