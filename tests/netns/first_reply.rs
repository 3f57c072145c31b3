//! How soon a new connection carries its first packet: three round trips through a rendezvous that is far away.
//!
//! The round trip that counts is from node to node and back through the server: one introduces, one is the WireGuard
//! handshake, one is the packet and its reply.

use std::time::{Duration, Instant};

use crate::lab::{Lab, Nat, Node, Site, until};

/// One way between the server and everybody else: a round trip through it takes four.
const CABLE: Duration = Duration::from_millis(150);
/// Beside the network: the start of pilotctl, the derivation of a node ID (Argon2id, slow on purpose), scheduling of two
/// daemons on a busy machine, and the interval of the ping.
const ALLOWANCE: Duration = Duration::from_millis(400);
const INTERVAL: &str = "0.01";

/// A round trip by the relay, as the node measures it.
fn round_trip(a: &Node, b: &Node) -> Duration {
    let ping = a.ctl(&["ping", &b.name, "--count", "3"]);
    Duration::from_secs_f64(ping["min_ms"].as_f64().expect("a time") / 1e3)
}

/// From the moment at which A says that it trusts B, who trusts it already, to the first reply over the tunnel.
fn first_reply(site_a: Site, site_b: Site) {
    let mut lab = Lab::new();
    let (server, _cable) = lab.distant_host("rv", CABLE);
    let rendezvous = lab.rendezvous(&server);
    let places = [lab.place("a", site_a), lab.place("b", site_b)];
    let [a, b] = [("a", &places[0]), ("b", &places[1])].map(|(name, place)| {
        let mut node = lab.stopped_node(&place.host, name, Some(&rendezvous));
        node.environment.clone_from(&place.environment);
        node.start();
        node
    });
    for node in [&a, &b] {
        until("the node is logged in", Duration::from_secs(10), || {
            node.ctl(&["info"])["rendezvous"]["state"] == "connected"
        });
    }
    b.ctl(&["trust", &a.public_key]);
    assert!(!a.pings_within(&b, 1.0), "nothing flows before both trust each other");

    let told = lab.path("ping");
    let ping = a.runs(&format!("ping -6 -n -i {INTERVAL} {}", b.ipv6), &told);
    let started = Instant::now();
    a.ctl(&["trust", &b.public_key]);
    let replied = || std::fs::read_to_string(&told).is_ok_and(|text| text.contains(" bytes from "));
    until("the first reply", Duration::from_secs(15), replied);
    let took = started.elapsed();
    drop(ping);

    let through_server = CABLE * 4;
    println!(
        "{} × {}: first reply after {:.0} ms, {:.2} round trips of {through_server:?}; {} now, {:?} a round trip",
        site_a.name(),
        site_b.name(),
        took.as_secs_f64() * 1e3,
        took.as_secs_f64() / through_server.as_secs_f64(),
        a.peer(&b)["path"],
        round_trip(&a, &b),
    );
    assert!(took <= through_server * 3 + ALLOWANCE, "{took:?}");
}

#[test]
fn the_first_reply_takes_three_round_trips_between_ordinary_homes() {
    first_reply(Site::Home(Nat::PortRestricted), Site::Home(Nat::PortRestricted));
}

#[test]
fn the_first_reply_takes_three_round_trips_where_only_the_relay_works() {
    first_reply(Site::Home(Nat::Symmetric), Site::Home(Nat::Symmetric));
}

#[test]
fn the_first_reply_takes_three_round_trips_where_udp_is_blocked() {
    first_reply(Site::UdpBlocked, Site::Home(Nat::PortRestricted));
}
