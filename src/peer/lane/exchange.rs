//! The agreement on a lane: who offers and accepts, and how often it is said again when nothing comes back.

use std::time::{Duration, Instant};

use rand_core::CryptoRngCore;
use x25519_dalek::{EphemeralSecret, PublicKey, SharedSecret};

use super::place;
use super::session::Handshake;
use crate::wire::control::Control;
use crate::wire::{Drop, LaneShare};

/// Pauses after each time that something was said; after the last of them there is no lane until the next handshake.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::ZERO,
];

/// A secret that both ends have, and what each of them contributed to it.
pub(super) struct Agreement {
    pub handshake: Handshake,
    pub shared: SharedSecret,
    pub ours: [u8; 32],
    pub theirs: [u8; 32],
}

/// What is under way with one peer.
#[derive(Default)]
pub(super) struct Exchange {
    /// Handshakes that we answered, one a place of our index; the peer may offer a lane for each once.
    answered: Vec<Handshake>,
    offer: Option<Box<Offer>>,
    /// Packets of programs that the tunnel had carried when our last initiation was made.
    carried: u64,
    acceptance: Option<Box<Acceptance>>,
    /// The acceptance that made our last lane.
    taken: Option<LaneShare>,
    /// Whether the peer left the last offer unanswered, however often it was said.
    is_ignored: bool,
}

/// Ours, until it is accepted.
struct Offer {
    handshake: Handshake,
    /// Packets of programs that the tunnel had carried before this handshake: a lane for none would only make idle
    /// peers talk.
    carried: u64,
    /// The secret and what was said of it, as soon as it was said.
    made: Option<(EphemeralSecret, LaneShare)>,
    repeats: Repeats,
}

/// Ours, until the peer is heard in the lane.
struct Acceptance {
    offer: LaneShare,
    share: LaneShare,
    repeats: Repeats,
}

/// How often something was said, and when again.
#[derive(Default)]
struct Repeats {
    said: usize,
    due: Option<Instant>,
}

impl Repeats {
    fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }

    fn is_exhausted(&self) -> bool {
        self.said >= PAUSES.len()
    }

    fn said(&mut self, now: Instant) {
        self.due = PAUSES.get(self.said).map(|pause| now + *pause);
        self.said += 1;
    }
}

impl Exchange {
    /// We make an initiation, after so many packets of programs.
    pub(super) fn begins(&mut self, carried: u64) {
        self.carried = carried;
    }

    /// A handshake was completed, or answered: there may be a lane for it.
    pub(super) fn handshake(&mut self, handshake: Handshake) {
        match handshake.is_ours {
            true => {
                let (carried, repeats) = (self.carried, Repeats::default());
                self.offer = Some(Box::new(Offer { handshake, carried, made: None, repeats }));
            }
            false => {
                self.answered.retain(|former| place(former.local) != place(handshake.local));
                self.answered.reserve_exact(1);
                self.answered.push(handshake);
            }
        }
    }

    /// What to say now. `carried`: how many packets of programs the tunnel has carried; `is_proven`: whether the peer was
    /// heard in the lane of the handshake with this index of ours.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        rng: &mut impl CryptoRngCore,
        carried: u64,
        is_proven: impl Fn(u32) -> bool,
    ) -> Option<Control> {
        self.repeat_offer(now, rng, carried).or_else(|| self.repeat_acceptance(now, is_proven))
    }

    /// Takes the peer's offer; an agreement unless it is one that was taken already, and our acceptance.
    pub(super) fn offered(
        &mut self,
        now: Instant,
        offer: LaneShare,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(LaneShare, Option<Agreement>), Drop> {
        if let Some(acceptance) = self.acceptance.as_ref().filter(|acceptance| acceptance.offer == offer) {
            return Ok((acceptance.share, None));
        }
        let is_meant =
            |handshake: &Handshake| (handshake.remote, handshake.local) == (offer.initiator, offer.responder);
        let at = self.answered.iter().position(is_meant).ok_or(Drop::Unexpected)?;
        let handshake = self.answered.swap_remove(at);
        let secret = EphemeralSecret::random_from_rng(rng);
        let share = LaneShare { ephemeral: PublicKey::from(&secret).to_bytes(), ..offer };
        let agreement = agree(handshake, secret, share, offer)?;
        let mut repeats = Repeats::default();
        repeats.said(now);
        self.acceptance = Some(Box::new(Acceptance { offer, share, repeats }));
        Ok((share, Some(agreement)))
    }

    /// Takes the peer's acceptance; an agreement unless it is one that was taken already.
    pub(super) fn accepted(&mut self, acceptance: LaneShare) -> Result<Option<Agreement>, Drop> {
        if self.taken == Some(acceptance) {
            return Ok(None);
        }
        let is_meant = |offer: &mut Box<Offer>| {
            let share = offer.made.as_ref().map(|(_, share)| *share);
            share.is_some_and(|share| LaneShare { ephemeral: acceptance.ephemeral, ..share } == acceptance)
        };
        let offer = self.offer.take_if(is_meant).ok_or(Drop::Unexpected)?;
        let (secret, share) = offer.made.ok_or(Drop::Unexpected)?;
        let agreement = agree(offer.handshake, secret, share, acceptance)?;
        self.taken = Some(acceptance);
        self.is_ignored = false;
        Ok(Some(agreement))
    }

    fn repeat_offer(&mut self, now: Instant, rng: &mut impl CryptoRngCore, carried: u64) -> Option<Control> {
        let is_ignored = self.is_ignored;
        let is_wanted = |offer: &&mut Box<Offer>| carried != offer.carried && offer.repeats.is_due(now);
        let offer = self.offer.as_mut().filter(is_wanted)?;
        // Who never answers costs one datagram a handshake.
        if offer.repeats.is_exhausted() || (is_ignored && offer.repeats.said > 0) {
            self.is_ignored = true;
            self.offer = None;
            return None;
        }
        offer.repeats.said(now);
        let handshake = offer.handshake;
        let (_, share) = offer.made.get_or_insert_with(|| {
            let secret = EphemeralSecret::random_from_rng(rng);
            let ephemeral = PublicKey::from(&secret).to_bytes();
            (secret, LaneShare { initiator: handshake.local, responder: handshake.remote, ephemeral })
        });
        Some(Control::LaneOffer(*share))
    }

    fn repeat_acceptance(&mut self, now: Instant, is_proven: impl Fn(u32) -> bool) -> Option<Control> {
        let acceptance = self.acceptance.as_mut().filter(|acceptance| acceptance.repeats.is_due(now))?;
        if is_proven(acceptance.share.responder) {
            self.acceptance = None;
            return None;
        }
        if acceptance.repeats.is_exhausted() {
            return None;
        }
        acceptance.repeats.said(now);
        Some(Control::LaneAccept(acceptance.share))
    }
}

/// X25519; refused for a public key with which every agreement gives zero (RFC 7748, section 6.1).
fn agree(handshake: Handshake, secret: EphemeralSecret, ours: LaneShare, theirs: LaneShare) -> Result<Agreement, Drop> {
    let shared = secret.diffie_hellman(&PublicKey::from(theirs.ephemeral));
    match shared.was_contributory() {
        true => Ok(Agreement { handshake, shared, ours: ours.ephemeral, theirs: theirs.ephemeral }),
        false => Err(Drop::BadHandshake),
    }
}
