//! Host names: what people call a node, unique in a network, `name.pilot` in DNS.

use std::fmt;
use std::str::FromStr;

use super::text::{quoted, serde_as_text};
use super::{IdentityError, PublicKey};

/// Most characters of a host name: one DNS label (RFC 1035 section 2.3.4).
const MAX_CHARS: usize = 63;

/// A host name: 1 to 63 lowercase letters, digits and hyphens, no hyphen at either end.
///
/// Never reads as a node ID (which has dots) or as a public key, so a name cannot stand in for either.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(String);

impl Hostname {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_CHARS).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-')
}

impl FromStr for Hostname {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        if is_label(text) && text.parse::<PublicKey>().is_err() {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdentityError::Hostname(quoted(text)))
        }
    }
}

impl AsRef<str> for Hostname {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hostname({self})")
    }
}

serde_as_text!(Hostname);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::NodeId;
    use proptest::prelude::*;

    #[test]
    fn wrong_names_are_refused() {
        let long = "a".repeat(64);
        for wrong in ["", "-a", "a-", "-", "Worker", "a.b", "a_b", "a b", "ä", &long, "a1b2.c3d4.e5f6"] {
            let error = IdentityError::Hostname(quoted(wrong));
            assert_eq!(wrong.parse::<Hostname>(), Err(error));
        }
        for right in ["a", "0", "worker-1", "a--b", &"a".repeat(63)] {
            assert_eq!(right.parse::<Hostname>().unwrap().as_str(), right);
        }
    }

    /// 43 lowercase characters can be the text of a key.
    #[test]
    fn a_name_never_reads_as_a_key() {
        let names = (0..100_u32).map(|n| format!("{n:a>42}c"));
        let (keys, others): (Vec<_>, Vec<_>) = names.partition(|name| name.parse::<PublicKey>().is_ok());
        assert!(!keys.is_empty() && !others.is_empty());
        assert!(keys.iter().all(|name| name.parse::<Hostname>().is_err()));
        assert!(others.iter().all(|name| name.parse::<Hostname>().is_ok()));
    }

    proptest! {
        #[test]
        fn text_comes_back(text in "[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?") {
            let name: Hostname = text.parse().unwrap();
            prop_assert_eq!(name.to_string(), &*text);
            prop_assert!(text.parse::<NodeId>().is_err());
            let json = serde_json::to_string(&name).unwrap();
            prop_assert_eq!(serde_json::from_str::<Hostname>(&json).unwrap(), name);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a-zA-Z0-9_.-]{0,65}|.*") {
            if let Ok(name) = text.parse::<Hostname>() {
                prop_assert_eq!(name.as_str(), &*text);
            }
        }
    }
}
