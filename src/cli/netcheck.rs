//! `pilotctl netcheck`: what the networks around this node let through, and what to do where that is little.

use std::process::ExitCode;

use super::{Session, format, why};
use crate::control::views::{CheckedRendezvous, Family, Netcheck, PortMapping, StunServer};
use crate::control::{Error, Request};

pub async fn run(session: &Session) -> Result<ExitCode, Error> {
    session.show(&Request::Netcheck, |_, check: Netcheck| human(&check)).await
}

fn human(check: &Netcheck) -> String {
    let mut rows = vec![
        ("UDP", udp(&check.udp).to_owned()),
        ("IPv4", family(&check.ipv4)),
        ("IPv6", family(&check.ipv6)),
        ("NAT", why::nat(&check.nat)),
        ("port mapping", port_mapping(check.port_mapping.as_ref())),
    ];
    for server in &check.rendezvous {
        rows.push(("rendezvous", rendezvous(server)));
        rows.push(("relay", relay(server)));
    }
    rows.push(("we tell", check.candidates.join(", ")));
    let mut text = format::pairs(&rows);
    text.push('\n');
    text.push_str(&format::table(&["STUN SERVER", "KIND", "SEES US AS", "RTT"], &stun(&check.stun)));
    for advice in &check.advice {
        text.push_str(&format!("\n{}\ntry: {}\n", format::foreign(&advice.problem), advice.advice));
    }
    text
}

fn udp(state: &str) -> &str {
    match state {
        "open" => "gets out and back",
        "blocked" => "blocked: no server answered",
        _ => "unknown: there is no server to ask",
    }
}

fn family(family: &Family) -> String {
    if family.addresses.is_empty() {
        return "no address".to_owned();
    }
    let mut text = family.addresses.join(", ");
    match &family.source {
        None => text.push_str("; no route out"),
        Some(source) => text.push_str(&format!("; leaves from {source}")),
    }
    if let Some(mtu) = family.mtu {
        text.push_str(&format!(", MTU {mtu}"));
    }
    match family.stun {
        Some(true) => text.push_str(&format!("; seen as {}", family.endpoints.join(", "))),
        Some(false) => text.push_str("; no STUN server answered"),
        None => {}
    }
    text
}

fn port_mapping(mapping: Option<&PortMapping>) -> String {
    let Some(mapping) = mapping else { return "switched off".to_owned() };
    let gateways = mapping.gateways.iter().filter_map(|gateway| {
        let external = gateway.external.as_deref()?;
        Some(format!("{external} by {} at {}", gateway.protocol.as_deref().unwrap_or("-"), gateway.gateway))
    });
    let granted: Vec<String> = gateways.collect();
    if granted.is_empty() { "none granted".to_owned() } else { granted.join(", ") }
}

fn rendezvous(server: &CheckedRendezvous) -> String {
    let reason = server.link.reason.as_deref().map(|reason| format!(" ({})", format::foreign(reason)));
    format!("{}{}, {}, {}", server.link.state, reason.unwrap_or_default(), time(server.stun_rtt_ms), server.link.url)
}

fn relay(server: &CheckedRendezvous) -> String {
    let endpoint = server.relay_endpoint.as_deref().unwrap_or("of the rendezvous");
    match server.link.relay.as_deref() {
        Some(via) => format!("{endpoint} by {}, {}", via.to_uppercase(), time(server.link.rtt_ms)),
        None => format!("{endpoint} does not answer"),
    }
}

fn stun(servers: &[StunServer]) -> Vec<Vec<String>> {
    let row = |server: &StunServer| {
        let name = server.name.as_deref().filter(|name| *name != server.server);
        let name = name.map(|name| format!(" ({})", format::foreign(name))).unwrap_or_default();
        let seen = server.endpoint.clone().unwrap_or_else(|| "no answer".to_owned());
        vec![format!("{}{name}", server.server), server.kind.clone(), seen, time(server.rtt_ms)]
    };
    servers.iter().map(row).collect()
}

fn time(millis: Option<f64>) -> String {
    millis.map_or_else(|| "-".to_owned(), |millis| format!("{millis:.1} ms"))
}
