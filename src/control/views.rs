//! The answers: field names that scripts rely on.

use serde::{Deserialize, Serialize};
use serde_json::Value;

mod netcheck;

pub use netcheck::{Advice, Asked, CheckedRendezvous, FailedName, Family, Gateway, Netcheck, PortMapping, StunServer};

/// How a node is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathKind {
    /// Straight to its endpoint.
    Direct,
    /// Through a relay.
    Relayed,
    /// Not connected.
    None,
}

impl std::fmt::Display for PathKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            PathKind::Direct => "direct",
            PathKind::Relayed => "relayed",
            PathKind::None => "none",
        })
    }
}

/// Answer to `info`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// `a1b2.c3d4.e5f6`.
    pub node_id: String,
    /// `0:a1b2.c3d4.e5f6`.
    pub address: String,
    /// The overlay address.
    pub ipv6: String,
    /// Its name in the network, if it has one.
    pub hostname: Option<String>,
    /// The network's number.
    pub network: u16,
    /// Unpadded base64url of the Ed25519 key.
    pub public_key: String,
    /// Base64 of the X25519 key, as `wg` prints it.
    pub tunnel_key: String,
    /// Seconds since the start.
    pub uptime_secs: u64,
    /// The rendezvous server: the first that is connected, where there are several.
    pub rendezvous: Rendezvous,
    /// All rendezvous servers, in the order of the configuration.
    pub rendezvous_servers: Vec<Rendezvous>,
    /// The TUN device.
    pub interface: String,
    /// The UDP port.
    pub listen_port: u16,
    /// Version of the daemon.
    pub version: String,
}

/// One line: that the node is up, and who it is.
impl std::fmt::Display for Info {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.hostname.as_deref().unwrap_or("(no hostname)");
        write!(f, "{} is up: {name}, node {}, {}", self.interface, self.node_id, self.ipv6)
    }
}

/// The link to a rendezvous server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rendezvous {
    /// `pilot://KEY@HOST:PORT`.
    pub url: String,
    /// `connected` or `connecting`.
    pub state: String,
    /// For how long that has been so, seconds.
    pub since_secs: u64,
    /// Why it is not connected.
    pub reason: Option<String>,
    /// Whether this process runs it.
    pub embedded: bool,
    /// How its relay is reached, once that knows us: `udp` or `tls`.
    pub relay: Option<String>,
    /// The last round trip to its relay, milliseconds.
    pub rtt_ms: Option<f64>,
}

/// Answer to `peers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peers {
    /// Every trusted node.
    pub peers: Vec<Peer>,
}

/// What a trusted node may open here: `"all"`, or the items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Granted {
    /// `all`.
    All(String),
    /// These only.
    Only(Vec<String>),
}

/// What an older node grants, which does not say it.
impl Default for Granted {
    fn default() -> Granted {
        Granted::All("all".to_owned())
    }
}

/// As it is written on the command line.
impl std::fmt::Display for Granted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Granted::All(all) => f.pad(all),
            Granted::Only(items) if items.is_empty() => f.pad("none"),
            Granted::Only(items) => f.pad(&items.join(",")),
        }
    }
}

/// One trusted node, and the answer to `find`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// `a1b2.c3d4.e5f6`; none for a hand-configured WireGuard peer.
    pub node_id: Option<String>,
    /// The name that it told us.
    pub hostname: Option<String>,
    /// Its overlay address.
    pub ipv6: String,
    /// Its Ed25519 key; none for a hand-configured WireGuard peer.
    pub public_key: Option<String>,
    /// Whether packets may flow.
    pub trusted: bool,
    /// What it may open here.
    #[serde(default)]
    pub grant: Granted,
    /// When trust in it ends by itself, Unix seconds.
    pub trust_expires: Option<u64>,
    /// How it is reached now.
    pub path: PathKind,
    /// The UDP endpoint that our datagrams go to: its own, or the relay's.
    pub endpoint: Option<String>,
    /// How the relay is reached, where one is in between: `udp` or `tls`.
    pub relay: Option<String>,
    /// Last round trip, milliseconds.
    pub rtt_ms: Option<f64>,
    /// The largest packet that its path carries, bytes.
    pub mtu: Option<u16>,
    /// What packets to it are sealed with, `aes-256-gcm` or `chacha20-poly1305`; none without a session.
    pub cipher: Option<String>,
    /// Bytes of packets sent to it.
    pub tx_bytes: u64,
    /// Bytes of packets received from it.
    pub rx_bytes: u64,
    /// Age of the session, seconds.
    pub last_handshake_secs: Option<u64>,
}

/// Answer to `ping`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pong {
    /// Who answered.
    pub node_id: String,
    /// The round trip, milliseconds.
    pub rtt_ms: f64,
    /// The path of the answer.
    pub path: PathKind,
    /// The UDP endpoint that the ping went to.
    pub endpoint: Option<String>,
}

/// Answer to `pending`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Requests of others that wait for `approve` or `reject`.
    pub pending: Vec<PendingRequest>,
}

/// A request for trust that waits for our decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRequest {
    /// Derived from the key, so certain.
    pub node_id: String,
    /// The whole key.
    pub public_key: String,
    /// The name that it claims.
    pub hostname: Option<String>,
    /// What it says.
    pub reason: String,
    /// When it came, Unix seconds.
    pub since_unix: u64,
}

/// Answer to `trusted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trusted {
    /// Every trusted node.
    pub trusted: Vec<TrustedNode>,
}

/// A recorded decision to trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedNode {
    /// Derived from the key.
    pub node_id: String,
    /// The whole key.
    pub public_key: String,
    /// The name that it told us.
    pub hostname: Option<String>,
    /// Since when, Unix seconds.
    pub since_unix: u64,
    /// `handshake`, `invite` or `key`.
    pub via: String,
    /// What it may open here.
    #[serde(default)]
    pub grant: Granted,
    /// When trust in it ends by itself, Unix seconds.
    pub trust_expires: Option<u64>,
}

/// Answer to `handshake` and `join`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake {
    /// Who was meant, as it was written.
    pub target: String,
    /// `queued` or `approved`.
    pub state: String,
    /// Who it is, as far as that is certain.
    pub node_id: Option<String>,
}

/// Answer to `invite`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Invite {
    /// What the other machine runs: `pilotd up --join TOKEN`.
    pub token: String,
    /// When it ends, Unix seconds.
    pub expires_unix: u64,
}

/// Answer to `whois`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whois {
    /// Whose address it is.
    pub node_id: String,
    /// Its name.
    pub hostname: Option<String>,
    /// Its key.
    pub public_key: String,
    /// The address that was asked for.
    pub ipv6: String,
}

/// Answer to `wait`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// What holds now.
    pub condition: String,
    /// After how many milliseconds.
    pub after_ms: u64,
}

/// Answer to requests that only change something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was done, for a person.
    pub done: String,
}

/// One setting, in the answer to `config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Its key, as in the configuration file.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// `flag`, `environment`, `file`, `state` or `default`.
    pub origin: String,
}

/// Answer to `config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Every setting.
    pub settings: Vec<Setting>,
}

/// Answer to `why`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// The node and its path.
    pub peer: Peer,
    /// A stable word for the reason: docs/nat.md lists them.
    pub reason: String,
    /// The reason in one sentence.
    pub sentence: String,
    /// What the user could do; none when nothing is wrong.
    pub advice: Option<String>,
    /// `plain`, `ordered`, `predicted`, `birthday` or `impossible`.
    pub tactic: String,
    /// The NAT in front of this node.
    pub nat: Nat,
    /// The NAT in front of the peer, as it told.
    pub peer_nat: Nat,
    /// Where this node might be reached, as it told: kind and endpoint.
    pub local: Vec<String>,
    /// Every path that was tried, and what came of it.
    pub paths: Vec<Tried>,
}

/// A path that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// `host`, `mapped`, `reflexive`, `relayed`, or `seen` where packets of the peer came from.
    pub kind: String,
    /// The peer's endpoint, or the relay's with our allocation.
    pub endpoint: String,
    /// `chosen`, `standby`, `proven`, `failed`, `silent` or `untried`.
    pub state: String,
    /// Probes since the last answer.
    pub tries: u32,
    /// Round trip, milliseconds.
    pub rtt_ms: Option<f64>,
    /// How the peer sees us by this path.
    pub observed: Option<String>,
}

/// How a NAT behaves, in the terms of RFC 4787; `unknown` where that was not found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nat {
    /// `none`, `endpoint-independent`, `address-dependent`, `address-and-port-dependent` or `unknown`.
    pub mapping: String,
    /// `endpoint-independent`, `address-dependent`, `address-and-port-dependent` or `unknown`.
    pub filtering: String,
    /// `preserved`, `random`, `sequential +1` (with the step) or `unknown`.
    pub ports: String,
    /// Whether it leads from inside to its own outside.
    pub hairpin: Option<bool>,
    /// Whether datagrams that come early spoil a mapping.
    pub poisonable: Option<bool>,
}
