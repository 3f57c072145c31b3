//! Nodes on one LAN whose rendezvous is out of reach.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pilot::udp::{GROUP_V4, PORT};
use rand_core::{OsRng, RngCore};

use crate::lab::{Host, Lab, Nat, Node, Process, befriend, output, until};

/// A home in which nobody reaches the rendezvous: nodes that trust each other by key, not started yet, and a stranger.
struct Office {
    a: Node,
    b: Node,
    stranger: Host,
    lab: Lab,
}

impl Office {
    fn new() -> Office {
        let mut lab = Lab::new();
        let server = lab.public_host("rv");
        let host_a = lab.home("a", Nat::PortRestricted);
        let (host_b, stranger) = (lab.neighbour("a", "b", 3), lab.neighbour("a", "stranger", 9));
        let mut rendezvous = lab.rendezvous(&server);
        let (mut a, mut b) =
            (lab.node(&host_a, "a", Some(&rendezvous)), lab.stopped_node(&host_b, "b", Some(&rendezvous)));
        rendezvous.kill();
        b.launch();
        until("b answers its socket", Duration::from_secs(10), || b.try_ctl(&["info"]).is_ok());
        befriend(&a, &b);
        assert!(a.stop() && b.stop(), "nodes stop cleanly without a rendezvous");
        Office { a, b, stranger, lab }
    }

    fn start(&mut self) {
        self.a.launch();
        self.b.launch();
        for node in [&self.a, &self.b] {
            until("the node answers its socket", Duration::from_secs(10), || node.try_ctl(&["info"]).is_ok());
        }
    }
}

/// Starts a capture on a host and waits until it runs.
fn capture(host: &Host, file: &Path, filter: &str) -> Process {
    let process = host.spawn(&format!("tcpdump -i eth0 -n -U --immediate-mode -w {} '{filter}'", file.display()));
    until("the capture runs", Duration::from_secs(5), || file.metadata().is_ok_and(|meta| meta.len() >= 24));
    process
}

/// The UDP datagrams over IPv4 of an Ethernet capture: source, destination and payload.
fn datagrams(file: &Path) -> Vec<(Ipv4Addr, Ipv4Addr, Vec<u8>)> {
    let bytes = std::fs::read(file).unwrap();
    let (mut found, mut at) = (Vec::new(), 24);
    while at + 16 <= bytes.len() {
        let length = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        let frame = &bytes[at + 16..(at + 16 + length).min(bytes.len())];
        if frame.len() > 42 && frame[12..14] == [8, 0] && frame[23] == 17 {
            let ip = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
            found.push((ip(26), ip(30), frame[42..].to_vec()));
        }
        at += 16 + length;
    }
    found
}

fn share(lab: &Lab) -> PathBuf {
    let share = lab.path("share");
    std::fs::create_dir(&share).unwrap();
    std::fs::write(share.join("file"), "from the LAN").unwrap();
    share
}

#[test]
fn lan_friends_connect_directly_without_a_rendezvous_and_strangers_learn_nothing() {
    let mut office = Office::new();
    let file = office.lab.path("lan.pcap");
    let recording = capture(&office.stranger, &file, "udp and not port 53");
    office.start();
    let started = Instant::now();
    office.a.ctl(&["wait", "--for", "direct:b", "--timeout", "10s"]);
    office.b.ctl(&["wait", "--for", "direct:a", "--timeout", "10s"]);
    println!("direct {:.2} s after both daemons answered", started.elapsed().as_secs_f64());
    let share = share(&office.lab);
    let _server = office.b.host.http_server(&office.b.ipv6, &share);
    let got = output(office.a.host.command("curl").args(["-sf", &format!("http://[{}]/file", office.b.ipv6)]));
    assert_eq!(got, "from the LAN");
    assert_eq!(office.a.peer(&office.b)["path"], "direct");
    drop(recording);

    let stranger: Ipv4Addr = office.stranger.ip.parse().unwrap();
    let heard = datagrams(&file);
    assert!(heard.iter().all(|(_, to, _)| *to != stranger), "something was sent to the stranger");
    let beacons: Vec<_> = heard.iter().filter(|(_, to, _)| *to == GROUP_V4).collect();
    assert!(!beacons.is_empty(), "the stranger can hear the group");
    let mut seen = BTreeSet::new();
    for (_, _, beacon) in &beacons {
        // The same beacon may leave twice, over IPv4 and IPv6; two different ones share nothing but their kind.
        let words: BTreeSet<&[u8]> = beacon[1..].windows(8).collect();
        assert!(words.is_disjoint(&seen), "beacons repeat something");
        seen.extend(words);
    }
    let names: [&[u8]; 2] = [&[192, 168, 1, 2], &[192, 168, 1, 3]];
    let says = |name: &[u8]| beacons.iter().any(|(_, _, beacon)| beacon.windows(4).any(|word| word == name));
    assert!(!names.into_iter().any(says), "a beacon shows an address");
}

#[test]
fn lan_forged_and_replayed_beacons_cost_nothing_and_are_met_with_silence() {
    let mut office = Office::new();
    let file = office.lab.path("lan.pcap");
    let recording = capture(&office.stranger, &file, "udp and not port 53");
    // Only a runs: it looks for b again and again.
    office.a.launch();
    until("a answers its socket", Duration::from_secs(10), || office.a.try_ctl(&["info"]).is_ok());
    until("a beacon of a", Duration::from_secs(10), || datagrams(&file).iter().any(|(_, to, _)| *to == GROUP_V4));
    let beacon = datagrams(&file).into_iter().find(|(_, to, _)| *to == GROUP_V4).unwrap().2;
    let before = office.a.drops("lan_stranger");
    office.stranger.enter(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket2::SockRef::from(&socket).set_multicast_if_v4(&"192.168.1.9".parse().unwrap()).unwrap();
        let mut forged = beacon.clone();
        for n in 0..5_000 {
            if n % 2 == 0 {
                OsRng.fill_bytes(&mut forged[1..]);
            } else {
                forged.clone_from(&beacon);
                forged[20] ^= 1;
            }
            socket.send_to(&forged, SocketAddrV4::new(GROUP_V4, PORT)).unwrap();
        }
    });
    until("a has refused some", Duration::from_secs(10), || office.a.drops("lan_stranger") > before);
    office.b.launch();
    until("b answers its socket", Duration::from_secs(10), || office.b.try_ctl(&["info"]).is_ok());
    office.b.ctl(&["wait", "--for", "direct:a", "--timeout", "10s"]);
    drop(recording);
    let stranger: Ipv4Addr = office.stranger.ip.parse().unwrap();
    let answered = datagrams(&file).into_iter().filter(|(_, to, _)| *to == stranger).count();
    assert_eq!(answered, 0, "the stranger was answered");
}

#[test]
fn lan_discovery_that_is_turned_off_says_nothing() {
    let mut office = Office::new();
    let file = office.lab.path("lan.pcap");
    let recording = capture(&office.stranger, &file, "udp and not port 53");
    office.a.arguments.push("--lan-discovery=false".into());
    office.start();
    assert!(office.a.try_ctl(&["ping", "b", "--count", "1"]).is_err(), "a has no way to know where b is");
    drop(recording);
    let a: Ipv4Addr = office.a.host.ip.parse().unwrap();
    let said = datagrams(&file).into_iter().filter(|(from, to, _)| (*from, *to) == (a, GROUP_V4)).count();
    assert_eq!(said, 0);
}
