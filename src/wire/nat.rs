//! How the NAT in front of a node behaves, in the terms of RFC 4787, as far as it is known.

use serde::{Deserialize, Serialize};

/// Which destinations share a mapping (RFC 4787, section 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mapping {
    /// Not known.
    #[default]
    Unknown,
    /// There is no NAT.
    None,
    /// All of them: punching works.
    EndpointIndependent,
    /// Those with one address.
    AddressDependent,
    /// None: each endpoint has its own ("symmetric").
    AddressAndPortDependent,
}

/// Who may send to a mapping (RFC 4787, section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filtering {
    /// Not known.
    #[default]
    Unknown,
    /// Everybody.
    EndpointIndependent,
    /// Every port of an address that was sent to.
    AddressDependent,
    /// Only endpoints that were sent to.
    AddressAndPortDependent,
}

/// How the outside ports of new mappings are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ports {
    /// Not known.
    #[default]
    Unknown,
    /// The inside port where it is free.
    Preserved,
    /// The last one and a step.
    Sequential {
        /// From one new mapping to the next.
        step: i16,
    },
    /// At random.
    Random,
}

/// What a node knows of the NAT in front of it, for IPv4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nat {
    /// Which destinations share a mapping.
    pub mapping: Mapping,
    /// Who may send to a mapping.
    pub filtering: Filtering,
    /// How the outside ports of new mappings are chosen.
    pub ports: Ports,
    /// Whether a mapping can be reached from inside by its outside endpoint.
    pub hairpin: Option<bool>,
    /// Whether a datagram that comes before the inside has sent takes the mapping's port away: so do
    /// Linux gateways that accept unasked datagrams to themselves.
    pub poisonable: Option<bool>,
}

impl Nat {
    /// Whether what STUN saw is of no use to peers: they meet another mapping.
    pub fn is_symmetric(&self) -> bool {
        matches!(self.mapping, Mapping::AddressDependent | Mapping::AddressAndPortDependent)
    }
}
