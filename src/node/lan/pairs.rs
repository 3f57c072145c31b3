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
/// Tags of a peer that are expected.
const EXPECTED: usize = 3 * NUMBERS as usize;
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
    /// By tag. None, and no pairs but those that we addressed, until the first beacon of anybody is heard.
    expected: Vec<Expected>,
    /// Peers by the numbers that stand for them in `expected`, which are given once.
    numbered: BTreeMap<u32, PublicKey>,
    next_number: u32,
    /// The window for which `expected` holds, for the peers of then.
    window: Option<u64>,
    is_known: bool,
}

/// A tag, and whose it is. There are 24 of them for each peer: they are kept short.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Expected {
    tag: Tag,
    pair: u32,
    /// The low bits of the window, which tell three in a row apart.
    window: u8,
    number: u8,
}

struct Pair {
    /// Its number in `expected`.
    number: u32,
    keys: Pairing,
    /// Windows whose tags are expected.
    windows: RangeInclusive<u64>,
    /// The window in which we sent last, and the numbers used in it, as bits.
    sent: (u64, u8),
    accepted: Vec<(u64, BeaconNonce)>,
}

impl Pairs {
    /// Somebody is trusted who was not before.
    pub fn peers_changed(&mut self) {
        self.is_known = false;
    }

    /// A peer is trusted no longer: what is shared with it is forgotten, and nothing of it expected.
    pub fn forget(&mut self, key: &PublicKey) {
        if let Some(pair) = self.pairs.remove(key) {
            self.numbered.remove(&pair.number);
        }
    }

    /// Expects what the trusted peers may send about now.
    pub fn refresh(&mut self, now: Now, us: &Identity, book: &TrustBook) {
        let window = window(now);
        if self.is_known && self.window == Some(window) {
            return;
        }
        if !self.is_known {
            book.peers().for_each(|peer| self.meet(us, peer.key));
        }
        self.is_known = true;
        self.window = Some(window);
        self.expect(window);
    }

    fn meet(&mut self, us: &Identity, key: PublicKey) {
        if self.pairs.contains_key(&key) {
            return;
        }
        if let Ok(keys) = Pairing::new(us, &key, DOMAIN) {
            let number = self.next_number;
            self.next_number = number.wrapping_add(1);
            self.numbered.insert(number, key);
            self.pairs.insert(key, Pair::new(number, keys));
        }
    }

    fn expect(&mut self, window: u64) {
        let wanted = window.saturating_sub(1)..=window.saturating_add(1);
        let (pairs, numbered) = (&mut self.pairs, &self.numbered);
        let is_wanted = |low: u8| wanted.clone().any(|window| window as u8 == low);
        self.expected.retain(|entry| is_wanted(entry.window) && numbered.contains_key(&entry.pair));
        self.expected.reserve_exact((pairs.len() * EXPECTED).saturating_sub(self.expected.len()));
        for pair in pairs.values_mut() {
            for window in wanted.clone().filter(|window| !pair.windows.contains(window)) {
                self.expected.extend((0..NUMBERS).map(|number| pair.expected(Moment { window, number })));
            }
            pair.windows = wanted.clone();
            pair.accepted.retain(|(window, _)| wanted.contains(window));
        }
        self.expected.sort_unstable();
    }

    /// Addresses a peer, under a tag that was not used before; none when all of the window were.
    pub fn receiver(
        &mut self,
        window: u64,
        us: &Identity,
        key: &PublicKey,
        rng: &mut impl RngCore,
    ) -> Option<Receiver> {
        self.meet(us, *key);
        let pair = self.pairs.get_mut(key)?;
        let number = pair.next_number(window, rng)?;
        let (secret, moment) = (&pair.keys.sending, Moment { window, number });
        Some(Receiver { tag: tag(secret, moment), key: entry_key(secret, moment) })
    }

    /// Opens a beacon that has an entry for us, once.
    pub fn open(&mut self, beacon: &Beacon<'_>) -> Result<(PublicKey, Introduction), Drop> {
        let mut refusal = Drop::LanStranger;
        for (place, tag) in beacon.tags() {
            let Some((key, moment)) = self.sender(&tag) else { continue };
            let Some(pair) = self.pairs.get_mut(&key) else { continue };
            match pair.open(beacon, place, moment) {
                Ok(introduction) => return Ok((key, introduction)),
                Err(reason) => refusal = reason,
            }
        }
        Err(refusal)
    }

    /// Who uses this tag, and when.
    fn sender(&self, tag: &Tag) -> Option<(PublicKey, Moment)> {
        let place = self.expected.binary_search_by_key(tag, |entry| entry.tag).ok()?;
        let Expected { pair, window, number, .. } = *self.expected.get(place)?;
        let present = self.window?;
        let near = present.saturating_sub(1)..=present.saturating_add(1);
        let window = near.into_iter().find(|near| *near as u8 == window)?;
        Some((*self.numbered.get(&pair)?, Moment { window, number }))
    }
}

impl Pair {
    // The empty range expects nothing yet.
    #[expect(clippy::reversed_empty_ranges, reason = "no window is expected yet")]
    fn new(number: u32, keys: Pairing) -> Pair {
        Pair { number, keys, windows: 1..=0, sent: (0, 0), accepted: Vec::new() }
    }

    fn expected(&self, moment: Moment) -> Expected {
        let tag = tag(&self.keys.receiving, moment);
        Expected { tag, pair: self.number, window: moment.window as u8, number: moment.number }
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
        self.accepted.reserve_exact(1);
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
