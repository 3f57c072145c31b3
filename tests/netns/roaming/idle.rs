//! Nothing to say for a long time behind a translator that forgets quickly.

use std::time::Duration;

use crate::lab::{Nat, Node, Options, TwoHomes, until};

/// How long the translators keep an unused flow.
const LIFETIME: u32 = 30;
/// What the path itself needs: a packet before the translator forgets, with some margin.
const NEEDED_A_MINUTE: f64 = 60.0 / 20.0;
/// What a node may send beside that, a minute and a peer.
const SPARE_A_MINUTE: f64 = 2.0;

/// How long a new path is measured.
const SETTLING: Duration = Duration::from_secs(15);

/// Counts the UDP packets that leave a host, by where they go.
fn count(node: &Node, peer: &str, server: &str) {
    let rule = |to: &str, name: &str| format!("oifname \"eth0\" ip daddr {to} meta l4proto udp counter name {name}");
    node.host.run(&format!(
        "nft 'add table inet counted; add counter inet counted peer; add counter inet counted server; \
         add chain inet counted out {{ type filter hook output priority 0; }}; \
         add rule inet counted out {}; add rule inet counted out {}'",
        rule(peer, "peer"),
        rule(server, "server")
    ));
}

fn counted(node: &Node, name: &str) -> f64 {
    let said = node.host.run(&format!("nft list counter inet counted {name}"));
    let packets = said.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
    packets.and_then(|packets| packets.parse().ok()).expect("nft names the packets")
}

fn idle(minutes: f64) {
    let options = Options { lifetime: Some(LIFETIME), ..Options::nat(Nat::PortRestricted) };
    let TwoHomes { rendezvous, a, b, lab } = TwoHomes::connected_behind(&options);
    // Measuring a new path (its size, whether another is faster) is no idle time.
    std::thread::sleep(SETTLING);
    let wan = |home: &str| lab.gateway_of(home).wan.clone().expect("IPv4");
    count(&a, &wan("b"), &rendezvous.host.ip);
    count(&b, &wan("a"), &rendezvous.host.ip);

    std::thread::sleep(Duration::from_secs_f64(minutes * 60.0));

    for node in [&a, &b] {
        let (to_peer, to_server) = (counted(node, "peer") / minutes, counted(node, "server") / minutes);
        println!(
            "idle {minutes:.1} min: {} sent {to_peer:.1} packets a minute to its peer, {to_server:.1} to the server",
            node.name
        );
        assert!(to_peer < NEEDED_A_MINUTE + SPARE_A_MINUTE, "{} is not quiet", node.name);
    }
    let relayed = || rendezvous.status()["relay"]["datagrams"].as_u64().expect("the relay counts");
    let before = relayed();
    assert!(a.pings(&b), "the next packet is answered");
    assert_eq!(relayed(), before, "the next packet went through the relay");
    for (node, other) in [(&a, &b), (&b, &a)] {
        until("the path is direct", Duration::from_millis(100), || node.peer(other)["path"] == "direct");
    }
}

#[test]
fn after_seventy_idle_seconds_the_next_packet_is_direct() {
    idle(70.0 / 60.0);
}

#[test]
#[ignore = "ten minutes; run by `make soak`"]
fn after_ten_idle_minutes_the_next_packet_is_direct() {
    idle(10.0);
}
