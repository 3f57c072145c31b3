//! The lane of a tunnel: what of it others see, and how it follows WireGuard.

use std::time::Instant;

use rand_core::CryptoRngCore;

use super::engine::Engine;
use super::{Opened, Tunnel};
use crate::peer::lane::{HEADER, Handshake, Lane, Party};
use crate::wire::control::Control;
use crate::wire::{Datagram, Drop, LaneShare, classify};

/// What the packets of a session are sealed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// AES-256-GCM: a lane of ours (`docs/lane.md`).
    Aes256Gcm,
    /// ChaCha20-Poly1305: WireGuard.
    ChaCha20Poly1305,
}

impl Cipher {
    /// The name that scripts read.
    pub fn name(self) -> &'static str {
        match self {
            Cipher::Aes256Gcm => "aes-256-gcm",
            Cipher::ChaCha20Poly1305 => "chacha20-poly1305",
        }
    }
}

impl Tunnel {
    /// Has a lane in each session if the peer wants it, too.
    pub fn with_lane(self, ours: Party, theirs: Party) -> Tunnel {
        Tunnel { lane: Some(Box::new(Lane::new(ours, theirs))), ..self }
    }

    /// What a packet would be sealed with now; none without a session.
    pub fn cipher(&self) -> Option<Cipher> {
        match self.lane.as_ref().is_some_and(|lane| lane.is_sealing()) {
            true => Some(Cipher::Aes256Gcm),
            false => self.has_session().then_some(Cipher::ChaCha20Poly1305),
        }
    }

    /// Erases the lane's keys that are too old, and gives what it has to say inside the tunnel: call it after each
    /// handshake, and at least every 250 ms while there is a session.
    pub fn tend_lane(&self, now: Instant, rng: &mut impl CryptoRngCore) -> Option<Control> {
        self.lane.as_ref()?.tend(now, rng, self.traffic().packets())
    }

    /// Takes the peer's offer, which came in this tunnel; gives the acceptance. [`Drop::Unexpected`] if we want no lane,
    /// or for no handshake that we answered.
    pub fn handle_lane_offer(
        &self,
        now: Instant,
        offer: LaneShare,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Control, Drop> {
        self.lane.as_ref().ok_or(Drop::Unexpected)?.offered(now, offer, rng)
    }

    /// Takes the peer's acceptance, which came in this tunnel; gives the length of the lane's keepalive in `out` by
    /// which the peer learns that it may seal in it.
    pub fn handle_lane_accept(&self, now: Instant, acceptance: LaneShare, out: &mut [u8]) -> Result<usize, Drop> {
        self.lane.as_ref().ok_or(Drop::Unexpected)?.accepted(now, acceptance, out)
    }

    /// Whether to begin a handshake because of what the lane carried, of which WireGuard's timers know nothing; said
    /// once a session.
    pub fn wants_handshake(&self) -> bool {
        let age = self.lane.as_ref().and_then(|_| self.session_age());
        age.is_some_and(|age| self.lane.as_ref().is_some_and(|lane| lane.wants_handshake(age)))
    }

    /// Opens a lane's datagram into `out`.
    pub(super) fn open_in_lane(&self, datagram: &[u8], out: &mut [u8]) -> Result<Opened, Drop> {
        let (lane, index, counter) = self.lane_of(datagram)?;
        let sealed = datagram.get(HEADER..).ok_or(Drop::NotOurs)?;
        let out = out.get_mut(..sealed.len()).ok_or(Drop::Oversized)?;
        out.copy_from_slice(sealed);
        let len = lane.open(index, counter, out)?;
        Ok(Opened { len, confirmed: false })
    }

    /// The lane, and index and counter of a datagram of it.
    fn lane_of(&self, datagram: &[u8]) -> Result<(&Lane, u32, u64), Drop> {
        let Datagram::Lane { receiver_index, bytes } = classify(datagram)? else {
            return Err(Drop::NotOurs);
        };
        let counter = bytes.get(8..).and_then(|rest| rest.first_chunk()).ok_or(Drop::NotOurs)?;
        let lane = self.lane.as_ref().ok_or(Drop::UnknownSession)?;
        Ok((lane, receiver_index, u64::from_le_bytes(*counter)))
    }

    /// Changes WireGuard's state, after which another session may be in use.
    pub(super) fn changing<T>(&self, change: impl FnOnce(&mut Engine) -> T) -> T {
        let (done, in_use) = {
            let mut engine = self.engine.lock();
            (change(&mut engine), engine.in_use())
        };
        self.follow(in_use);
        done
    }

    pub(super) fn follow(&self, in_use: Option<u32>) {
        if let Some(lane) = &self.lane {
            lane.follow(in_use);
        }
    }

    /// An initiation was made: the lane need not ask for one.
    pub(super) fn handshake_begins(&self) {
        if let Some(lane) = &self.lane {
            lane.handshake_begins(self.traffic().packets());
        }
    }

    pub(super) fn shook_hands(&self, handshake: impl FnOnce() -> Option<Handshake>) {
        if let Some(lane) = &self.lane
            && let Some(handshake) = handshake()
        {
            lane.handshake(handshake);
        }
    }
}
