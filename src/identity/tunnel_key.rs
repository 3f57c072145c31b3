//! The X25519 key of the WireGuard tunnels, and the certificate by which an identity vouches for it.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand_core::CryptoRngCore;
use x25519_dalek::{PublicKey as X25519Public, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::text::{quoted, serde_as_text};
use super::{Identity, IdentityError, PublicKey};

/// Signature domain of tunnel certificates.
const DOMAIN: &str = "pilot-tunnel-key-v1";

/// A private X25519 key (RFC 7748), zeroized when dropped and never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TunnelSecret([u8; 32]);

impl TunnelSecret {
    /// A new key from 32 bytes of `rng`.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(bytes.as_mut());
        Self(*bytes)
    }

    /// The key with these bytes; every 32 bytes are one.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the key.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0)
    }

    /// The public half.
    pub fn public(&self) -> TunnelKey {
        TunnelKey(X25519Public::from(&StaticSecret::from(self.0)).to_bytes())
    }
}

impl fmt::Debug for TunnelSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TunnelSecret(…)")
    }
}

/// A public X25519 key, as text in the padded base64 that `wg` prints.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelKey([u8; 32]);

impl TunnelKey {
    /// The key with these bytes. Whether it is safe to use is checked with its certificate.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether every agreement with this key gives zero (RFC 7748 section 6.1).
    fn is_weak(&self) -> bool {
        let any = StaticSecret::from([1; 32]);
        !any.diffie_hellman(&X25519Public::from(self.0)).was_contributory()
    }
}

impl fmt::Display for TunnelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for TunnelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TunnelKey({self})")
    }
}

impl FromStr for TunnelKey {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let wrong = || IdentityError::TunnelKey(quoted(text));
        if text.len() != 44 {
            return Err(wrong());
        }
        let bytes = STANDARD.decode(text).map_err(|_| wrong())?;
        bytes.try_into().map(Self).map_err(|_| wrong())
    }
}

serde_as_text!(TunnelKey);

/// An identity's word that a tunnel key is its own.
///
/// Signed (domain `pilot-tunnel-key-v1`): key 32 bytes, serial u64 big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelCertificate {
    /// The tunnel key.
    pub key: TunnelKey,
    /// Milliseconds since 1970 when the key was made, strictly larger at each rotation; a peer never
    /// goes back to a smaller one.
    pub serial: u64,
    /// The identity's signature.
    pub signature: [u8; 64],
}

impl TunnelCertificate {
    /// Vouches for the public half of `secret`.
    pub fn issue(identity: &Identity, secret: &TunnelSecret, serial: u64) -> Self {
        let key = secret.public();
        let signature = identity.sign(DOMAIN, &signed_bytes(key, serial));
        Self { key, serial, signature }
    }

    /// Checks that `owner` vouched for this key under this serial, and that the key is safe to use.
    pub fn verify(&self, owner: &PublicKey) -> Result<(), IdentityError> {
        owner.verify(DOMAIN, &signed_bytes(self.key, self.serial), &self.signature)?;
        if self.key.is_weak() { Err(IdentityError::WeakTunnelKey) } else { Ok(()) }
    }
}

fn signed_bytes(key: TunnelKey, serial: u64) -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes[..32].copy_from_slice(key.as_bytes());
    bytes[32..].copy_from_slice(&serial.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::{identity, rng};
    use proptest::prelude::*;

    #[test]
    fn a_certificate_holds_for_its_owner_key_and_serial_only() {
        let owner = identity(1);
        let certificate = TunnelCertificate::issue(&owner, &TunnelSecret::generate(&mut rng(2)), 7);
        assert_eq!(certificate.verify(&owner.public_key()), Ok(()));
        assert!(certificate.verify(&identity(2).public_key()).is_err());
        let other_serial = TunnelCertificate { serial: 8, ..certificate };
        assert!(other_serial.verify(&owner.public_key()).is_err());
        let key = TunnelSecret::generate(&mut rng(3)).public();
        assert!(TunnelCertificate { key, ..certificate }.verify(&owner.public_key()).is_err());
    }

    #[test]
    fn a_key_that_protects_nothing_is_refused_even_if_signed() {
        let owner = identity(1);
        for low in [0, 1] {
            let mut bytes = [0; 32];
            bytes[0] = low;
            let key = TunnelKey::from_bytes(bytes);
            let signature = owner.sign(DOMAIN, &signed_bytes(key, 7));
            let certificate = TunnelCertificate { key, serial: 7, signature };
            assert_eq!(certificate.verify(&owner.public_key()), Err(IdentityError::WeakTunnelKey));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let right = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
        assert_eq!(right.parse::<TunnelKey>().unwrap().to_string(), right);
        let unpadded = right.trim_end_matches('=');
        let url_safe = right.replace('A', "-");
        for wrong in ["", unpadded, &url_safe, &format!("{right}="), &right.replace("g=", "h=")] {
            assert_eq!(wrong.parse::<TunnelKey>(), Err(IdentityError::TunnelKey(quoted(wrong))));
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        assert_eq!(format!("{:?}", TunnelSecret::from_bytes([7; 32])), "TunnelSecret(…)");
    }

    proptest! {
        #[test]
        fn keys_come_back(bytes: [u8; 32]) {
            prop_assert_eq!(*TunnelSecret::from_bytes(bytes).to_bytes(), bytes);
            let key = TunnelKey::from_bytes(bytes);
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[A-Za-z0-9+/]{43}=|.*") {
            if let Ok(key) = text.parse::<TunnelKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }
}
