//! The AES-256-GCM lane beside a WireGuard session: `docs/lane.md` tells what it is and why it is sound.
//!
//! In: the WireGuard handshakes of one tunnel by their indices, the control packets of the peer, which its tunnel
//! authenticated, packets to seal and datagrams to open; the time, and randomness where a secret is made. Out: control
//! packets to send, sealed datagrams, opened packets. Left to others: when handshakes happen, where anything is sent.
//!
//! Each handshake can have one lane, found by the same receiver index. Its initiator offers, its responder accepts and
//! can open from then on; the initiator seals once it has the acceptance, the responder once it has heard the initiator
//! in the lane. Data is sealed in the lane of the WireGuard session that is in use, and by WireGuard while that has no
//! proven lane: a peer that lost its keys is noticed as it is without lanes.

mod exchange;
mod keys;
mod session;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use rand_core::CryptoRngCore;

use crate::wire::control::Control;
use crate::wire::{Drop, LaneShare};
use exchange::{Agreement, Exchange};
use keys::End;
use session::{Session, TAG};

pub use keys::Party;
pub(super) use session::{HEADER, Handshake};

/// Sessions at once, by the low bits of our index, like WireGuard's own.
const PLACES: usize = 8;
/// Data in a lane older than this makes its initiator begin a handshake (WireGuard's Rekey-After-Time).
const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
/// No WireGuard session is in use.
const NONE: u64 = u64::MAX;

/// The lanes of one tunnel.
pub(super) struct Lane {
    ours: Party,
    theirs: Party,
    /// What packets are sealed in.
    sealing: ArcSwapOption<Session>,
    /// What datagrams may come in, by our index.
    opening: [ArcSwapOption<Session>; PLACES],
    /// Our index of the WireGuard session in use, or [`NONE`].
    in_use: AtomicU64,
    exchange: Mutex<Exchange>,
}

impl Lane {
    pub(super) fn new(ours: Party, theirs: Party) -> Lane {
        Lane {
            ours,
            theirs,
            sealing: ArcSwapOption::empty(),
            opening: Default::default(),
            in_use: AtomicU64::new(NONE),
            exchange: Mutex::default(),
        }
    }

    /// Whether packets are sealed in it now.
    pub(super) fn is_sealing(&self) -> bool {
        self.sealing.load().is_some()
    }

    /// Seals a packet into `out`, if there is a session and room.
    pub(super) fn seal(&self, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        let sealing = self.sealing.load();
        let session = sealing.as_ref()?;
        seal(session, packet, out)
    }

    /// Opens what stands behind the header of a datagram with this receiver index and counter, where it stands; gives
    /// how much of it is the packet.
    pub(super) fn open(&self, index: u32, counter: u64, sealed: &mut [u8]) -> Result<usize, Drop> {
        let place = self.opening.get(place(index)).ok_or(Drop::UnknownSession)?.load();
        let session = place.as_ref().filter(|session| session.handshake.local == index);
        let session = session.ok_or(Drop::UnknownSession)?;
        let opened = session.open(counter, sealed)?;
        if !session.is_proven() && session.prove() {
            self.choose(&self.exchange.lock());
        }
        Ok(opened)
    }

    /// WireGuard completed a handshake, or answered one.
    pub(super) fn handshake(&self, handshake: Handshake) {
        self.exchange.lock().handshake(handshake);
    }

    /// WireGuard sends in the session with this index of ours, or in none.
    pub(super) fn follow(&self, in_use: Option<u32>) {
        let in_use = in_use.map_or(NONE, u64::from);
        if self.in_use.load(Relaxed) == in_use {
            return;
        }
        let exchange = self.exchange.lock();
        self.in_use.store(in_use, Relaxed);
        self.choose(&exchange);
    }

    /// Erases keys that are too old or have others in their place, and says what is to be sent inside the tunnel now.
    /// WireGuard without a session has slept or given up: then all of them are too old. `carried`: how many packets of
    /// programs the tunnel has carried.
    pub(super) fn tend(&self, now: Instant, rng: &mut impl CryptoRngCore, carried: u64) -> Option<Control> {
        let mut exchange = self.exchange.lock();
        let is_lost = self.in_use.load(Relaxed) == NONE;
        let sealing = self.sealing.load_full();
        for place in &self.opening {
            let is_replaced = |session: &Session| sealing.as_ref().is_some_and(|by| session.is_replaced(by, now));
            let is_over = |session: &Arc<Session>| is_lost || session.is_over(now) || is_replaced(session);
            if place.load().as_ref().is_some_and(is_over) {
                place.store(None);
            }
        }
        self.choose(&exchange);
        exchange.poll(now, rng, carried, |local| self.session(local).is_none_or(|session| session.is_proven()))
    }

    /// Takes the peer's offer and gives our acceptance. What comes in the lane can be opened before it is sent.
    pub(super) fn offered(
        &self,
        now: Instant,
        offer: LaneShare,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Control, Drop> {
        let mut exchange = self.exchange.lock();
        let (share, agreement) = exchange.offered(now, offer, rng)?;
        if let Some(agreement) = agreement {
            self.install(now, &agreement)?;
            self.choose(&exchange);
        }
        Ok(Control::LaneAccept(share))
    }

    /// Takes the peer's acceptance and seals the keepalive that proves our keys into `out`; gives its length.
    pub(super) fn accepted(&self, now: Instant, acceptance: LaneShare, out: &mut [u8]) -> Result<usize, Drop> {
        let mut exchange = self.exchange.lock();
        if let Some(agreement) = exchange.accepted(acceptance)? {
            self.install(now, &agreement)?;
            self.choose(&exchange);
        }
        let session = self.session(acceptance.initiator).ok_or(Drop::UnknownSession)?;
        seal(&session, &[], out).ok_or(Drop::Oversized)
    }

    /// Whether a handshake should begin because of this lane, whose WireGuard session has this age; said once.
    pub(super) fn wants_handshake(&self, age: Duration) -> bool {
        let sealing = self.sealing.load();
        sealing.as_ref().is_some_and(|session| {
            let is_old = session.handshake.is_ours && age >= REKEY_AFTER_TIME && session.has_carried();
            (is_old || session.is_worn()) && session.renew()
        })
    }

    /// We make an initiation, after so many packets of programs.
    pub(super) fn handshake_begins(&self, carried: u64) {
        self.exchange.lock().begins(carried);
        if let Some(session) = self.sealing.load().as_ref() {
            session.renew();
        }
    }

    fn install(&self, now: Instant, agreement: &Agreement) -> Result<(), Drop> {
        let Agreement { handshake, ours, theirs, .. } = *agreement;
        let ours = End { party: self.ours, ephemeral: ours, index: handshake.local };
        let theirs = End { party: self.theirs, ephemeral: theirs, index: handshake.remote };
        let (initiator, responder) = if handshake.is_ours { (&ours, &theirs) } else { (&theirs, &ours) };
        let keys = keys::derive(agreement.shared.as_bytes(), initiator, responder);
        let session = keys.and_then(|keys| Session::new(handshake, &keys, now)).ok_or(Drop::BadHandshake)?;
        let place = self.opening.get(place(handshake.local)).ok_or(Drop::BadHandshake)?;
        place.store(Some(Arc::new(session)));
        Ok(())
    }

    /// Seals in the lane of the WireGuard session in use from now on, if it has a proven one. Under the lock of the
    /// exchange, so that of two threads the one that knows less does not have the last word.
    fn choose(&self, _exchange: &Exchange) {
        let in_use = u32::try_from(self.in_use.load(Relaxed)).ok();
        let chosen = in_use.and_then(|local| self.session(local)).filter(|session| session.is_proven());
        self.sealing.store(chosen);
    }

    fn session(&self, local: u32) -> Option<Arc<Session>> {
        let session = self.opening.get(place(local))?.load_full();
        session.filter(|session| session.handshake.local == local)
    }
}

fn place(local: u32) -> usize {
    local as usize % PLACES
}

fn seal(session: &Session, packet: &[u8], out: &mut [u8]) -> Option<usize> {
    let len = HEADER + packet.len() + TAG;
    let buffer = out.get_mut(..len)?;
    buffer.get_mut(HEADER..HEADER + packet.len())?.copy_from_slice(packet);
    session.seal_in_place(buffer).then_some(len)
}

#[cfg(test)]
mod tests;
