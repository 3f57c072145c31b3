//! The WireGuard engine, boringtun, which only this file names.
//!
//! It has habits that this file keeps away from everybody else: it panics when a buffer is short, so
//! lengths are checked first; it takes nothing at all for a wish to drain its queue, and answers
//! that with another initiation, so each kind of message has its own way in and it is never given a
//! packet that it cannot send at once; as responder it may send in a session that the peer has not
//! proven to have, so [`Sessions`] keeps book; its timers run on the time of its last update, so
//! each handshake starts with one; and it reads a clock of its own.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};
use boringtun::x25519;

use super::{Opened, Tick};
use crate::identity::{TunnelKey, TunnelSecret};
use crate::peer::sessions::Sessions;
use crate::peer::slot::{Slot, index};
use crate::wire::datagram::{DATA_MIN_LEN, INITIATION_LEN};
use crate::wire::{Datagram, Drop, classify};

/// The least length in bytes of a buffer given to a [`Tunnel`](super::Tunnel): the longest handshake message.
pub const MIN_BUFFER: usize = INITIATION_LEN;
/// Bytes that sealing adds: header and authentication tag of a data message.
pub(in crate::peer) const OVERHEAD: usize = DATA_MIN_LEN;
/// A receiver refuses this and all higher counters (WireGuard paper, section 6.1).
const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);

/// One end of a tunnel.
pub(super) struct Engine {
    tunn: Box<Tunn>,
    sessions: Sessions,
}

impl Engine {
    pub(super) fn new(ours: &TunnelSecret, theirs: TunnelKey, slot: Slot, limiter: &Limiter) -> Self {
        let tunn = Tunn::new(
            x25519::StaticSecret::from(*ours.to_bytes()),
            x25519::PublicKey::from(*theirs.as_bytes()),
            None,
            None,
            slot.number(),
            Some(limiter.unlimited.clone()),
        );
        Engine { tunn: Box::new(tunn), sessions: Sessions::default() }
    }

    pub(super) fn has_session(&self) -> bool {
        self.sessions.usable()
    }

    /// The receiver index that we gave to the session that is used to send.
    pub(super) fn in_use(&self) -> Option<u32> {
        self.sessions.in_use()
    }

    pub(super) fn session_age(&self) -> Option<Duration> {
        let age = self.tunn.time_since_last_handshake();
        age.filter(|_| self.has_session())
    }

    pub(super) fn seal(&mut self, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        if out.len() < MIN_BUFFER.max(packet.len() + OVERHEAD) || !self.has_session() {
            return None;
        }
        match self.tunn.encapsulate(packet, out) {
            TunnResult::WriteToNetwork([4, rest @ ..]) => Some(1 + rest.len()),
            _ => None,
        }
    }

    pub(super) fn open(&mut self, datagram: &[u8], out: &mut [u8]) -> Result<Opened, Drop> {
        if out.len() < datagram.len() {
            return Err(Drop::Oversized);
        }
        let local = data_index(datagram)?;
        let result = match self.tunn.decapsulate(None, datagram, out) {
            TunnResult::Done => Ok(0),
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => Ok(packet.len()),
            TunnResult::WriteToNetwork(_) => Err(Drop::Forged),
            // It authenticated: the engine looks at the packet afterwards.
            TunnResult::Err(WireGuardError::InvalidPacket) => Err(Drop::MalformedPacket),
            TunnResult::Err(error) => return Err(data_reason(&error)),
        };
        let before = self.has_session();
        self.sessions.heard(local);
        let confirmed = !before && self.has_session();
        result.map(|len| Opened { len, confirmed })
    }

    pub(super) fn initiate(&mut self, out: &mut [u8]) -> Option<usize> {
        if let Tick::Initiation(len) = self.tick(out) {
            return Some(len);
        }
        match self.tunn.format_handshake_initiation(out, true) {
            TunnResult::WriteToNetwork(initiation) => Some(initiation.len()),
            _ => None,
        }
    }

    pub(super) fn handle_initiation(&mut self, datagram: &[u8], out: &mut [u8]) -> Result<usize, Drop> {
        let Ok(Datagram::Initiation(_)) = classify(datagram) else {
            return Err(Drop::NotOurs);
        };
        // A tunnel that rested believes it is still the time of its last update: a session made now
        // would be too old at the next.
        self.tick(out);
        let len = self.handshake(datagram, out)?;
        if let Some(local) = index(out, 4) {
            self.sessions.answered(local);
        }
        Ok(len)
    }

    pub(super) fn handle_response(&mut self, datagram: &[u8], out: &mut [u8]) -> Result<usize, Drop> {
        let Ok(Datagram::Response(_)) = classify(datagram) else {
            return Err(Drop::NotOurs);
        };
        let len = self.handshake(datagram, out)?;
        if let Some(local) = index(datagram, 8) {
            self.sessions.initiated(local);
        }
        Ok(len)
    }

    pub(super) fn handle_cookie(&mut self, datagram: &[u8]) -> Result<(), Drop> {
        let Ok(Datagram::Cookie(_)) = classify(datagram) else {
            return Err(Drop::NotOurs);
        };
        match self.tunn.decapsulate(None, datagram, &mut []) {
            TunnResult::Done => Ok(()),
            TunnResult::Err(error) => Err(handshake_reason(&error)),
            _ => Err(Drop::BadHandshake),
        }
    }

    pub(super) fn tick(&mut self, out: &mut [u8]) -> Tick {
        if out.len() < MIN_BUFFER {
            return Tick::Idle;
        }
        let tick = match self.tunn.update_timers(out) {
            TunnResult::WriteToNetwork([1, rest @ ..]) => Tick::Initiation(1 + rest.len()),
            TunnResult::WriteToNetwork(keepalive) => Tick::Keepalive(keepalive.len()),
            TunnResult::Err(WireGuardError::ConnectionExpired) => Tick::Expired,
            _ => Tick::Idle,
        };
        let present = self.tunn.time_since_last_handshake().is_some();
        self.sessions.ticked(present);
        tick
    }

    /// Lets the engine answer a handshake message into `out`.
    fn handshake(&mut self, datagram: &[u8], out: &mut [u8]) -> Result<usize, Drop> {
        if out.len() < MIN_BUFFER {
            return Err(Drop::Oversized);
        }
        match self.tunn.decapsulate(None, datagram, out) {
            TunnResult::WriteToNetwork(answer) => Ok(answer.len()),
            TunnResult::Err(error) => Err(handshake_reason(&error)),
            _ => Err(Drop::BadHandshake),
        }
    }
}

/// The receiver index of a data message whose length and counter the engine can take.
fn data_index(datagram: &[u8]) -> Result<u32, Drop> {
    let Ok(Datagram::Data { receiver_index, .. }) = classify(datagram) else {
        return Err(Drop::NotOurs);
    };
    let counter = datagram.get(8..).and_then(|rest| rest.first_chunk());
    // Higher ones would overflow the engine's replay window.
    match counter.copied().map(u64::from_le_bytes) {
        Some(0..REJECT_AFTER_MESSAGES) => Ok(receiver_index),
        _ => Err(Drop::Forged),
    }
}

fn data_reason(error: &WireGuardError) -> Drop {
    match error {
        WireGuardError::NoCurrentSession | WireGuardError::WrongIndex => Drop::UnknownSession,
        WireGuardError::InvalidCounter | WireGuardError::DuplicateCounter => Drop::Replayed,
        _ => Drop::Forged,
    }
}

fn handshake_reason(error: &WireGuardError) -> Drop {
    match error {
        WireGuardError::InvalidMac => Drop::BadMac,
        WireGuardError::UnderLoad => Drop::UnderLoad,
        WireGuardError::WrongKey => Drop::Stranger,
        WireGuardError::WrongTai64nTimestamp => Drop::Replayed,
        WireGuardError::InvalidPacket => Drop::NotOurs,
        _ => Drop::BadHandshake,
    }
}

/// Decides which initiations are worth a key agreement, for all tunnels of a node together.
pub struct Limiter {
    gate: RateLimiter,
    /// For the tunnels, which check MACs once more but must not count the same message again.
    unlimited: Arc<RateLimiter>,
}

/// What to do with an initiation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Go on.
    Admitted,
    /// Too many came: send the cookie of this length back, if its endpoint is expected, and nothing
    /// else. With the cookie in it the next initiation is admitted.
    Cookie(usize),
}

impl Limiter {
    /// Admits so many initiations a second without a cookie.
    pub fn new(ours: TunnelKey, per_second: u64) -> Self {
        let key = x25519::PublicKey::from(*ours.as_bytes());
        Limiter { gate: RateLimiter::new(&key, per_second), unlimited: Arc::new(RateLimiter::new(&key, u64::MAX)) }
    }

    /// Checks that the sender of an initiation knows our tunnel key and, under load, that it
    /// receives at `from`. A cookie is written to `out`, of [`MIN_BUFFER`] bytes.
    pub fn admit(&self, from: IpAddr, datagram: &[u8], out: &mut [u8]) -> Result<Admission, Drop> {
        if datagram.len() != INITIATION_LEN {
            return Err(Drop::NotOurs);
        }
        match self.gate.verify_packet(Some(from), datagram, out) {
            Ok(Packet::HandshakeInit(_)) => Ok(Admission::Admitted),
            Ok(_) => Err(Drop::NotOurs),
            Err(TunnResult::WriteToNetwork(cookie)) => Ok(Admission::Cookie(cookie.len())),
            Err(TunnResult::Err(error)) => Err(handshake_reason(&error)),
            Err(_) => Err(Drop::BadHandshake),
        }
    }

    /// Starts a new second; call it once a second.
    pub fn reset(&self) {
        self.gate.reset_count();
    }
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter").finish_non_exhaustive()
    }
}

/// Moves the virtual clock of all engines in this thread: with the feature `sim` none reads a real one.
#[cfg(feature = "sim")]
pub fn advance_clock(elapsed: Duration) {
    mock_instant::MockClock::advance(elapsed);
}
