//! The Ed25519 key pair that is a node's identity, and the public half that names the node.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use super::IdentityError;
use super::text::{quoted, serde_as_text};

/// Characters of a key in unpadded base64url.
const TEXT_CHARS: usize = 43;

/// An Ed25519 public key: the whole name of a node.
///
/// Constructed only from the canonical encoding of a point that is not of small order, so two
/// different values are two different nodes, and sealing to one never degenerates.
/// As text: 43 characters of unpadded base64url (RFC 4648 section 5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Checks and takes the 32 bytes of RFC 8032 section 5.1.2.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, IdentityError> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| IdentityError::PublicKeyBytes)?;
        let canonical = key.to_edwards().compress().to_bytes() == bytes;
        if canonical && !key.is_weak() { Ok(Self(bytes)) } else { Err(IdentityError::PublicKeyBytes) }
    }

    /// The 32 bytes of RFC 8032 section 5.1.2.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks that the owner of this key signed `message` under `domain` (see [`Identity::sign`]).
    ///
    /// Strict verification: a signature has one form only and cannot be altered by others.
    pub fn verify(&self, domain: &str, message: &[u8], signature: &[u8; 64]) -> Result<(), IdentityError> {
        VerifyingKey::from_bytes(&self.0)
            .and_then(|key| {
                let signature = Signature::from_bytes(signature);
                key.verify_strict(&with_domain(domain, message), &signature)
            })
            .map_err(|_| IdentityError::Signature(domain.to_owned()))
    }

    /// The X25519 public key of the same owner (RFC 7748 section 4.1, the birational map).
    pub(super) fn to_x25519(self) -> Result<[u8; 32], IdentityError> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| IdentityError::PublicKeyBytes)?;
        Ok(key.to_montgomery().to_bytes())
    }
}

/// What is signed: the length of the domain (8 bytes, big-endian), the domain, the message.
fn with_domain(domain: &str, message: &[u8]) -> Vec<u8> {
    let length = (domain.len() as u64).to_be_bytes();
    [length.as_slice(), domain.as_bytes(), message].concat()
}

impl TryFrom<&[u8]> for PublicKey {
    type Error = IdentityError;

    fn try_from(bytes: &[u8]) -> Result<Self, IdentityError> {
        let bytes = bytes.try_into().map_err(|_| IdentityError::PublicKeyBytes)?;
        Self::from_bytes(bytes)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let wrong = || IdentityError::PublicKeyText(quoted(text));
        if text.len() != TEXT_CHARS {
            return Err(wrong());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
        Self::try_from(bytes.as_slice()).map_err(|_| wrong())
    }
}

serde_as_text!(PublicKey);

/// A node's private key, zeroized when dropped; `Debug` shows the public half.
#[derive(Clone)]
pub struct Identity(SigningKey);

impl Identity {
    /// A new identity from 32 bytes of `rng`.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        Self(SigningKey::generate(rng))
    }

    /// Reads a PKCS#8 private key (RFC 8410 section 7), as [`Identity::to_pem`] or OpenSSL writes it.
    pub fn from_pem(pem: &str) -> Result<Self, IdentityError> {
        let key = SigningKey::from_pkcs8_pem(pem).map_err(|_| IdentityError::PrivateKey)?;
        Ok(Self(key))
    }

    /// The private key as PKCS#8 PEM.
    #[expect(clippy::expect_used, reason = "a fixed-size key always encodes")]
    pub fn to_pem(&self) -> Zeroizing<String> {
        self.pkcs8().to_pkcs8_pem(LineEnding::LF).expect("a key encodes as PEM")
    }

    /// The private key as PKCS#8 DER, as TLS libraries take it.
    #[expect(clippy::expect_used, reason = "a fixed-size key always encodes")]
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        let document = self.pkcs8().to_pkcs8_der().expect("a key encodes as DER");
        Zeroizing::new(document.as_bytes().to_vec())
    }

    /// Version 1 of PKCS#8, without the public key: the form that every tool reads.
    fn pkcs8(&self) -> KeypairBytes {
        KeypairBytes { secret_key: self.0.to_bytes(), public_key: None }
    }

    /// The public half: the name of this node.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` for one purpose: Ed25519 over len(domain) as u64 big-endian, domain, message.
    ///
    /// A signature made under one domain never verifies under another. `domain` is a constant of the
    /// protocol with its version, such as `pilot-tunnel-key-v1`.
    pub fn sign(&self, domain: &str, message: &[u8]) -> [u8; 64] {
        self.0.sign(&with_domain(domain, message)).to_bytes()
    }

    /// The X25519 private key of the same owner, matching [`PublicKey::to_x25519`].
    pub(super) fn to_x25519(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_scalar_bytes())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.public_key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::identity;
    use proptest::prelude::*;

    /// RFC 8410 section 10.3, without and with the public key.
    const PEM_V1: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    const PEM_V2: &str = "-----BEGIN PRIVATE KEY-----\n\
        MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB\n\
        Z9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PRIVATE KEY-----\n";

    #[test]
    fn pem_is_version_1_and_comes_back() {
        let identity = Identity::from_pem(PEM_V1).unwrap();
        assert_eq!(identity.to_pem().as_str(), PEM_V1);
        assert_eq!(identity.public_key().to_string(), "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE");
    }

    #[test]
    fn pem_with_a_foreign_public_key_is_refused() {
        let foreign = PEM_V2.replace("Gb9ECWmE", "Gb9ECWmF");
        for wrong in ["", "hello", &PEM_V1[..80], &PEM_V1.replace("BCIE", "BCIF"), &foreign] {
            assert_eq!(Identity::from_pem(wrong).unwrap_err(), IdentityError::PrivateKey);
        }
    }

    #[test]
    fn tls_takes_the_der_form() {
        let identity = identity(1);
        let der = rustls::pki_types::PrivatePkcs8KeyDer::from(identity.to_pkcs8_der().to_vec());
        let key = rustls::crypto::ring::sign::any_eddsa_type(&der).unwrap();
        let spki = key.public_key().unwrap();
        assert!(spki.ends_with(identity.public_key().as_bytes()));
    }

    #[test]
    fn debug_shows_the_public_half_only() {
        let identity = identity(1);
        assert_eq!(format!("{identity:?}"), format!("Identity({})", identity.public_key()));
    }

    /// p = 2^255 - 19 and the 18 numbers above it that fit 255 bits: every non-canonical y.
    #[test]
    fn non_canonical_points_are_refused() {
        for low in 0xed..=0xff {
            for high in [0x7f, 0xff] {
                let mut bytes = [0xff; 32];
                (bytes[0], bytes[31]) = (low, high);
                assert_eq!(PublicKey::from_bytes(bytes), Err(IdentityError::PublicKeyBytes));
            }
        }
    }

    #[test]
    fn points_of_small_order_are_refused() {
        let mut one = [0; 32];
        one[0] = 1;
        let mut minus_one = [0xff; 32];
        (minus_one[0], minus_one[31]) = (0xec, 0x7f);
        let order_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
        let order_8: [u8; 32] = std::array::from_fn(|i| u8::from_str_radix(&order_8[2 * i..2 * i + 2], 16).unwrap());
        for bytes in [[0; 32], one, minus_one, order_8] {
            assert_eq!(PublicKey::from_bytes(bytes), Err(IdentityError::PublicKeyBytes));
        }
    }

    #[test]
    fn a_signature_holds_for_its_key_domain_and_message_only() {
        let (signer, other) = (identity(1), identity(2));
        let signature = signer.sign("ab", b"cd");
        let key = signer.public_key();
        assert_eq!(key.verify("ab", b"cd", &signature), Ok(()));
        assert!(other.public_key().verify("ab", b"cd", &signature).is_err());
        for (domain, message) in [("abc", "d"), ("a", "bcd"), ("ab", "cd."), ("", "abcd")] {
            assert!(key.verify(domain, message.as_bytes(), &signature).is_err());
        }
        for i in 0..64 {
            let mut altered = signature;
            altered[i] ^= 1;
            let refused = IdentityError::Signature("ab".to_owned());
            assert_eq!(key.verify("ab", b"cd", &altered), Err(refused));
        }
    }

    #[test]
    fn the_two_x25519_halves_belong_together() {
        let identity = identity(7);
        let secret = x25519_dalek::StaticSecret::from(*identity.to_x25519());
        let public = x25519_dalek::PublicKey::from(&secret);
        assert_eq!(identity.public_key().to_x25519(), Ok(public.to_bytes()));
    }

    proptest! {
        #[test]
        fn text_and_json_come_back(seed: u64) {
            let key = identity(seed).public_key();
            let text = key.to_string();
            prop_assert_eq!(text.len(), 43);
            prop_assert_eq!(text.parse(), Ok(key));
            let json = serde_json::to_string(&key).unwrap();
            prop_assert_eq!(&json, &format!("\"{text}\""));
            prop_assert_eq!(serde_json::from_str::<PublicKey>(&json).unwrap(), key);
        }

        #[test]
        fn bytes_that_are_taken_have_one_text(bytes: [u8; 32]) {
            if let Ok(key) = PublicKey::from_bytes(bytes) {
                prop_assert_eq!(key.to_string().parse(), Ok(key));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[A-Za-z0-9_-]{40,44}|.*") {
            if let Ok(key) = text.parse::<PublicKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }

        #[test]
        fn any_pem_is_read_or_refused(text in "-----BEGIN PRIVATE KEY-----\n[A-Za-z0-9+/=\n]*-----END PRIVATE KEY-----") {
            prop_assert!(Identity::from_pem(&text).is_err());
        }
    }
}
