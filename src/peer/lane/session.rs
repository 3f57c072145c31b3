//! One set of keys: seals and opens through `&self`, so that several threads serve a peer at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::keys::Keys;
use super::window::Window;
use crate::wire::Drop;
use crate::wire::datagram::{LANE, LANE_MIN_LEN};

/// Bytes in front of a sealed packet: type, receiver index, counter.
pub(in crate::peer) const HEADER: usize = 16;
/// Bytes behind it: the authentication tag.
pub(super) const TAG: usize = LANE_MIN_LEN - HEADER;
/// A key seals and opens nothing any more after this time (WireGuard's Reject-After-Time).
pub(super) const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
/// Two handshakes so far apart do not cross: the later one is the later one at both ends.
const APART: Duration = Duration::from_secs(60);
/// How long a datagram may be under way.
const UNDER_WAY: Duration = Duration::from_secs(10);
/// A key seals so many packets; at 64 KiB each these are 2^44 blocks, and AES-GCM is told from random with an
/// advantage of no more than 2^-40 then (at 1,420 bytes: 2^-51).
pub(super) const REJECT_AFTER_MESSAGES: u64 = 1 << 32;
/// After so many a handshake brings others.
const RENEW_AFTER_MESSAGES: u64 = 1 << 30;

/// Whose index is whose in the WireGuard handshake that a session belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::peer) struct Handshake {
    /// The receiver index that we gave.
    pub local: u32,
    /// The one that the peer gave.
    pub remote: u32,
    /// Whether we made the initiation.
    pub is_ours: bool,
}

/// Alone on its cache line: one direction counts without slowing the other.
#[repr(align(64))]
struct Counter(AtomicU64);

/// One set of keys.
pub(super) struct Session {
    pub handshake: Handshake,
    since: Instant,
    sealing: LessSafeKey,
    opening: LessSafeKey,
    sent: Counter,
    window: Mutex<Window>,
    /// Whether the peer has shown that it can open what we seal.
    is_proven: AtomicBool,
    /// Whether a handshake that replaces it has begun.
    is_renewing: AtomicBool,
}

impl Session {
    /// The one who made the initiation has the peer's acceptance, which proves the session; the other waits for a
    /// datagram in it.
    pub(super) fn new(handshake: Handshake, keys: &Keys, since: Instant) -> Option<Session> {
        let (ours, theirs) = match handshake.is_ours {
            true => (&keys.initiator, &keys.responder),
            false => (&keys.responder, &keys.initiator),
        };
        Some(Session {
            handshake,
            since,
            sealing: key(&**ours)?,
            opening: key(&**theirs)?,
            sent: Counter(AtomicU64::new(0)),
            window: Mutex::default(),
            is_proven: AtomicBool::new(handshake.is_ours),
            is_renewing: AtomicBool::new(false),
        })
    }

    /// Seals what stands between [`HEADER`] and [`TAG`] bytes of room; false, and nothing sent may be, if there is not
    /// that room or the key has sealed all that it may.
    pub(super) fn seal_in_place(&self, buffer: &mut [u8]) -> bool {
        self.seal(buffer).is_some()
    }

    fn seal(&self, buffer: &mut [u8]) -> Option<()> {
        let (header, rest) = buffer.split_first_chunk_mut::<HEADER>()?;
        let (packet, tag) = rest.split_last_chunk_mut::<TAG>()?;
        let counter = self.sent.0.fetch_add(1, Relaxed);
        if counter >= REJECT_AFTER_MESSAGES {
            return None;
        }
        let sealed = self.sealing.seal_in_place_separate_tag(nonce(counter), Aad::empty(), packet).ok()?;
        tag.copy_from_slice(sealed.as_ref());
        *header = self.header(counter);
        Some(())
    }

    /// Opens what stands behind the header of a datagram with this counter, where it stands, and gives how much of it is
    /// the packet; what is refused may be overwritten.
    pub(super) fn open(&self, counter: u64, sealed: &mut [u8]) -> Result<usize, Drop> {
        if counter >= REJECT_AFTER_MESSAGES {
            return Err(Drop::Forged);
        }
        self.window.lock().check(counter)?;
        let opened = self.opening.open_in_place(nonce(counter), Aad::empty(), sealed);
        let len = opened.map_err(|_| Drop::Forged)?.len();
        self.window.lock().take(counter)?;
        Ok(len)
    }

    /// Whether we may seal in it.
    pub(super) fn is_proven(&self) -> bool {
        self.is_proven.load(Relaxed)
    }

    /// The peer showed that it has the keys; whether that is news.
    pub(super) fn prove(&self) -> bool {
        !self.is_proven.swap(true, Relaxed)
    }

    /// Whether its keys are too old to be used.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= REJECT_AFTER_TIME
    }

    /// Whether nothing comes in it any more, now that packets are sealed in a later one. The peer has changed over before
    /// it agreed on that, for good, and what it had sent before has come.
    pub(super) fn is_replaced(&self, by: &Session, now: Instant) -> bool {
        let is_later = by.since.saturating_duration_since(self.since) >= APART;
        is_later && now.saturating_duration_since(by.since) >= UNDER_WAY
    }

    /// Whether it carried anything but the first word that proves it.
    pub(super) fn has_carried(&self) -> bool {
        self.sent.0.load(Relaxed) > 1 || !self.window.lock().is_empty()
    }

    /// Whether it has sealed so much that other keys are due.
    pub(super) fn is_worn(&self) -> bool {
        self.sent.0.load(Relaxed) >= RENEW_AFTER_MESSAGES
    }

    /// A handshake that replaces it begins; whether it is the first.
    pub(super) fn renew(&self) -> bool {
        !self.is_renewing.swap(true, Relaxed)
    }

    #[cfg(test)]
    pub(super) fn set_sent(&self, counter: u64) {
        self.sent.0.store(counter, Relaxed);
    }

    fn header(&self, counter: u64) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[0] = LANE;
        header[4..8].copy_from_slice(&self.handshake.remote.to_le_bytes());
        header[8..].copy_from_slice(&counter.to_le_bytes());
        header
    }
}

fn key(bytes: &[u8]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, bytes).ok().map(LessSafeKey::new)
}

/// Four zero bytes and the counter, little-endian, as in WireGuard.
fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}
