//! What the networks around let through, in the words of the local socket.
//!
//! In: what the node found out by asking every server, what the configured names resolve to, and the kernel's routes.
//! Out: the answer to `netcheck`, with advice where something is bad.

mod advice;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::calls::Facts;
use super::stun::Named;
use super::views::{self, millis};
use super::why::nat;
use crate::control::views::{
    Asked, CheckedRendezvous, FailedName, Family, Gateway, Netcheck, PortMapping, Rendezvous, StunServer,
};
use crate::node;
use crate::portmap;
use crate::rendezvous::client::{Report, StunReport, Whose};
use crate::udp::{self, WayOut};

/// What the node does not know.
pub struct Around<'a> {
    /// What the STUN servers of the configuration resolve to.
    pub named: &'a [Named],
    /// What gateways say to port mappings; none where they are not asked.
    pub port_mapping: Option<PortMapping>,
    /// Over IPv4 and IPv6.
    pub routes: [Option<WayOut>; 2],
}

/// The way to a server, or to anywhere: of each family.
pub fn routes(servers: &[Report]) -> [Option<WayOut>; 2] {
    // Documentation addresses (RFC 5737, RFC 3849): nothing is sent there.
    let elsewhere = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()];
    elsewhere.map(|elsewhere| {
        let server = outside(servers).map(|report| report.server).find(|at| at.is_ipv4() == elsewhere.is_ipv4());
        udp::way_out(server.unwrap_or(SocketAddr::new(elsewhere, 9)))
    })
}

/// What gateways say.
pub fn port_mapping(status: &portmap::Status) -> PortMapping {
    PortMapping { gateways: status.gateways.iter().map(gateway).collect() }
}

fn gateway(site: &portmap::Site) -> Gateway {
    let asked = |tried: &portmap::Tried| Asked { protocol: tried.protocol.to_string(), outcome: tried.outcome.clone() };
    Gateway {
        gateway: site.gateway.to_string(),
        local: site.local.to_string(),
        external: site.external.map(|external| external.to_string()),
        public: site.public,
        protocol: site.protocol.map(|protocol| protocol.to_string()),
        tried: site.tried.iter().map(asked).collect(),
    }
}

/// The answer.
pub fn netcheck(check: &node::Netcheck, facts: &Facts, around: Around<'_>) -> Netcheck {
    let [v4, v6] = around.routes;
    let links = check.rendezvous.iter().map(|view| views::rendezvous(view, facts));
    let mut answer = Netcheck {
        udp: udp(&check.servers).to_owned(),
        ipv4: family(check, v4, SocketAddr::is_ipv4),
        ipv6: family(check, v6, SocketAddr::is_ipv6),
        nat: nat(check.nat),
        port_mapping: around.port_mapping,
        stun: check.servers.iter().flat_map(|server| &server.stun).map(|port| stun(port, around.named)).collect(),
        stun_failed: around.named.iter().filter_map(failed).collect(),
        rendezvous: links.zip(&check.servers).map(|(link, report)| rendezvous(link, report)).collect(),
        candidates: check.candidates.iter().map(ToString::to_string).collect(),
        advice: Vec::new(),
    };
    answer.advice = advice::advice(&answer);
    answer
}

/// Those beyond this machine: the loopback lets everything through.
fn outside(servers: &[Report]) -> impl Iterator<Item = &StunReport> {
    servers.iter().flat_map(|report| &report.stun).filter(|report| !report.server.ip().is_loopback())
}

fn udp(servers: &[Report]) -> &'static str {
    let answered: Vec<bool> = outside(servers).map(|report| report.seen.is_some()).collect();
    match answered.contains(&true) {
        true => "open",
        false if answered.is_empty() => "unknown",
        false => "blocked",
    }
}

fn family(check: &node::Netcheck, route: Option<WayOut>, is_ours: impl Fn(&SocketAddr) -> bool) -> Family {
    let servers: Vec<&StunReport> = outside(&check.servers).filter(|report| is_ours(&report.server)).collect();
    let mut endpoints: Vec<String> = Vec::new();
    for seen in servers.iter().filter_map(|report| report.seen).map(|seen| seen.to_string()) {
        if !endpoints.contains(&seen) {
            endpoints.push(seen);
        }
    }
    Family {
        addresses: check.hosts.iter().filter(|host| is_ours(host)).map(|host| host.ip().to_string()).collect(),
        source: route.map(|route| route.source.to_string()),
        mtu: route.and_then(|route| route.mtu),
        stun: (!servers.is_empty()).then_some(!endpoints.is_empty()),
        endpoints,
    }
}

fn stun(report: &StunReport, named: &[Named]) -> StunServer {
    let is_it = |named: &&Named| named.found.as_ref().is_ok_and(|found| found.contains(&report.server));
    StunServer {
        server: report.server.to_string(),
        name: named.iter().find(is_it).map(|named| named.name.clone()),
        kind: match report.whose {
            Whose::Rendezvous => "rendezvous",
            Whose::Named => "named",
            Whose::Extra => "configured",
        }
        .to_owned(),
        endpoint: report.seen.map(|seen| seen.to_string()),
        rtt_ms: report.rtt.map(|rtt| millis(rtt.last)),
        usual_rtt_ms: report.rtt.map(|rtt| millis(rtt.smoothed)),
    }
}

fn failed(named: &Named) -> Option<FailedName> {
    let reason = named.found.as_ref().err()?.clone();
    Some(FailedName { name: named.name.clone(), reason })
}

fn rendezvous(link: Rendezvous, report: &Report) -> CheckedRendezvous {
    let own = report.stun.iter().filter(|port| port.whose == Whose::Rendezvous);
    let nearest = own.filter_map(|port| port.rtt).map(|rtt| rtt.last).min();
    let relay_endpoint = report.relay.map(|relay| relay.to_string());
    CheckedRendezvous { link, relay_endpoint, stun_rtt_ms: nearest.map(millis) }
}
