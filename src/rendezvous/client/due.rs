//! What is due at the server's UDP ports and at our NAT, and when.

use std::time::Instant;

use super::Client;
use super::behaviour::SOCKETS;
use super::output::{Notice, Output, Via};
use crate::wire::Now;
use crate::wire::path::MAIN;

impl Client {
    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.settle(now.monotonic);
    }

    /// When [`Client::handle_timeout`] is next needed, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let binding = self.binding.due().map(|at| (at, "relay binding"));
        let reflexive = self.reflexive.due().map(|at| (at, "STUN"));
        let gather = self.gather.due().map(|at| (at, "gathering candidates"));
        let behaviour = self.behaviour.due().map(|at| (at, "the NAT's behaviour"));
        [binding, reflexive, gather, behaviour].into_iter().flatten().min()
    }

    /// Finds out how our NAT behaves, once the server's ports have answered, and again when it maps in another way.
    fn study(&mut self, now: Instant) {
        let mapping = self.reflexive.mapping();
        let is_another = std::mem::replace(&mut self.mapping, mapping) != mapping;
        if (!self.is_studied || is_another) && self.reflexive.is_complete() && self.reflexive.targets().is_some() {
            self.is_studied = true;
            self.behaviour.restart(now);
        }
        let was_busy = !self.behaviour.is_idle();
        if self.behaviour.wants_sockets(now) {
            self.outputs.push_back(Output::OpenSpares(SOCKETS));
        }
        while let Some((socket, to, payload)) = self.behaviour.poll_transmit(now, &mut self.rng) {
            self.outputs.push_back(Output::Transmit { socket, to, payload });
        }
        if was_busy && self.behaviour.is_idle() {
            self.outputs.push_back(Output::CloseSpares);
        }
    }

    /// Sends what is due at the server's UDP ports, and says when candidates are known or changed.
    pub(super) fn settle(&mut self, now: Instant) {
        while let Some((via, payload)) = self.binding.poll_transmit(now) {
            self.outputs.push_back(match via {
                Via::Udp(to) => Output::Transmit { socket: MAIN, to, payload },
                Via::Stream => Output::Frame(payload),
            });
        }
        let wish = self.binding.wish();
        if std::mem::replace(&mut self.wished, wish) != wish {
            self.outputs.push_back(Output::Stream(wish));
        }
        while let Some((to, payload)) = self.reflexive.poll_transmit(now) {
            self.outputs.push_back(Output::Transmit { socket: MAIN, to, payload });
        }
        self.study(now);
        let is_complete = self.binding.via().is_some() && self.reflexive.is_complete();
        let changed = self.binding.take_changed() | self.reflexive.take_changed() | self.behaviour.take_changed();
        let moved = self.binding.take_moved();
        let notice = self.gather.step(now, is_complete, changed);
        if let Some(notice) = notice.or(moved.then_some(Notice::Moved)) {
            self.outputs.push_back(Output::Notice(notice));
        }
    }
}
