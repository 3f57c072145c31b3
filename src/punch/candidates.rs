//! Which of the peer's candidates are worth trying, and in which order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::Ipv6Net;

use crate::wire::{Candidate, CandidateKind, Path};

/// Direct candidates kept of those that a peer told.
pub const MAX_DIRECT: usize = 16;
/// Relayed candidates kept of those that a peer told.
pub const MAX_RELAYED: usize = 4;
/// Places among the direct ones that a long list of interface addresses cannot take.
const REFLEXIVE_PLACES: usize = 4;

/// The usable ones among what a peer told, at most [`MAX_DIRECT`] and [`MAX_RELAYED`].
pub(super) fn admit(told: &[Candidate], overlay: Ipv6Net) -> Vec<Candidate> {
    let mut unique: Vec<Candidate> = Vec::new();
    for candidate in told.iter().copied().filter(|c| usable(*c, overlay)) {
        if unique.iter().all(|known| known.path != candidate.path) {
            unique.push(candidate);
        }
    }
    let of = |kind| unique.iter().copied().filter(move |c| c.kind == kind);
    let outside = of(CandidateKind::Mapped).count() + of(CandidateKind::Reflexive).count();
    let reserved = outside.min(REFLEXIVE_PLACES);
    let hosts = of(CandidateKind::Host).take(MAX_DIRECT - reserved);
    let mut admitted: Vec<Candidate> = hosts.collect();
    let left = MAX_DIRECT - admitted.len();
    admitted.extend(of(CandidateKind::Mapped).chain(of(CandidateKind::Reflexive)).take(left));
    admitted.extend(of(CandidateKind::Relayed).take(MAX_RELAYED));
    admitted
}

fn usable(candidate: Candidate, overlay: Ipv6Net) -> bool {
    let kind_fits = candidate.path.is_direct() == (candidate.kind != CandidateKind::Relayed);
    kind_fits && reachable(candidate.path, overlay)
}

/// Whether a path can lead to another machine outside the overlay.
pub(super) fn reachable(path: Path, overlay: Ipv6Net) -> bool {
    match path {
        Path::Direct(endpoint) | Path::Spare { remote: endpoint, .. } => reachable_endpoint(endpoint, overlay),
        // The relay is our own server: its address is ours to know, not the peer's to say.
        Path::Relayed(relay) => relay.server.port() != 0,
        // The friend is ours, and only told among its own.
        Path::Friend { .. } => true,
    }
}

fn reachable_endpoint(endpoint: SocketAddr, overlay: Ipv6Net) -> bool {
    let outside = match endpoint.ip() {
        IpAddr::V4(ip) => reachable_v4(ip),
        IpAddr::V6(ip) => reachable_v6(ip) && !overlay.contains(&ip),
    };
    outside && endpoint.port() != 0
}

/// Link-local IPv4 (RFC 3927) is refused because clouds serve credentials there.
fn reachable_v4(ip: Ipv4Addr) -> bool {
    let this_network = ip.octets()[0] == 0;
    !(this_network || ip.is_loopback() || ip.is_multicast() || ip.is_link_local() || ip.is_broadcast())
}

fn reachable_v6(ip: Ipv6Addr) -> bool {
    !(ip.is_unspecified()
        || ip.is_loopback()
        || ip.is_multicast()
        || ip.is_unicast_link_local()
        || ip.to_ipv4_mapped().is_some())
}
