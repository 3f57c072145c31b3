//! The secrets with each peer: by which tags it is addressed and recognised, and what was used already.
//!
//! Time is cut into windows of a minute, and each window has [`NUMBERS`] tags each way. A peer's tags of the
//! last, the present and the next window are expected.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use hmac::{Hmac, Mac};
use rand_core::RngCore;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::identity::{Identity, Pairing, PublicKey};
use crate::node::trust::TrustBook;
use crate::wire::beacon::{Beacon, BeaconNonce, Receiver, Tag};
use crate::wire::introduction::Introduction;
use crate::wire::{Drop, Now};

/// HKDF salt.
const DOMAIN: &str = "pilot-lan-v1";
/// Seconds in a window.
const WINDOW: u64 = 60;
/// Tags in a window each way: as often a peer can be addressed in it.
const NUMBERS: u8 = 8;
/// Beacons of one peer that are remembered; a peer that restarts may use its tags again.
const MAX_ACCEPTED: usize = 64;

/// The window that `now` is in.
pub(super) fn window(now: Now) -> u64 {
    now.unix_seconds() / WINDOW
}

/// When a tag is used.
#[derive(Clone, Copy)]
struct Moment {
    window: u64,
    number: u8,
}

/// All peers.
#[derive(Default)]
pub(super) struct Pairs {
    pairs: BTreeMap<PublicKey, Pair>,
    expected: BTreeMap<Tag, (PublicKey, Moment)>,
    /// The window for which `expected` holds, for the peers of then.
    window: Option<u64>,
    is_known: bool,
}

struct Pair {
    keys: Pairing,
    /// Windows whose tags are expected.
    windows: RangeInclusive<u64>,
    /// The window in which we sent last, and the numbers used in it, as bits.
    sent: (u64, u8),
    accepted: Vec<(u64, BeaconNonce)>,
}

impl Pairs {
    /// The trusted peers are not the same as before.
    pub fn peers_changed(&mut self) {
        self.is_known = false;
    }

    /// Expects what the trusted peers may send about now.
    pub fn refresh(&mut self, now: Now, us: &Identity, book: &TrustBook) {
        let window = window(now);
        if self.is_known && self.window == Some(window) {
            return;
        }
        if !self.is_known {
            self.meet(us, book);
        }
        self.is_known = true;
        self.window = Some(window);
        self.expect(window);
    }

    fn meet(&mut self, us: &Identity, book: &TrustBook) {
        self.pairs.retain(|key, _| book.peer(key).is_some());
        for peer in book.peers() {
            if !self.pairs.contains_key(&peer.key)
                && let Ok(keys) = Pairing::new(us, &peer.key, DOMAIN)
            {
                self.pairs.insert(peer.key, Pair::new(keys));
            }
        }
    }

    fn expect(&mut self, window: u64) {
        let wanted = window.saturating_sub(1)..=window.saturating_add(1);
        let (pairs, expected) = (&mut self.pairs, &mut self.expected);
        expected.retain(|_, (key, moment)| wanted.contains(&moment.window) && pairs.contains_key(key));
        for (key, pair) in pairs {
            for window in wanted.clone().filter(|window| !pair.windows.contains(window)) {
                let moments = (0..NUMBERS).map(|number| Moment { window, number });
                expected.extend(moments.map(|moment| (tag(&pair.keys.receiving, moment), (*key, moment))));
            }
            pair.windows = wanted.clone();
            pair.accepted.retain(|(window, _)| wanted.contains(window));
        }
    }

    /// Addresses a peer, under a tag that was not used before; none when all of the window were.
    pub fn receiver(&mut self, window: u64, key: &PublicKey, rng: &mut impl RngCore) -> Option<Receiver> {
        let pair = self.pairs.get_mut(key)?;
        let number = pair.next_number(window, rng)?;
        let (secret, moment) = (&pair.keys.sending, Moment { window, number });
        Some(Receiver { tag: tag(secret, moment), key: entry_key(secret, moment) })
    }

    /// Opens a beacon that has an entry for us, once.
    pub fn open(&mut self, beacon: &Beacon<'_>) -> Result<(PublicKey, Introduction), Drop> {
        let mut refusal = Drop::LanStranger;
        for (place, tag) in beacon.tags() {
            let Some((key, moment)) = self.expected.get(&tag) else { continue };
            let Some(pair) = self.pairs.get_mut(key) else { continue };
            match pair.open(beacon, place, *moment) {
                Ok(introduction) => return Ok((*key, introduction)),
                Err(reason) => refusal = reason,
            }
        }
        Err(refusal)
    }
}

impl Pair {
    // The empty range expects nothing yet.
    #[expect(clippy::reversed_empty_ranges, reason = "no window is expected yet")]
    fn new(keys: Pairing) -> Pair {
        Pair { keys, windows: 1..=0, sent: (0, 0), accepted: Vec::new() }
    }

    /// One of the unused numbers of the window; any, for a node that restarts does not know which it used.
    fn next_number(&mut self, window: u64, rng: &mut impl RngCore) -> Option<u8> {
        if self.sent.0 != window {
            self.sent = (window, 0);
        }
        let unused = (0..NUMBERS).filter(|number| self.sent.1 >> number & 1 == 0);
        let number = unused.min_by_key(|_| rng.next_u32())?;
        self.sent.1 |= 1 << number;
        Some(number)
    }

    fn open(&mut self, beacon: &Beacon<'_>, place: usize, moment: Moment) -> Result<Introduction, Drop> {
        if self.accepted.iter().any(|(_, nonce)| *nonce == beacon.nonce) {
            return Err(Drop::Replayed);
        }
        if self.accepted.len() >= MAX_ACCEPTED {
            return Err(Drop::RateLimited);
        }
        let introduction = beacon.open(place, &entry_key(&self.keys.receiving, moment))?;
        self.accepted.push((moment.window, beacon.nonce));
        Ok(introduction)
    }
}

fn tag(secret: &[u8; 32], moment: Moment) -> Tag {
    let mut tag = Tag::default();
    let derived = derive(secret, b"tag", moment);
    tag.iter_mut().zip(derived.iter()).for_each(|(to, from)| *to = *from);
    tag
}

fn entry_key(secret: &[u8; 32], moment: Moment) -> Zeroizing<[u8; 32]> {
    derive(secret, b"key", moment)
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn derive(secret: &[u8; 32], what: &[u8; 3], moment: Moment) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes any key");
    mac.update(what);
    mac.update(&moment.window.to_be_bytes());
    mac.update(&[moment.number]);
    Zeroizing::new(mac.finalize().into_bytes().into())
}
