//! Join tokens: all that a second machine needs to be connected to a first one, and trusted by it.
//!
//! Text: `pilot-` and the unpadded base64url of these bytes, all numbers big-endian:
//!
//! | bytes | content |
//! | --- | --- |
//! | 1 | version, 1 |
//! | 32 | rendezvous key |
//! | 2 | rendezvous TCP port |
//! | 1 + n | length and text of the rendezvous host |
//! | 32 | inviter key |
//! | 2 | network |
//! | 16 | secret |
//! | 8 | expiry, seconds since 1970 |
//! | 4 | the first 4 bytes of BLAKE2s-256 (RFC 7693) over all before |

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blake2::{Blake2s256, Digest};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{Host, IdentityError, Network, PublicKey, RendezvousUrl};

const TEXT_PREFIX: &str = "pilot-";
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;
/// Longer text cannot be a token of any version and is not decoded.
const MAX_TEXT_CHARS: usize = 1024;

/// An invitation. Whoever holds the text can redeem it: treat it as a password.
///
/// Has no `Display`, so that it is not logged by accident; `Debug` leaves the secret out; zeroized
/// when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Token {
    /// The rendezvous server that both sides use.
    #[zeroize(skip)]
    pub rendezvous: RendezvousUrl,
    /// The whole key of the inviter, to which the redemption is sealed.
    #[zeroize(skip)]
    pub inviter: PublicKey,
    /// The network to join.
    #[zeroize(skip)]
    pub network: Network,
    /// What the redeemer proves to know.
    pub secret: [u8; 16],
    /// End of validity in seconds since 1970.
    #[zeroize(skip)]
    pub expires: u64,
}

impl Token {
    /// Whether the token is no longer valid at this time, in seconds since 1970.
    pub fn expired(&self, unix_seconds: u64) -> bool {
        unix_seconds >= self.expires
    }

    /// The text to hand over.
    pub fn to_text(&self) -> Zeroizing<String> {
        let bytes = self.encode();
        let mut text = Zeroizing::new(String::with_capacity(MAX_TEXT_CHARS));
        text.push_str(TEXT_PREFIX);
        URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
        text
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let host = self.rendezvous.host.as_str().as_bytes();
        // Reserved in one piece: growing would leave copies of the secret behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_TEXT_CHARS));
        bytes.push(VERSION);
        bytes.extend_from_slice(self.rendezvous.key.as_bytes());
        bytes.extend_from_slice(&self.rendezvous.port.to_be_bytes());
        bytes.push(host.len() as u8);
        bytes.extend_from_slice(host);
        bytes.extend_from_slice(self.inviter.as_bytes());
        bytes.extend_from_slice(&self.network.0.to_be_bytes());
        bytes.extend_from_slice(&self.secret);
        bytes.extend_from_slice(&self.expires.to_be_bytes());
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        bytes
    }

    /// Reads what stands between version and checksum; none when a part is missing, wrong or too many.
    fn decode_body(mut bytes: &[u8]) -> Option<Self> {
        let key = PublicKey::from_bytes(take(&mut bytes)?).ok()?;
        let port = u16::from_be_bytes(take(&mut bytes)?);
        let host = take_host(&mut bytes)?;
        let inviter = PublicKey::from_bytes(take(&mut bytes)?).ok()?;
        let network = Network(u16::from_be_bytes(take(&mut bytes)?));
        let secret = take(&mut bytes)?;
        let expires = u64::from_be_bytes(take(&mut bytes)?);
        let rendezvous = RendezvousUrl { key, host, port };
        let valid = bytes.is_empty() && (1..=RendezvousUrl::MAX_PORT).contains(&port);
        valid.then_some(Self { rendezvous, inviter, network, secret, expires })
    }
}

/// The next N bytes.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn take_host(bytes: &mut &[u8]) -> Option<Host> {
    let [length] = take(bytes)?;
    let (host, rest) = bytes.split_at_checked(length.into())?;
    *bytes = rest;
    std::str::from_utf8(host).ok()?.parse().ok()
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest: [u8; 32] = Blake2s256::digest(bytes).into();
    let [a, b, c, d, ..] = digest;
    [a, b, c, d]
}

impl FromStr for Token {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let malformed = IdentityError::TokenMalformed;
        if text.len() > MAX_TEXT_CHARS {
            return Err(malformed);
        }
        let body = text.strip_prefix(TEXT_PREFIX).ok_or_else(|| malformed.clone())?;
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| malformed.clone())?;
        let bytes = Zeroizing::new(bytes);
        let (content, sum) = bytes.split_last_chunk().ok_or_else(|| malformed.clone())?;
        if checksum(content) != *sum {
            return Err(IdentityError::TokenChecksum);
        }
        match content.split_first() {
            Some((&VERSION, body)) => Self::decode_body(body).ok_or(malformed),
            Some((&version, _)) => Err(IdentityError::TokenVersion(version)),
            None => Err(malformed),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("rendezvous", &self.rendezvous)
            .field("inviter", &self.inviter)
            .field("network", &self.network)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::identity;
    use proptest::prelude::*;

    fn token(host: &str) -> Token {
        let key = identity(1).public_key();
        Token {
            rendezvous: RendezvousUrl { key, host: host.parse().unwrap(), port: 9000 },
            inviter: identity(2).public_key(),
            network: Network(3),
            secret: *b"0123456789abcdef",
            expires: 1_000,
        }
    }

    /// The text of these bytes with a checksum that fits.
    fn sealed(content: &[u8]) -> String {
        let bytes = [content, &checksum(content)].concat();
        format!("{TEXT_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    fn content(token: &Token) -> Vec<u8> {
        let bytes = token.encode();
        bytes[..bytes.len() - CHECKSUM_BYTES].to_vec()
    }

    fn refusal(text: &str) -> IdentityError {
        text.parse::<Token>().unwrap_err()
    }

    #[test]
    fn it_expires_at_its_second() {
        let token = token("host");
        assert!(!token.expired(999));
        assert!(token.expired(1_000));
    }

    #[test]
    fn the_longest_host_fits() {
        let host = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        let text = token(&host).to_text();
        assert!(text.len() <= MAX_TEXT_CHARS);
        assert_eq!(text.parse::<Token>().unwrap().rendezvous.host.as_str(), host);
    }

    #[test]
    fn text_that_was_never_a_token_is_malformed() {
        for wrong in ["", "pilot-", "pilot-AAAA", "token", "pilot://host", "pilot-ä", "pilot-a b"] {
            assert_eq!(refusal(wrong), IdentityError::TokenMalformed, "{wrong}");
        }
        let endless = format!("{TEXT_PREFIX}{}", "A".repeat(MAX_TEXT_CHARS));
        assert_eq!(refusal(&endless), IdentityError::TokenMalformed);
    }

    #[test]
    fn every_cut_and_every_typo_is_noticed() {
        let text = token("host").to_text();
        for end in 0..text.len() {
            let error = refusal(&text[..end]);
            assert!(matches!(error, IdentityError::TokenChecksum | IdentityError::TokenMalformed));
        }
        for at in TEXT_PREFIX.len()..text.len() - 1 {
            let typo = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            let mut text = text.to_string();
            text.replace_range(at..=at, typo);
            assert_eq!(refusal(&text), IdentityError::TokenChecksum);
        }
    }

    #[test]
    fn a_later_version_is_named() {
        let mut content = content(&token("host"));
        content[0] = 2;
        assert_eq!(refusal(&sealed(&content)), IdentityError::TokenVersion(2));
    }

    #[test]
    fn wrong_parts_under_a_right_checksum_are_malformed() {
        let right = content(&token("host"));
        let mut weak_key = right.clone();
        weak_key[1..33].fill(0);
        let mut port_zero = right.clone();
        port_zero[33..35].fill(0);
        let mut host = right.clone();
        host[36] = b'/';
        let mut host_length = right.clone();
        host_length[35] = 255;
        let longer = [right.as_slice(), &[0]].concat();
        let shorter = right[..right.len() - 1].to_vec();
        for wrong in [weak_key, port_zero, host, host_length, longer, shorter, vec![]] {
            assert_eq!(refusal(&sealed(&wrong)), IdentityError::TokenMalformed);
        }
        assert!(sealed(&right).parse::<Token>().is_ok());
    }

    #[test]
    fn neither_debug_nor_a_refusal_shows_the_secret() {
        let token = token("host");
        let shown = format!("{token:?}");
        assert!(shown.contains("host") && !shown.contains("secret") && !shown.contains("48, 49"));
        let text = token.to_text();
        let error = refusal(&text[..text.len() - 1]).to_string();
        assert!(!error.contains(&text[20..30]));
    }

    proptest! {
        #[test]
        fn text_comes_back(seed: u64, network: u16, secret: [u8; 16], expires: u64) {
            let mut token = token("[::1]".trim_matches(['[', ']']));
            token.inviter = identity(seed).public_key();
            (token.network, token.secret, token.expires) = (Network(network), secret, expires);
            let read: Token = token.to_text().parse().unwrap();
            prop_assert_eq!(&read.rendezvous, &token.rendezvous);
            prop_assert_eq!(read.inviter, token.inviter);
            prop_assert_eq!((read.network, read.secret, read.expires), (Network(network), secret, expires));
        }

        #[test]
        fn any_text_and_any_content_is_read_or_refused(text in "pilot-[A-Za-z0-9_-]*|.*", content: Vec<u8>) {
            prop_assert!(text.parse::<Token>().is_err());
            prop_assert!(sealed(&content).parse::<Token>().is_err());
            let with_version = [&[VERSION], content.as_slice()].concat();
            prop_assert!(sealed(&with_version).parse::<Token>().is_err());
        }
    }
}
