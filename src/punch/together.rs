//! Punching together: both sides open fresh sockets, tell each other what STUN saw of them, and send at once.
//!
//! ```text
//! leader                                         the other
//!   opens sockets, asks STUN
//!   ── PunchOffer, inside the tunnel ──▶           opens sockets, asks STUN
//!   ◀── PunchAccept ────────────────────           sends to what the leader told, at once or in order
//!   sends to what the other told
//! ```
//!
//! Fresh sockets, because a mapping that was spoilt or used before stays so for a while. The side whose gateway gives
//! away the port of a datagram that comes too early sends first. Where both are so, *openers* go out before: datagrams whose
//! hop limit lets them pass our own gateway and ends them before the other. Between a crowd and such a gateway either may
//! help, depending on the crowd's gateways, so attempts take turns: an even one has the crowd send last, an odd one openers.
//! Which ports are aimed at is the [`Tactic`]'s. What arrives is an ordinary probe on a path not known before, and proves it in
//! the ordinary way. An attempt costs a gateway what its tactic says, at most 1,430 entries; a heavy one is made only
//! while there is something to carry, and never sooner than such entries live.

mod agent;
mod fire;
mod plan;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::draws::Draws;
use super::tactic::{Aim, Tactic};
use crate::wire::control::Punch;
use crate::wire::nat::Ports;
use crate::wire::{Nat, Path};
use fire::Fire;
use plan::Plan;

/// How long sockets, an offer or an acceptance are waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pauses between attempts; the last one repeats.
const LIGHT_PAUSES: [u64; 8] = [1, 1, 2, 10, 30, 60, 300, 600];
const HEAVY_PAUSES: [u64; 5] = [40, 60, 120, 300, 600];
/// What the plain search has to itself: a moment, or a whole round where it should be enough.
const HEAD_START: Duration = Duration::from_millis(250);
const WHOLE_ROUND: Duration = Duration::from_secs(7);
/// How long it takes at most to find out how a NAT chooses ports: a guess would cost its owner more.
const STUDY: Duration = Duration::from_secs(2);
/// Where the pauses begin for those who should not need this.
const UNLIKELY: usize = 3;
/// Hop limits of openers: one NAT of our own to pass, two or three, by turns of attempts.
const OPENERS: [u8; 3] = [2, 3, 4];
/// The least time between two heavy attempts: an entry that nothing answers lives 30 s on Linux.
const COOLING: Duration = Duration::from_secs(36);

/// What both ends are behind, and how long a message between them takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Between {
    pub ours: Nat,
    pub theirs: Nat,
    /// The round trip of the path in use.
    pub rtt: Option<Duration>,
}

impl Between {
    pub fn tactic(&self) -> Tactic {
        match Tactic::between(self.ours, self.theirs) {
            // Fresh sockets in order are worth a try where plain probing did not do.
            Tactic::Plain => Tactic::Ordered,
            tactic => tactic,
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Open so many sockets and ask STUN from the first.
    Prepare { sockets: u16, heavy: bool },
    /// Tell the peer.
    Offer(Punch),
    /// Tell the peer.
    Accept(Punch),
    /// Send a probe that is not waited for.
    Shot { via: Path, id: u64 },
    /// Send a datagram that dies on its way, to open our own NAT.
    Opener { socket: u16, to: SocketAddr, hops: u8 },
    /// The sockets are not needed any more, but for those of paths that work.
    Release,
}

enum State {
    Idle,
    /// Sockets are being opened; with the leader's offer where we are the other.
    Preparing {
        until: Instant,
        offer: Option<Punch>,
    },
    /// The other side is asked.
    Offered {
        until: Instant,
        attempt: u64,
        sockets: Vec<u16>,
    },
    Firing(Fire),
}

/// The attempts of one agent.
pub(super) struct Together {
    leads: bool,
    state: State,
    next: Option<Instant>,
    attempts: usize,
    last_heavy: Option<Instant>,
    draws: Draws,
}

impl Together {
    pub fn new(leads: bool, seed: u64) -> Together {
        Together { leads, state: State::Idle, next: None, attempts: 0, last_heavy: None, draws: Draws::new(seed) }
    }

    /// There is reason to search anew: the first attempt is soon.
    pub fn open(&mut self, now: Instant, between: &Between) {
        let is_plain = Tactic::between(between.ours, between.theirs) == Tactic::Plain;
        self.attempts = if is_plain { UNLIKELY } else { 0 };
        let is_unknown = |nat: Nat| nat.is_symmetric() && nat.ports == Ports::Unknown;
        let pause = match is_plain {
            true => WHOLE_ROUND,
            false if is_unknown(between.ours) || is_unknown(between.theirs) => STUDY,
            false => HEAD_START,
        };
        self.next = Some(now + pause);
    }

    /// Ends whatever goes on; gives whether sockets are to be released.
    pub fn stop(&mut self) -> bool {
        self.next = None;
        !matches!(std::mem::replace(&mut self.state, State::Idle), State::Idle)
    }

    /// Whether an attempt goes on.
    pub fn is_busy(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => self.next.filter(|_| self.leads),
            State::Preparing { until, .. } | State::Offered { until, .. } => Some(*until),
            State::Firing(fire) => Some(fire.due),
        }
    }

    /// The sockets are open and STUN saw the first at `endpoint`.
    pub fn prepared(&mut self, now: Instant, between: &Between, sockets: &[u16], endpoint: SocketAddr) -> Option<Step> {
        let State::Preparing { offer, .. } = &self.state else { return None };
        match *offer {
            None => {
                let attempt = (self.draws.next() & !1) | (self.attempts as u64 & 1);
                let until = now + PATIENCE.max(between.rtt.unwrap_or_default() * 4);
                self.state = State::Offered { until, attempt, sockets: sockets.to_vec() };
                Some(Step::Offer(Punch { attempt, endpoint }))
            }
            Some(offer) => {
                let plan = Plan::new(between, offer.attempt);
                self.fire(now, plan.delay_of_other(between), plan, between, sockets, offer.endpoint);
                Some(Step::Accept(Punch { attempt: offer.attempt, endpoint }))
            }
        }
    }

    /// There are no sockets to be had.
    pub fn unprepared(&mut self, now: Instant, between: &Between) -> Step {
        self.give_up(now, between)
    }

    /// The leader wants to punch.
    pub fn offered(&mut self, now: Instant, between: &Between, offer: Punch) -> Option<Step> {
        let is_free = matches!(self.state, State::Idle | State::Preparing { .. });
        if self.leads || !is_free || self.is_cooling(now, between) {
            return None;
        }
        let is_new = matches!(self.state, State::Idle);
        self.state = State::Preparing { until: now + PATIENCE, offer: Some(offer) };
        is_new.then(|| self.prepare(between))
    }

    /// The other side is about to send.
    pub fn accepted(&mut self, now: Instant, between: &Between, accept: Punch) {
        let State::Offered { attempt, sockets, .. } = &self.state else { return };
        if *attempt == accept.attempt {
            let sockets = sockets.clone();
            let plan = Plan::new(between, accept.attempt);
            self.fire(now, plan.delay_of_leader(between), plan, between, &sockets, accept.endpoint);
        }
    }

    /// Does what is due. `wanted`: there is something to carry, and no good path.
    pub fn handle_timeout(&mut self, now: Instant, between: &Between, wanted: bool, out: &mut Vec<Step>) {
        if self.deadline().is_none_or(|due| now < due) {
            return;
        }
        match &mut self.state {
            State::Idle => out.extend(self.begin(now, between, wanted)),
            State::Preparing { .. } | State::Offered { .. } => out.push(self.give_up(now, between)),
            State::Firing(fire) => {
                if !fire.shoot(now, &mut self.draws, out) {
                    out.push(self.give_up(now, between));
                }
            }
        }
    }

    fn begin(&mut self, now: Instant, between: &Between, wanted: bool) -> Option<Step> {
        let tactic = between.tactic();
        self.next = None;
        if tactic == Tactic::Impossible {
            return None;
        }
        if (tactic.is_heavy() && !wanted) || self.is_cooling(now, between) {
            self.rest(now, tactic);
            return None;
        }
        self.state = State::Preparing { until: now + PATIENCE, offer: None };
        Some(self.prepare(between))
    }

    fn prepare(&self, between: &Between) -> Step {
        let tactic = between.tactic();
        Step::Prepare { sockets: tactic.sockets(between.ours), heavy: tactic.is_heavy() }
    }

    fn fire(
        &mut self,
        now: Instant,
        delay: Duration,
        plan: Plan,
        between: &Between,
        sockets: &[u16],
        endpoint: SocketAddr,
    ) {
        let tactic = between.tactic();
        let start = now + delay;
        let aim = Aim::new(tactic, between.ours, between.theirs, sockets, endpoint);
        if tactic.is_heavy() {
            self.last_heavy = Some(now);
        }
        let opener = OPENERS.get(self.attempts % OPENERS.len()).copied().filter(|_| plan == Plan::Openers);
        let due = if opener.is_some() { now } else { start };
        self.state = State::Firing(Fire { start, due, aim, opener, done: 0, heavy: tactic.is_heavy() });
    }

    fn give_up(&mut self, now: Instant, between: &Between) -> Step {
        self.state = State::Idle;
        self.rest(now, between.tactic());
        Step::Release
    }

    fn rest(&mut self, now: Instant, tactic: Tactic) {
        let pauses: &[u64] = if tactic.is_heavy() { &HEAVY_PAUSES } else { &LIGHT_PAUSES };
        let seconds = pauses.get(self.attempts).or(pauses.last()).copied().unwrap_or_default();
        self.attempts += 1;
        self.next = Some(now + Duration::from_secs(seconds));
    }

    fn is_cooling(&self, now: Instant, between: &Between) -> bool {
        let recent = |at: Instant| now.saturating_duration_since(at) < COOLING;
        between.tactic().is_heavy() && self.last_heavy.is_some_and(recent)
    }
}
