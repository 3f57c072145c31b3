//! The 48-bit node ID: short enough to read aloud, costly to forge.

use std::fmt;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Params, Version};

use super::text::{quoted, serde_as_text};
use super::{IdentityError, PublicKey};

/// Argon2 salt of the derivation, which also names its version.
const SALT: &[u8] = b"pilot-node-id-v1";
/// Length of the Argon2 tag in bytes; the tag depends on it, the first six bytes are the ID.
const TAG_BYTES: usize = 32;
/// 19 MiB, two passes, one lane: an OWASP recommendation, some tens of milliseconds.
const PARAMS: Params = match Params::new(19_456, 2, 1, Some(TAG_BYTES)) {
    Ok(params) => params,
    Err(_) => panic!("Argon2 parameters out of range"),
};

/// The short name of a node: a number below 2^48 derived from its public key.
///
/// As text: three groups of four hex digits, `a1b2.c3d4.e5f6`; upper case is read, lower case written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

impl NodeId {
    /// Derives the ID: the first 6 bytes of a 32-byte Argon2id v1.3 tag (RFC 9106) over the key.
    ///
    /// Password: the 32 bytes of the key; salt `pilot-node-id-v1`; m = 19456 KiB, t = 2, p = 1.
    /// Slow on purpose and takes 19 MiB: call it off the machines, one at a time, and keep the result.
    #[expect(clippy::expect_used, reason = "all lengths are constants within Argon2's limits")]
    pub fn derive(key: &PublicKey) -> Self {
        let mut tag = [0; TAG_BYTES];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, PARAMS)
            .hash_password_into(key.as_bytes(), SALT, &mut tag)
            .expect("Argon2 takes a 32-byte password and a 16-byte salt");
        let [a, b, c, d, e, f, ..] = tag;
        Self::from_bytes([a, b, c, d, e, f])
    }

    /// The ID with these bytes, the most significant first.
    pub fn from_bytes([a, b, c, d, e, f]: [u8; 6]) -> Self {
        Self(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// The bytes of the ID, the most significant first.
    pub fn to_bytes(self) -> [u8; 6] {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// The ID with this number, which must be below 2^48.
    pub fn from_u64(number: u64) -> Result<Self, IdentityError> {
        if number >> 48 == 0 { Ok(Self(number)) } else { Err(IdentityError::NodeIdNumber(number)) }
    }

    /// The ID as a number below 2^48.
    pub fn to_u64(self) -> u64 {
        self.0
    }

    /// The three groups of the text form, which are also the last three of the IPv6 address.
    pub(super) fn groups(self) -> [u16; 3] {
        [(self.0 >> 32) as u16, (self.0 >> 16) as u16, self.0 as u16]
    }

    /// The ID with these groups.
    pub(super) fn from_groups([a, b, c]: [u16; 3]) -> Self {
        Self(u64::from(a) << 32 | u64::from(b) << 16 | u64::from(c))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.groups();
        f.pad(&format!("{a:04x}.{b:04x}.{c:04x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl FromStr for NodeId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let groups: Option<Vec<u16>> = text.split('.').map(group).collect();
        match groups.as_deref() {
            Some(&[a, b, c]) => Ok(Self::from_groups([a, b, c])),
            _ => Err(IdentityError::NodeIdText(quoted(text))),
        }
    }
}

/// Exactly four hex digits.
fn group(text: &str) -> Option<u16> {
    let hex = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex { u16::from_str_radix(text, 16).ok() } else { None }
}

serde_as_text!(NodeId);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_read_in_either_case_and_written_in_lower() {
        let id: NodeId = "A1b2.C3D4.e5F6".parse().unwrap();
        assert_eq!(id.to_string(), "a1b2.c3d4.e5f6");
        assert_eq!(id.to_bytes(), [0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6]);
        assert_eq!(id.to_u64(), 0xa1b2_c3d4_e5f6);
    }

    #[test]
    fn other_shapes_are_refused() {
        for wrong in [
            "",
            "a1b2.c3d4",
            "a1b2.c3d4.e5f6.0000",
            "a1b2c3d4e5f6",
            "a1b2.c3d4.e5f",
            "a1b2.c3d4.e5f6 ",
            "+1b2.c3d4.e5f6",
            "a1b2.c3d4.e5g6",
            "a1b2:c3d4:e5f6",
            "a1b2..e5f6",
        ] {
            let error = wrong.parse::<NodeId>().unwrap_err();
            assert_eq!(error, IdentityError::NodeIdText(format!("\"{wrong}\"")));
        }
    }

    #[test]
    fn a_number_must_fit_48_bits() {
        assert!(NodeId::from_u64((1 << 48) - 1).is_ok());
        assert_eq!(NodeId::from_u64(1 << 48), Err(IdentityError::NodeIdNumber(1 << 48)));
    }

    proptest! {
        #[test]
        fn every_form_comes_back(bytes: [u8; 6]) {
            let id = NodeId::from_bytes(bytes);
            prop_assert_eq!(id.to_bytes(), bytes);
            prop_assert_eq!(NodeId::from_u64(id.to_u64()), Ok(id));
            prop_assert_eq!(NodeId::from_groups(id.groups()), id);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-fA-F.]{12,16}|.*") {
            if let Ok(id) = text.parse::<NodeId>() {
                prop_assert_eq!(id.to_string(), text.to_lowercase());
            }
        }
    }
}
