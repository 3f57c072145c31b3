//! When something is due, and why.

use std::time::{Duration, Instant};

use super::remote::{Remote, Ways};
use super::{Node, Slot};
use crate::peer::Tick;
use crate::wire::{Drop, Now};

/// Between two looks at all live tunnels: WireGuard's timers ask for this.
const SWEEP: Duration = Duration::from_millis(250);
/// Between two looks at what expires by the day.
const TIDY: Duration = Duration::from_secs(60);
/// The longest wait; it has no other meaning than that there is always an end.
const IDLE: Duration = Duration::from_secs(3600);
/// Between two looks at what went through tunnels while something does, and how long that is so after the last packet:
/// how soon silence is noticed.
const LOOK: Duration = Duration::from_millis(100);
const LIVELY: Duration = Duration::from_secs(2);
const SECOND: Duration = Duration::from_secs(1);

/// The node's own deadlines; those of its parts are asked for.
pub(super) struct Timers {
    sweep_at: Instant,
    tidy_at: Instant,
    second: Instant,
    /// The last look at what went through tunnels, and the last time that something had.
    looked: Instant,
    carried: Option<Instant>,
    /// Tell peers about changed candidates.
    pub announce_at: Option<Instant>,
    /// Go on introducing the node to its peers.
    pub introduce_at: Option<Instant>,
}

impl Timers {
    pub fn new(now: Instant) -> Timers {
        Timers {
            sweep_at: now,
            tidy_at: now + TIDY,
            second: now,
            looked: now,
            carried: None,
            announce_at: None,
            introduce_at: None,
        }
    }

    /// When to look again at what went through tunnels.
    fn look_at(&self) -> Option<Instant> {
        self.carried.filter(|at| self.looked < *at + LIVELY).map(|_| self.looked + LOOK)
    }

    /// Whether another second than last time has begun.
    pub fn take_second(&mut self, now: Instant) -> bool {
        let is_next = now >= self.second + SECOND;
        if is_next {
            self.second = now;
        }
        is_next
    }
}

impl Node {
    pub(super) fn run_timers(&mut self, now: Now) {
        self.clients.handle_timeout(now);
        self.drain_clients(now);
        let is_sweep = self.timers.sweep_at <= now.monotonic;
        self.look(now);
        for slot in self.remotes.slots() {
            if is_sweep {
                self.sweep(now, slot);
            }
            if let Some(remote) = self.remotes.get_mut(slot)
                && let Ways::Agent(agent) = &mut remote.ways
            {
                agent.handle_timeout(now);
            }
            self.drive(now, slot);
            self.step(now, slot);
        }
        if is_sweep {
            self.timers.sweep_at = now.monotonic + SWEEP;
        }
        self.ask_stun(now);
        self.run_own(now);
    }

    /// Tells every agent what went through its tunnel.
    fn look(&mut self, now: Now) {
        self.timers.looked = now.monotonic;
        for slot in self.remotes.slots() {
            if self.remotes.get_mut(slot).is_some_and(|remote| remote.sample(now)) {
                self.timers.carried = Some(now.monotonic);
            }
        }
    }

    fn run_own(&mut self, now: Now) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now.monotonic);
        if is_due(self.timers.announce_at.take_if(|at| *at <= now.monotonic)) {
            self.announce(now);
        }
        if is_due(self.timers.introduce_at) {
            self.introduce_some(now);
        }
        if self.timers.tidy_at <= now.monotonic {
            self.timers.tidy_at = now.monotonic + TIDY;
            self.book.expire(now);
            self.save();
        }
        self.run_lan(now);
        self.run_friends(now);
        self.expire_commands(now);
    }

    pub(super) fn next_deadline(&self, now: Now) -> (Instant, &'static str) {
        let own = [
            self.timers.announce_at.map(|at| (at, "changed candidates")),
            self.timers.introduce_at.map(|at| (at, "introductions")),
            self.clients.poll_timeout(),
            self.open_deadline(),
            self.punching.due(),
            self.lan.due(),
            self.friends.due(now.monotonic),
            self.is_sweeping().then_some((self.timers.sweep_at, "tunnels")),
            self.timers.look_at().map(|at| (at, "traffic")),
        ];
        let remotes = self.remotes.iter().filter_map(|(_, remote)| due(remote));
        let tidy = (self.timers.tidy_at, "expiries");
        let idle = (now.monotonic + IDLE, "nothing");
        let all = own.into_iter().flatten().chain(remotes);
        all.chain([tidy]).min().unwrap_or(idle)
    }

    fn is_sweeping(&self) -> bool {
        let needs = |remote: &Remote| remote.tunnel.is_some() || !remote.waiting.is_empty();
        self.remotes.iter().any(|(_, remote)| needs(remote))
    }

    /// Runs the timers of one tunnel. Not while an answer is due at any moment: WireGuard would take the pause before the
    /// question for silence of the peer, and begin a handshake.
    fn sweep(&mut self, now: Now, slot: Slot) {
        let Some(remote) = self.remotes.get_mut(slot) else {
            return;
        };
        let expired = remote.waiting.expire(now.monotonic) as u64;
        self.drops.add(Drop::WaitingExpired, expired);
        let Some(tunnel) = remote.tunnel.clone() else {
            return;
        };
        // A path can be missing for a moment while the session is up, such as between two relay logins.
        if remote.is_up && !remote.waiting.is_empty() {
            self.flush(now, slot);
        }
        self.tend_lane(now, slot);
        if remote_is_asking(self.remotes.get(slot)) {
            return;
        }
        match tunnel.tick(&mut self.buffer) {
            Tick::Initiation(len) => self.send_initiation(slot, len),
            Tick::Keepalive(len) => {
                if let Some(path) = self.remotes.get(slot).and_then(Remote::path) {
                    self.send_buffer(path, len);
                }
            }
            Tick::Expired => return self.end_tunnel(now, slot),
            Tick::Idle => self.renew_lane(slot),
        }
        let is_gone = |remote: &Remote| remote.is_up && !tunnel.has_session();
        if self.remotes.get(slot).is_some_and(is_gone) {
            self.session_down(now, slot);
        }
    }
}

fn remote_is_asking(remote: Option<&Remote>) -> bool {
    remote.is_some_and(|remote| match &remote.ways {
        Ways::Agent(agent) => remote.is_up && agent.is_asking(),
        Ways::Fixed(_) => false,
    })
}

/// When a peer needs attention.
fn due(remote: &Remote) -> Option<(Instant, &'static str)> {
    let agent = match &remote.ways {
        Ways::Agent(agent) => agent.poll_timeout(),
        Ways::Fixed(_) => None,
    };
    agent.into_iter().chain(remote.attempt.due()).min()
}
