//! The answer to `netcheck`.

use serde::{Deserialize, Serialize};

use super::{Nat, Rendezvous};

/// What the networks around this node let through, asked just now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Netcheck {
    /// Whether UDP gets out and back: `open`, `blocked`, or `unknown` where there was no server to ask.
    pub udp: String,
    /// IPv4.
    pub ipv4: Family,
    /// IPv6.
    pub ipv6: Family,
    /// The NAT in front of this node, for IPv4.
    pub nat: Nat,
    /// What gateways say to port mappings; none where they are not asked.
    pub port_mapping: Option<PortMapping>,
    /// Every STUN port that was asked.
    pub stun: Vec<StunServer>,
    /// STUN servers of the configuration that could not be asked.
    pub stun_failed: Vec<FailedName>,
    /// Every rendezvous server.
    pub rendezvous: Vec<CheckedRendezvous>,
    /// Where this node might be reached, as it tells its peers: kind and endpoint.
    pub candidates: Vec<String>,
    /// What is bad, and what to do; empty when all is well.
    pub advice: Vec<Advice>,
}

/// One address family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// Our addresses on the networks around, best first.
    pub addresses: Vec<String>,
    /// From which address packets to the servers leave; none without a route.
    pub source: Option<String>,
    /// The MTU of the way there as the kernel knows it, bytes; for IPv4 only.
    pub mtu: Option<u32>,
    /// Whether a STUN server answered; none where there was none to ask.
    pub stun: Option<bool>,
    /// How we are seen from outside, each once.
    pub endpoints: Vec<String>,
}

/// What gateways say to port mappings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// One entry for each of our addresses behind a gateway.
    pub gateways: Vec<Gateway>,
}

/// What one gateway says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// Its address.
    pub gateway: String,
    /// Our address behind it.
    pub local: String,
    /// Where it takes datagrams for us, if it does.
    pub external: Option<String>,
    /// Whether that address can be reached from everywhere.
    pub public: Option<bool>,
    /// By which of `PCP`, `NAT-PMP` and `UPnP`.
    pub protocol: Option<String>,
    /// What it was asked last.
    pub tried: Vec<Asked>,
}

/// One protocol by which a gateway was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// `PCP`, `NAT-PMP` or `UPnP`.
    pub protocol: String,
    /// What came of it, in words.
    pub outcome: String,
}

/// A STUN port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StunServer {
    /// Its endpoint.
    pub server: String,
    /// Its name in the configuration, if it is from there.
    pub name: Option<String>,
    /// `rendezvous`, `named` (another address that the rendezvous told) or `configured`.
    pub kind: String,
    /// How it saw us; none if it did not answer.
    pub endpoint: Option<String>,
    /// The round trip just now, milliseconds.
    pub rtt_ms: Option<f64>,
    /// What it usually is, milliseconds.
    pub usual_rtt_ms: Option<f64>,
}

/// A STUN server of the configuration that could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedName {
    /// As it is written there.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A rendezvous server and its relay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckedRendezvous {
    /// The link to it, how its relay is reached, and the round trip to that.
    #[serde(flatten)]
    pub link: Rendezvous,
    /// Where its relay takes datagrams; none before the first login.
    pub relay_endpoint: Option<String>,
    /// The round trip to it by STUN just now, milliseconds.
    pub stun_rtt_ms: Option<f64>,
}

/// Something that is bad, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// A stable word: docs/nat.md lists them.
    pub code: String,
    /// What is bad, in one sentence.
    pub problem: String,
    /// What the user could do.
    pub advice: String,
}
