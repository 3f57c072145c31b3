//! What a stranger sees of a node: nothing.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use pilot::identity::{TunnelKey, TunnelSecret};
use pilot::peer::{Limiter, Slot, Tunnel};
use rand_core::{OsRng, RngCore};

use crate::lab::{Host, Nat, Process, TwoHomes, until};

const VICTIM: &str = "192.168.1.2:41000";

/// Starts a capture on a host and waits until it runs.
pub fn capture(host: &Host, file: &Path, filter: &str) -> Process {
    let process = host.spawn(&format!("tcpdump -i eth0 -n -U --immediate-mode -w {} '{filter}'", file.display()));
    until("the capture runs", Duration::from_secs(5), || file.metadata().is_ok_and(|meta| meta.len() >= 24));
    process
}

/// The IPv4 packets of an Ethernet capture: destination, and payload where it is UDP.
pub fn packets(file: &Path) -> Vec<(Ipv4Addr, Vec<u8>)> {
    let bytes = std::fs::read(file).unwrap();
    let (mut found, mut at) = (Vec::new(), 24);
    while at + 16 <= bytes.len() {
        let length = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        let frame = &bytes[at + 16..(at + 16 + length).min(bytes.len())];
        if frame.len() >= 34 && frame[12..14] == [8, 0] {
            let to = Ipv4Addr::new(frame[30], frame[31], frame[32], frame[33]);
            let payload = if frame[23] == 17 { frame.get(42..).unwrap_or_default() } else { &[] };
            found.push((to, payload.to_vec()));
        }
        at += 16 + length;
    }
    found
}

/// WireGuard initiations from keys that nobody knows, well-formed for `victim`.
fn initiations(victim: &TunnelKey, count: usize) -> Vec<Vec<u8>> {
    let slot = Slot::new(1).expect("a slot");
    (0..count)
        .map(|_| {
            let limiter = Limiter::new(*victim, u64::MAX);
            let tunnel = Tunnel::new(&TunnelSecret::generate(&mut OsRng), *victim, slot, &limiter);
            let mut out = [0; 2048];
            let length = tunnel.initiate(&mut out).expect("a new tunnel can initiate");
            out[..length].to_vec()
        })
        .collect()
}

/// Random bytes, and the beginnings of everything that a node understands.
fn garbage() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for length in [0, 1, 3, 4, 19, 20, 28, 31, 32, 40, 63, 64, 91, 92, 147, 148, 149, 600, 1400] {
        for first in [0, 1, 2, 3, 4, 5, 0x10, 0x11, 0x12, 0x13, 0x60, 0xff] {
            let mut datagram = vec![0; length];
            OsRng.fill_bytes(&mut datagram);
            for (byte, value) in datagram.iter_mut().zip([first, 0, 0, 0]) {
                *byte = value;
            }
            all.push(datagram);
        }
    }
    let mut stun = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    stun.extend([7; 12]);
    all.push(stun);
    all
}

fn send_all(from: &Host, datagrams: &[Vec<u8>]) {
    from.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for datagram in datagrams {
            let _ = socket.send_to(datagram, VICTIM);
        }
    });
}

/// Whatever was recorded, as it was and out of the relay's frame.
fn replays(recorded: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let unwrapped = recorded.iter().filter(|d| d.len() > 20 && d[0] == 0x13).map(|d| d[20..].to_vec());
    recorded.iter().cloned().chain(unwrapped).collect()
}

#[test]
fn a_stranger_gets_not_one_datagram() {
    let mut homes = TwoHomes::new(Nat::PortRestricted, Nat::PortRestricted);
    homes.a.arguments.extend(["--listen-port".into(), "41000".into()]);
    let stranger = homes.lab.neighbour("a", "stranger", 66);

    let recording = homes.lab.path("recorded.pcap");
    let mut recorder = capture(&homes.a.host, &recording, "udp and dst host 192.168.1.2");
    homes.up_to_first_reply();
    homes.a.ctl(&["wait", "--for", "direct:b", "--timeout", "10s"]);
    recorder.terminate();
    let came: Vec<Vec<u8>> = packets(&recording).into_iter().map(|(_, payload)| payload).collect();
    let recorded = replays(&came);
    assert!(
        recorded.iter().any(|d| d.starts_with(&[1, 0, 0, 0])) || recorded.iter().any(|d| d.starts_with(&[2, 0, 0, 0])),
        "a handshake was recorded"
    );

    let replies = homes.lab.path("replies.pcap");
    let mut watch = capture(&homes.a.host, &replies, "src host 192.168.1.2 and ip");
    let key: TunnelKey = homes.a.ctl(&["info"])["tunnel_key"].as_str().unwrap().parse().unwrap();
    let attack = |label: &str| {
        let before = homes.a.drops("stranger");
        let well_formed = initiations(&key, 300);
        send_all(&stranger, &well_formed);
        send_all(&stranger, &garbage());
        send_all(&stranger, &recorded);
        until(label, Duration::from_secs(5), || homes.a.drops("stranger") + homes.a.drops("under_load") > before);
    };
    attack("the strangers are counted");
    homes.a.kill();
    homes.a.start();
    send_all(&stranger, &recorded);
    send_all(&stranger, &initiations(&key, 20));
    homes.a.ctl(&["wait", "--for", "direct:b", "--timeout", "10s"]);
    send_all(&stranger, &recorded);
    homes.a.ctl(&["ping", "b", "--count", "1"]);
    watch.terminate();
    let sent = packets(&replies);
    assert!(sent.len() > 10, "the capture saw only {} packets of the victim", sent.len());
    let answers = sent.iter().filter(|(to, _)| to.to_string() == stranger.ip).count();
    assert_eq!(answers, 0, "the victim answered a stranger");
}

#[test]
fn a_stranger_learns_nothing_from_the_rendezvous() {
    let mut homes = TwoHomes::connected();
    homes.a.ctl(&["set-hostname", "home-a"]);
    let home = homes.lab.home("m", Nat::PortRestricted);
    let mallory = homes.lab.node(&home, "mallory", Some(&homes.rendezvous));
    let error = |name: &str| mallory.try_ctl(&["find", name]).unwrap_err().to_string().replace(name, "NAME");
    assert_eq!(error("home-a"), error("nobody"), "find tells who exists");
    let asked = |name: &str| mallory.ctl(&["handshake", name]).to_string().replace(name, "NAME");
    assert_eq!(asked("home-a"), asked("nobody"), "a handshake tells who exists");
    assert_eq!(mallory.ctl(&["peers"])["peers"], serde_json::json!([]));
    assert!(!mallory.pings(&homes.a));
}

#[test]
fn a_neighbour_that_routes_the_overlay_address_to_the_lan_reaches_nothing() {
    let mut homes = TwoHomes::connected();
    let neighbour = homes.lab.neighbour("a", "neighbour", 77);
    let share = homes.lab.path("share");
    std::fs::create_dir(&share).unwrap();
    let _server = homes.a.host.http_server(&homes.a.ipv6, &share);
    let lan = homes.a.host.run("ip -6 -o addr show dev eth0 scope link | awk '{print $4}' | cut -d/ -f1");
    neighbour.run(&format!(
        "ip -6 addr add fd50:494c:4f54::66/64 dev eth0 nodad; ip -6 route replace {}/128 via {} dev eth0",
        homes.a.ipv6,
        lan.trim()
    ));
    until("the two are neighbours", Duration::from_secs(5), || {
        neighbour.try_run(&format!("ping -6 -c1 -W1 -n {}%eth0", lan.trim()))
    });
    assert!(!neighbour.try_run(&format!("ping -6 -c1 -W1 -n {}", homes.a.ipv6)));
    assert!(!neighbour.try_run(&format!("curl -s -o /dev/null --max-time 2 'http://[{}]/'", homes.a.ipv6)));
    assert!(
        homes.b.host.try_run(&format!("curl -s -o /dev/null --max-time 5 'http://[{}]/'", homes.a.ipv6)),
        "a peer still reaches it"
    );
}
