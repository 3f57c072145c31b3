//! Port mappings: asked of a real miniupnpd by each protocol, used, renewed, given back; and gateways that lie.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Gateway, Host, Lab, Nat, Node, Offer, Options, Place, PortMapper, Rendezvous, Site, befriend, until};

/// A home whose gateway has no miniupnpd yet, and a rendezvous server outside.
fn home(options: &Options) -> (Lab, Rendezvous, Place) {
    let mut lab = Lab::new();
    let server = lab.public_host("rv");
    let rendezvous = lab.rendezvous(&server);
    let gateway = lab.gateway("a", &lab.internet(), options);
    let place = lab.place_on("a", &gateway);
    (lab, rendezvous, place)
}

/// What a node says about its first gateway.
fn site(node: &Node) -> Value {
    node.ctl(&["status"])["port_mapping"]["gateways"][0].clone()
}

fn mapped(node: &Node) -> Value {
    until("the gateway maps the port", Duration::from_secs(10), || site(node)["external"].is_string());
    site(node)
}

/// The rules that miniupnpd has made for mappings.
fn rules(gateway: &Gateway) -> String {
    gateway.host().run("nft list table inet pilotlab")
}

fn maps_to(gateway: &Gateway, node: &Node) -> bool {
    rules(gateway).contains(&format!("dnat ip to {}:", node.host.ip))
}

fn each_protocol(offer: Offer, without: &str, expected: &str) {
    let (lab, rendezvous, place) = home(&Options::nat(Nat::PortRestricted));
    let gateway = &place.gateways[0];
    if !without.is_empty() {
        gateway.host().run(&format!("nft 'add table ip mute; add chain ip mute in {{ type filter hook input priority 0; }}; add rule ip mute in {without} drop'"));
    }
    let _upnpd = PortMapper::offering(gateway, &lab.path("gw"), offer);
    let mut node = lab.node(&place.host, "a", Some(&rendezvous));
    let site = mapped(&node);
    let wan = gateway.wan.as_deref().expect("IPv4");
    let external = site["external"].as_str().expect("an endpoint").to_owned();
    assert!(external.starts_with(&format!("{wan}:")), "{site}");
    assert_eq!((&site["protocol"], &site["public"]), (&expected.into(), &true.into()), "{site}");
    let candidates = node.ctl(&["status"])["candidates"].clone();
    let told = candidates.as_array().expect("a list").contains(&format!("mapped {external}").into());
    assert!(told, "{candidates}");
    assert!(maps_to(gateway, &node), "{}", rules(gateway));
    let stopping = Instant::now();
    assert!(node.stop(), "stops cleanly");
    let took = stopping.elapsed();
    assert!(took < Duration::from_secs(2), "stopping took {took:?}");
    assert!(!maps_to(gateway, &node), "left behind: {}", rules(gateway));
}

#[test]
fn pcp_maps_the_port_and_gives_it_back() {
    each_protocol(Offer { upnp: false, ..Offer::V4 }, "", "PCP");
}

#[test]
fn nat_pmp_maps_the_port_and_gives_it_back() {
    each_protocol(Offer { upnp: false, ..Offer::V4 }, "udp dport 5351 @th,64,8 2", "NAT-PMP");
}

#[test]
fn upnp_maps_the_port_and_gives_it_back() {
    each_protocol(Offer { natpmp: false, ..Offer::V4 }, "", "UPnP");
}

#[test]
fn two_symmetric_homes_are_direct_when_one_gateway_maps_a_port() {
    let mut lab = Lab::new();
    let server = lab.public_host("rv");
    let rendezvous = lab.rendezvous(&server);
    let (at_a, at_b) = (lab.place("a", Site::Mapping(Nat::Symmetric)), lab.place("b", Site::Home(Nat::Symmetric)));
    let mut a = lab.stopped_node(&at_a.host, "a", Some(&rendezvous));
    a.arguments.push("--no-port-mapping".into());
    a.start();
    let b = lab.node(&at_b.host, "b", Some(&rendezvous));
    befriend(&a, &b);
    a.ctl(&["wait", "--for", "b", "--timeout", "10s"]);
    let without = a.try_ctl(&["wait", "--for", "direct:b", "--timeout", "4s"]);
    assert!(without.is_err() && a.ctl(&["status"])["port_mapping"].is_null(), "direct without a mapping: {without:?}");
    assert!(a.stop());
    a.arguments.pop();
    let started = Instant::now();
    a.start();
    a.ctl(&["wait", "--for", "direct:b", "--timeout", "10s"]);
    b.ctl(&["wait", "--for", "direct:a", "--timeout", "10s"]);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "direct after {took:?}");
    assert!(a.host.try_run(&format!("ping -6 -c1 -W2 -n {}", b.ipv6)));
    println!("symmetric with a mapping against symmetric: direct after {:.2} s", took.as_secs_f64());
}

#[test]
fn a_gateway_that_restarts_is_asked_again() {
    let (lab, rendezvous, place) = home(&Options::nat(Nat::PortRestricted));
    let gateway = &place.gateways[0];
    let upnpd = PortMapper::start(gateway, &lab.path("gw"));
    let started = Instant::now();
    let node = lab.node(&place.host, "a", Some(&rendezvous));
    mapped(&node);
    // Before that its clock cannot be told from one that has started anew.
    until("it has run for a while", Duration::from_secs(6), || started.elapsed() > Duration::from_secs(5));
    drop(upnpd);
    let _upnpd = PortMapper::start(gateway, &lab.path("gw"));
    until("the port is mapped again", Duration::from_secs(20), || maps_to(gateway, &node));
}

#[test]
fn a_default_route_that_comes_back_is_asked_again() {
    let (lab, rendezvous, place) = home(&Options::nat(Nat::PortRestricted));
    let gateway = &place.gateways[0];
    let node = lab.node(&place.host, "a", Some(&rendezvous));
    until("the gateway is found to map nothing", Duration::from_secs(10), || site(&node)["tried"][2].is_object());
    let _upnpd = PortMapper::start(gateway, &lab.path("gw"));
    place.host.run("ip route del default; ip route add default via 192.168.1.1");
    mapped(&node);
}

#[test]
fn a_silent_gateway_costs_a_few_packets() {
    let (lab, rendezvous, place) = home(&Options::nat(Nat::PortRestricted));
    let gateway = place.gateways[0].host();
    gateway.run(
        "nft 'add table ip mute; add chain ip mute in { type filter hook input priority 0; }; \
         add rule ip mute in udp dport { 5351, 1900 } counter drop'",
    );
    let mut node = lab.node(&place.host, "a", Some(&rendezvous));
    until("all was tried", Duration::from_secs(10), || site(&node)["tried"][2].is_object());
    let rule = gateway.run("nft list chain ip mute in");
    let count: u32 = rule.split("packets ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();
    assert!((3..=10).contains(&count), "{count} packets: {rule}");
    for tried in site(&node)["tried"].as_array().expect("a list") {
        assert_eq!(tried["outcome"], "no answer", "{tried}");
    }
    let stopping = Instant::now();
    assert!(node.stop());
    assert!(stopping.elapsed() < Duration::from_secs(2), "a silent gateway holds nobody up");
}

#[test]
fn a_gateway_behind_a_carrier_says_why_it_maps_nothing() {
    let mut lab = Lab::new();
    let server = lab.public_host("rv");
    let rendezvous = lab.rendezvous(&server);
    let place = lab.place("a", Site::Carrier(Nat::PortRestricted));
    let _upnpd = PortMapper::start(&place.gateways[0], &lab.path("gw"));
    let node = lab.node(&place.host, "a", Some(&rendezvous));
    until("all was tried", Duration::from_secs(10), || site(&node)["tried"][2].is_object());
    let site = site(&node);
    assert!(site["external"].is_null(), "{site}");
    for tried in site["tried"].as_array().expect("a list") {
        let outcome = tried["outcome"].as_str().expect("words");
        assert!(outcome.contains("(code ") || outcome.contains("no address outside"), "{site}");
    }
    println!("behind a carrier: {}", site["tried"]);
}

/// Answers every search with `location`, until it is told that it is over.
fn lie(liar: &Host, location: &str, over: &Arc<AtomicBool>) {
    let address: Ipv4Addr = liar.ip.parse().unwrap();
    let socket = liar.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:1900").unwrap();
        socket.join_multicast_v4(&Ipv4Addr::new(239, 255, 255, 250), &address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        socket
    });
    let answer = format!(
        "HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nLOCATION: {location}\r\n\r\n"
    );
    let over = over.clone();
    std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            if let Ok((_, from)) = socket.recv_from(&mut [0; 2048]) {
                let _ = socket.send_to(answer.as_bytes(), from);
            }
        }
    });
}

fn no_description_is_fetched_at(at: &str) {
    let (mut lab, rendezvous, place) = home(&Options::nat(Nat::PortRestricted));
    let neighbour = lab.neighbour("a", "n", 9);
    let victim: SocketAddr = format!("{}:8080", neighbour.ip).parse().unwrap();
    let victim = neighbour.enter(|| TcpListener::bind(victim).unwrap());
    victim.set_nonblocking(true).unwrap();
    let local = place.host.enter(|| TcpListener::bind("127.0.0.1:8080").unwrap());
    local.set_nonblocking(true).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let elsewhere = "http://192.168.1.9:8080/rootDesc.xml";
    // The neighbour says that it is a gateway, and the gateway that it is somewhere else.
    lie(&neighbour, elsewhere, &over);
    lie(&place.gateways[0].host(), at, &over);
    let node = lab.node(&place.host, "a", Some(&rendezvous));
    until("UPnP was tried", Duration::from_secs(10), || site(&node)["tried"][2].is_object());
    over.store(true, Ordering::Relaxed);
    let outcome = site(&node)["tried"][2].clone();
    assert_eq!((&outcome["protocol"], &outcome["outcome"]), (&"UPnP".into(), &"no answer".into()));
    for listener in [victim, local] {
        assert_eq!(listener.accept().expect_err("nobody comes").kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn a_description_on_a_neighbour_is_not_fetched() {
    no_description_is_fetched_at("http://192.168.1.9:8080/rootDesc.xml");
}

#[test]
fn a_description_on_our_own_loopback_is_not_fetched() {
    no_description_is_fetched_at("http://127.0.0.1:8080/rootDesc.xml");
}

#[test]
fn a_firewall_for_ipv6_is_opened_by_pcp() {
    let (lab, rendezvous, place) = home(&Options { ipv6: true, ..Options::nat(Nat::PortRestricted) });
    let gateway = &place.gateways[0];
    let _upnpd = PortMapper::offering(gateway, &lab.path("gw"), Offer { ipv6: true, ..Offer::V4 });
    let mut node = lab.node(&place.host, "a", Some(&rendezvous));
    let ip = place.host.ipv6.clone().expect("IPv6");
    // As nft shows the rule of miniupnpd.
    let octets: std::net::Ipv6Addr = ip.parse().unwrap();
    let opened = format!("0x{:032x} ", u128::from(octets));
    let pinhole = |node: &Node| {
        let sites = node.ctl(&["status"])["port_mapping"]["gateways"].clone();
        let sites = sites.as_array().expect("a list").clone();
        sites.into_iter().find(|site| site["local"] == ip.as_str()).unwrap_or_default()
    };
    until("the gateway is asked", Duration::from_secs(10), || pinhole(&node)["tried"][0].is_object());
    let site = pinhole(&node);
    assert_eq!(site["protocol"], "PCP", "{site}");
    assert!(rules(gateway).contains(&opened), "{}", rules(gateway));
    assert!(node.stop());
    assert!(!rules(gateway).contains(&opened), "left behind: {}", rules(gateway));
}
