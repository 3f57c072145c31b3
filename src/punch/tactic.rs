//! What it takes to punch from one NAT to another, given how both behave (RFC 4787, RFC 5128).

use std::net::{IpAddr, SocketAddr};

use crate::wire::Nat;
use crate::wire::nat::{Filtering, Ports};

/// Sockets from which a side whose ports are random sends. One in 168 of the ports that the other side tries is one of
/// theirs (the birthday method): after 1,040 tries one in 490 attempts has missed.
const CROWD: u16 = 384;
/// Sockets from which a side whose ports are in sequence sends, beside the one that it asks STUN from.
const LINE: u16 = 4;
/// Ports of a sequence that are tried: other programs may take some in between.
const AHEAD: i32 = 10;

/// What it takes to punch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tactic {
    /// Both sides probe what the other told: all it takes, or all that what is known allows.
    Plain,
    /// Fresh sockets on both sides, and the side whose gateway is spoilt by early datagrams sends first.
    Ordered,
    /// The outside ports of fresh sockets are predicted from the last one that the NAT gave out.
    Predicted,
    /// Many sockets on the side whose ports are random, many ports tried from the other.
    Birthday,
    /// No port of either side can be known to the other: the relay carries all.
    Impossible,
}

impl Tactic {
    /// What it takes from behind `ours` to behind `theirs`; the other way round it is the same.
    pub fn between(ours: Nat, theirs: Nat) -> Tactic {
        match (ours.is_symmetric(), theirs.is_symmetric()) {
            (false, false) if ours.poisonable == Some(true) || theirs.poisonable == Some(true) => Tactic::Ordered,
            (false, false) => Tactic::Plain,
            (true, false) => Tactic::against(ours, theirs),
            (false, true) => Tactic::against(theirs, ours),
            (true, true) if is_sequential(ours) && is_sequential(theirs) => Tactic::Predicted,
            (true, true) => Tactic::Impossible,
        }
    }

    /// What it takes between one side that maps by destination and one that does not.
    fn against(symmetric: Nat, stable: Nat) -> Tactic {
        match stable.filtering {
            // Whatever port the other side comes from, it is let in.
            Filtering::EndpointIndependent | Filtering::AddressDependent => Tactic::Plain,
            _ if is_sequential(symmetric) => Tactic::Predicted,
            _ => Tactic::Birthday,
        }
    }

    /// What people and scripts know it by.
    pub fn name(self) -> &'static str {
        match self {
            Tactic::Plain => "plain",
            Tactic::Ordered => "ordered",
            Tactic::Predicted => "predicted",
            Tactic::Birthday => "birthday",
            Tactic::Impossible => "impossible",
        }
    }

    /// Whether it fills a good part of a home gateway's table for a while.
    pub fn is_heavy(self) -> bool {
        self == Tactic::Birthday
    }

    /// The fresh sockets that the side behind `ours` needs.
    pub fn sockets(self, ours: Nat) -> u16 {
        match self {
            Tactic::Birthday if ours.is_symmetric() => CROWD,
            Tactic::Predicted if ours.is_symmetric() => 1 + LINE,
            _ => 1,
        }
    }
}

fn is_sequential(nat: Nat) -> bool {
    matches!(nat.ports, Ports::Sequential { .. })
}

/// What the fresh sockets of one side are aimed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// These, again and again.
    Known(Vec<(u16, SocketAddr)>),
    /// Each port of this address once, in an order that nobody knows.
    Anywhere { socket: u16, ip: IpAddr },
}

impl Aim {
    /// From `sockets`, the first of which STUN saw, at a peer behind `theirs` whose first fresh socket STUN saw at
    /// `endpoint`.
    pub fn new(tactic: Tactic, ours: Nat, theirs: Nat, sockets: &[u16], endpoint: SocketAddr) -> Aim {
        let first = sockets.first().copied().unwrap_or_default();
        let fresh = || sockets.iter().copied().skip(1);
        match (tactic, ours.is_symmetric(), theirs.ports) {
            (Tactic::Birthday, false, _) => Aim::Anywhere { socket: first, ip: endpoint.ip() },
            (Tactic::Birthday, true, _) => Aim::Known(sockets.iter().map(|socket| (*socket, endpoint)).collect()),
            // In step: the n-th fresh socket of one side at the n-th of the other.
            (Tactic::Predicted, true, Ports::Sequential { step }) if theirs.is_symmetric() => Aim::Known(
                fresh().zip(1..).filter_map(|(socket, n)| Some((socket, ahead(endpoint, step, n)?))).collect(),
            ),
            (Tactic::Predicted, true, _) => Aim::Known(fresh().map(|socket| (socket, endpoint)).collect()),
            (Tactic::Predicted, false, Ports::Sequential { step }) => {
                Aim::Known((1..=AHEAD).filter_map(|n| Some((first, ahead(endpoint, step, n)?))).collect())
            }
            _ => Aim::Known(vec![(first, endpoint)]),
        }
    }
}

/// The endpoint `n` steps further on; none beyond the last port.
fn ahead(endpoint: SocketAddr, step: i16, n: i32) -> Option<SocketAddr> {
    let port = u16::try_from(i32::from(endpoint.port()) + i32::from(step) * n).ok();
    port.filter(|port| *port != 0).map(|port| SocketAddr::new(endpoint.ip(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::nat::Mapping;

    fn stable(filtering: Filtering) -> Nat {
        Nat { mapping: Mapping::EndpointIndependent, filtering, ports: Ports::Preserved, ..Nat::default() }
    }

    fn symmetric(ports: Ports) -> Nat {
        Nat { mapping: Mapping::AddressAndPortDependent, ports, ..Nat::default() }
    }

    const CLOSED: Filtering = Filtering::AddressAndPortDependent;
    const STEPS: Ports = Ports::Sequential { step: 2 };

    #[test]
    fn each_pair_has_its_tactic_and_it_is_the_same_from_both_ends() {
        let poisonable = Nat { poisonable: Some(true), ..stable(CLOSED) };
        let pairs = [
            (stable(CLOSED), stable(CLOSED), Tactic::Plain),
            (Nat::default(), Nat::default(), Tactic::Plain),
            (stable(CLOSED), poisonable, Tactic::Ordered),
            (poisonable, poisonable, Tactic::Ordered),
            (stable(Filtering::EndpointIndependent), symmetric(Ports::Random), Tactic::Plain),
            (stable(Filtering::AddressDependent), symmetric(STEPS), Tactic::Plain),
            (stable(CLOSED), symmetric(STEPS), Tactic::Predicted),
            (stable(CLOSED), symmetric(Ports::Random), Tactic::Birthday),
            (stable(Filtering::Unknown), symmetric(Ports::Unknown), Tactic::Birthday),
            (symmetric(STEPS), symmetric(STEPS), Tactic::Predicted),
            (symmetric(STEPS), symmetric(Ports::Random), Tactic::Impossible),
            (symmetric(Ports::Random), symmetric(Ports::Random), Tactic::Impossible),
        ];
        for (one, other, expected) in pairs {
            assert_eq!(Tactic::between(one, other), expected, "{one:?} {other:?}");
            assert_eq!(Tactic::between(other, one), expected, "{other:?} {one:?}");
        }
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::new([198, 51, 7, 9].into(), port)
    }

    #[test]
    fn sequences_meet_step_by_step() {
        let both = symmetric(STEPS);
        let tactic = Tactic::between(both, both);
        let sockets: Vec<u16> = (1..=tactic.sockets(both)).collect();
        let Aim::Known(shots) = Aim::new(tactic, both, both, &sockets, at(4000)) else { panic!("a crowd") };
        assert_eq!(shots, [(2, at(4002)), (3, at(4004)), (4, at(4006)), (5, at(4008))]);
    }

    #[test]
    fn a_stable_side_tries_the_next_ports_of_a_sequence_and_the_other_sends_to_the_one_that_it_has() {
        let (one, other) = (stable(CLOSED), symmetric(STEPS));
        let tactic = Tactic::between(one, other);
        let Aim::Known(tried) = Aim::new(tactic, one, other, &[7], at(4000)) else { panic!("a crowd") };
        assert!(tried.iter().all(|(socket, to)| *socket == 7 && to.port() > 4000 && to.port().is_multiple_of(2)));
        assert!(tried.contains(&(7, at(4008))));
        let Aim::Known(sent) = Aim::new(tactic, other, one, &[1, 2, 3], at(5000)) else { panic!("a crowd") };
        assert_eq!(sent, [(2, at(5000)), (3, at(5000))]);
    }

    #[test]
    fn predictions_stay_within_the_ports_that_there_are() {
        let down = Ports::Sequential { step: -3 };
        let Aim::Known(tried) = Aim::new(Tactic::Predicted, stable(CLOSED), symmetric(down), &[7], at(7)) else {
            panic!("a crowd")
        };
        assert_eq!(tried, [(7, at(4)), (7, at(1))]);
    }
}
