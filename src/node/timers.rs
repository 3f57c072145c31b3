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
    /// The next look at what went through tunnels, besides those of the sweeps.
    look_at: Option<Instant>,
    /// The last time that something had.
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
            look_at: None,
            carried: None,
            announce_at: None,
            introduce_at: None,
        }
    }

    /// All tunnels are looked at now: again soon, if something went through one of late.
    fn looked(&mut self, now: Instant) {
        let is_lively = self.carried.is_some_and(|at| now < at + LIVELY);
        self.look_at = is_lively.then_some(now + LOOK);
    }

    /// Something went through a tunnel.
    fn carried(&mut self, now: Instant) {
        self.carried = Some(now);
        self.look_at.get_or_insert(now + LOOK);
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
        self.clock.tell(now.monotonic.saturating_duration_since(self.started));
        self.clients.handle_timeout(now);
        self.drain_clients(now);
        let is_sweep = self.timers.sweep_at <= now.monotonic;
        self.look(now, is_sweep);
        if is_sweep {
            self.timers.sweep_at = now.monotonic + SWEEP;
            for slot in self.remotes.live() {
                self.sweep(now, slot);
            }
        }
        let ready = self.remotes.ready(now.monotonic);
        for slot in &ready {
            self.with_agent(*slot, |agent| agent.handle_timeout(now));
            self.drive(now, *slot);
            self.step(now, *slot);
        }
        self.remotes.calm(&ready);
        self.ask_stun(now);
        self.run_own(now);
    }

    /// Tells agents what went through their tunnels: all of them every now and then, and those that are about to judge.
    fn look(&mut self, now: Now, is_sweep: bool) {
        let is_due = is_sweep || self.timers.look_at.is_some_and(|at| at <= now.monotonic);
        if is_due {
            self.timers.looked(now.monotonic);
        }
        for slot in if is_due { self.remotes.live() } else { self.remotes.overdue(now.monotonic) } {
            if self.remotes.sample(now, slot) {
                self.timers.carried(now.monotonic);
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
        self.end_trust(now);
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
            (!self.remotes.is_quiet()).then_some((self.timers.sweep_at, "tunnels")),
            self.timers.look_at.map(|at| (at, "traffic")),
            self.trust_ends(now).map(|at| (at, "trust that ends")),
            self.remotes.due(),
        ];
        let tidy = (self.timers.tidy_at, "expiries");
        let idle = (now.monotonic + IDLE, "nothing");
        own.into_iter().flatten().chain([tidy]).min().unwrap_or(idle)
    }

    /// When the first trust ends. The calendar may jump: it is looked at again at each deadline.
    fn trust_ends(&self, now: Now) -> Option<Instant> {
        let left = self.book.next_end()?.saturating_sub(now.unix_millis);
        Some(now.monotonic + Duration::from_millis(left).min(IDLE))
    }

    /// Runs the timers of one tunnel. Not while an answer is due at any moment: WireGuard would take the pause before the
    /// question for silence of the peer, and begin a handshake.
    fn sweep(&mut self, now: Now, slot: Slot) {
        self.expire_waiting(now, slot);
        let Some(remote) = self.remotes.get(slot) else {
            return;
        };
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

impl Node {
    fn expire_waiting(&mut self, now: Now, slot: Slot) {
        if self.remotes.get(slot).is_none_or(|remote| remote.waiting.is_empty()) {
            return;
        }
        if let Some(remote) = self.remotes.get_mut(slot) {
            let expired = remote.waiting.expire(now.monotonic) as u64;
            self.drops.add(Drop::WaitingExpired, expired);
        }
    }
}

fn remote_is_asking(remote: Option<&Remote>) -> bool {
    remote.is_some_and(|remote| match &remote.ways {
        Ways::Agent(agent) => remote.is_up && agent.is_asking(),
        Ways::Fixed(_) => false,
    })
}
