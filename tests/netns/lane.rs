//! Lanes between real daemons: both want one, or one does not.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::lab::{Nat, TwoHomes, output, until};
use crate::silence::{capture, packets};

/// Two homes, the second with these further arguments, connected directly.
fn homes(further: &[&str]) -> TwoHomes {
    let mut homes = TwoHomes::new(Nat::PortRestricted, Nat::PortRestricted);
    homes.b.arguments.extend(further.iter().map(ToString::to_string));
    homes.up_to_first_reply();
    homes.a.ctl(&["wait", "--for", "direct:b", "--timeout", "10s"]);
    homes.b.ctl(&["wait", "--for", "direct:a", "--timeout", "10s"]);
    homes
}

/// Fetches a megabyte, and gives how many bytes came meanwhile in datagrams of WireGuard's data, and of a lane.
fn fetch(homes: &TwoHomes) -> [usize; 2] {
    let share = homes.lab.path("share");
    std::fs::create_dir(&share).unwrap();
    std::fs::write(share.join("file"), vec![7; 1_000_000]).unwrap();
    let _server = homes.b.host.http_server(&homes.b.ipv6, &share);
    let recording = homes.lab.path("recorded.pcap");
    let mut recorder = capture(&homes.a.host, &recording, "udp and dst host 192.168.1.2");
    let url = format!("http://[{}]/file", homes.b.ipv6);
    let size = output(homes.a.host.command("curl").args(["-sf", "-o", "/dev/null", "-w", "%{size_download}", &url]));
    assert_eq!(size, "1000000");
    recorder.terminate();
    let came: Vec<(Ipv4Addr, Vec<u8>)> = packets(&recording);
    let of =
        |kind| came.iter().map(|(_, payload)| payload).filter(move |payload| payload.starts_with(&[kind, 0, 0, 0]));
    [4, 5].map(|kind| of(kind).map(Vec::len).sum())
}

fn ciphers(homes: &TwoHomes) -> [String; 2] {
    let said = |peer: serde_json::Value| peer["cipher"].as_str().unwrap_or_default().to_owned();
    [said(homes.a.peer(&homes.b)), said(homes.b.peer(&homes.a))]
}

/// Whether the machine of the test has what a lane needs.
fn has_aes() -> bool {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    cpu.split_whitespace().any(|flag| flag == "aes")
}

#[test]
fn curl_fetches_through_the_lane_and_a_restart_brings_it_back() {
    let mut homes = homes(&[]);
    if !has_aes() {
        assert_eq!(ciphers(&homes), ["chacha20-poly1305"; 2]);
        return;
    }
    until("both seal with AES", Duration::from_secs(5), || ciphers(&homes) == ["aes-256-gcm"; 2]);
    let [wireguard, lane] = fetch(&homes);
    assert!(lane > 1_000_000 && wireguard < 20_000, "{wireguard} bytes by WireGuard, {lane} by the lane");
    homes.b.kill();
    homes.b.launch();
    until("a ping after the crash", Duration::from_secs(3), || homes.a.pings(&homes.b));
    until("both seal with AES again", Duration::from_secs(5), || ciphers(&homes) == ["aes-256-gcm"; 2]);
}

#[test]
fn a_node_without_lane_gets_and_sends_no_datagram_of_one() {
    let homes = homes(&["--lane", "false"]);
    let [wireguard, lane] = fetch(&homes);
    assert!(wireguard > 1_000_000 && lane == 0, "{wireguard} bytes by WireGuard, {lane} by a lane");
    assert_eq!(ciphers(&homes), ["chacha20-poly1305"; 2]);
    assert_eq!(
        homes.b.ctl(&["config"])["settings"].as_array().and_then(|all| {
            all.iter().find(|setting| setting["key"] == "lane").map(|setting| setting["value"].clone())
        }),
        Some(false.into())
    );
}
