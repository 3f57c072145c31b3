//! `pilotctl why NODE`: the path in use, every path that was tried, why it is not direct, and what to do.

use std::process::ExitCode;

use super::{Session, format};
use crate::control::views::{Nat, Tried, Why};
use crate::control::{Error, Request};

pub async fn run(session: &Session, node: String) -> Result<ExitCode, Error> {
    session.show(&Request::Why { target: node }, |_, why: Why| human(&why)).await
}

fn human(why: &Why) -> String {
    let peer = &why.peer;
    let name = peer.hostname.as_deref().map(format::foreign).or(peer.node_id.clone()).unwrap_or_default();
    let endpoint = peer.endpoint.as_deref().unwrap_or("no endpoint");
    let mut text = format!("{name} is {} ({endpoint}): {}\n", path(why), why.sentence);
    if let Some(advice) = &why.advice {
        text.push_str(&format!("try: {advice}\n"));
    }
    text.push('\n');
    text.push_str(&format::table(&["CANDIDATE", "ENDPOINT", "STATE", "TRIES", "RTT"], &rows(&why.paths)));
    text.push_str("\n\n");
    let nats = [("our NAT", nat(&why.nat)), ("its NAT", nat(&why.peer_nat)), ("tactic", why.tactic.clone())];
    text.push_str(&format::pairs(&nats));
    text.push_str(&format!("\nwe told: {}", why.local.join(", ")));
    text
}

fn path(why: &Why) -> &'static str {
    match why.reason.as_str() {
        "direct" => "reached directly",
        "not_connected" | "rendezvous_down" => "not connected",
        _ => "relayed",
    }
}

fn rows(paths: &[Tried]) -> Vec<Vec<String>> {
    let row = |path: &Tried| {
        let rtt = path.rtt_ms.map_or_else(|| "-".to_owned(), |rtt| format!("{rtt:.1} ms"));
        vec![path.kind.clone(), path.endpoint.clone(), path.state.clone(), path.tries.to_string(), rtt]
    };
    paths.iter().map(row).collect()
}

/// One line about a NAT.
pub fn nat(nat: &Nat) -> String {
    let known = |name: &str, value: Option<bool>| match value {
        Some(true) => format!(", {name}"),
        Some(false) => format!(", no {name}"),
        None => String::new(),
    };
    format!(
        "mapping {}, filtering {}, ports {}{}{}",
        nat.mapping,
        nat.filtering,
        nat.ports,
        known("hairpin", nat.hairpin),
        if nat.poisonable == Some(true) { ", spoilt by early datagrams" } else { "" },
    )
}
