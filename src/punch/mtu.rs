//! How large a packet the chosen path carries: DPLPMTUD (RFC 8899) inside the tunnel.
//!
//! In: the path that was chosen, what went out over it, answers to probes, the time. Out: probes of a size, and the
//! size that packets may have. Left to others: padding and sending the probes, refusing what is larger.
//!
//! The states of the RFC: BASE needs no probe, because packets of 1280 bytes may be fragmented outside (ERROR is
//! therefore none). SEARCH tries the largest size first, for that is what most paths carry, and then the middle of what
//! is still open. COMPLETE lasts until the raise timer, and is confirmed while large packets go out. A probe of a size
//! that passed before, lost three times while a small probe sent *after* it is answered, is a black hole: back to
//! 1280 at once. A path that is dead altogether says nothing about sizes.

mod agent;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::wire::Path;
use crate::wire::mtu::{BASE, CEILING, Mtu, largest};

/// Probes of one size; only when all are lost it is too large (MAX_PROBES).
pub(super) const TRIES: u32 = 3;
/// The search ends when less than this is still open, in bytes.
pub(super) const GRAIN: u16 = 8;
/// From a finished search to the next look for more (PMTU_RAISE_TIMER), while the path is used.
pub(super) const RAISE: Duration = Duration::from_secs(600);
/// While large packets go out, their size is confirmed so often (CONFIRMATION_TIMER).
pub(super) const CONFIRM: Duration = Duration::from_secs(2);
/// Probes whose answers still count.
const REMEMBERED: usize = 8;
/// The wait for an answer: twice the round trip, within these bounds.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// Send a probe of this size.
    Probe {
        id: u64,
        size: u16,
    },
    /// Send a small probe: does the path work at all?
    Check,
}

/// The MTU of the chosen path, and the search for it.
pub(super) struct Discovery {
    ceiling: u16,
    path: Option<Path>,
    /// The largest size worth a try on this path.
    top: u16,
    /// The largest size that packets may have.
    inner: u16,
    /// The smallest size that did not pass; above `top` if none.
    failed: u16,
    settled: bool,
    trial: Option<Trial>,
    sent: VecDeque<(u64, u16)>,
    last_id: u64,
    confirmed: Option<Instant>,
    /// When a finished search is taken up again, if the path was used since.
    raise: Option<Instant>,
    used: bool,
    told: Mtu,
}

/// One size that is tried.
struct Trial {
    size: u16,
    tries: u32,
    due: Instant,
    /// All tries are lost, and whether the path works at all was asked then.
    asked: Option<Instant>,
}

impl Discovery {
    pub(super) fn new() -> Self {
        Self {
            ceiling: CEILING,
            path: None,
            top: BASE,
            inner: BASE,
            failed: BASE + 1,
            settled: false,
            trial: None,
            sent: VecDeque::new(),
            last_id: 0,
            confirmed: None,
            raise: None,
            used: false,
            told: Mtu::UNKNOWN,
        }
    }

    /// The most that is worth finding: the MTU of our own interface.
    pub(super) fn set_ceiling(&mut self, ceiling: u16) {
        self.ceiling = ceiling.clamp(BASE, CEILING);
    }

    pub(super) fn mtu(&self) -> Mtu {
        Mtu { inner: self.inner, is_settled: self.settled }
    }

    /// The MTU, if it is not what was told last.
    pub(super) fn poll_change(&mut self) -> Option<Mtu> {
        let mtu = self.mtu();
        (std::mem::replace(&mut self.told, mtu) != mtu).then_some(mtu)
    }

    /// Another path is used: what passed on the former is tried first and trusted until it failed, since an upgrade
    /// to a direct path should not slow a running transfer down.
    pub(super) fn choose(&mut self, now: Instant, path: Path) {
        if self.path == Some(path) {
            return;
        }
        self.path = Some(path);
        self.top = largest(path, self.ceiling);
        self.inner = self.inner.min(self.top);
        self.doubt(now);
    }

    /// Our end of the path leads through another network, perhaps: all of it is tried again.
    pub(super) fn moved(&mut self, now: Instant) {
        if self.path.is_some() {
            self.doubt(now);
        }
    }

    /// The session is gone, and all that was known of its path.
    pub(super) fn lost(&mut self) {
        self.path = None;
        self.inner = BASE;
        self.restart();
    }

    /// Something went out over the path.
    pub(super) fn used(&mut self) {
        self.used = true;
    }

    /// Packets larger than [`BASE`] went out: they must not vanish for long.
    pub(super) fn sent_large(&mut self, now: Instant) {
        let stale = self.confirmed.is_none_or(|at| now.saturating_duration_since(at) >= CONFIRM);
        if self.trial.is_none() && self.path.is_some() && self.inner > BASE && stale {
            self.begin(now, self.inner);
        }
    }

    /// A probe of this size arrived at the peer, by whatever way the answer took.
    pub(super) fn answered(&mut self, now: Instant, id: u64, size: u16) {
        let Some(at) = self.sent.iter().position(|probe| *probe == (id, size)) else { return };
        self.sent.remove(at);
        if self.sent.is_empty() {
            self.sent.shrink_to_fit();
        }
        if size >= self.failed {
            // It was late, not lost.
            self.failed = self.top + 1;
        }
        if size >= self.inner {
            self.inner = size;
            self.confirmed = Some(now);
        }
        if self.trial.take_if(|trial| trial.size <= size).is_some() {
            self.proceed(now);
        }
    }

    /// A small probe that was sent at `sent` was answered: larger ones that were sent before are lost.
    pub(super) fn path_answered(&mut self, now: Instant, sent: Instant) {
        let is_proof = |trial: &mut Trial| trial.asked.is_some_and(|asked| asked <= sent);
        if let Some(trial) = self.trial.take_if(is_proof) {
            self.too_large(now, trial.size);
        }
    }

    /// Our own system refuses to send packets of this size by this path.
    pub(super) fn refused(&mut self, now: Instant, size: u16) {
        if self.path.is_some() && size > BASE && size < self.failed {
            self.trial = None;
            self.too_large(now, size);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.trial {
            Some(trial) => trial.asked.is_none().then_some(trial.due),
            None => self.raise.filter(|_| self.used),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, rtt: Option<Duration>) -> Step {
        if self.deadline().is_none_or(|due| now < due) {
            return Step::Nothing;
        }
        if self.trial.is_none() {
            self.failed = self.top + 1;
            self.proceed(now);
        }
        let Some(trial) = &mut self.trial else { return Step::Nothing };
        if trial.tries == TRIES {
            trial.asked = Some(now);
            return Step::Check;
        }
        trial.tries += 1;
        trial.due = now + wait(rtt);
        let size = trial.size;
        Step::Probe { id: self.note(size), size }
    }

    fn too_large(&mut self, now: Instant, size: u16) {
        self.failed = self.failed.min(size);
        if self.inner >= size {
            self.inner = BASE;
            self.settled = false;
        }
        self.proceed(now);
    }

    /// Tries the next size, or ends the search.
    fn proceed(&mut self, now: Instant) {
        let open = self.failed.saturating_sub(self.inner);
        if self.inner >= self.top || open <= GRAIN {
            self.settled = true;
            self.used = false;
            self.raise = (self.inner < self.top).then(|| now + RAISE);
        } else if self.failed > self.top {
            self.begin(now, self.top);
        } else {
            self.begin(now, self.inner + open / 2);
        }
    }

    fn doubt(&mut self, now: Instant) {
        self.restart();
        match self.inner {
            BASE => self.proceed(now),
            size => self.begin(now, size),
        }
    }

    fn begin(&mut self, now: Instant, size: u16) {
        self.trial = Some(Trial { size, tries: 0, due: now, asked: None });
    }

    fn restart(&mut self) {
        self.failed = self.top + 1;
        self.settled = false;
        self.trial = None;
        self.sent.clear();
        self.confirmed = None;
        self.raise = None;
    }

    fn note(&mut self, size: u16) -> u64 {
        self.last_id += 1;
        if self.sent.len() >= REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((self.last_id, size));
        self.last_id
    }
}

fn wait(rtt: Option<Duration>) -> Duration {
    rtt.map_or(LONGEST_WAIT / 2, |rtt| rtt * 2).clamp(SHORTEST_WAIT, LONGEST_WAIT)
}
