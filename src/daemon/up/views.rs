//! The node's answers, in the words of the local socket.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::calls::Facts;
use crate::control::views::{
    Granted, Handshake, Info, Invite, PathKind, Peer, Peers, PendingRequest, Pong, Rendezvous, TrustedNode, Whois,
};
use crate::identity::{Address, Hostname, NodeId, PublicKey, Target, Token};
use crate::node;
use crate::node::{PathView, PeerView};
use crate::peer::Grant;
use crate::peer::record::{self, PeerRecord, PendingRecord};
use crate::rendezvous::client::Via;

pub fn info(info: &node::Info, facts: &Facts) -> Info {
    Info {
        node_id: info.id.to_string(),
        address: Address { network: info.network, node: info.id }.to_string(),
        ipv6: info.address.to_string(),
        hostname: info.hostname.as_ref().map(ToString::to_string),
        network: info.network.0,
        public_key: info.key.to_string(),
        tunnel_key: info.tunnel_key.to_string(),
        uptime_secs: info.uptime.as_secs(),
        rendezvous: first(&info.rendezvous, facts),
        rendezvous_servers: servers(&info.rendezvous, facts),
        interface: facts.interface.clone(),
        listen_port: facts.listen_port,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The first server that is connected, otherwise the first.
fn first(views: &[node::RendezvousView], facts: &Facts) -> Rendezvous {
    let first = views.iter().find(|view| view.is_up).or(views.first());
    first.map(|view| rendezvous(view, facts)).unwrap_or_default()
}

fn servers(views: &[node::RendezvousView], facts: &Facts) -> Vec<Rendezvous> {
    views.iter().map(|view| rendezvous(view, facts)).collect()
}

fn via(via: Via) -> String {
    if via == Via::Stream { "tls" } else { "udp" }.to_owned()
}

pub fn rendezvous(view: &node::RendezvousView, facts: &Facts) -> Rendezvous {
    Rendezvous {
        url: view.url.to_string(),
        state: if view.is_up { "connected" } else { "connecting" }.to_owned(),
        since_secs: view.since.as_secs(),
        reason: view.reason.clone(),
        embedded: facts.embedded,
        relay: view.relay.map(via),
        rtt_ms: view.relay_rtt.map(millis),
    }
}

pub fn status(status: &node::Status, facts: &Facts, services: Value, port_mapping: Value) -> Value {
    let drops: Map<String, Value> =
        status.drops.iter().map(|(reason, count)| (reason.name().to_owned(), (*count).into())).collect();
    let candidates: Vec<String> = status.candidates.iter().map(ToString::to_string).collect();
    json!({
        "rendezvous": first(&status.rendezvous, facts),
        "rendezvous_servers": servers(&status.rendezvous, facts),
        "nat": super::why::nat(status.nat),
        "candidates": candidates,
        "port_mapping": port_mapping,
        "peers": { "trusted": status.trusted, "connected": status.connected },
        "trust": { "pending": status.pending, "asked": status.requests, "invites": status.invites },
        "interface": facts.interface,
        "listen_port": facts.listen_port,
        "firewall": facts.firewall,
        "services": services,
        "drops": drops,
    })
}

pub fn peers(peers: &[PeerView]) -> Peers {
    Peers { peers: peers.iter().map(peer).collect() }
}

pub fn peer(peer: &PeerView) -> Peer {
    let (path, endpoint) = path(peer.path);
    Peer {
        node_id: peer.key.map(|_| peer.id.to_string()),
        hostname: peer.hostname.as_ref().map(ToString::to_string),
        ipv6: peer.address.to_string(),
        public_key: peer.key.map(|key| key.to_string()),
        trusted: peer.trusted,
        grant: grant(&peer.grant),
        trust_expires: peer.expires_unix_ms.map(|at| at / 1000),
        path,
        endpoint,
        relay: peer.relay.map(via),
        rtt_ms: peer.rtt.map(millis),
        mtu: peer.mtu,
        cipher: peer.cipher.map(|cipher| cipher.name().to_owned()),
        tx_bytes: peer.tx_bytes,
        rx_bytes: peer.rx_bytes,
        last_handshake_secs: peer.last_handshake.map(|age| age.as_secs()),
    }
}

fn path(path: PathView) -> (PathKind, Option<String>) {
    let shown = |endpoint: SocketAddr| Some(endpoint.to_string());
    match path {
        PathView::None => (PathKind::None, None),
        PathView::Relayed(relay) => (PathKind::Relayed, shown(relay)),
        PathView::Friend(friend) => (PathKind::Relayed, Some(friend.to_string())),
        PathView::Direct(endpoint) => (PathKind::Direct, shown(endpoint)),
    }
}

pub fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

pub fn pong(pong: &node::Pong) -> Pong {
    let (path, endpoint) = path(pong.path);
    Pong { node_id: pong.id.to_string(), rtt_ms: millis(pong.rtt), path, endpoint }
}

pub fn pending(record: &PendingRecord) -> PendingRequest {
    PendingRequest {
        node_id: record.id.to_string(),
        public_key: record.key.to_string(),
        hostname: record.hostname.as_ref().map(ToString::to_string),
        reason: record.reason.clone(),
        since_unix: record.at_unix_ms / 1000,
    }
}

pub fn trusted(record: &PeerRecord) -> TrustedNode {
    let via = match record.via {
        record::Via::Handshake => "handshake",
        record::Via::Invite => "invite",
        record::Via::Key => "key",
    };
    TrustedNode {
        node_id: record.id.to_string(),
        public_key: record.key.to_string(),
        hostname: record.hostname.as_ref().map(ToString::to_string),
        since_unix: record.since_unix_ms / 1000,
        via: via.to_owned(),
        grant: grant(&record.grant),
        trust_expires: record.expires_unix_ms.map(|at| at / 1000),
    }
}

fn grant(grant: &Grant) -> Granted {
    match grant {
        Grant::All => Granted::All(grant.to_string()),
        Grant::Only(items) => Granted::Only(items.iter().map(ToString::to_string).collect()),
    }
}

/// The full ID always, the name where there is one.
pub fn name(record: &PeerRecord) -> String {
    match &record.hostname {
        Some(hostname) => format!("{hostname} ({})", record.id),
        None => record.id.to_string(),
    }
}

pub fn asked(asked: &node::Asked) -> Handshake {
    Handshake {
        target: asked.target.to_string(),
        state: if asked.approved { "approved" } else { "queued" }.to_owned(),
        node_id: asked.peer.as_ref().map(|peer| peer.id.to_string()),
    }
}

pub fn invite(token: &Token) -> Invite {
    Invite { token: token.to_text().to_string(), expires_unix: token.expires }
}

pub fn whois(id: NodeId, hostname: Option<&Hostname>, key: PublicKey, ipv6: Ipv6Addr) -> Whois {
    Whois {
        node_id: id.to_string(),
        hostname: hostname.map(ToString::to_string),
        public_key: key.to_string(),
        ipv6: ipv6.to_string(),
    }
}

/// Whether a peer is meant by a target.
pub fn is(peer: &PeerView, target: &Target) -> bool {
    match target {
        Target::Key(key) => peer.key == Some(*key),
        Target::Node(id) => peer.id == *id,
        Target::Name(name) => peer.hostname.as_ref() == Some(name),
    }
}
