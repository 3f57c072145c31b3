//! Both ends of a tunnel come to use one path, where several are as good.
//!
//! Each end chooses for itself, and so they may differ: then neither hears anything by the path that it sends by, and only
//! checks tell whether that works. What a peer sends beside probes and answers it sends by the path of its choice. Where
//! that is another direct path than ours, we ask that path, and move to it as soon as it has answered and ours is in no
//! doubt: who leads is followed, as the controlling agent of ICE is (RFC 8445, section 8.1), and so is anybody else by who
//! sends no data. In return only who leads looks for faster paths while its data comes by ours.

use std::time::{Duration, Instant};

use super::Agent;
use super::decisions::faster;
use super::remote::{Remote, within};
use crate::wire::{Now, Path};

/// Between two probes of a path that the peer speaks by.
const ASK: Duration = Duration::from_secs(1);
/// So long a path is kept at least: words that were sent before the peer moved may come after others that it sent since.
const DWELL: Duration = Duration::from_secs(1);
/// What the peer sent so lately tells where it is.
const LATELY: Duration = Duration::from_secs(5);
/// Who has sent no data for so long has no say.
const SILENT: Duration = Duration::from_secs(10);
/// So long after its last data on our path the choice of a faster one is left to who leads.
const LED: Duration = Duration::from_secs(60);

/// Who speaks where: data, and keepalives.
#[derive(Default)]
pub(super) struct Accord {
    /// The direct path beside ours that the peer spoke by last, if it has not come to ours since.
    apart: Option<(Path, Instant)>,
    /// When its data last came by our path.
    joined: Option<Instant>,
    /// When we last sent data.
    spoke: Option<Instant>,
}

impl Accord {
    /// Data of our programs goes out.
    pub fn spoke(&mut self, now: Instant) {
        self.spoke = Some(now);
    }

    /// Data of the peer came by our path.
    pub fn joined(&mut self, now: Instant) {
        self.apart = None;
        self.joined = Some(now);
    }

    /// Another path is chosen: nothing is known of who uses that.
    pub fn begin_anew(&mut self) {
        (self.apart, self.joined) = (None, None);
    }
}

impl Agent {
    /// Something came by this path that the peer sends by the path of its choice: data, or a keepalive. As
    /// [`Agent::received`], which need not be called as well.
    pub fn spoken(&mut self, now: Now, via: Path) {
        self.received(now, via);
        let now = now.monotonic;
        let Some(session) = &mut self.session else { return };
        if session.chosen == via || !session.chosen.is_direct() || !via.is_direct() {
            return;
        }
        session.watch.spoken_elsewhere();
        self.accord.apart = Some((via, now));
        let is_worth_it = |remote: &Remote| !remote.held(now) && !within(remote.probed, now, ASK);
        if self.remote(via).is_some_and(is_worth_it) {
            self.probe(now, via);
        }
        self.agree(now);
    }

    /// Moves to the path by which the peer speaks, if that is known to work, ours is in no doubt, and it is on us to move.
    pub(super) fn agree(&mut self, now: Instant) {
        let apart = self.accord.apart.filter(|(_, at)| within(Some(*at), now, LATELY));
        if let Some((path, _)) = apart
            && self.is_calm(now)
            && self.has_answered_beside(now, path)
            && self.yields(now, path)
        {
            self.choose(now, path);
        }
    }

    /// Whether the choice of a faster path is left to the peer.
    pub(super) fn is_led(&self, now: Instant) -> bool {
        !self.leads && within(self.accord.joined, now, LED)
    }

    /// Whether a direct path is in use and nothing speaks against it, and none is looked for.
    fn is_calm(&self, now: Instant) -> bool {
        let is_at_rest = self.session.as_ref().is_some_and(|session| {
            let dwelt = now.saturating_duration_since(session.since) >= DWELL;
            dwelt && session.watch.since().is_none()
        });
        is_at_rest && self.settled() && !self.search.is_shooting()
    }

    /// Whether a path has answered lately, and since ours was chosen.
    fn has_answered_beside(&self, now: Instant, path: Path) -> bool {
        let since = self.session.as_ref().map(|session| session.since);
        let remote = self.remote(path).filter(|remote| remote.working() && remote.fresh(now) && !remote.held(now));
        self.paths.sendable(path) && remote.is_some_and(|remote| remote.answered > since)
    }

    /// Whether it is on us to move. Who leads and speaks moves only to a faster path, and who leads and is silent to any
    /// that is not slower.
    fn yields(&self, now: Instant, path: Path) -> bool {
        let is_silent = !within(self.accord.spoke, now, SILENT);
        let rtt = self.remote(path).and_then(|remote| remote.rtt);
        !self.leads || self.better(now, path) || (is_silent && !faster(self.rtt(), rtt))
    }
}
