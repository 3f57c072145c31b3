//! Envelopes: a signed message that only its recipient can read, whoever carries it.
//!
//! HPKE in base mode (RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305), info
//! `pilot-envelope-v1`, no associated data. The recipient's X25519 key is the Montgomery form of its
//! Ed25519 key (RFC 7748 section 4.1), as libsodium converts it. Sealed: encapsulated key 32 bytes,
//! ciphertext. Plaintext, numbers big-endian:
//!
//! | bytes | content |
//! | --- | --- |
//! | 32 | sender's Ed25519 key |
//! | 1 | kind |
//! | 64 | signature, domain `pilot-envelope-v1`, over recipient key, kind, body |
//! | 4 + n | length and bytes of the body |
//! | 0 to 255 | zeros up to a multiple of 256, so that the length says little |
//!
//! The sender is inside: the carrier sees the recipient only. The recipient is under the signature:
//! an envelope cannot be passed on as if it were sent to another. A replay is the reader's to notice.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use super::{Identity, IdentityError, PublicKey};

/// HPKE info and signature domain.
const DOMAIN: &str = "pilot-envelope-v1";
/// The plaintext is padded to a multiple of this.
const PADDING: usize = 256;
/// Key, kind, signature and body length.
const HEADER_BYTES: usize = 32 + 1 + 64 + 4;
/// The encapsulated key in front of the ciphertext.
const ENCAPSULATED_BYTES: usize = 32;
/// The tag at the end of the ciphertext.
const TAG_BYTES: usize = 16;

/// Largest envelope that is opened, in bytes.
pub const MAX_SEALED: usize = ENCAPSULATED_BYTES + 64 * PADDING + TAG_BYTES;
/// Largest body that fits an envelope, in bytes.
pub const MAX_BODY: usize = 64 * PADDING - HEADER_BYTES;

/// A message whose sender is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Who signed it.
    pub sender: PublicKey,
    /// What the body is; the sender's word, under its signature.
    pub kind: u8,
    /// The message.
    pub body: Vec<u8>,
}

/// Signs `body` and seals it to `recipient`. A body above [`MAX_BODY`] seals, but no recipient opens it.
#[expect(clippy::expect_used, reason = "a public key is never of small order, so HPKE cannot refuse it")]
pub fn seal(sender: &Identity, recipient: &PublicKey, kind: u8, body: &[u8], rng: &mut impl CryptoRngCore) -> Vec<u8> {
    let plaintext = encode(sender, recipient, kind, body);
    let (encapsulated, ciphertext) = recipient
        .to_x25519()
        .ok()
        .and_then(|key| <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&key).ok())
        .and_then(|key| {
            hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256, _>(
                &OpModeS::Base,
                &key,
                DOMAIN.as_bytes(),
                &plaintext,
                &[],
                rng,
            )
            .ok()
        })
        .expect("HPKE seals to a checked key");
    [encapsulated.to_bytes().as_slice(), &ciphertext].concat()
}

/// Opens an envelope sealed to `recipient` and checks its sender's signature before anything is returned.
pub fn open(recipient: &Identity, sealed: &[u8]) -> Result<Opened, IdentityError> {
    if sealed.len() > MAX_SEALED {
        return Err(IdentityError::Envelope);
    }
    let plaintext = decrypt(recipient, sealed).ok_or(IdentityError::Envelope)?;
    let (opened, signature) = decode(&plaintext).ok_or(IdentityError::Envelope)?;
    let signed = signed_bytes(&recipient.public_key(), opened.kind, &opened.body);
    opened.sender.verify(DOMAIN, &signed, &signature)?;
    Ok(opened)
}

fn decrypt(recipient: &Identity, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (encapsulated, ciphertext) = sealed.split_at_checked(ENCAPSULATED_BYTES)?;
    let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated).ok()?;
    let secret = recipient.to_x25519();
    let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(secret.as_slice()).ok()?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &secret,
        &encapsulated,
        DOMAIN.as_bytes(),
        ciphertext,
        &[],
    )
    .ok()
    .map(Zeroizing::new)
}

fn encode(sender: &Identity, recipient: &PublicKey, kind: u8, body: &[u8]) -> Zeroizing<Vec<u8>> {
    let signature = sender.sign(DOMAIN, &signed_bytes(recipient, kind, body));
    let length = (HEADER_BYTES + body.len()).next_multiple_of(PADDING);
    let mut plaintext = Zeroizing::new(Vec::with_capacity(length));
    plaintext.extend_from_slice(sender.public_key().as_bytes());
    plaintext.push(kind);
    plaintext.extend_from_slice(&signature);
    plaintext.extend_from_slice(&(body.len() as u32).to_be_bytes());
    plaintext.extend_from_slice(body);
    plaintext.resize(length, 0);
    plaintext
}

fn decode(plaintext: &[u8]) -> Option<(Opened, [u8; 64])> {
    let (sender, rest) = plaintext.split_first_chunk()?;
    let (&kind, rest) = rest.split_first()?;
    let (signature, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let body = rest.get(..u32::from_be_bytes(*length) as usize)?;
    let sender = PublicKey::from_bytes(*sender).ok()?;
    Some((Opened { sender, kind, body: body.to_vec() }, *signature))
}

fn signed_bytes(recipient: &PublicKey, kind: u8, body: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([recipient.as_bytes().as_slice(), &[kind], body].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::{identity, rng};
    use proptest::prelude::*;

    /// Seals a plaintext of any content.
    fn seal_raw(recipient: &PublicKey, plaintext: &[u8]) -> Vec<u8> {
        let key = recipient.to_x25519().unwrap();
        let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&key).unwrap();
        let (encapsulated, ciphertext) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256, _>(
            &OpModeS::Base,
            &key,
            DOMAIN.as_bytes(),
            plaintext,
            &[],
            &mut rng(9),
        )
        .unwrap();
        [encapsulated.to_bytes().as_slice(), &ciphertext].concat()
    }

    #[test]
    fn only_the_recipient_opens_it() {
        let (sender, recipient, other) = (identity(1), identity(2), identity(3));
        let sealed = seal(&sender, &recipient.public_key(), 4, b"hello", &mut rng(5));
        let opened = open(&recipient, &sealed).unwrap();
        let expected = Opened { sender: sender.public_key(), kind: 4, body: b"hello".to_vec() };
        assert_eq!(opened, expected);
        assert_eq!(open(&other, &sealed), Err(IdentityError::Envelope));
        assert_eq!(open(&sender, &sealed), Err(IdentityError::Envelope));
    }

    #[test]
    fn every_altered_byte_and_every_cut_is_noticed() {
        let recipient = identity(2);
        let sealed = seal(&identity(1), &recipient.public_key(), 4, b"hello", &mut rng(5));
        for at in (0..sealed.len()).step_by(7) {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(open(&recipient, &altered), Err(IdentityError::Envelope));
            assert_eq!(open(&recipient, &sealed[..at]), Err(IdentityError::Envelope));
        }
    }

    #[test]
    fn it_cannot_be_passed_on_to_another() {
        let (sender, recipient, third) = (identity(1), identity(2), identity(3));
        let plaintext = encode(&sender, &recipient.public_key(), 4, b"hello");
        let passed_on = seal_raw(&third.public_key(), &plaintext);
        assert_eq!(open(&third, &passed_on), Err(IdentityError::Signature(DOMAIN.to_owned())));
        let again = seal_raw(&recipient.public_key(), &plaintext);
        assert!(open(&recipient, &again).is_ok());
    }

    #[test]
    fn sender_kind_and_body_are_under_the_signature() {
        let (sender, recipient) = (identity(1), identity(2));
        let plaintext = encode(&sender, &recipient.public_key(), 4, b"hello");
        let alter = |at: usize, bytes: &[u8]| {
            let mut altered = plaintext.to_vec();
            altered[at..at + bytes.len()].copy_from_slice(bytes);
            open(&recipient, &seal_raw(&recipient.public_key(), &altered))
        };
        let forged = Err(IdentityError::Signature(DOMAIN.to_owned()));
        assert_eq!(alter(0, identity(3).public_key().as_bytes()), forged);
        assert_eq!(alter(32, &[5]), forged);
        assert_eq!(alter(33, &[0; 64]), forged);
        assert_eq!(alter(97, &4_u32.to_be_bytes()), forged);
        assert_eq!(alter(101, b"j"), forged);
        assert_eq!(alter(0, &[0; 32]), Err(IdentityError::Envelope));
        assert_eq!(alter(97, &u32::MAX.to_be_bytes()), Err(IdentityError::Envelope));
    }

    #[test]
    fn the_size_says_little_and_is_bounded() {
        let (sender, recipient) = (identity(1), identity(2));
        let size = |body: usize| seal(&sender, &recipient.public_key(), 1, &vec![1; body], &mut rng(5)).len();
        assert_eq!(size(0), 32 + 256 + 16);
        assert_eq!(size(155), size(0));
        assert_eq!(size(156), size(0) + 256);
        assert_eq!(size(MAX_BODY), MAX_SEALED);
        let above = seal(&sender, &recipient.public_key(), 1, &[1; MAX_BODY + 1], &mut rng(5));
        assert_eq!(open(&recipient, &above), Err(IdentityError::Envelope));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_body_comes_back(seed: u64, kind: u8, body: Vec<u8>) {
            let (sender, recipient) = (identity(seed), identity(seed ^ 1));
            let sealed = seal(&sender, &recipient.public_key(), kind, &body, &mut rng(seed));
            let sender = sender.public_key();
            prop_assert_eq!(open(&recipient, &sealed), Ok(Opened { sender, kind, body }));
        }

        #[test]
        fn any_bytes_are_refused(sealed: Vec<u8>, plaintext: Vec<u8>) {
            let recipient = identity(1);
            prop_assert!(open(&recipient, &sealed).is_err());
            prop_assert!(open(&recipient, &seal_raw(&recipient.public_key(), &plaintext)).is_err());
        }
    }
}
