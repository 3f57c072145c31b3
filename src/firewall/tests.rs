//! The table in the real kernel, each test in a network namespace of its own.

use super::*;
use crate::tun::{self, netns::Namespace};
use std::{
    io,
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

const OURS: &str = "fd50:494c:4f54::1";
const PEER: &str = "fd50:494c:4f54::2";

/// For what must arrive, also on a busy machine.
const PATIENT: Duration = Duration::from_secs(10);
/// For what must not arrive: waited out in full.
const SHORT: Duration = Duration::from_millis(500);

fn network() -> Ipv6Net {
    "fd50:494c:4f54::/64".parse().unwrap()
}

fn at(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), 7)
}

/// A node and a neighbour on its LAN, who owns a peer's overlay address and routes ours to our LAN address.
struct Lan {
    node: Namespace,
    neighbour: Namespace,
    _device: tun::Device,
    listener: TcpListener,
}

impl Lan {
    fn new() -> Option<Lan> {
        let (node, neighbour) = (Namespace::new()?, Namespace::new()?);
        node.cable("2001:db8::1/64", &neighbour, "2001:db8::2/64");
        neighbour.run(&format!("ip address add {PEER}/128 dev lo"));
        neighbour.run(&format!("ip route add {OURS}/128 via 2001:db8::1"));
        let ours: Ipv6Addr = OURS.parse().unwrap();
        let device = node.enter(|| tun::open("pilot0", ours, 64, 1280, 1)).unwrap();
        let listener = node.enter(|| TcpListener::bind(at(OURS))).unwrap();
        Some(Lan { node, neighbour, _device: device, listener })
    }

    fn install(&self) -> Firewall {
        self.node.enter(|| Firewall::install("pilot0", network())).unwrap()
    }

    fn connect(&self, patience: Duration) -> io::Result<TcpStream> {
        self.neighbour.enter(|| TcpStream::connect_timeout(&at(OURS), patience))
    }
}

#[test]
fn kernel_firewall_drops_prefix_elsewhere_and_vanishes() {
    let Some(lan) = Lan::new() else { return };
    lan.connect(PATIENT).expect("the weak host model lets the neighbour in");
    lan.listener.accept().unwrap();
    let firewall = lan.install();
    assert_eq!(lan.connect(SHORT).unwrap_err().kind(), io::ErrorKind::TimedOut);
    let chain = lan.node.run("nft list chain ip6 pilot-pilot0 arriving");
    assert!(chain.contains("ip6 daddr fd50:494c:4f54::/64 counter packets"), "{chain}");
    assert!(!chain.contains("ip6 daddr fd50:494c:4f54::/64 counter packets 0"), "{chain}");
    drop(firewall);
    assert_eq!(lan.node.run("nft list ruleset"), "");
    lan.connect(PATIENT).unwrap();
}

#[test]
fn kernel_firewall_drops_spoofed_overlay_sources() {
    let Some(lan) = Lan::new() else { return };
    let victim = lan.node.enter(|| UdpSocket::bind(at("2001:db8::1"))).unwrap();
    let spoofer = lan.neighbour.enter(|| UdpSocket::bind(at(PEER))).unwrap();
    let honest = lan.neighbour.enter(|| UdpSocket::bind(at("2001:db8::2"))).unwrap();
    victim.set_read_timeout(Some(PATIENT)).unwrap();
    let mut buffer = [0; 16];
    // The link-layer address has to be known: the answer to a question from PEER would go to the device.
    honest.send_to(b"honest", at("2001:db8::1")).unwrap();
    assert_eq!(victim.recv_from(&mut buffer).unwrap().1, at("2001:db8::2"));
    spoofer.send_to(b"before", at("2001:db8::1")).unwrap();
    assert_eq!(victim.recv_from(&mut buffer).unwrap().1, at(PEER));
    let _firewall = lan.install();
    victim.set_read_timeout(Some(SHORT)).unwrap();
    spoofer.send_to(b"after", at("2001:db8::1")).unwrap();
    assert_eq!(victim.recv_from(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    honest.send_to(b"honest", at("2001:db8::1")).unwrap();
    assert_eq!(victim.recv_from(&mut buffer).unwrap().1, at("2001:db8::2"));
}

#[test]
fn kernel_firewall_lets_nothing_leave_beside_the_device() {
    let Some(lan) = Lan::new() else { return };
    let _firewall = lan.install();
    lan.node.run(&format!("ip route add {PEER}/128 via 2001:db8::2"));
    let astray = lan.node.enter(|| UdpSocket::bind("[2001:db8::1]:0")).unwrap();
    assert_eq!(astray.send_to(b"secret", at(PEER)).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn kernel_firewall_leaves_our_interface_and_the_loopback_alone() {
    let Some(lan) = Lan::new() else { return };
    let _firewall = lan.install();
    lan.node.enter(|| TcpStream::connect_timeout(&at(OURS), PATIENT)).unwrap();
    let out = lan.node.enter(|| UdpSocket::bind(at(OURS))).unwrap();
    out.send_to(b"to a peer", at(PEER)).unwrap();
}

#[test]
fn kernel_firewall_replaces_a_table_left_behind() {
    let Some(lan) = Lan::new() else { return };
    lan.node.run("nft add table ip6 pilot-pilot0");
    lan.node.run("nft add chain ip6 pilot-pilot0 old { type filter hook input priority 0 ; }");
    let _firewall = lan.install();
    let table = lan.node.run("nft list ruleset");
    assert!(!table.contains("chain old") && table.contains("chain arriving"), "{table}");
}

#[test]
fn kernel_firewall_without_owner_flag_is_removed_too() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter(|| {
        let table = Table::new("pilot0", network());
        let mut netlink = Netlink::open().unwrap();
        netlink.commit(&table.install(false)).unwrap();
        drop(Firewall { netlink, table, owned: false });
    });
    assert_eq!(namespace.run("nft list ruleset"), "");
}

#[test]
fn kernel_firewall_says_when_another_process_owns_the_table() {
    let Some(lan) = Lan::new() else { return };
    let _firewall = lan.install();
    let second = lan.node.enter(|| Firewall::install("pilot0", network())).err().unwrap();
    assert!(matches!(second, FirewallError::NotPermitted { .. }), "{second}");
}

#[test]
fn kernel_firewall_without_privilege_says_what_to_do() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let error = namespace.enter_as_nobody(|| Firewall::install("pilot0", network()));
    let error = error.err().unwrap();
    assert!(matches!(error, FirewallError::NotPermitted { .. }), "{error}");
    assert!(error.to_string().contains("firewall = false"), "{error}");
}
