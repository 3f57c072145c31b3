//! Links of every width between two homes: what programs notice of them, which is nothing.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::lab::{Host, Nat, Node, TwoHomes, output, until};

/// IPv4, UDP and WireGuard around a packet; through a relay 20 bytes more.
const DIRECT: u16 = 60;
const RELAYED: u16 = 80;
/// The search stops this close to the truth.
const GRAIN: u16 = 8;

fn gateway(home: &Host) -> Host {
    Host { namespace: format!("{}-gw", home.namespace), ip: String::new(), ipv6: None }
}

/// The gateway of a home forwards nothing larger in either direction, without knowing it of its own interfaces.
fn narrow(home: &Host, mtu: u16) {
    gateway(home).run(&format!(
        "ip route replace $(ip route show default) mtu lock {mtu}; \
         ip route replace 192.168.1.0/24 dev lan scope link mtu lock {mtu}"
    ));
}

/// The gateway of a home does not say why it drops.
fn mute(home: &Host) {
    gateway(home).run(
        "nft 'add table ip hole; add chain ip hole out { type filter hook output priority 0; }; \
         add rule ip hole out icmp type destination-unreachable drop'",
    );
}

/// Both homes up, A's gateway narrow from the start.
fn homes(nat: Nat, mtu: u16, is_mute: bool) -> TwoHomes {
    let mut homes = TwoHomes::new(nat, nat);
    narrow(&homes.a.host, mtu);
    if is_mute {
        mute(&homes.a.host);
    }
    homes.up_to_first_reply();
    homes
}

fn mtu(node: &Node, other: &Node) -> u16 {
    node.peer(other)["mtu"].as_u64().unwrap_or(0) as u16
}

/// Waits until both sides know what passes.
fn until_found(homes: &TwoHomes, truth: u16) {
    for (node, other) in [(&homes.a, &homes.b), (&homes.b, &homes.a)] {
        let found = || (truth.saturating_sub(GRAIN - 1).max(1280)..=truth.max(1280)).contains(&mtu(node, other));
        let started = Instant::now();
        while !found() {
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "{} of {truth}: {}",
                mtu(node, other),
                node.peer(other)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// B offers a file of so many megabytes to A; where A puts it.
fn offer(homes: &TwoHomes, megabytes: u32) -> (crate::lab::Process, PathBuf) {
    let share = homes.lab.path("share");
    std::fs::create_dir_all(&share).unwrap();
    homes.b.host.run(&format!("head -c {megabytes}000000 /dev/urandom > {}/file", share.display()));
    (homes.b.host.http_server(&homes.b.ipv6, &share), homes.lab.path("got"))
}

fn is_whole(homes: &TwoHomes) -> bool {
    let sum = |name: &str| homes.a.host.run(&format!("sha256sum < {}", homes.lab.path(name).display()));
    sum("share/file") == sum("got")
}

fn fetch(homes: &TwoHomes, more: &str) -> String {
    format!("curl -sf {more} --max-time 60 -o {} 'http://[{}]/file'", homes.lab.path("got").display(), homes.b.ipv6)
}

#[test]
fn mtu_of_every_link_is_found_and_transfers_complete() {
    for (link, is_mute) in [(1500, false), (1400, false), (1400, true), (1380, true), (1340, true), (576, false)] {
        let homes = homes(Nat::PortRestricted, link, is_mute);
        let (_server, _) = offer(&homes, 20);
        let started = Instant::now();
        homes.a.host.run(&fetch(&homes, ""));
        let took = started.elapsed().as_secs_f64();
        assert!(is_whole(&homes));
        homes.a.ctl(&["wait", "--for", "direct:b", "--timeout", "10s"]);
        until_found(&homes, link.saturating_sub(DIRECT).min(1420));
        if link == 1500 {
            assert_eq!(
                (homes.a.drops("too_big"), homes.b.drops("too_big")),
                (0, 0),
                "an ordinary path refuses nothing"
            );
        }
        println!(
            "link {link}{}: inner {} and {}, 20 MB in {took:.1} s",
            if is_mute { " without ICMP" } else { "" },
            mtu(&homes.a, &homes.b),
            mtu(&homes.b, &homes.a)
        );
    }
}

#[test]
fn mtu_through_a_relay_leaves_room_for_its_header() {
    let homes = homes(Nat::Symmetric, 1400, true);
    let (_server, _) = offer(&homes, 5);
    homes.a.host.run(&fetch(&homes, ""));
    assert!(is_whole(&homes));
    assert_eq!(homes.a.peer(&homes.b)["path"], "relayed");
    until_found(&homes, 1400 - RELAYED);
}

#[test]
fn mtu_that_shrinks_under_a_transfer_holds_it_up_for_seconds_only() {
    let homes = homes(Nat::PortRestricted, 1500, true);
    homes.a.ctl(&["wait", "--for", "direct:b", "--timeout", "10s"]);
    until_found(&homes, 1420);
    let (_server, got) = offer(&homes, 80);
    let mut download = homes.a.host.spawn(&fetch(&homes, "--limit-rate 8M"));
    let size = || std::fs::metadata(&got).map_or(0, |file| file.len());
    until("the transfer runs", Duration::from_secs(10), || size() > 8_000_000);
    narrow(&homes.a.host, 1380);
    let (mut last, mut since, mut longest) = (size(), Instant::now(), Duration::ZERO);
    while !download.has_ended() {
        let now = size();
        if now > last {
            longest = longest.max(since.elapsed());
            (last, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < Duration::from_secs(20), "stuck at {last} bytes, {}", homes.b.peer(&homes.a));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(is_whole(&homes));
    println!("black hole of 1380 under a transfer: held up {:.2} s", longest.as_secs_f64());
    assert!(longest < Duration::from_secs(6), "{longest:?}");
    assert!(mtu(&homes.b, &homes.a) <= 1320, "{}", homes.b.peer(&homes.a));
}

#[test]
fn mtu_is_told_to_programs() {
    let homes = homes(Nat::PortRestricted, 1400, true);
    homes.a.ctl(&["wait", "--for", "direct:b", "--timeout", "10s"]);
    until_found(&homes, 1340);
    let fits = mtu(&homes.a, &homes.b);
    let ping = |payload: u16| {
        let line = format!("ping -6 -n -M do -c 3 -i 0.2 -W 1 -s {payload} {}", homes.b.ipv6);
        let said = homes.a.host.command("sh").args(["-c", &line]).output().unwrap();
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    let refused = ping(fits - 48 + 1);
    assert!(refused.contains(&format!("Packet too big: mtu={fits}")), "{refused}");
    let carried = ping(fits - 48);
    assert!(carried.contains(" 0% packet loss"), "{carried}");

    // 23 is IPV6_MTU_DISCOVER, 2 is "never fragment".
    let script = format!(
        "import socket, time, errno\n\
         s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n\
         s.setsockopt(socket.IPPROTO_IPV6, 23, 2)\n\
         s.connect(('{}', 9))\n\
         s.send(bytes({fits} - 48))\n\
         for _ in range(100):\n    \
             try: s.send(bytes(1372))\n    \
             except OSError as e:\n        \
                 if e.errno == errno.EMSGSIZE: print('refused'); break\n    \
             time.sleep(0.02)\n",
        homes.b.ipv6
    );
    let said = output(homes.a.host.command("python3").args(["-c", &script]));
    assert_eq!(said.trim(), "refused");
}

#[test]
fn mtu_of_our_own_interface_is_learned_from_the_kernel() {
    let mut homes = TwoHomes::new(Nat::PortRestricted, Nat::PortRestricted);
    homes.a.host.run("ip link set eth0 mtu 1400");
    narrow(&homes.a.host, 1400);
    homes.up_to_first_reply();
    homes.a.ctl(&["wait", "--for", "direct:b", "--timeout", "10s"]);
    until_found(&homes, 1340);
    assert!(homes.a.drops("too_big") > 0);
}
