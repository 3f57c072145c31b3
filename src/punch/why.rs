//! Why a path is what it is, in one sentence, and what the user could do about it.

use std::net::IpAddr;

use super::tactic::Tactic;
use crate::wire::nat::Mapping;
use crate::wire::{Candidate, CandidateKind, Nat, Path};

/// The one reason that explains a path best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is direct.
    Direct,
    /// No session with the peer.
    NotConnected,
    /// No session, and no rendezvous to ask for one.
    RendezvousDown,
    /// The search has not ended yet.
    Searching,
    /// No UDP leaves this network.
    UdpBlocked,
    /// No UDP leaves the peer's network.
    PeerUdpBlocked,
    /// One side has only IPv4, the other only IPv6.
    NoCommonFamily,
    /// Both are behind one NAT that does not lead back inside, on different networks.
    NoHairpin,
    /// Both NATs map by destination, and ports cannot be predicted.
    SymmetricBoth,
    /// One NAT maps by destination, and the attempts to hit its ports have missed so far.
    Symmetric,
    /// Both gateways are spoilt by datagrams that come early.
    Poisonable,
    /// The NATs would let us through, but nothing comes through.
    Filtered,
}

/// What is known about a pair.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The path in use; none without a session.
    pub chosen: Option<Path>,
    /// Whether the rendezvous is logged in to.
    pub is_introduced: bool,
    /// Whether any STUN server told us what we look like.
    pub is_seen: bool,
    /// Whether the search goes on.
    pub is_searching: bool,
    /// Our NAT.
    pub ours: Nat,
    /// The peer's NAT.
    pub theirs: Nat,
    /// Our candidates.
    pub local: &'a [Candidate],
    /// The peer's candidates.
    pub told: &'a [Candidate],
}

impl Circumstances<'_> {
    /// The reason.
    pub fn reason(&self) -> Reason {
        match self.chosen {
            Some(path) if path.is_direct() => Reason::Direct,
            None if !self.is_introduced => Reason::RendezvousDown,
            None => Reason::NotConnected,
            Some(_) => self.why_relayed(),
        }
    }

    fn why_relayed(&self) -> Reason {
        if !self.is_seen {
            return Reason::UdpBlocked;
        }
        if !self.have_common_family() {
            return Reason::NoCommonFamily;
        }
        if self.theirs.mapping == Mapping::Unknown && !self.told.iter().any(is_outside) {
            return Reason::PeerUdpBlocked;
        }
        if self.ours.hairpin == Some(false) && self.share_an_outside() {
            return Reason::NoHairpin;
        }
        let tactic = Tactic::between(self.ours, self.theirs);
        let is_poisonable = |nat: Nat| nat.poisonable == Some(true);
        match tactic {
            Tactic::Impossible => Reason::SymmetricBoth,
            _ if self.is_searching => Reason::Searching,
            Tactic::Birthday | Tactic::Predicted => Reason::Symmetric,
            Tactic::Ordered if is_poisonable(self.ours) && is_poisonable(self.theirs) => Reason::Poisonable,
            Tactic::Ordered | Tactic::Plain => Reason::Filtered,
        }
    }

    /// Whether both are seen at one IPv4 address.
    fn share_an_outside(&self) -> bool {
        let outside = |candidates: &[Candidate]| -> Vec<IpAddr> {
            let seen = candidates.iter().filter(|candidate| candidate.kind == CandidateKind::Reflexive);
            seen.map(|candidate| candidate.path.first_hop().ip()).filter(IpAddr::is_ipv4).collect()
        };
        let theirs = outside(self.told);
        outside(self.local).iter().any(|ours| theirs.contains(ours))
    }

    fn have_common_family(&self) -> bool {
        let has = |candidates: &[Candidate], v4: bool| {
            let mut direct = candidates.iter().filter(|candidate| candidate.path.is_direct());
            direct.any(|candidate| candidate.path.first_hop().is_ipv4() == v4)
        };
        // A peer that tells no endpoint has another reason.
        let tells = has(self.told, true) || has(self.told, false);
        !tells || [true, false].into_iter().any(|v4| has(self.local, v4) && has(self.told, v4))
    }
}

fn is_outside(candidate: &Candidate) -> bool {
    matches!(candidate.kind, CandidateKind::Reflexive | CandidateKind::Mapped)
}

impl Reason {
    /// What scripts know it by.
    pub fn code(self) -> &'static str {
        match self {
            Reason::Direct => "direct",
            Reason::NotConnected => "not_connected",
            Reason::RendezvousDown => "rendezvous_down",
            Reason::Searching => "searching",
            Reason::UdpBlocked => "udp_blocked",
            Reason::PeerUdpBlocked => "peer_udp_blocked",
            Reason::NoCommonFamily => "no_common_family",
            Reason::NoHairpin => "no_hairpin",
            Reason::SymmetricBoth => "symmetric_both",
            Reason::Symmetric => "symmetric",
            Reason::Poisonable => "poisonable",
            Reason::Filtered => "filtered",
        }
    }

    /// One sentence for a person.
    pub fn sentence(self) -> &'static str {
        match self {
            Reason::Direct => "packets go straight to the peer",
            Reason::NotConnected => "no session: nothing was sent to the peer lately, or it is offline",
            Reason::RendezvousDown => "no session, and the rendezvous that could introduce us is away",
            Reason::Searching => "packets go over the relay while a direct path is being looked for",
            Reason::UdpBlocked => "this network lets no UDP out, so packets go over the relay",
            Reason::PeerUdpBlocked => "the peer's network lets no UDP out, so packets go over the relay",
            Reason::NoCommonFamily => "one side has only IPv4 and the other only IPv6, so packets go over the relay",
            Reason::NoHairpin => {
                "both are behind the same provider's NAT, which leads nothing back inside, so packets go over the relay"
            }
            Reason::SymmetricBoth => {
                "both NATs choose another port for each destination, so neither side can know where to send to"
            }
            Reason::Symmetric => {
                "one NAT chooses another port for each destination, and its ports were not hit so far; attempts go on"
            }
            Reason::Poisonable => {
                "both gateways give a port away to the first datagram from outside, and the two sides have not met at \
                 the same moment so far; attempts go on"
            }
            Reason::Filtered => "both NATs allow a direct path, but nothing comes through: a firewall drops it",
        }
    }

    /// What the user could do; none when nothing is wrong.
    pub fn advice(self) -> Option<&'static str> {
        match self {
            Reason::Direct | Reason::Searching => None,
            Reason::NotConnected => Some("`pilotctl ping NODE` connects; look whether pilotd runs there"),
            Reason::RendezvousDown => Some("`pilotctl info` says why the rendezvous is away"),
            Reason::UdpBlocked => Some("allow outgoing UDP in this network's firewall"),
            Reason::PeerUdpBlocked => Some("allow outgoing UDP in the firewall of the peer's network"),
            Reason::NoCommonFamily => Some("give either side an address of the other's family"),
            Reason::NoHairpin | Reason::SymmetricBoth | Reason::Symmetric | Reason::Poisonable => Some(
                "turn on UPnP, NAT-PMP or PCP on either gateway, or forward a UDP port to pilotd (--listen-port) there, \
                 or give both sides IPv6",
            ),
            Reason::Filtered => {
                Some("allow UDP to and from pilotd's port (--listen-port) in the firewalls of both sides")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::nat::{Filtering, Ports};
    use crate::wire::{Allocation, RelayAddress};

    fn candidate(kind: CandidateKind, endpoint: &str) -> Candidate {
        Candidate { kind, path: Path::Direct(endpoint.parse().unwrap()) }
    }

    fn nat(mapping: Mapping) -> Nat {
        Nat { mapping, filtering: Filtering::AddressAndPortDependent, ports: Ports::Random, ..Nat::default() }
    }

    fn relayed() -> Option<Path> {
        Some(Path::Relayed(RelayAddress { server: "198.51.7.1:9001".parse().unwrap(), allocation: Allocation(1) }))
    }

    fn reason(change: impl FnOnce(&mut Circumstances<'_>)) -> &'static str {
        let local = [candidate(CandidateKind::Reflexive, "198.51.7.2:40000")];
        let told = [candidate(CandidateKind::Reflexive, "198.51.7.3:40000")];
        let stable = nat(Mapping::EndpointIndependent);
        let mut circumstances = Circumstances {
            chosen: relayed(),
            is_introduced: true,
            is_seen: true,
            is_searching: false,
            ours: stable,
            theirs: stable,
            local: &local,
            told: &told,
        };
        change(&mut circumstances);
        circumstances.reason().code()
    }

    #[test]
    fn each_circumstance_has_its_reason() {
        let symmetric = nat(Mapping::AddressAndPortDependent);
        let poisonable = Nat { poisonable: Some(true), ..nat(Mapping::EndpointIndependent) };
        let v6: &'static [Candidate] = vec![candidate(CandidateKind::Host, "[2001:db8:1::1]:1")].leak();
        assert_eq!(reason(|_| {}), "filtered");
        assert_eq!(reason(|c| c.chosen = Some(c.told[0].path)), "direct");
        assert_eq!(reason(|c| c.chosen = None), "not_connected");
        assert_eq!(reason(|c| (c.chosen, c.is_introduced) = (None, false)), "rendezvous_down");
        assert_eq!(reason(|c| c.is_searching = true), "searching");
        assert_eq!(reason(|c| c.is_seen = false), "udp_blocked");
        assert_eq!(reason(|c| (c.theirs, c.told) = (Nat::default(), &[])), "peer_udp_blocked");
        assert_eq!(reason(|c| c.local = v6), "no_common_family");
        assert_eq!(reason(|c| (c.ours.hairpin, c.local) = (Some(false), c.told)), "no_hairpin");
        assert_eq!(reason(|c| (c.ours.hairpin, c.local) = (Some(true), c.told)), "filtered");
        assert_eq!(reason(|c| (c.ours, c.theirs) = (symmetric, symmetric)), "symmetric_both");
        assert_eq!(reason(|c| c.theirs = symmetric), "symmetric");
        assert_eq!(reason(|c| (c.ours, c.theirs) = (poisonable, poisonable)), "poisonable");
    }
}
