//! What stands between a private network and the one outside: translators with the behaviours that RFC 4787 names,
//! as Linux and carrier boxes combine them, and stateful firewalls for IPv6.

mod firewall;
mod table;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

pub use firewall::Firewall;
pub use table::Nat;

/// What an outside port, or a permission, depends on (RFC 4787, sections 4.1 and 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependence {
    /// On the inside endpoint only.
    Endpoint,
    /// Also on the remote address.
    Address,
    /// Also on the remote port.
    AddressAndPort,
}

/// All of them.
pub const DEPENDENCES: [Dependence; 3] = [Dependence::Endpoint, Dependence::Address, Dependence::AddressAndPort];

/// How a mapping gets its outside port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// The inside port where it is free, otherwise any.
    Preserved,
    /// The last one and this much.
    Sequential(u16),
    /// Any.
    Random,
}

/// Which outside address a mapping gets, where there are several (RFC 4787, section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Always the same for one inside host.
    Paired,
    /// Any.
    Arbitrary,
}

/// How long a flow that nothing uses is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// One that was never replied to, or only in its first two seconds.
    pub fresh: Duration,
    /// One that goes both ways.
    pub streaming: Duration,
    /// Whether what comes in keeps it, too.
    pub inbound_refreshes: bool,
}

impl Timeouts {
    /// Linux' connection tracking.
    pub const LINUX: Timeouts =
        Timeouts { fresh: Duration::from_secs(30), streaming: Duration::from_secs(120), inbound_refreshes: true };
    /// The shortest that is met in the field: only what goes out counts.
    pub const SHORT: Timeouts =
        Timeouts { fresh: Duration::from_secs(30), streaming: Duration::from_secs(30), inbound_refreshes: false };
}

/// The behaviour of one translator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// On what a mapping depends.
    pub mapping: Dependence,
    /// Who may send to a mapping.
    pub filtering: Dependence,
    /// Port assignment.
    pub ports: Ports,
    /// Address assignment.
    pub pooling: Pooling,
    /// How long flows live.
    pub timeouts: Timeouts,
    /// Whether inside hosts reach each other by their outside endpoints.
    pub hairpin: bool,
    /// Whether a datagram to a port of its own, from somebody whom the holder of the port has not sent to, makes an entry
    /// that takes the port away from a later flow between the two: so does Linux where INPUT accepts.
    pub poisonable: bool,
    /// The most flows at once, all hosts together; further ones are refused.
    pub capacity: usize,
}

impl Behaviour {
    /// The ordinary home router: Linux' masquerading.
    pub const PORT_RESTRICTED: Behaviour = Behaviour {
        mapping: Dependence::Endpoint,
        filtering: Dependence::AddressAndPort,
        ports: Ports::Preserved,
        pooling: Pooling::Paired,
        timeouts: Timeouts::LINUX,
        hairpin: false,
        poisonable: false,
        capacity: 16_384,
    };
    /// The same where INPUT accepts.
    pub const POISONABLE: Behaviour = Behaviour { poisonable: true, ..Behaviour::PORT_RESTRICTED };
    /// A router that lets anyone answer who knows the endpoint.
    pub const FULL_CONE: Behaviour =
        Behaviour { filtering: Dependence::Endpoint, hairpin: true, ..Behaviour::PORT_RESTRICTED };
    /// Filters by address only.
    pub const RESTRICTED: Behaviour = Behaviour { filtering: Dependence::Address, ..Behaviour::PORT_RESTRICTED };
    /// A new random port for every destination.
    pub const SYMMETRIC: Behaviour =
        Behaviour { mapping: Dependence::AddressAndPort, ports: Ports::Random, ..Behaviour::PORT_RESTRICTED };
    /// A new random port for every destination address.
    pub const BY_ADDRESS: Behaviour = Behaviour { mapping: Dependence::Address, ..Behaviour::SYMMETRIC };
    /// The next port for every destination.
    pub const SEQUENTIAL: Behaviour = Behaviour { ports: Ports::Sequential(1), ..Behaviour::SYMMETRIC };
    /// A carrier's box as RFC 6888 wants it.
    pub const CARRIER: Behaviour = Behaviour {
        filtering: Dependence::Endpoint,
        ports: Ports::Random,
        hairpin: true,
        capacity: 65_536,
        ..Behaviour::PORT_RESTRICTED
    };
    /// A carrier's box as carriers buy it.
    pub const DEAF_CARRIER: Behaviour =
        Behaviour { filtering: Dependence::AddressAndPort, hairpin: false, ..Behaviour::CARRIER };
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |dependence| match dependence {
            Dependence::Endpoint => "endpoint",
            Dependence::Address => "address",
            Dependence::AddressAndPort => "address+port",
        };
        write!(f, "maps by {}, filters by {}, ports ", short(self.mapping), short(self.filtering))?;
        match self.ports {
            Ports::Preserved => write!(f, "preserved"),
            Ports::Sequential(step) => write!(f, "in steps of {step}"),
            Ports::Random => write!(f, "random"),
        }?;
        write!(f, ", {}/{} s", self.timeouts.fresh.as_secs(), self.timeouts.streaming.as_secs())?;
        let said = [
            (self.hairpin, ", hairpins"),
            (self.poisonable, ", poisonable"),
            (!self.timeouts.inbound_refreshes, ", only what goes out refreshes"),
            (self.pooling == Pooling::Arbitrary, ", addresses at random"),
        ];
        said.into_iter().filter(|(holds, _)| *holds).try_for_each(|(_, text)| f.write_str(text))
    }
}
