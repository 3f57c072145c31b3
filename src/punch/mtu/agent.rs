//! The search for the MTU as part of the path agent: what it hears and what it says.

use std::time::{Duration, Instant};

use super::Step;
use crate::punch::{Agent, Output};
use crate::wire::control::MTU_PROBE_MIN;
use crate::wire::{Mtu, Now, Path};

impl Agent {
    /// Never looks for more than the MTU of our own interface.
    pub fn set_mtu_ceiling(&mut self, ceiling: u16) {
        self.mtu.set_ceiling(ceiling);
    }

    /// What the chosen path carries.
    pub fn mtu(&self) -> Mtu {
        self.mtu.mtu()
    }

    /// A probe of this size came by this path.
    pub fn handle_mtu_probe(&mut self, now: Now, via: Path, id: u64, size: u16) {
        self.received(now, via);
        if size >= MTU_PROBE_MIN {
            self.push(Output::MtuAnswer { via, id, size });
        }
    }

    /// An answer came; it counts for the path that its probe took.
    pub fn handle_mtu_answer(&mut self, now: Now, via: Path, id: u64, size: u16) {
        self.received(now, via);
        self.mtu.answered(now.monotonic, id, size);
        self.run_mtu(now.monotonic);
    }

    /// Packets of more than 1280 bytes went out over the chosen path; for bulk data one call for many is enough.
    pub fn sent_large(&mut self, now: Now) {
        self.mtu.sent_large(now.monotonic);
        self.run_mtu(now.monotonic);
    }

    /// Our own system refused to send a packet of this size over the chosen path.
    pub fn mtu_refused(&mut self, now: Now, size: u16) {
        self.mtu.refused(now.monotonic, size);
        self.run_mtu(now.monotonic);
    }

    /// A probe of the chosen path was answered after this time.
    pub(in crate::punch) fn mtu_path_answered(&mut self, now: Instant, rtt: Duration) {
        if let Some(sent) = now.checked_sub(rtt) {
            self.mtu.path_answered(now, sent);
        }
    }

    /// Sends what is due.
    pub(in crate::punch) fn run_mtu(&mut self, now: Instant) {
        let Some(via) = self.chosen() else { return };
        match self.mtu.handle_timeout(now, self.rtt()) {
            Step::Nothing => {}
            Step::Probe { id, size } => self.push(Output::MtuProbe { via, id, size }),
            Step::Check => self.check(now),
        }
    }
}
