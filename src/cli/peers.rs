//! `pilotctl peers` and `pilotctl find`: the trusted nodes and the path to each.

use std::process::ExitCode;

use super::{Session, format};
use crate::control::views::{Granted, PathKind, Peer, Peers};
use crate::control::{Error, Request};

pub async fn run(session: &Session) -> Result<ExitCode, Error> {
    session.show(&Request::Peers, |session, peers: Peers| human(session, &peers.peers)).await
}

pub async fn find(session: &Session, node: String) -> Result<ExitCode, Error> {
    session.show(&Request::Find { target: node }, |session, peer: Peer| human(session, &[peer])).await
}

fn human(session: &Session, peers: &[Peer]) -> String {
    if peers.is_empty() {
        return "no peers yet: `pilotctl invite` makes a token for another machine, `pilotctl handshake NODE` asks one"
            .into();
    }
    let mut heading = vec!["NAME", "NODE ID", "IPV6", "PATH", "ENDPOINT", "RTT", "SENT", "RECEIVED", "HANDSHAKE"];
    let mut rows: Vec<Vec<String>> = peers.iter().map(|peer| row(session, peer)).collect();
    if peers.iter().any(|peer| matches!(peer.grant, Granted::Only(_))) {
        heading.push("MAY OPEN");
        add(&mut rows, peers, |peer| peer.grant.to_string());
    }
    if peers.iter().any(|peer| peer.trust_expires.is_some()) {
        heading.push("TRUSTED FOR");
        add(&mut rows, peers, |peer| peer.trust_expires.map_or_else(|| "-".to_owned(), format::until));
    }
    format::table(&heading, &rows)
}

/// Adds a column that only some tables have.
fn add(rows: &mut [Vec<String>], peers: &[Peer], cell: impl Fn(&Peer) -> String) {
    rows.iter_mut().zip(peers).for_each(|(row, peer)| row.push(cell(peer)));
}

fn row(session: &Session, peer: &Peer) -> Vec<String> {
    let colour = match peer.path {
        PathKind::Direct => 32,
        PathKind::Relayed => 33,
        PathKind::None => 90,
    };
    let dash = || "-".to_owned();
    vec![
        peer.hostname.as_deref().map_or_else(dash, format::foreign),
        peer.node_id.clone().unwrap_or_else(|| "(wireguard)".into()),
        peer.ipv6.clone(),
        session.colour(colour, &path(peer)),
        peer.endpoint.clone().unwrap_or_else(dash),
        peer.rtt_ms.map_or_else(dash, |rtt| format!("{rtt:.1} ms")),
        format::bytes(peer.tx_bytes),
        format::bytes(peer.rx_bytes),
        peer.last_handshake_secs.map_or_else(dash, |secs| format!("{} ago", format::age(secs))),
    ]
}

/// In two words where the relay is reached in the less usual way.
fn path(peer: &Peer) -> String {
    match peer.relay.as_deref() {
        Some("tls") => format!("{} (tls)", peer.path),
        _ => peer.path.to_string(),
    }
}
