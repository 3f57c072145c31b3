//! What two nodes can expect of the networks that they are in, and how soon.
//!
//! Each side is described by the translators between it and the point where both ways meet, which act as one (see
//! [`compose`]). What two such sides allow:
//!
//! | one side maps | the other side | class | because |
//! | --- | --- | --- | --- |
//! | by endpoint | maps by endpoint | [`Class::Plain`] | STUN shows each the other's endpoint; both send, and whatever the filters are, the second datagram meets a flow of its own |
//! | by endpoint, and early datagrams spoil that | the same | [`Class::Timed`] | each must send before the other's datagram arrives: at the same moment |
//! | by address or port | maps by endpoint, lets everybody in | [`Class::Plain`] | the second is reached where STUN saw it |
//! | the same | filters by port; the first lets everybody in | [`Class::Chance`] | the second reaches the first where STUN saw it, unless the first has sent to it before, from another port |
//! | the same | maps by endpoint, filters by address | [`Class::Plain`] | the first comes from a port that nobody knows, and is let in all the same; the answer goes where it came from |
//! | the same, ports in sequence | maps by endpoint, filters by port | [`Class::Sequential`] | the second opens its filter for the ports that come next |
//! | the same, ports at random | the same | [`Class::Birthday`] | the first opens 256 ports towards the second, which tries 1,000: one of them meets all but one in fifty times |
//! | the same, in sequence | the same | [`Class::Sequential`] | each knows the other's next ports, as long as nobody else uses the translator |
//! | the same | the same, one of them filters by address | [`Class::Chance`] | luck, or a method that nobody promises, opens it |
//! | the same | the same | [`Class::RelayOnly`] | a datagram is let in only if its receiver has sent to exactly its source, and both ports are unknown |
//!
//! Outside addresses that change from mapping to mapping spoil every certainty that needs one address. Where early
//! datagrams spoil mappings by endpoint, whoever is behind that sends first; where they spoil others, or among a thousand
//! ports, nothing is promised: nobody finds the former out, and has an order for the latter. Mapping by address is told from
//! mapping by endpoint only with two addresses of a STUN server; without, it is not promised that anybody finds it out.
//!
//! The tests beside play the strategies of the table with every pair of behaviours.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::nat::{Behaviour, Dependence, Pooling, Ports};

/// The best way that there is from one node to another; the first is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// They are on one segment.
    Lan,
    /// IPv6 end to end, with firewalls at most.
    V6,
    /// Both send to what STUN saw.
    Plain,
    /// The same, both at the same moment.
    Timed,
    /// By the outside of the translator that both are behind.
    Hairpin,
    /// By a port that is open.
    Mapped,
    /// By ports that can be predicted.
    Sequential,
    /// By many ports at once.
    Birthday,
    /// There may be a direct way; nothing is promised but the relay.
    Chance,
    /// There is none but over a relay.
    RelayOnly,
}

impl Class {
    /// How soon a direct path is promised.
    pub fn limit(self) -> Option<Duration> {
        match self {
            Class::Lan | Class::V6 | Class::Plain | Class::Timed | Class::Hairpin | Class::Mapped => {
                Some(Duration::from_secs(5))
            }
            Class::Sequential | Class::Birthday => Some(Duration::from_secs(10)),
            Class::Chance | Class::RelayOnly => None,
        }
    }

    /// Whether the path that is promised comes wherever nothing is lost; the others need luck, a steady round trip, or
    /// that nobody else uses the translator just then.
    pub fn is_certain(self) -> bool {
        self.limit().is_some() && !matches!(self, Class::Timed | Class::Sequential | Class::Birthday)
    }
}

/// A row of translators, as a peer beyond the last of them meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Composite {
    /// On what the outermost port depends.
    pub mapping: Dependence,
    /// Who is let in to the innermost.
    pub filtering: Dependence,
    /// How the outermost port is chosen.
    pub ports: Ports,
    /// Whether there is one outside address.
    pub is_paired: bool,
    /// Whether early datagrams spoil a mapping.
    pub is_poisonable: bool,
}

/// Makes one of several, the innermost first; none of none.
///
/// A new mapping at one of them is a new inside endpoint for the next, so the row depends on whatever any of them depends
/// on, and lets in only whom all let in. A port that is preserved is the one that the translator before chose.
pub fn compose(nats: &[Behaviour]) -> Option<Composite> {
    let first = nats.first()?;
    let one = |nat: &Behaviour| Composite {
        mapping: nat.mapping,
        filtering: nat.filtering,
        ports: nat.ports,
        is_paired: nat.pooling == Pooling::Paired,
        is_poisonable: nat.poisonable,
    };
    Some(nats.iter().skip(1).fold(one(first), |inner, nat| Composite {
        mapping: inner.mapping.max(nat.mapping),
        filtering: inner.filtering.max(nat.filtering),
        ports: if nat.ports == Ports::Preserved { inner.ports } else { nat.ports },
        is_paired: inner.is_paired && nat.pooling == Pooling::Paired,
        is_poisonable: inner.is_poisonable || nat.poisonable,
    }))
}

/// What two rows of translators allow. `is_shared`: the outermost is the same one. `sees_addresses`: STUN is asked at
/// two addresses.
pub fn between(one: Option<Composite>, other: Option<Composite>, is_shared: bool, sees_addresses: bool) -> Class {
    let (Some(one), Some(other)) = (one, other) else { return Class::Plain };
    let class = match (is_stable(one), is_stable(other)) {
        (true, true) if one.is_poisonable && other.is_poisonable => Class::Timed,
        (true, true) => Class::Plain,
        (false, true) => against(one, other, sees_addresses),
        (true, false) => against(other, one, sees_addresses),
        (false, false) => blind(one, other, is_shared, sees_addresses),
    };
    if is_shared && class == Class::Plain { Class::Hairpin } else { class }
}

fn is_stable(side: Composite) -> bool {
    side.mapping == Dependence::Endpoint
}

fn against(symmetric: Composite, stable: Composite, sees_addresses: bool) -> Class {
    match stable.filtering {
        Dependence::Endpoint => Class::Plain,
        _ if !symmetric.is_paired || symmetric.filtering == Dependence::Endpoint => Class::Chance,
        Dependence::Address => Class::Plain,
        _ if !is_recognised(symmetric, sees_addresses) || symmetric.is_poisonable => Class::Chance,
        _ if stable.is_poisonable && !is_sequential(symmetric) => Class::Chance,
        _ if is_sequential(symmetric) => Class::Sequential,
        _ => Class::Birthday,
    }
}

fn blind(one: Composite, other: Composite, is_shared: bool, sees_addresses: bool) -> Class {
    let both = |holds: &dyn Fn(Composite) -> bool| holds(one) && holds(other);
    let is_strict = both(&|side| side.filtering == Dependence::AddressAndPort);
    let is_known = |side| is_recognised(side, sees_addresses) && side.is_paired && !side.is_poisonable;
    // Two who take ports from one sequence disturb each other.
    let is_clean = !is_shared && both(&|side| is_known(side) && side.filtering != Dependence::Endpoint);
    match both(&is_sequential) {
        true if is_clean => Class::Sequential,
        false if is_strict => Class::RelayOnly,
        _ => Class::Chance,
    }
}

fn is_sequential(side: Composite) -> bool {
    matches!(side.ports, Ports::Sequential(_))
}

fn is_recognised(symmetric: Composite, sees_addresses: bool) -> bool {
    sees_addresses || symmetric.mapping == Dependence::AddressAndPort
}
