//! The laboratory under its own probe: every network of the matrix behaves as it is named.

mod mapping;
mod reflector;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::lab::{Dependence, Early, Host, Lab, Nat, Options, Ports, Site, until};
use reflector::{Reflector, open, pass};

/// The reflector's second address: beyond what the lab gives out.
const SECOND: &str = "31.7.1.1";

fn world() -> (Lab, Host, Reflector) {
    let mut lab = Lab::new();
    let public = lab.internet();
    let server = lab.host("rv", &public);
    let reflector = Reflector::new(&server, SECOND);
    (lab, server, reflector)
}

fn behaves_as_named(nat: Nat) {
    let (mut lab, _server, reflector) = world();
    let inside = lab.home("a", nat);
    let neighbour = lab.neighbour("a", "b", 3);
    let wan = lab.gateway_of("a").wan.clone().expect("IPv4");
    let (is, name) = (nat.behaviour(), nat.name());
    assert_eq!(reflector.mapping(&inside), is.mapping, "mapping of {name}");
    assert_eq!(reflector.filtering(&inside), is.filtering, "filtering of {name}");
    assert_eq!(reflector.ports(&inside), is.ports, "ports of {name}");
    assert_eq!(reflector.hairpins(&inside, &neighbour), is.hairpin, "hairpinning of {name}");
    if is.ports == Ports::Preserved {
        let poisoned = reflector.port_after_an_early_packet(&inside, &wan) != 40404;
        assert_eq!(poisoned, is.early == Early::Poisons, "what an early packet does to {name}");
    }
    println!("{name:24} {is:?}");
}

#[test]
fn every_nat_behaves_as_named() {
    // Most of the time is spent on datagrams that do not come, so all wait at once.
    std::thread::scope(|scope| {
        for nat in Nat::ALL {
            scope.spawn(move || behaves_as_named(nat));
        }
    });
}

#[test]
fn two_translators_in_a_row_behave_as_the_stricter_one() {
    let (mut lab, _server, reflector) = world();
    for site in [Site::Carrier(Nat::PortRestricted), Site::Carrier(Nat::Symmetric), Site::Double(Nat::FullCone)] {
        let place = lab.place(&site.name().replace(':', "-"), site);
        let outer = place.gateways[1].wan.clone().expect("IPv4");
        let inner = place.gateways[0].wan.clone().expect("IPv4");
        let shared = if matches!(site, Site::Carrier(_)) { "100.64.0." } else { "192.168.1." };
        assert!(inner.starts_with(shared), "{inner}");
        let socket = open(&place.host, "0.0.0.0:0");
        assert_eq!(reflector.observe(&socket, 0).expect("gets out").ip().to_string(), outer);
        let is = site.nat().expect("a translator").behaviour();
        assert_eq!(reflector.mapping(&place.host), is.mapping, "{}", site.name());
        assert_eq!(reflector.filtering(&place.host), Dependence::AddressAndPort, "{}", site.name());
    }
}

/// Hops to live of a packet that passes its own gateway and dies before the other's.
const OPENER: u32 = 2;

#[test]
fn poisonable_homes_meet_when_both_open_with_packets_that_die_on_the_way() {
    for openers in [false, true] {
        let (mut lab, _server, reflector) = world();
        let homes = ["a", "b"].map(|name| lab.home(name, Nat::Poisonable));
        let sockets = homes.each_ref().map(|home| open(home, "0.0.0.0:0"));
        let [at_a, at_b] = sockets.each_ref().map(|socket| reflector.observe(socket, 0).expect("gets out"));
        let [a, b] = &sockets;
        if openers {
            for (from, to, there) in [(a, at_b, "b"), (b, at_a, "a")] {
                let before = lab.gateway_of(there).flows();
                from.set_ttl(OPENER).unwrap();
                from.send_to(b"opener", to).unwrap();
                from.set_ttl(64).unwrap();
                assert_eq!(lab.gateway_of(there).flows(), before, "it died on the way");
            }
        }
        pass(a, at_b, b);
        let back = pass(b, at_a, a);
        assert_eq!(back, openers.then_some(at_b), "openers: {openers}");
    }
}

#[test]
fn homes_of_one_carrier_meet_where_it_hairpins() {
    for (nat, expected) in [(Nat::PortRestricted, false), (Nat::FullCone, true), (Nat::PortRestrictedRandom, true)] {
        let (mut lab, _server, reflector) = world();
        let carrier = lab.gateway("carrier", &lab.internet(), &Options::carrier(nat));
        let homes = ["a", "b"].map(|name| lab.place_below(name, &carrier, &Options::nat(Nat::PortRestricted)));
        assert_eq!(reflector.hairpins(&homes[0].host, &homes[1].host), expected, "{nat:?}");
    }
}

#[test]
fn short_timeouts_are_short_in_every_kind_of_table() {
    let (mut lab, _server, reflector) = world();
    for nat in [Nat::PortRestricted, Nat::FullCone] {
        let options = Options { lifetime: Some(2), ..Options::nat(nat) };
        let gateway = lab.gateway(nat.name(), &lab.internet(), &options);
        let inside = lab.host(&format!("{}-host", nat.name()), &gateway.lan);
        let socket = open(&inside, "0.0.0.0:0");
        let mapped = reflector.observe(&socket, 0).expect("gets out");
        assert!(reflector.reaches(0, mapped, &socket), "{nat:?} while it is fresh");
        assert!(gateway.flows() > 0);
        until("the flow expires", Duration::from_secs(8), || gateway.flows() == 0);
        assert!(!reflector.reaches(0, mapped, &socket), "{nat:?} after two seconds of silence");
    }
}

#[test]
fn ipv6_is_filtered_and_not_translated() {
    let (mut lab, server, v4) = world();
    let v6 = Reflector::ipv6(&server);
    for site in [Site::Ipv6Only, Site::DualStack(Nat::Symmetric)] {
        let place = lab.place(&site.name().replace(':', "-"), site);
        // Neighbours answer for new addresses only once the kernel holds their links for ready.
        let ping = format!("ping -6 -n -c1 -W1 {}", server.ipv6.as_ref().expect("IPv6"));
        until("IPv6 leads there and back", Duration::from_secs(10), || place.host.try_run(&ping));
        let inside = open(&place.host, &format!("[{}]:0", place.host.ipv6.as_ref().expect("IPv6")));
        let local = inside.local_addr().unwrap();
        assert!(!v6.reaches(0, local, &inside), "nothing asked for it");
        assert_eq!(v6.observe(&inside, 0), Some(local), "no translation");
        assert!(v6.reaches(0, local, &inside), "an answer");
        assert!(!v6.reaches(1, local, &inside), "another port of the same host");
        let other = open(&place.host, "0.0.0.0:0").send_to(&[0], "31.7.0.1:3478");
        assert_eq!(other.is_ok(), site.has_ipv4(), "{site:?}");
        if site.has_ipv4() {
            assert_eq!(v4.mapping(&place.host), Dependence::AddressAndPort);
        }
    }
}

/// Whether a TCP connection from `host` to `to` comes about.
fn connects(host: &Host, to: SocketAddr) -> Option<TcpStream> {
    host.enter(|| TcpStream::connect_timeout(&to, Duration::from_millis(400)).ok())
}

#[test]
fn where_udp_is_blocked_only_tcp_or_only_a_proxy_is_left() {
    let (mut lab, server, reflector) = world();
    let listener = server.enter(|| TcpListener::bind("0.0.0.0:443").unwrap());
    let to: SocketAddr = format!("{}:443", server.ip).parse().unwrap();

    let blocked = lab.place("blocked", Site::UdpBlocked);
    assert_eq!(reflector.observe(&open(&blocked.host, "0.0.0.0:0"), 0), None);
    assert!(connects(&blocked.host, to).is_some());
    listener.accept().unwrap();

    let proxied = lab.place("proxied", Site::Proxied);
    assert_eq!(reflector.observe(&open(&proxied.host, "0.0.0.0:0"), 0), None);
    assert!(connects(&proxied.host, to).is_none());
    let proxy = proxied.environment[0].1.trim_start_matches("http://").parse().unwrap();
    let mut stream = connects(&proxied.host, proxy).expect("the proxy is reachable");
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").unwrap();
    let (mut far, _) = listener.accept().unwrap();
    far.write_all(b"through").unwrap();
    drop(far);
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.contains(" 200 ") && said.ends_with("through"), "{said}");
}

#[test]
fn a_gateway_blocks_udp_and_moves_when_it_is_told_to() {
    let (mut lab, _server, reflector) = world();
    let inside = lab.home("a", Nat::PortRestricted);
    let mut gateway = lab.gateway_of("a").clone();
    let socket = open(&inside, "0.0.0.0:0");
    let before = reflector.observe(&socket, 0).expect("gets out");
    gateway.let_udp_through(false);
    assert_eq!(reflector.observe(&socket, 0), None, "an open flow ends too");
    assert!(!reflector.reaches(0, before, &socket));
    gateway.let_udp_through(true);
    assert_eq!(reflector.observe(&socket, 0), Some(before));
    gateway.reboot_as("31.7.0.99");
    let after = reflector.observe(&socket, 0).expect("gets out");
    assert_eq!(after.ip().to_string(), "31.7.0.99");
    assert!(!reflector.reaches(0, before, &socket), "the old address leads nowhere");
    assert!(reflector.reaches(0, after, &socket));
}

#[test]
fn hosts_of_one_lan_meet_without_the_gateway() {
    let (mut lab, _server, _reflector) = world();
    let a = lab.home("a", Nat::Symmetric);
    let b = lab.neighbour("a", "b", 3);
    let (from, at) = (open(&a, "0.0.0.0:0"), open(&b, "0.0.0.0:0"));
    let to = SocketAddr::new(b.ip.parse().unwrap(), at.local_addr().unwrap().port());
    assert_eq!(pass(&from, to, &at).map(|from| from.ip().to_string()), Some(a.ip));
}
