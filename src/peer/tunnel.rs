//! WireGuard with one peer, and the lane beside it, shared by the node and the threads of the fast path.

mod beside;
mod engine;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::lane::{Handshake, Lane};
use super::slot::{Slot, index};
use super::traffic::Traffic;
use crate::identity::{TunnelKey, TunnelSecret};
use crate::wire::{Datagram, Drop, classify};
use engine::Engine;

pub use beside::Cipher;
pub(super) use engine::OVERHEAD;
#[cfg(feature = "sim")]
pub use engine::advance_clock;
pub use engine::{Admission, Limiter, MIN_BUFFER};

/// The WireGuard state with one peer: a lock around its keys, counters beside it. Where both ends want it, a lane
/// carries the packets of a session; it needs no lock.
///
/// A live tunnel wants [`Tunnel::tick`] at least every 250 ms.
pub struct Tunnel {
    slot: Slot,
    peer_key: TunnelKey,
    engine: Mutex<Engine>,
    lane: Option<Box<Lane>>,
    traffic: Traffic,
    reported: AtomicBool,
}

/// What a data message held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The bytes of the packet at the front of the buffer; 0 for a keepalive.
    pub len: usize,
    /// Whether the tunnel could not send before, and can now: packets that wait may go.
    pub confirmed: bool,
}

/// What the timers of a tunnel ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// To send an initiation of this length wherever the peer might be.
    Initiation(usize),
    /// To send a keepalive of this length by the chosen path.
    Keepalive(usize),
    /// Nothing, for good: handshakes stayed unanswered for 90 s, or the last session is 9 minutes
    /// old. Only [`Tunnel::initiate`] and an initiation of the peer revive the tunnel.
    Expired,
    /// Nothing now.
    Idle,
}

impl Tunnel {
    /// A tunnel without a session. All tunnels of a node share the limiter and have distinct slots.
    pub fn new(ours: &TunnelSecret, theirs: TunnelKey, slot: Slot, limiter: &Limiter) -> Self {
        Tunnel {
            slot,
            peer_key: theirs,
            engine: Mutex::new(Engine::new(ours, theirs, slot, limiter)),
            lane: None,
            traffic: Traffic::default(),
            reported: AtomicBool::new(false),
        }
    }

    /// Where the peer table finds this tunnel.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The tunnel key of the peer.
    pub fn peer_key(&self) -> TunnelKey {
        self.peer_key
    }

    /// The counters of this tunnel.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Whether a packet could be sealed now. A responder's session counts from the first
    /// authenticated message on, a session older than 180 s no longer.
    pub fn has_session(&self) -> bool {
        self.engine.lock().has_session()
    }

    /// How long ago the last handshake was; none without a session.
    pub fn session_age(&self) -> Option<Duration> {
        self.engine.lock().session_age()
    }

    /// Seals a packet, or a keepalive if it is empty, and gives the length of the datagram in `out`: in the lane, where
    /// there is one that the peer has proven to have.
    ///
    /// None without a session, and if `out` is shorter than the packet and 32 bytes or than
    /// [`MIN_BUFFER`]. Nothing is kept for later.
    pub fn seal(&self, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        let sealed = self.lane.as_ref().and_then(|lane| lane.seal(packet, out));
        sealed.or_else(|| self.seal_in_wireguard(packet, out))
    }

    /// The same, never in the lane: for what WireGuard's timers must see.
    pub fn seal_in_wireguard(&self, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        self.engine.lock().seal(packet, out)
    }

    /// Opens a data message, WireGuard's or the lane's, into `out`, which must be as long as the datagram.
    pub fn open(&self, datagram: &[u8], out: &mut [u8]) -> Result<Opened, Drop> {
        if let Ok(Datagram::Lane { .. }) = classify(datagram) {
            return self.open_in_lane(datagram, out);
        }
        self.changing(|engine| engine.open(datagram, out))
    }

    /// Makes a fresh initiation and gives its length; none if `out` is shorter than [`MIN_BUFFER`].
    ///
    /// The same bytes go to every endpoint at which the peer might be. Each fresh initiation costs
    /// the peer one of eight session places, so leave seconds between them; unanswered, the timers
    /// repeat it every 5 s for 90 s.
    pub fn initiate(&self, out: &mut [u8]) -> Option<usize> {
        let len = self.changing(|engine| engine.initiate(out))?;
        self.handshake_begins();
        Some(len)
    }

    /// Answers an initiation of this peer; gives the length of the response in `out`.
    ///
    /// [`Limiter::admit`] comes first, then [`initiation::read`](super::initiation::read) to find
    /// the peer and to refuse what is not later than the last one also across restarts.
    pub fn handle_initiation(&self, datagram: &[u8], out: &mut [u8]) -> Result<usize, Drop> {
        let len = self.changing(|engine| engine.handle_initiation(datagram, out))?;
        // A response names our index, then the peer's (WireGuard paper, section 5.4.3).
        self.shook_hands(|| Some(Handshake { local: index(out, 4)?, remote: index(out, 8)?, is_ours: false }));
        Ok(len)
    }

    /// Takes the response to our initiation; gives the length of the keepalive in `out` by which the
    /// peer learns that it may send. From now on there is a session.
    pub fn handle_response(&self, datagram: &[u8], out: &mut [u8]) -> Result<usize, Drop> {
        let len = self.changing(|engine| engine.handle_response(datagram, out))?;
        self.shook_hands(|| Some(Handshake { local: index(datagram, 8)?, remote: index(datagram, 4)?, is_ours: true }));
        Ok(len)
    }

    /// Takes a cookie: the next initiation carries it.
    pub fn handle_cookie(&self, datagram: &[u8]) -> Result<(), Drop> {
        self.engine.lock().handle_cookie(datagram)
    }

    /// Runs the timers: call it at least every 250 ms while there is a session or a handshake.
    /// `out` must have [`MIN_BUFFER`] bytes.
    pub fn tick(&self, out: &mut [u8]) -> Tick {
        self.reported.store(false, Ordering::Relaxed);
        let tick = self.changing(|engine| engine.tick(out));
        if let Tick::Initiation(_) = tick {
            self.handshake_begins();
        }
        tick
    }

    /// Whether to report where an authenticated datagram came from: once a tick is enough.
    pub(super) fn report_once(&self) -> bool {
        !self.reported.swap(true, Ordering::Relaxed)
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("slot", &self.slot).field("peer_key", &self.peer_key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
