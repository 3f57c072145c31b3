//! Beacons: what a node says on its LAN to whom it trusts, and to nobody else.
//!
//! ```text
//! kind 1 (0x20) | nonce 12 | entries, 4 or 16 of 40 bytes each | sealed body 512
//! entry:       tag 8 | sealed content key 32
//! sealed key:  ChaCha20-Poly1305 under the entry's key and the nonce, of a random 16-byte content key;
//!              associated data: BLAKE2s-256 of nonce and sealed body
//! sealed body: ChaCha20-Poly1305 under BLAKE2s-256 of content key and nonce, the same nonce, of:
//!              length 2, big-endian | pilot.node.v1.Introduction | zeros up to 496 bytes
//! ```
//!
//! Tags and entry keys are the sender's and the receiver's secret and are used once; an entry for nobody is
//! random bytes. Without the secrets all of a beacon but its kind is indistinguishable from random bytes,
//! and its length says no more than whether it has more than 4 entries. The associated data binds the body
//! to each entry: another receiver, who knows the content key as well, cannot put other words in.

use blake2::{Blake2s256, Digest};
use chacha20poly1305::aead::{Aead, AeadInPlace, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use super::drops::Drop;
use super::introduction::Introduction;

/// The first byte.
pub const KIND: u8 = 0x20;
/// The longest beacon, in bytes.
pub const MAX_LEN: usize = HEADER + MANY * ENTRY + BODY;
/// The most receivers of one beacon.
pub const MAX_RECEIVERS: usize = MANY;

/// Numbers of entries: few for most nodes and all answers.
const FEW: usize = 4;
const MANY: usize = 16;
const NONCE: usize = 12;
const HEADER: usize = 1 + NONCE;
const TAG: usize = 8;
const MAC: usize = 16;
const CONTENT_KEY: usize = 16;
const ENTRY: usize = TAG + CONTENT_KEY + MAC;
const BODY: usize = 512;
const PLAIN: usize = BODY - MAC;

/// By what a receiver recognises its entry.
pub type Tag = [u8; TAG];
/// Used for one beacon only: random bytes.
pub type BeaconNonce = [u8; NONCE];

/// For whom an entry is.
pub struct Receiver {
    /// What it looks for.
    pub tag: Tag,
    /// What opens the entry.
    pub key: Zeroizing<[u8; 32]>,
}

/// A beacon by its parts; nothing in it is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beacon<'a> {
    /// Its nonce.
    pub nonce: BeaconNonce,
    entries: &'a [u8],
    body: &'a [u8],
}

impl<'a> Beacon<'a> {
    /// Takes a beacon apart.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Drop> {
        let is_beacon = bytes.first() == Some(&KIND) && [len(FEW), len(MANY)].contains(&bytes.len());
        let rest = bytes.get(1..).filter(|_| is_beacon).ok_or(Drop::MalformedBeacon)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or(Drop::MalformedBeacon)?;
        let (entries, body) = rest.split_at_checked(rest.len() - BODY).ok_or(Drop::MalformedBeacon)?;
        Ok(Beacon { nonce: *nonce, entries, body })
    }

    /// The tags of all entries, with their places.
    pub fn tags(&self) -> impl Iterator<Item = (usize, Tag)> + 'a {
        let entries = self.entries.chunks_exact(ENTRY).enumerate();
        entries.filter_map(|(place, entry)| Some((place, *entry.first_chunk()?)))
    }

    /// Opens the entry at a place, and the body with it.
    pub fn open(&self, place: usize, key: &[u8; 32]) -> Result<Introduction, Drop> {
        let entry = self.entries.chunks_exact(ENTRY).nth(place);
        let sealed = entry.and_then(|entry| entry.get(TAG..)).ok_or(Drop::MalformedBeacon)?;
        let aad = binding(&self.nonce, self.body);
        let opened = cipher(key).decrypt(&self.nonce.into(), Payload { msg: sealed, aad: &aad });
        let content = Zeroizing::new(opened.map_err(|_| Drop::Forged)?);
        let opened = cipher(&body_key(&content, &self.nonce)).decrypt(&self.nonce.into(), self.body);
        introduction(&opened.map_err(|_| Drop::MalformedBeacon)?)
    }
}

/// Seals an introduction to up to [`MAX_RECEIVERS`], whose entries stand anywhere among random ones. None when
/// it [does not fit](fits).
pub fn seal(introduction: &Introduction, receivers: &[Receiver], rng: &mut impl CryptoRngCore) -> Option<Vec<u8>> {
    let count = if receivers.len() <= FEW { FEW } else { MANY };
    let (mut nonce, mut content_key) = ([0; NONCE], Zeroizing::new([0; CONTENT_KEY]));
    rng.fill_bytes(&mut nonce);
    rng.fill_bytes(content_key.as_mut());
    let body = seal_body(introduction, &nonce, &content_key)?;
    let aad = binding(&nonce, &body);
    let mut entries = vec![0; count * ENTRY];
    rng.fill_bytes(&mut entries);
    for (receiver, place) in receivers.iter().zip(places(count, rng)) {
        let payload = Payload { msg: content_key.as_slice(), aad: &aad };
        let sealed = cipher(&receiver.key).encrypt(&nonce.into(), payload).ok()?;
        let entry = entries.chunks_exact_mut(ENTRY).nth(place)?;
        let (tag, key) = entry.split_first_chunk_mut()?;
        *tag = receiver.tag;
        key.copy_from_slice(&sealed);
    }
    Some([&[KIND], nonce.as_slice(), &entries, &body].concat())
}

/// All places, in random order.
fn places(count: usize, rng: &mut impl CryptoRngCore) -> Vec<usize> {
    let mut places: Vec<(u32, usize)> = (0..count).map(|place| (rng.next_u32(), place)).collect();
    places.sort_unstable();
    places.into_iter().map(|(_, place)| place).collect()
}

/// Whether an introduction fits a beacon.
pub fn fits(introduction: &Introduction) -> bool {
    introduction.encode().len() + 2 <= PLAIN
}

fn seal_body(introduction: &Introduction, nonce: &BeaconNonce, key: &[u8; CONTENT_KEY]) -> Option<Vec<u8>> {
    let encoded = introduction.encode();
    let mut body = u16::try_from(encoded.len()).ok()?.to_be_bytes().to_vec();
    body.extend_from_slice(&encoded);
    if body.len() > PLAIN {
        return None;
    }
    body.resize(PLAIN, 0);
    cipher(&body_key(key, nonce)).encrypt_in_place(&(*nonce).into(), &[], &mut body).ok()?;
    Some(body)
}

fn introduction(plain: &[u8]) -> Result<Introduction, Drop> {
    let (length, rest) = plain.split_first_chunk().ok_or(Drop::MalformedBeacon)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let encoded = rest.get(..length).ok_or(Drop::MalformedBeacon)?;
    Ok(Introduction::decode(encoded)?)
}

/// What an entry vouches for beside the content key.
fn binding(nonce: &BeaconNonce, body: &[u8]) -> [u8; 32] {
    Blake2s256::new().chain_update(nonce).chain_update(body).finalize().into()
}

fn body_key(content_key: &[u8], nonce: &BeaconNonce) -> Zeroizing<[u8; 32]> {
    let hash = Blake2s256::new().chain_update(content_key).chain_update(nonce);
    Zeroizing::new(hash.finalize().into())
}

fn cipher(key: &[u8; 32]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(Key::from_slice(key))
}

const fn len(entries: usize) -> usize {
    HEADER + entries * ENTRY + BODY
}

#[cfg(test)]
mod tests;
