//! What is known of each path to the peer, and which of them are wanted for what.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;

use super::Families;
use super::by_path::ByPath;
use super::candidates::reachable;
use super::remote::{Origin, PathReport, Remote, within};
use super::watch::Beside;
use crate::identity::NodeId;
use crate::wire::{Candidate, Path};

/// Paths kept that the peer never told, or tells no longer.
pub const MAX_SEEN: usize = 8;
/// A path that is told no longer is kept this long after the last packet from it.
const REMEMBERED: Duration = Duration::from_secs(120);
/// A relayed path that the peer was heard by so lately carries the other way, too.
const HEARD: Duration = Duration::from_secs(5);
/// The most paths that are asked while the chosen one is in doubt.
const MAX_SUBSTITUTES: usize = 4;
/// The least time between probes sent back to a peer that probes.
const PROBE_BACK: Duration = Duration::from_millis(100);

/// All paths to one peer, at most `MAX_DIRECT + MAX_RELAYED + MAX_SEEN` and the chosen one.
pub(super) struct Paths {
    remotes: ByPath<Remote>,
    overlay: Ipv6Net,
    families: Families,
    relays: Vec<SocketAddr>,
    friends: BTreeSet<NodeId>,
}

impl Paths {
    pub(super) fn new(overlay: Ipv6Net) -> Self {
        Self {
            remotes: ByPath::new(),
            overlay,
            families: Families::default(),
            relays: Vec::new(),
            friends: BTreeSet::new(),
        }
    }

    pub(super) fn overlay(&self) -> Ipv6Net {
        self.overlay
    }

    pub(super) fn get(&self, path: Path) -> Option<&Remote> {
        self.remotes.get(path)
    }

    pub(super) fn get_mut(&mut self, path: Path) -> Option<&mut Remote> {
        self.remotes.get_mut(path)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Path> {
        self.remotes.iter().map(|(path, _)| path)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Remote> {
        self.remotes.iter_mut().map(|(_, remote)| remote)
    }

    /// Takes what we can send from; returns whether that makes a path sendable that was not.
    pub(super) fn set_local(&mut self, families: Families, relays: Vec<SocketAddr>) -> bool {
        let before = self.ranked(|_, _| true);
        (self.families, self.relays) = (families, relays);
        let after = self.ranked(|_, _| true);
        after.iter().any(|path| !before.contains(path))
    }

    /// Takes the friends that pass things on.
    pub(super) fn set_friends(&mut self, friends: BTreeSet<NodeId>) {
        self.friends = friends;
    }

    pub(super) fn sendable(&self, path: Path) -> bool {
        match path {
            Path::Direct(SocketAddr::V4(_)) => self.families.v4,
            Path::Direct(SocketAddr::V6(_)) => self.families.v6,
            Path::Spare { .. } => self.families.v4,
            Path::Relayed(relay) => self.relays.contains(&relay.server),
            Path::Friend { friend, .. } => self.friends.contains(&friend),
        }
    }

    /// Replaces the told paths; the chosen one and those that packets came by lately stay as seen.
    /// Returns whether any is new.
    pub(super) fn replace(&mut self, now: Instant, told: &[Candidate], chosen: Option<Path>) -> bool {
        self.remotes.retain(|path, remote| {
            remote.origin = Origin::Seen;
            let still_told = told.iter().any(|candidate| candidate.path == path);
            still_told || Some(path) == chosen || within(remote.heard, now, REMEMBERED)
        });
        let known = self.remotes.len();
        for candidate in told {
            let origin = Origin::Told(candidate.kind);
            self.remotes.get_or_insert_with(candidate.path, || Remote::new(origin)).origin = origin;
        }
        let new = self.remotes.len() > known;
        self.trim(chosen);
        new
    }

    /// Notes a packet from a path; returns whether the path was unknown and is kept now.
    pub(super) fn heard(&mut self, now: Instant, path: Path, chosen: Option<Path>) -> bool {
        let known = self.get(path).is_some();
        if !known && !reachable(path, self.overlay) {
            return false;
        }
        self.remotes.get_or_insert_with(path, || Remote::new(Origin::Seen)).heard = Some(now);
        self.trim(chosen);
        !known && self.get(path).is_some()
    }

    /// Notes that the session came up by a path, wherever it leads.
    pub(super) fn carried(&mut self, now: Instant, path: Path) {
        self.remotes.get_or_insert_with(path, || Remote::new(Origin::Seen)).carried(now);
        self.trim(Some(path));
    }

    /// Forgets what was proven of these direct paths: our end of them has changed.
    pub(super) fn doubt_direct(&mut self, which: impl Fn(Path) -> bool) {
        let remotes = self.remotes.iter_mut();
        for (_, remote) in remotes.filter(|(path, _)| path.is_direct() && which(*path)) {
            remote.forget_proof();
        }
    }

    /// Forgets what was proven of all paths.
    pub(super) fn doubt_all(&mut self) {
        self.all_mut().for_each(Remote::forget_proof);
    }

    /// Whether a path by this spare socket works.
    pub(super) fn uses(&self, socket: u16) -> bool {
        let by = |path: Path| matches!(path, Path::Spare { socket: of, .. } if of == socket);
        self.remotes.iter().any(|(path, remote)| by(path) && !remote.failed)
    }

    /// Forgets the paths by spare sockets that failed: the sockets are about to be closed.
    pub(super) fn forget_failed_spares(&mut self) {
        self.remotes.retain(|path, remote| !(matches!(path, Path::Spare { .. }) && remote.failed));
    }

    /// Forgets all paths by spare sockets.
    pub(super) fn forget_spares(&mut self) {
        self.remotes.retain(|path, _| !matches!(path, Path::Spare { .. }));
    }

    /// What a shot of the round that started at `round` is aimed at, best rank first.
    pub(super) fn targets(&self, round: Option<Instant>, chosen: Option<Path>) -> Vec<Path> {
        let wanted = |path: Path, remote: &Remote| {
            let unanswered = remote.answered.is_none() || remote.answered < round;
            sought(path, remote, chosen) && unanswered
        };
        self.ranked(wanted)
    }

    /// Whether to answer a probe from this path by one of our own: it may have opened a way.
    pub(super) fn worth_probing_back(&self, now: Instant, path: Path, chosen: Option<Path>) -> bool {
        let wanted = |remote: &Remote| {
            let lately = remote.fresh(now) || within(remote.probed, now, PROBE_BACK);
            sought(path, remote, chosen) && !lately
        };
        self.sendable(path) && self.get(path).is_some_and(wanted)
    }

    /// The best path to fall back to from `failed`: direct and answering right now, or relayed and either proven or
    /// heard lately. What lives on while `failed` does not (`since`) comes first: many paths may share one fate.
    pub(super) fn fallback(&self, now: Instant, failed: Path, since: Option<Instant>) -> Option<Path> {
        let usable = |path: Path, remote: &Remote| {
            let direct = path.is_direct() && remote.fresh(now) && !remote.held(now) && remote.working();
            let relayed = !path.is_direct() && (remote.working() || within(remote.heard, now, HEARD));
            path != failed && (direct || relayed)
        };
        let is_alive = |remote: &Remote| since.is_some_and(|since| remote.is_alive(since));
        let rank = |path: &Path| {
            let remote = self.get(*path);
            (
                !remote.is_some_and(is_alive),
                !path.is_direct(),
                path.is_by_friend(),
                remote.and_then(|remote| remote.rtt),
            )
        };
        self.ranked(usable).into_iter().min_by_key(rank)
    }

    /// What could take the place of the chosen path: those kept warm, relayed ones, and direct ones that have worked.
    pub(super) fn substitutes(&self, chosen: Path) -> Vec<Path> {
        let could = |path: Path, remote: &Remote| path != chosen && (!path.is_direct() || remote.working());
        let standby = self.standby(chosen);
        let mut paths = self.ranked(could);
        paths.sort_by_key(|path| (!standby.contains(path), path.is_direct()));
        paths.truncate(MAX_SUBSTITUTES);
        paths
    }

    /// The best of the paths other than this one that were found alive since then.
    pub(super) fn beside(&self, now: Instant, chosen: Path, since: Instant) -> Beside {
        let alive = self.ranked(|path, remote| path != chosen && remote.is_alive(since));
        let is_answering = |path: &Path| {
            let remote = self.get(*path).filter(|remote| path.is_direct() && !remote.held(now));
            remote.is_some_and(|remote| remote.answered.is_some_and(|at| at >= since))
        };
        match alive.iter().any(is_answering) {
            true => Beside::Direct,
            false if alive.is_empty() => Beside::Nothing,
            false => Beside::Any,
        }
    }

    /// Where a handshake goes when no path is known to work: relayed first, then direct by rank. Where a relay is there,
    /// endpoints on NATs are left out at first (`first`): a datagram that comes before the other side has sent spoils
    /// the mapping on some of them.
    pub(super) fn for_handshake(&self, first: bool) -> Vec<Path> {
        let mut paths = self.ranked(|_, _| true);
        paths.sort_by_key(|path| path.is_direct());
        let careful = first && paths.first().is_some_and(|path| !path.is_direct());
        let on_nat = |path: &Path| path.is_direct() && self.get(*path).is_some_and(Remote::is_on_nat);
        paths.retain(|path| !careful || !on_nat(path));
        paths
    }

    /// Whether any path works, and has answered when it was last asked.
    pub(super) fn any_works(&self) -> bool {
        self.remotes.iter().any(|(path, remote)| self.sendable(path) && remote.working() && remote.answers())
    }

    /// A relayed path that works, for what must arrive whatever happens to the direct ones.
    pub(super) fn working_relay(&self) -> Option<Path> {
        let relayed = |path: Path, remote: &Remote| !path.is_direct() && remote.working();
        self.ranked(relayed).first().copied()
    }

    pub(super) fn report(&self, chosen: Option<Path>, standby: &[Path]) -> Vec<PathReport> {
        let remotes = self.remotes.iter();
        let mut lines: Vec<_> = remotes.map(|(path, remote)| remote.report(path, chosen, standby)).collect();
        lines.sort_by_key(|line| line.origin);
        lines
    }

    /// The sendable ones of these, best rank first.
    pub(super) fn ranked(&self, wanted: impl Fn(Path, &Remote) -> bool) -> Vec<Path> {
        let all = self.remotes.iter();
        let mut found: Vec<(Origin, Path)> = all
            .filter(|(path, remote)| self.sendable(*path) && wanted(*path, remote))
            .map(|(path, remote)| (remote.origin, path))
            .collect();
        found.sort();
        found.into_iter().map(|(_, path)| path).collect()
    }

    /// Keeps the [`MAX_SEEN`] latest of the paths that are not told.
    fn trim(&mut self, chosen: Option<Path>) {
        let remotes = self.remotes.iter();
        let mut seen: Vec<(Option<Instant>, Path)> = remotes
            .filter(|(path, remote)| remote.origin == Origin::Seen && Some(*path) != chosen)
            .map(|(path, remote)| (remote.heard, path))
            .collect();
        seen.sort();
        seen.truncate(seen.len().saturating_sub(MAX_SEEN));
        if !seen.is_empty() {
            self.remotes.retain(|path, _| seen.iter().all(|(_, surplus)| *surplus != path));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.remotes.len()
    }
}

/// Whether an answer by this path would be news. A relayed path that works is only a fallback, unless another relay is
/// in use, which may be farther; the chosen path is watched by itself.
fn sought(path: Path, remote: &Remote, chosen: Option<Path>) -> bool {
    let is_rival = matches!((path, chosen), (Path::Relayed(_), Some(Path::Relayed(_))));
    Some(path) != chosen && (path.is_direct() || is_rival || !remote.working())
}
