//! Fresh sockets for punching: opened for a peer's path agent, and seen by STUN before it gets them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_core::RngCore;

use super::remote::Ways;
use super::spares::Owner;
use super::{Node, Slot};
use crate::punch::Agent;
use crate::wire::control::{Control, Punch};
use crate::wire::stun::{self, Transaction};
use crate::wire::{Drop, Hop, Now, Path};

/// Between the requests to STUN from one socket.
const RETRIES: [Duration; 4] =
    [Duration::from_millis(150), Duration::from_millis(250), Duration::from_millis(400), Duration::from_millis(700)];
/// The least time between two attempts that fill a good part of a home gateway's table, whoever the peers are: an entry
/// that nothing answers lives 30 s on Linux.
const COOLING: Duration = Duration::from_secs(36);

/// The sockets that STUN has not seen yet.
#[derive(Default)]
pub(super) struct Punching {
    preparing: Vec<Preparation>,
    heavy_until: Option<Instant>,
}

struct Preparation {
    slot: Slot,
    sockets: Vec<u16>,
    server: SocketAddr,
    transaction: Transaction,
    sent: usize,
    due: Instant,
}

impl Punching {
    /// When a request is due again, and why.
    pub fn due(&self) -> Option<(Instant, &'static str)> {
        let due = self.preparing.iter().map(|preparation| preparation.due).min();
        due.map(|due| (due, "STUN from a fresh socket"))
    }

    /// Takes the place of a heavy attempt, if it is free.
    fn admit(&mut self, now: Instant, heavy: bool) -> bool {
        let is_free = self.heavy_until.is_none_or(|until| until <= now);
        if heavy && is_free {
            self.heavy_until = Some(now + COOLING);
        }
        is_free || !heavy
    }
}

impl Node {
    /// Asks for the sockets that a peer's agent wants.
    pub(super) fn prepare(&mut self, now: Now, slot: Slot, sockets: u16, heavy: bool) {
        self.punching.preparing.retain(|preparation| preparation.slot != slot);
        let owner = Owner::Peer(slot);
        if self.spares.is_asked(owner) || !self.punching.admit(now.monotonic, heavy) {
            return self.with_agent(slot, |agent| agent.unprepared(now));
        }
        self.ask_spares(owner, sockets);
    }

    /// Takes the sockets that were opened for a peer.
    pub(super) fn prepared(&mut self, now: Now, slot: Slot, sockets: Vec<u16>) {
        let Some((server, _)) = self.clients.stun_server().zip(sockets.first()) else {
            return self.unprepared(now, slot);
        };
        let mut transaction = Transaction::default();
        self.rng.fill_bytes(&mut transaction);
        let due = now.monotonic;
        self.punching.preparing.push(Preparation { slot, sockets, server, transaction, sent: 0, due });
        self.ask_stun(now);
    }

    /// Asks STUN where that is due.
    pub(super) fn ask_stun(&mut self, now: Now) {
        let mut requests = Vec::new();
        let mut failed = Vec::new();
        for preparation in self.punching.preparing.iter_mut().filter(|waiting| waiting.due <= now.monotonic) {
            match (RETRIES.get(preparation.sent), preparation.sockets.first()) {
                (Some(pause), Some(socket)) => {
                    preparation.sent += 1;
                    preparation.due = now.monotonic + *pause;
                    let hop = Hop::Udp { socket: *socket, to: preparation.server };
                    requests.push((hop, stun::request(preparation.transaction)));
                }
                _ => failed.push(preparation.slot),
            }
        }
        requests.into_iter().for_each(|(hop, request)| self.transmit(hop, request));
        failed.into_iter().for_each(|slot| self.unprepared(now, slot));
    }

    /// Takes what STUN says to a fresh socket.
    pub(super) fn sampled(&mut self, now: Now, slot: Slot, from: SocketAddr, bytes: &[u8]) -> Result<(), Drop> {
        let (transaction, seen) = stun::parse_response(bytes)?;
        let is_answer = |asked: &Preparation| {
            (asked.slot, asked.server, asked.transaction) == (slot, from, transaction) && asked.sent > 0
        };
        let place = self.punching.preparing.iter().position(is_answer).ok_or(Drop::Unexpected)?;
        let Preparation { sockets, .. } = self.punching.preparing.swap_remove(place);
        self.with_agent(slot, |agent| agent.prepared(now, &sockets, seen));
        self.drive(now, slot);
        Ok(())
    }

    /// Closes the sockets of a peer that it has no use for.
    pub(super) fn release(&mut self, slot: Slot) {
        self.punching.preparing.retain(|preparation| preparation.slot != slot);
        let owned = self.spares.of(Owner::Peer(slot));
        let is_used = |socket: u16| match self.remotes.get(slot).map(|remote| &remote.ways) {
            Some(Ways::Agent(agent)) => agent.uses(socket),
            _ => false,
        };
        let unused: Vec<u16> = owned.into_iter().filter(|socket| !is_used(*socket)).collect();
        self.close_spares(unused);
    }

    /// Tells the peer of an attempt to punch together.
    pub(super) fn send_punch(&mut self, slot: Slot, via: Path, punch: Punch, is_offer: bool) {
        let control = if is_offer { Control::PunchOffer(punch) } else { Control::PunchAccept(punch) };
        self.send_control(slot, via, &control);
    }

    fn unprepared(&mut self, now: Now, slot: Slot) {
        self.with_agent(slot, |agent| agent.unprepared(now));
        self.release(slot);
        self.drive(now, slot);
    }

    pub(super) fn with_agent(&mut self, slot: Slot, act: impl FnOnce(&mut Agent)) {
        if let Some(Ways::Agent(agent)) = self.remotes.get_mut(slot).map(|remote| &mut remote.ways) {
            act(agent);
        }
    }
}
