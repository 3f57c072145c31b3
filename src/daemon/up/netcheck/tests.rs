use std::time::Duration;

use super::*;
use crate::rendezvous::client::{Rtt, Via};
use crate::wire::nat::Mapping;
use crate::wire::{Candidate, CandidateKind, Nat, Path};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn rtt(millis: u64) -> Option<Rtt> {
    Some(Rtt::after(None, Duration::from_millis(millis)))
}

fn port(server: &str, whose: Whose, seen: Option<&str>) -> StunReport {
    StunReport { server: at(server), whose, seen: seen.map(at), rtt: seen.and(rtt(12)) }
}

/// An ordinary home that is logged in.
fn home() -> node::Netcheck {
    let seen = Some("198.51.7.9:40000");
    node::Netcheck {
        hosts: vec![at("192.168.1.5:40000")],
        nat: Nat { mapping: Mapping::EndpointIndependent, ..Nat::default() },
        rendezvous: vec![node::RendezvousView {
            url: "pilot://11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo@203.0.113.1:9000".parse().unwrap(),
            is_up: true,
            since: Duration::from_secs(3),
            reason: None,
            relay: Some(Via::Udp(at("203.0.113.1:9001"))),
            relay_rtt: Some(Duration::from_millis(15)),
        }],
        servers: vec![Report {
            stun: ["203.0.113.1:9001", "203.0.113.1:9002"].map(|at| port(at, Whose::Rendezvous, seen)).to_vec(),
            relay: Some(at("203.0.113.1:9001")),
        }],
        candidates: vec![Candidate { kind: CandidateKind::Host, path: Path::Direct(at("192.168.1.5:40000")) }],
    }
}

fn told(check: &node::Netcheck, named: &[Named]) -> Netcheck {
    let facts = Facts {
        settings: Vec::new(),
        interface: "pilot0".into(),
        listen_port: 40_000,
        embedded: false,
        firewall: None,
    };
    let route = WayOut { source: at("192.168.1.5:1").ip(), mtu: Some(1_500) };
    netcheck(check, &facts, Around { named, port_mapping: None, routes: [Some(route), None] })
}

fn codes(check: &node::Netcheck) -> Vec<String> {
    told(check, &[]).advice.into_iter().map(|advice| advice.code).collect()
}

#[test]
fn an_ordinary_home_needs_no_advice() {
    let told = told(&home(), &[]);
    assert_eq!(told.udp, "open");
    assert_eq!((told.ipv4.addresses.as_slice(), told.ipv4.mtu), (&["192.168.1.5".to_owned()][..], Some(1_500)));
    assert_eq!((told.ipv4.stun, told.ipv4.endpoints.as_slice()), (Some(true), &["198.51.7.9:40000".to_owned()][..]));
    assert_eq!((told.ipv6.stun, told.ipv6.source), (None, None));
    let server = &told.rendezvous[0];
    assert_eq!((server.link.state.as_str(), server.stun_rtt_ms), ("connected", Some(12.0)));
    assert_eq!((server.link.relay.as_deref(), server.link.rtt_ms), (Some("udp"), Some(15.0)));
    assert_eq!(server.relay_endpoint.as_deref(), Some("203.0.113.1:9001"));
    assert_eq!(told.advice, []);
}

#[test]
fn each_trouble_has_its_advice() {
    let mut check = home();
    check.servers[0].stun.iter_mut().for_each(|report| report.seen = None);
    assert_eq!(codes(&check), ["udp_blocked"]);
    check.rendezvous[0].relay = None;
    assert_eq!(codes(&check), ["relay_silent", "udp_blocked"]);
    check.rendezvous[0].is_up = false;
    check.hosts.clear();
    assert_eq!(codes(&check), ["no_network", "rendezvous_down", "udp_blocked"]);

    let mut check = home();
    check.nat.mapping = Mapping::AddressAndPortDependent;
    assert_eq!(codes(&check), ["symmetric"]);
    check.candidates.push(Candidate { kind: CandidateKind::Mapped, path: Path::Direct(at("198.51.7.9:7")) });
    assert_eq!(codes(&check), Vec::<String>::new());
}

#[test]
fn a_server_on_this_machine_says_nothing_about_the_networks_around() {
    let mut check = home();
    check.servers[0].stun = vec![port("127.0.0.1:9001", Whose::Rendezvous, Some("127.0.0.1:40000"))];
    let told = told(&check, &[]);
    assert_eq!((told.udp.as_str(), told.ipv4.stun, told.ipv4.endpoints.len()), ("unknown", None, 0));
    assert_eq!(told.rendezvous[0].stun_rtt_ms, Some(12.0));
}

#[test]
fn configured_servers_have_their_names_and_those_that_fail_are_told() {
    let mut check = home();
    check.servers[0].stun.push(port("203.0.113.7:3478", Whose::Extra, Some("198.51.7.9:40000")));
    check.servers[0].stun.push(port("203.0.113.8:3478", Whose::Extra, None));
    let named = |name: &str, found| Named { name: name.into(), found };
    let named = [
        named("good.example.org", Ok(vec![at("203.0.113.7:3478")])),
        named("mute.example.org", Ok(vec![at("203.0.113.8:3478")])),
        named("gone.example.org", Err("no such name".into())),
    ];
    let told = told(&check, &named);
    let good = told.stun.iter().find(|server| server.name.as_deref() == Some("good.example.org")).unwrap();
    assert_eq!((good.kind.as_str(), good.rtt_ms), ("configured", Some(12.0)));
    assert_eq!(told.stun_failed[0].name, "gone.example.org");
    let problems: Vec<&str> = told.advice.iter().map(|advice| advice.problem.as_str()).collect();
    assert_eq!(
        problems,
        ["the STUN server gone.example.org: no such name", "the STUN server mute.example.org: no answer"]
    );
}
