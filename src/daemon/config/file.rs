//! The configuration file as it is written: TOML, every key optional, unknown keys refused.

use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use super::services::{EventsTable, FilesTable, InboxTable, StreamsTable};
use super::{ConfigError, WireguardPeer, allowed_mtu};
use crate::identity::TunnelKey;
use crate::wire::mtu::BASE;

/// `pilotd.toml`; the commented example is `config/pilotd.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub state: Option<PathBuf>,
    pub socket: Option<PathBuf>,
    pub interface: Option<String>,
    pub mtu: Option<u16>,
    pub listen_port: Option<u16>,
    pub network: Option<u16>,
    pub prefix: Option<String>,
    pub hostname: Option<String>,
    pub log: Option<String>,
    pub proxy: Option<String>,
    pub firewall: Option<bool>,
    pub stun: Option<OneOrMore>,
    pub lan_discovery: Option<bool>,
    pub relay_for_friends: Option<bool>,
    pub lane: Option<bool>,
    pub port_mapping: Option<bool>,
    pub trust: TrustTable,
    pub rendezvous: RendezvousTable,
    pub wireguard: WireguardTable,
    pub events: EventsTable,
    pub inbox: InboxTable,
    pub files: FilesTable,
    pub streams: StreamsTable,
}

/// `[trust]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TrustTable {
    pub mutual: Option<String>,
}

/// `[rendezvous]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RendezvousTable {
    pub url: Option<OneOrMore>,
    pub embedded: EmbeddedTable,
}

/// A text or a list of texts.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    /// All of them.
    pub fn into_vec(self) -> Vec<String> {
        match self {
            OneOrMore::One(text) => vec![text],
            OneOrMore::More(texts) => texts,
        }
    }
}

/// `[rendezvous.embedded]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EmbeddedTable {
    pub enabled: Option<bool>,
    pub listen: Option<Vec<SocketAddr>>,
    pub advertise: Option<Vec<String>>,
    pub relay_rate: Option<u32>,
}

/// `[wireguard]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WireguardTable {
    pub peers: Vec<WireguardPeerTable>,
}

/// `[[wireguard.peers]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireguardPeerTable {
    pub public_key: TunnelKey,
    pub address: Ipv6Addr,
    pub endpoint: Option<SocketAddr>,
    #[serde(default, deserialize_with = "wireguard_mtu")]
    pub mtu: Option<u16>,
}

impl From<WireguardPeerTable> for WireguardPeer {
    fn from(table: WireguardPeerTable) -> Self {
        let mtu = table.mtu.unwrap_or(BASE);
        WireguardPeer { public_key: table.public_key, address: table.address, endpoint: table.endpoint, mtu }
    }
}

fn wireguard_mtu<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let bytes = u16::deserialize(deserializer)?;
    allowed_mtu(&bytes).map_err(serde::de::Error::custom)?;
    Ok(Some(bytes))
}

impl File {
    /// Reads the file at `path`; one that was not asked for by name need not exist.
    ///
    /// # Errors
    /// What is wrong, with file and line.
    pub fn read(path: &Path, named: bool) -> Result<File, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => File::parse(path, &text),
            Err(error) if error.kind() == ErrorKind::NotFound && !named => Ok(File::default()),
            Err(source) => Err(ConfigError::Unreadable { path: path.to_owned(), source }),
        }
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            ConfigError::Malformed {
                path: path.to_owned(),
                line: before.matches('\n').count() + 1,
                message: error.message().to_owned(),
            }
        })
    }
}
