//! Stock WireGuard as a hand-configured peer, and what its packets may claim.

use std::time::Duration;

use crate::lab::{Host, Lab, Node, Process, output, until};

const STOCK: &str = "fd50:494c:4f54::ffff:0:1";
const ELSEWHERE: &str = "fd50:494c:4f54::ffff:0:2";

/// Debian's wireguard-go on one host, a node on another; keys exchanged by hand.
pub struct Interop {
    /// Our node.
    pub node: Node,
    /// The host with wireguard-go.
    pub stock: Host,
    _process: Process,
    _lab: Lab,
}

impl Interop {
    /// Both ends up and configured.
    pub fn new() -> Interop {
        let mut lab = Lab::new();
        let (ours, stock) = (lab.public_host("ours"), lab.public_host("stock"));
        let secret = lab.path("stock.key");
        let public = stock.run(&format!("umask 077; wg genkey > {0}; wg pubkey < {0}", secret.display()));
        let mut node = lab.stopped_node(&ours, "ours", None);
        let config = lab.path("pilotd.toml");
        std::fs::write(
            &config,
            format!(
                "[[wireguard.peers]]\npublic_key = \"{}\"\naddress = \"{STOCK}\"\nendpoint = \"{}:51820\"\n",
                public.trim(),
                stock.ip
            ),
        )
        .unwrap();
        node.arguments.extend([
            "--listen-port".into(),
            "41000".into(),
            "--config".into(),
            config.display().to_string(),
        ]);
        node.start();
        let key = node.ctl(&["info"])["tunnel_key"].as_str().expect("info tells the tunnel key").to_owned();
        let device = format!("wg{}", lab.unique());
        let process = stock.spawn(&format!("wireguard-go -f {device}"));
        until("wireguard-go runs", Duration::from_secs(5), || stock.try_run(&format!("wg show {device}")));
        stock.run(&format!(
            "wg set {device} listen-port 51820 private-key {} peer {key} allowed-ips fd50:494c:4f54::/64 endpoint {}:41000; \
             ip link set {device} up mtu 1280; ip -6 addr add {STOCK}/128 dev {device} nodad; \
             ip -6 addr add {ELSEWHERE}/128 dev {device} nodad; \
             ip -6 route add fd50:494c:4f54::/64 dev {device} src {STOCK}",
            secret.display(),
            ours.ip
        ));
        Interop { node, stock, _process: process, _lab: lab }
    }
}

#[test]
fn wireguard_go_interoperates_as_a_hand_configured_peer() {
    let pair = Interop::new();
    let said = pair.stock.run(&format!("ping -6 -n -c 20 -i 0.05 -W 2 -I {STOCK} {}", pair.node.ipv6));
    assert!(said.contains(" 0% packet loss"), "{said}");
    let said = output(pair.node.host.command("ping").args(["-6", "-n", "-c", "5", "-W", "2", STOCK]));
    assert!(said.contains(" 0% packet loss"), "{said}");
}

#[test]
fn a_peer_may_not_claim_another_address_nor_reach_another_destination() {
    let pair = Interop::new();
    pair.stock.run(&format!("ping -6 -n -c 1 -W 5 -I {STOCK} {}", pair.node.ipv6));
    let (source, destination) = (pair.node.drops("wrong_source"), pair.node.drops("wrong_destination"));
    assert!(!pair.stock.try_run(&format!("ping -6 -n -c 3 -i 0.1 -W 1 -I {ELSEWHERE} {}", pair.node.ipv6)));
    assert!(pair.node.drops("wrong_source") >= source + 3, "the forged source is counted");
    assert!(!pair.stock.try_run(&format!("ping -6 -n -c 3 -i 0.1 -W 1 -I {STOCK} fd50:494c:4f54::7")));
    assert!(pair.node.drops("wrong_destination") >= destination + 3, "the foreign destination is counted");
}
