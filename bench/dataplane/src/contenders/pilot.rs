//! Pilot: a node on each host, and a rendezvous server on the first.

use std::path::Path;

use anyhow::{Context, Result};
use pilot_bench_lab::{Network, Node, output, until};
use serde_json::Value;

use super::{Contender, End, MTU, Role, Tunnel, says};
use crate::site::Site;

/// As it comes.
pub const PILOT: Contender =
    Contender { name: "pilot", role: Role::Ours, is_a_mesh: true, version, start: |site| start(site, &[]) };

/// Without the AES-256-GCM lane: ChaCha20-Poly1305, as WireGuard has it.
pub const PILOT_CHACHA: Contender = Contender {
    name: "pilot-chacha",
    role: Role::Ours,
    is_a_mesh: true,
    version: |programs| version(programs).filter(|_| has_lane(programs)),
    start: |site| start(site, &["--lane", "false"]),
};

fn version(programs: &Path) -> Option<String> {
    says(programs.join("pilotd"), "--version")
}

fn has_lane(programs: &Path) -> bool {
    let help = output(std::process::Command::new(programs.join("pilotd")).args(["up", "--help"]));
    help.is_ok_and(|help| help.contains("--lane"))
}

fn start(site: &Site, arguments: &[&str]) -> Result<Tunnel> {
    let network = Network { programs: &site.programs, dir: &site.dir };
    let first = site.places.first().context("a network without hosts")?;
    let (rendezvous, url) = network.rendezvous(&first.host, first.address.into())?;
    let mut nodes = Vec::new();
    for (place, name) in site.places.iter().zip(["a", "b", "c"]) {
        nodes.push(network.node(&place.host, name, Some(&url), arguments)?);
    }
    if let Some((first, others)) = nodes.split_first() {
        for other in others {
            first.befriend(other)?;
            wait_for_mtu(first, other)?;
            wait_for_mtu(other, first)?;
        }
    }
    let end = |node: Node| End { host: node.host, address: node.address, daemon: Some(node.server) };
    let mut tunnel = Tunnel::new(nodes.into_iter().map(end).collect());
    tunnel.others.push(rendezvous);
    Ok(tunnel)
}

/// Waits until the path is known to carry packets as large as those of all contenders.
fn wait_for_mtu(node: &Node, peer: &Node) -> Result<()> {
    until("the path carries the whole MTU", || {
        let peers = node.ctl(&["--json", "peers"]).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let peers = peers.as_ref().and_then(|peers| peers["data"]["peers"].as_array());
        let address = peer.address.to_string();
        peers.is_some_and(|peers| peers.iter().any(|peer| peer["ipv6"] == address && peer["mtu"] == MTU))
    })
}
