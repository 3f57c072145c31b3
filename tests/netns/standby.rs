//! Two homes with both families, and a running ping: the family in use is lost, and the other was kept warm.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::lab::{Nat, Node, Options, TwoHomes, until};
use crate::roaming::ping::Ping;

/// How long gateways keep an unused flow, in seconds: what is not kept warm is gone when it is needed.
const LIFETIME: u32 = 25;
/// How long the ping runs before, so that flows which only the search opened are forgotten.
const TALK: Duration = Duration::from_secs(32);
/// The longest outage in seconds, on a machine that does other things as well.
const LIMIT: f64 = 2.0;

/// Whether one reaches the other directly by IPv4; none by a relay.
fn is_v4(from: &Node, to: &Node) -> Option<bool> {
    let peer = from.peer(to);
    let endpoint = peer["endpoint"].as_str().filter(|_| peer["path"] == "direct")?;
    Some(!endpoint.starts_with('['))
}

fn standby(homes: &TwoHomes) -> Option<Value> {
    let why = homes.a.ctl(&["why", "b"]);
    let paths = why["paths"].as_array()?.clone();
    paths.into_iter().find(|path| path["state"] == "standby")
}

/// What a ping sees when the family in use is lost in this way.
fn endure(name: &str, lose: impl FnOnce(&TwoHomes, bool)) {
    let homes = TwoHomes::connected_behind(&Options {
        ipv6: true,
        lifetime: Some(LIFETIME),
        ..Options::nat(Nat::PortRestricted)
    });
    let ping = Ping::start(&homes.a, &homes.b, &homes.lab.path("ping"));
    until("the ping runs", Duration::from_secs(5), || ping.replies() >= 10);
    std::thread::sleep(TALK);
    let standby = standby(&homes).expect("a path is kept warm");
    assert!(standby["rtt_ms"].is_number(), "{standby}");
    let family_is_v4 = is_v4(&homes.a, &homes.b).expect("the path is direct");
    assert_eq!(is_v4(&homes.b, &homes.a), Some(family_is_v4), "both ends agree");
    assert_eq!(standby["endpoint"].as_str().map(|endpoint| endpoint.starts_with('[')), Some(family_is_v4), "{standby}");

    let struck = SystemTime::now();
    lose(&homes, family_is_v4);

    until("the ping is answered again", Duration::from_secs(20), || ping.is_answered_after(struck));
    let outage = ping.outage(struck, false);
    println!("{name}: IPv{} was lost, ping silent {outage:.2} s", if family_is_v4 { 4 } else { 6 });
    assert!(outage <= LIMIT, "{outage:.2} s");
    until("the other family is used", Duration::from_secs(2), || is_v4(&homes.a, &homes.b) == Some(!family_is_v4));
}

#[test]
fn a_gateway_drops_the_family_in_use() {
    endure("dropped on the way", |homes, is_v4| {
        let family = if is_v4 { "ipv4" } else { "ipv6" };
        let rule = format!("nft add rule inet closed through meta nfproto {family} meta l4proto udp drop");
        homes.lab.gateway_of("a").host().run(&rule);
    });
}

#[test]
fn a_host_loses_its_address_of_the_family_in_use() {
    endure("address removed", |homes, is_v4| {
        let family = if is_v4 { "-4" } else { "-6" };
        homes.a.host.run(&format!("ip {family} addr flush dev eth0 scope global"));
    });
}
