//! Reads a WireGuard handshake initiation before any tunnel sees it.
//!
//! In: our tunnel secret and 148 bytes. Out: who sent it and when, both authenticated. The engine
//! of the tunnels can tell the sender only, and forgets the time when the program ends; knowing it,
//! the node stays silent to an initiation that is not later than the last one it accepted, also
//! after a restart. Left to others: whether the sender is a peer, what was the last time, the answer.
//!
//! This is the first message of Noise_IKpsk2 as in the WireGuard paper, section 5.4.2, whose names
//! the code keeps: C the chaining key, H the hash, κ the key of one AEAD.

use blake2::digest::consts::U16;
use blake2::digest::{KeyInit, Mac};
use blake2::{Blake2s256, Blake2sMac, Digest};
use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305};
use hmac::SimpleHmac;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::identity::{TunnelKey, TunnelSecret};
use crate::wire::Drop;
use crate::wire::datagram::INITIATION_LEN;

const CONSTRUCTION: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const IDENTIFIER: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";
const LABEL_MAC1: &[u8] = b"mac1----";
/// Bytes that mac1 covers.
const COVERED: usize = 116;

/// A TAI64N time as 12 bytes, big-endian: a later one is greater as an array.
pub type Timestamp = [u8; 12];

/// What the sender of an initiation has proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its tunnel key.
    pub static_key: TunnelKey,
    /// When it made the initiation by its own clock; it makes none that is not later than the one
    /// before.
    pub timestamp: Timestamp,
}

/// Opens an initiation that was made for the holder of `secret`.
///
/// Costs two key agreements for those who know our tunnel key: let
/// [`Limiter::admit`](super::Limiter::admit) see it first.
pub fn read(secret: &TunnelSecret, datagram: &[u8]) -> Result<Claim, Drop> {
    let fields = Fields::parse(datagram).ok_or(Drop::NotOurs)?;
    let our_key = secret.public();
    fields.check_mac1(our_key)?;
    fields.open(secret, our_key).ok_or(Drop::BadHandshake)
}

type Key = Zeroizing<[u8; 32]>;

struct Fields<'a> {
    covered: &'a [u8; COVERED],
    ephemeral: [u8; 32],
    encrypted_static: [u8; 48],
    encrypted_timestamp: [u8; 28],
    mac1: [u8; 16],
}

impl<'a> Fields<'a> {
    fn parse(datagram: &'a [u8]) -> Option<Self> {
        let covered = datagram.first_chunk()?;
        let ([1, 0, 0, 0, _, _, _, _], rest) = datagram.split_first_chunk::<8>()? else {
            return None;
        };
        let (&ephemeral, rest) = rest.split_first_chunk()?;
        let (&encrypted_static, rest) = rest.split_first_chunk()?;
        let (&encrypted_timestamp, rest) = rest.split_first_chunk()?;
        let (&mac1, _mac2) = rest.split_first_chunk()?;
        (datagram.len() == INITIATION_LEN).then_some(Fields {
            covered,
            ephemeral,
            encrypted_static,
            encrypted_timestamp,
            mac1,
        })
    }

    /// Whether the sender knows our key, in constant time.
    fn check_mac1(&self, our_key: TunnelKey) -> Result<(), Drop> {
        let key = hash(LABEL_MAC1, our_key.as_bytes());
        <Blake2sMac<U16> as KeyInit>::new(&key.into())
            .chain_update(self.covered)
            .verify_slice(&self.mac1)
            .map_err(|_| Drop::BadMac)
    }

    fn open(mut self, secret: &TunnelSecret, our_key: TunnelKey) -> Option<Claim> {
        let secret = StaticSecret::from(*secret.to_bytes());
        let c = Zeroizing::new(hash(CONSTRUCTION, &[]));
        let h = hash(&*c, IDENTIFIER);
        let h = hash(&h, our_key.as_bytes());
        let h = hash(&h, &self.ephemeral);
        let c = kdf1(&c, &self.ephemeral);

        let (c, k) = kdf2(&c, &*agree(&secret, self.ephemeral)?);
        let h_next = hash(&h, &self.encrypted_static);
        let static_key: [u8; 32] = decrypt(&k, &h, &mut self.encrypted_static)?;
        let h = h_next;

        let (_, k) = kdf2(&c, &*agree(&secret, static_key)?);
        let timestamp = decrypt(&k, &h, &mut self.encrypted_timestamp)?;
        Some(Claim { static_key: TunnelKey::from_bytes(static_key), timestamp })
    }
}

fn hash(first: &[u8], second: &[u8]) -> [u8; 32] {
    let digest = Blake2s256::new().chain_update(first).chain_update(second);
    digest.finalize().into()
}

fn hmac(key: &[u8; 32], parts: [&[u8]; 2]) -> Key {
    // RFC 2104, section 2: a key shorter than the block is padded with zeros.
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    let mac = <SimpleHmac<Blake2s256> as KeyInit>::new((&*block).into());
    let [first, second] = parts;
    let mac = mac.chain_update(first).chain_update(second);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn kdf1(c: &Key, input: &[u8; 32]) -> Key {
    let t0 = hmac(c, [input, &[]]);
    hmac(&t0, [&[1], &[]])
}

fn kdf2(c: &Key, input: &[u8; 32]) -> (Key, Key) {
    let t0 = hmac(c, [input, &[]]);
    let t1 = hmac(&t0, [&[1], &[]]);
    let t2 = hmac(&t0, [&*t1, &[2]]);
    (t1, t2)
}

/// X25519; none for a public key with which every agreement gives zero (RFC 7748, section 6.1).
fn agree(secret: &StaticSecret, public: [u8; 32]) -> Option<Key> {
    let shared = secret.diffie_hellman(&PublicKey::from(public));
    let contributory = shared.was_contributory();
    contributory.then(|| Zeroizing::new(shared.to_bytes()))
}

/// Opens `N` bytes and their tag, with nonce 0.
fn decrypt<const N: usize>(key: &Key, h: &[u8; 32], sealed: &mut [u8]) -> Option<[u8; N]> {
    let (text, tag) = sealed.split_first_chunk_mut::<N>()?;
    let tag: &[u8; 16] = tag.first_chunk()?;
    ChaCha20Poly1305::new((&**key).into()).decrypt_in_place_detached(&[0; 12].into(), h, text, tag.into()).ok()?;
    Some(*text)
}

#[cfg(test)]
mod tests;
