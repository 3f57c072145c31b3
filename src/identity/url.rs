//! Where a rendezvous server is and which key it must prove: `pilot://KEY@HOST:PORT`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::text::{decimal, quoted, serde_as_text};
use super::{IdentityError, PublicKey};

/// Most characters of a DNS name in text (RFC 1035 section 2.3.4, without the length bytes).
const MAX_NAME_CHARS: usize = 253;
/// Most characters of a label of a DNS name.
const MAX_LABEL_CHARS: usize = 63;

/// A DNS name or an IP address, in lower case; IPv6 without brackets, as RFC 5952 writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(String);

impl Host {
    /// The text to resolve; IPv6 without brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Host {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        if let Ok(ipv6) = text.parse::<Ipv6Addr>() {
            Ok(Self(ipv6.to_string()))
        } else if text.parse::<Ipv4Addr>().is_ok() || is_dns_name(text) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(IdentityError::Host(quoted(text)))
        }
    }
}

/// Whether the text can be resolved: labels of letters, digits, hyphens and underscores, the last
/// not a number (which would be a wrong IPv4 address).
fn is_dns_name(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= MAX_NAME_CHARS && text.split('.').all(is_dns_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_dns_label(label: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=MAX_LABEL_CHARS).contains(&label.len())
        && label.bytes().all(allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl AsRef<str> for Host {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A rendezvous server: its key, pinned in TLS, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RendezvousUrl {
    /// The server's Ed25519 key.
    pub key: PublicKey,
    /// Where the server is reached.
    pub host: Host,
    /// TCP port; the server uses the next two for UDP.
    pub port: u16,
}

impl RendezvousUrl {
    /// The port that is meant when none is written.
    pub const DEFAULT_PORT: u16 = 9000;
    /// The largest port that leaves room for the two UDP ports behind it.
    pub const MAX_PORT: u16 = u16::MAX - 2;

    /// The URL of the server with this key at `HOST[:PORT]`, IPv6 in brackets.
    pub fn from_authority(key: PublicKey, authority: &str) -> Result<Self, IdentityError> {
        let wrong = |why: String| IdentityError::Url { text: quoted(authority), why };
        let (host, port) = split_authority(authority).map_err(wrong)?;
        Ok(Self { key, host, port })
    }
}

fn split_authority(authority: &str) -> Result<(Host, u16), String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("the bracket [ is not closed")?;
            let ipv6: Ipv6Addr = host.parse().map_err(|_| "no IPv6 address in the brackets")?;
            (Host(ipv6.to_string()), port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (host.parse().map_err(|error: IdentityError| error.to_string())?, port)
        }
    };
    Ok((host, parse_port(port)?))
}

/// Reads `:PORT`, or nothing for the default.
fn parse_port(text: &str) -> Result<u16, String> {
    if text.is_empty() {
        return Ok(RendezvousUrl::DEFAULT_PORT);
    }
    text.strip_prefix(':')
        .and_then(decimal)
        .filter(|port| (1..=RendezvousUrl::MAX_PORT).contains(port))
        .ok_or_else(|| format!("the port must be 1 to {} and IPv6 in brackets", RendezvousUrl::MAX_PORT))
}

impl FromStr for RendezvousUrl {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let wrong = |why: String| IdentityError::Url { text: quoted(text), why };
        let rest = text.strip_prefix("pilot://").ok_or_else(|| wrong("it does not begin with pilot://".to_owned()))?;
        let (key, authority) =
            rest.split_once('@').ok_or_else(|| wrong("the KEY@ before the host is missing".to_owned()))?;
        let key = key.parse().map_err(|error: IdentityError| wrong(error.to_string()))?;
        let (host, port) = split_authority(authority).map_err(wrong)?;
        Ok(Self { key, host, port })
    }
}

impl fmt::Display for RendezvousUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, host, port } = self;
        if host.as_str().contains(':') {
            write!(f, "pilot://{key}@[{host}]:{port}")
        } else {
            write!(f, "pilot://{key}@{host}:{port}")
        }
    }
}

serde_as_text!(Host, RendezvousUrl);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::identity;
    use proptest::prelude::*;

    fn parse(authority: &str) -> Result<RendezvousUrl, IdentityError> {
        format!("pilot://{}@{authority}", identity(1).public_key()).parse()
    }

    #[test]
    fn hosts_and_ports_are_read() {
        for (authority, host, port) in [
            ("rendezvous.example.org", "rendezvous.example.org", 9000),
            ("Example.ORG:1", "example.org", 1),
            ("localhost:65533", "localhost", 65533),
            ("192.0.2.1:9100", "192.0.2.1", 9100),
            ("[2001:DB8:0:0::1]", "2001:db8::1", 9000),
            ("[::1]:9100", "::1", 9100),
        ] {
            let url = parse(authority).unwrap();
            assert_eq!((url.host.as_str(), url.port), (host, port));
            assert_eq!(RendezvousUrl::from_authority(url.key, authority), Ok(url));
        }
    }

    #[test]
    fn ipv6_is_written_in_brackets() {
        let url = parse("[::1]").unwrap().to_string();
        assert!(url.ends_with("@[::1]:9000"), "{url}");
    }

    #[test]
    fn a_refusal_names_the_wrong_part() {
        let key = identity(1).public_key();
        for (wrong, part) in [
            (String::new(), "pilot://"),
            (format!("https://{key}@host:9000"), "does not begin with pilot://"),
            ("pilot://host:9000".to_owned(), "KEY@ before the host is missing"),
            ("pilot://key@host:9000".to_owned(), "\"key\" is not a public key"),
            (format!("pilot://{key}@"), "\"\" is not a host"),
            (format!("pilot://{key}@a..b"), "\"a..b\" is not a host"),
            (format!("pilot://{key}@-a.b"), "\"-a.b\" is not a host"),
            (format!("pilot://{key}@host/path"), "\"host/path\" is not a host"),
            (format!("pilot://{key}@192.0.2.256"), "\"192.0.2.256\" is not a host"),
            (format!("pilot://{key}@me@host"), "\"me@host\" is not a host"),
            (format!("pilot://{key}@fd00::1"), "IPv6 in brackets"),
            (format!("pilot://{key}@[::1"), "not closed"),
            (format!("pilot://{key}@[host]"), "no IPv6 address in the brackets"),
            (format!("pilot://{key}@[::1]9000"), "the port must be"),
            (format!("pilot://{key}@host:"), "the port must be"),
            (format!("pilot://{key}@host:0"), "the port must be"),
            (format!("pilot://{key}@host:65534"), "the port must be"),
            (format!("pilot://{key}@host:+1"), "the port must be"),
            (format!("pilot://{key}@host:9000/"), "the port must be"),
        ] {
            let error = wrong.parse::<RendezvousUrl>().unwrap_err().to_string();
            assert!(error.contains(part), "{error} lacks {part}");
        }
    }

    proptest! {
        #[test]
        fn text_comes_back(
            seed: u64,
            host in "([a-z0-9]{1,9}\\.){0,3}[a-z]{1,9}",
            ipv4: [u8; 4],
            ipv6: [u16; 8],
            port in 1..=RendezvousUrl::MAX_PORT,
        ) {
            let key = identity(seed).public_key();
            for host in [host, Ipv4Addr::from(ipv4).to_string(), Ipv6Addr::from(ipv6).to_string()] {
                let url = RendezvousUrl { key, host: host.parse().unwrap(), port };
                prop_assert_eq!(url.to_string().parse(), Ok(url.clone()));
                let json = serde_json::to_string(&url).unwrap();
                prop_assert_eq!(serde_json::from_str::<RendezvousUrl>(&json).unwrap(), url);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(authority in "[a-zA-Z0-9\\[\\]:.-]{0,30}|.*", any in ".*") {
            if let Ok(url) = parse(&authority) {
                prop_assert_eq!(url.to_string().parse(), Ok(url));
            }
            prop_assert!(any.parse::<RendezvousUrl>().is_err());
        }
    }
}
