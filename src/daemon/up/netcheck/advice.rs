//! What is bad about the networks around, each in one sentence, and what the user could do.

use crate::control::views::{Advice, CheckedRendezvous, Netcheck};

/// The smallest MTU outside that carries the smallest tunnel in one piece: 1,280 bytes, and 60 around them.
const SMALLEST: u32 = 1_340;

/// Everything that is bad, the worst first.
pub fn advice(check: &Netcheck) -> Vec<Advice> {
    let one = [no_network(check), udp_blocked(check), symmetric(check), small_mtu(check)];
    let [no_network, rest @ ..] = one;
    let rendezvous = check.rendezvous.iter().flat_map(|server| [rendezvous_down(server), relay_silent(server)]);
    let stun = silent_servers(check).map(Some);
    no_network.into_iter().chain(rendezvous.chain(rest).chain(stun).flatten()).collect()
}

fn found(code: &str, problem: impl Into<String>, advice: &str) -> Advice {
    Advice { code: code.to_owned(), problem: problem.into(), advice: advice.to_owned() }
}

fn no_network(check: &Netcheck) -> Option<Advice> {
    let has_none = check.ipv4.addresses.is_empty() && check.ipv6.addresses.is_empty();
    has_none.then(|| found("no_network", "this machine has no address on any network", "connect it to a network"))
}

fn rendezvous_down(server: &CheckedRendezvous) -> Option<Advice> {
    let reason = server.link.reason.as_deref().unwrap_or("not connected");
    (server.link.state != "connected").then(|| {
        found(
            "rendezvous_down",
            format!("not logged in at the rendezvous {}: {reason}", server.link.url),
            "look whether the server runs, and whether this network lets TCP out to it; connected peers stay connected",
        )
    })
}

fn relay_silent(server: &CheckedRendezvous) -> Option<Advice> {
    let is_silent = server.link.state == "connected" && server.link.relay.is_none();
    let relay = server.relay_endpoint.as_deref().unwrap_or("of the rendezvous");
    is_silent.then(|| {
        found(
            "relay_silent",
            format!("the relay {relay} does not answer, so peers without a direct path are not reached by it"),
            "allow UDP to this endpoint, or TCP to the rendezvous, in this network's firewall",
        )
    })
}

fn udp_blocked(check: &Netcheck) -> Option<Advice> {
    (check.udp == "blocked").then(|| {
        found(
            "udp_blocked",
            "this network lets no UDP out, so everything goes over the relay",
            "allow outgoing UDP in this network's firewall",
        )
    })
}

fn symmetric(check: &Netcheck) -> Option<Advice> {
    let is_symmetric = matches!(check.nat.mapping.as_str(), "address-dependent" | "address-and-port-dependent");
    let is_mapped = check.candidates.iter().any(|candidate| candidate.starts_with("mapped"));
    (is_symmetric && !is_mapped).then(|| {
        found(
            "symmetric",
            "the NAT chooses another port for each destination, so many peers are reached over the relay",
            "turn on UPnP, NAT-PMP or PCP on the gateway, or forward a UDP port to pilotd (--listen-port) there, or get \
             IPv6",
        )
    })
}

fn small_mtu(check: &Netcheck) -> Option<Advice> {
    let mtu = check.ipv4.mtu.filter(|mtu| *mtu < SMALLEST)?;
    Some(found(
        "small_mtu",
        format!("the way out carries only {mtu} bytes, so packets travel in fragments"),
        "raise the MTU of the interface, or of the tunnel that this machine is in, to 1,340 bytes or more",
    ))
}

/// Servers of the configuration that do not answer although UDP gets out.
fn silent_servers(check: &Netcheck) -> impl Iterator<Item = Advice> {
    let is_silent = |name: &str| {
        let mut ports = check.stun.iter().filter(|server| server.name.as_deref() == Some(name));
        ports.all(|server| server.endpoint.is_none())
    };
    let mut names: Vec<&str> = check.stun.iter().filter_map(|server| server.name.as_deref()).collect();
    names.dedup();
    names.retain(|name| check.udp == "open" && is_silent(name));
    let failed = check.stun_failed.iter().map(|failed| format!("{}: {}", failed.name, failed.reason));
    let silent = names.into_iter().map(|name| format!("{name}: no answer"));
    let told = |what| found("stun_silent", format!("the STUN server {what}"), "correct or remove it in the key `stun`");
    failed.chain(silent).map(told).collect::<Vec<_>>().into_iter()
}
