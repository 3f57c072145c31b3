//! What is physically possible between two networks, told from how they behave and from nothing else.

use std::fmt;

use crate::lab::{Behaviour, Dependence, Early, Nat, Ports, Site};

/// Where the two nodes of a row sit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pair {
    /// At two sites with the internet between them.
    Apart(Site, Site),
    /// On one LAN behind a translator.
    SameLan(Nat),
    /// In two ordinary homes behind one carrier's translator.
    SameCarrier(Nat),
    /// In one home: one on the outer LAN, one behind a second translator.
    InnerAndOuter,
}

/// By which means a direct path is possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feasible {
    /// Both send to the endpoint that the other has towards a server.
    Plain,
    /// Both have IPv6, and the firewalls let answers in.
    Ipv6,
    /// The translator that both share turns packets round.
    Hairpin,
    /// A gateway maps a port.
    Mapping,
    /// A host address of one is reachable from the other.
    Lan,
    /// The next outside port can be told from the last.
    Sequential,
    /// Many sockets on one side, random probes from the other.
    Birthday,
    /// Not at all: the relay carries the traffic.
    No,
}

impl Feasible {
    /// Seconds within which a direct path is due.
    pub fn limit(self) -> f64 {
        match self {
            Feasible::Sequential | Feasible::Birthday => 10.0,
            _ => 5.0,
        }
    }

    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Feasible::Plain => "plain",
            Feasible::Ipv6 => "ipv6",
            Feasible::Hairpin => "hairpin",
            Feasible::Mapping => "mapping",
            Feasible::Lan => "lan",
            Feasible::Sequential => "sequential",
            Feasible::Birthday => "birthday",
            Feasible::No => "none",
        }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pair::Apart(a, b) => write!(f, "{} × {}", a.name(), b.name()),
            Pair::SameLan(nat) => write!(f, "same-lan:{}", nat.name()),
            Pair::SameCarrier(nat) => write!(f, "same-carrier:{}", nat.name()),
            Pair::InnerAndOuter => write!(f, "inner-and-outer"),
        }
    }
}

impl Pair {
    /// By which means the pair can be connected directly.
    pub fn feasible(self) -> Feasible {
        match self {
            Pair::Apart(a, b) => apart(a, b),
            Pair::SameLan(_) | Pair::InnerAndOuter => Feasible::Lan,
            Pair::SameCarrier(nat) if nat.behaviour().hairpin => Feasible::Hairpin,
            Pair::SameCarrier(_) => Feasible::No,
        }
    }

    /// The code of `pilotctl why` that is true for a side (0 or 1) once the pair has settled.
    pub fn true_reason(self, side: usize) -> &'static str {
        match (self, self.feasible()) {
            (Pair::Apart(a, b), Feasible::No) => relayed_because(if side == 0 { [a, b] } else { [b, a] }),
            (_, Feasible::No) => "no_hairpin",
            (_, _) => "direct",
        }
    }
}

fn relayed_because([ours, theirs]: [Site; 2]) -> &'static str {
    if !ours.has_udp() {
        "udp_blocked"
    } else if shared_families(ours, theirs) == (false, false) {
        "no_common_family"
    } else if !theirs.has_udp() {
        "peer_udp_blocked"
    } else {
        "symmetric_both"
    }
}

/// Whether both have IPv4, and whether both have IPv6.
fn shared_families(a: Site, b: Site) -> (bool, bool) {
    (a.has_ipv4() && b.has_ipv4(), a.has_ipv6() && b.has_ipv6())
}

fn apart(a: Site, b: Site) -> Feasible {
    if !a.has_udp() || !b.has_udp() {
        return Feasible::No;
    }
    let (v4, v6) = shared_families(a, b);
    match v4.then(|| translated(seen_from_outside(a), seen_from_outside(b))) {
        Some(Feasible::Plain) => Feasible::Plain,
        _ if v6 => Feasible::Ipv6,
        Some(_) if is_mapped(a) || is_mapped(b) => Feasible::Mapping,
        Some(feasible) => feasible,
        None => Feasible::No,
    }
}

fn is_mapped(site: Site) -> bool {
    matches!(site, Site::Mapping(_))
}

/// How the whole way out of a site behaves: two translators in a row filter as the stricter one.
fn seen_from_outside(site: Site) -> Behaviour {
    let open = Behaviour {
        mapping: Dependence::Endpoint,
        filtering: Dependence::Endpoint,
        ports: Ports::Preserved,
        hairpin: true,
        early: Early::Dropped,
    };
    let nat = site.nat().map_or(open, Nat::behaviour);
    match site {
        Site::Carrier(_) | Site::Double(_) => Behaviour { filtering: Dependence::AddressAndPort, ..nat },
        _ => nat,
    }
}

fn translated(a: Behaviour, b: Behaviour) -> Feasible {
    let (steady_a, steady_b) = (a.mapping == Dependence::Endpoint, b.mapping == Dependence::Endpoint);
    match (steady_a, steady_b) {
        (true, true) => Feasible::Plain,
        (true, false) => towards_changing(a, b),
        (false, true) => towards_changing(b, a),
        (false, false) if a.ports == Ports::Sequential && b.ports == Ports::Sequential => Feasible::Sequential,
        (false, false) => Feasible::No,
    }
}

/// One side has a steady endpoint, the other a new one towards it.
fn towards_changing(steady: Behaviour, changing: Behaviour) -> Feasible {
    match (steady.filtering, changing.ports) {
        (Dependence::Endpoint | Dependence::Address, _) => Feasible::Plain,
        (Dependence::AddressAndPort, Ports::Sequential) => Feasible::Sequential,
        (Dependence::AddressAndPort, _) => Feasible::Birthday,
    }
}

#[test]
fn what_is_possible_is_told_from_behaviour() {
    use Nat::{AddressRestricted, AddressSymmetric, FullCone, PortRestricted, Symmetric, SymmetricSequential};
    let homes = |a, b| Pair::Apart(Site::Home(a), Site::Home(b)).feasible();
    assert_eq!(homes(PortRestricted, PortRestricted), Feasible::Plain);
    assert_eq!(homes(PortRestricted, Symmetric), Feasible::Birthday);
    assert_eq!(homes(AddressRestricted, Symmetric), Feasible::Plain);
    assert_eq!(homes(AddressSymmetric, PortRestricted), Feasible::Birthday);
    assert_eq!(homes(SymmetricSequential, PortRestricted), Feasible::Sequential);
    assert_eq!(homes(SymmetricSequential, SymmetricSequential), Feasible::Sequential);
    assert_eq!(homes(SymmetricSequential, Symmetric), Feasible::No);
    assert_eq!(homes(FullCone, Symmetric), Feasible::Plain);
    let carrier = Pair::Apart(Site::Carrier(FullCone), Site::Home(Symmetric));
    assert_eq!(carrier.feasible(), Feasible::Birthday, "the home behind an open carrier still filters");
    let both = Pair::Apart(Site::DualStack(Symmetric), Site::Ipv6Only);
    assert_eq!(both.feasible(), Feasible::Ipv6);
    let mapped = Pair::Apart(Site::Mapping(Symmetric), Site::Home(Symmetric));
    assert_eq!(mapped.feasible(), Feasible::Mapping);
}
