//! Punching together, as the path agent sees it: sockets and offers in, what is to be done out.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Between, Step};
use crate::punch::candidates::reachable;
use crate::punch::remote::within;
use crate::punch::{Agent, Output};
use crate::wire::control::Punch;
use crate::wire::{Now, Path};

/// Something that was carried this recently is a reason for a heavy attempt.
const WANTED: Duration = Duration::from_secs(60);

impl Agent {
    /// Takes the spare sockets of an [`Output::Prepare`], and where STUN saw the first of them.
    pub fn prepared(&mut self, now: Now, sockets: &[u16], endpoint: SocketAddr) {
        let between = self.between();
        let step = self.together.prepared(now.monotonic, &between, sockets, endpoint);
        self.carry_out(step);
    }

    /// There are no spare sockets to be had now, or STUN did not answer.
    pub fn unprepared(&mut self, now: Now) {
        let step = self.together.unprepared(now.monotonic, &self.between());
        self.carry_out(Some(step));
    }

    /// The peer offers to punch together.
    pub fn handle_offer(&mut self, now: Now, offer: Punch) {
        if self.session.is_some() && !self.settled() && self.may_aim_at(offer) {
            let step = self.together.offered(now.monotonic, &self.between(), offer);
            self.carry_out(step);
        }
    }

    /// The peer accepts our offer.
    pub fn handle_accept(&mut self, now: Now, accept: Punch) {
        if self.session.is_some() && self.may_aim_at(accept) {
            self.together.accepted(now.monotonic, &self.between(), accept);
        }
    }

    /// Whether a spare socket is still of use: an attempt goes on, or a path by it is known to work.
    pub fn uses(&self, socket: u16) -> bool {
        self.together.is_busy() || self.paths.uses(socket)
    }

    /// What an attempt to punch together is made of.
    pub(in crate::punch) fn between(&self) -> Between {
        Between { ours: self.nats.0, theirs: self.nats.1, rtt: self.rtt() }
    }

    /// Whether a peer may make us send there.
    pub(in crate::punch) fn may_aim_at(&self, punch: Punch) -> bool {
        punch.endpoint.is_ipv4() && reachable(Path::Direct(punch.endpoint), self.paths.overlay())
    }

    pub(in crate::punch) fn run_together(&mut self, now: Instant) {
        if self.settled() {
            let release = self.together.stop().then_some(Step::Release);
            return self.carry_out(release);
        }
        let wanted = within(self.carried, now, WANTED);
        let mut steps = Vec::new();
        self.together.handle_timeout(now, &self.between(), wanted, &mut steps);
        steps.into_iter().for_each(|step| self.carry_out(Some(step)));
    }

    pub(in crate::punch) fn carry_out(&mut self, step: Option<Step>) {
        let via = self.paths.working_relay().or(self.chosen());
        match (step, via) {
            (Some(Step::Prepare { sockets, heavy }), _) => self.push(Output::Prepare { sockets, heavy }),
            (Some(Step::Offer(punch)), Some(via)) => self.push(Output::Offer { via, punch }),
            (Some(Step::Accept(punch)), Some(via)) => self.push(Output::Accept { via, punch }),
            (Some(Step::Shot { via, id }), _) => self.push(Output::Probe { via, id }),
            (Some(Step::Opener { socket, to, hops }), _) => self.push(Output::Opener { socket, to, hops }),
            (Some(Step::Release), _) => {
                self.paths.forget_failed_spares();
                self.push(Output::Release);
            }
            (Some(Step::Offer(_) | Step::Accept(_)), None) | (None, _) => {}
        }
    }
}
