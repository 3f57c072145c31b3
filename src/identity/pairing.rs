//! What two nodes that know each other's keys share without having spoken: keys for each direction.
//!
//! X25519 between the two identities (their Montgomery forms, as in [`envelope`](super::envelope)), then
//! HKDF-SHA256 (RFC 5869): salt the domain, info the sender's Ed25519 key and the receiver's. Only the two
//! nodes can compute them, and one direction says nothing about the other.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use x25519_dalek::{PublicKey as X25519Public, StaticSecret};
use zeroize::Zeroizing;

use super::{Identity, IdentityError, PublicKey};

/// The keys of a pair of nodes under one domain.
pub struct Pairing {
    /// For what we say to them.
    pub sending: Zeroizing<[u8; 32]>,
    /// For what they say to us.
    pub receiving: Zeroizing<[u8; 32]>,
}

impl Pairing {
    /// The keys that `us` and `them` share for one purpose; `domain` is a constant of the protocol.
    pub fn new(us: &Identity, them: &PublicKey, domain: &str) -> Result<Pairing, IdentityError> {
        let theirs = X25519Public::from(them.to_x25519()?);
        let shared = StaticSecret::from(*us.to_x25519()).diffie_hellman(&theirs);
        let extracted = Zeroizing::new(mac(domain.as_bytes(), &[shared.as_bytes()]));
        let ours = us.public_key();
        Ok(Pairing { sending: expand(&extracted, &ours, them), receiving: expand(&extracted, them, &ours) })
    }
}

fn expand(extracted: &[u8; 32], sender: &PublicKey, receiver: &PublicKey) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(mac(extracted, &[sender.as_bytes(), receiver.as_bytes(), &[1]]))
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::identity;

    fn pairing(us: u64, them: u64, domain: &str) -> Pairing {
        Pairing::new(&identity(us), &identity(them).public_key(), domain).unwrap()
    }

    #[test]
    fn both_sides_have_the_same_keys_and_each_direction_its_own() {
        let (a, b) = (pairing(1, 2, "x"), pairing(2, 1, "x"));
        assert_eq!((&a.sending, &a.receiving), (&b.receiving, &b.sending));
        assert_ne!(a.sending, a.receiving);
    }

    #[test]
    fn other_nodes_and_other_domains_have_other_keys() {
        let keys = [(1, 2, "x"), (1, 3, "x"), (2, 3, "x"), (1, 2, "y")].map(|(a, b, domain)| pairing(a, b, domain));
        for (n, one) in keys.iter().enumerate() {
            for other in &keys[n + 1..] {
                assert_ne!(one.sending, other.sending);
                assert_ne!(one.sending, other.receiving);
            }
        }
    }
}
