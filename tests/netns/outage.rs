//! How long programs notice that something happened on the way: a ping every tenth of a second and an open TCP connection.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::lab::{Host, Lab, Nat, Node, Options, Process, Rendezvous, Segment, TwoHomes, until};

/// How often each thing happens.
const ROUNDS: usize = 3;

/// Two nodes at home, two more homes to move to, and programs that talk from a to b.
struct Story {
    pinging: Process,
    replies: PathBuf,
    calling: Process,
    _serving: Process,
    b: Node,
    a: Node,
    elsewhere: [Segment; 2],
    homes: [Segment; 2],
    _rendezvous: Rendezvous,
    lab: Lab,
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn wait(seconds: f64) {
    std::thread::sleep(Duration::from_secs_f64(seconds));
}

impl Story {
    fn new() -> Story {
        let TwoHomes { rendezvous, a, b, mut lab } = TwoHomes::connected();
        let elsewhere = ["c", "d"].map(|name| {
            let internet = lab.internet();
            lab.gateway(name, &internet, &Options::nat(Nat::PortRestricted)).lan
        });
        let homes = ["a", "b"].map(|name| lab.gateway_of(name).lan.clone());
        let replies = lab.path("replies");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/tcp_gap.py");
        let serving = b.host.spawn(&format!("python3 {script} serve {}", b.ipv6));
        until("the echo listens", Duration::from_secs(5), || b.host.try_run("ss -Hltn | grep -q :7000"));
        let calling = a.host.spawn(&format!("python3 {script} call {} {}", b.ipv6, lab.path("gap").display()));
        let pinging = a.host.spawn(&format!("ping -6 -n -D -i 0.1 {} > {}", b.ipv6, replies.display()));
        Story { pinging, replies, calling, _serving: serving, b, a, elsewhere, homes, _rendezvous: rendezvous, lab }
    }

    /// When replies arrived.
    fn arrivals(&self) -> Vec<f64> {
        let text = std::fs::read_to_string(&self.replies).unwrap_or_default();
        let reply =
            |line: &str| line.contains("bytes from").then(|| line.strip_prefix('[')?.split_once(']')?.0.parse().ok());
        text.lines().filter_map(reply).flatten().collect()
    }

    /// Waits until the nodes have been connected directly for a while and all is calm.
    fn settle(&self) {
        self.a.ctl(&["wait", "--for", &format!("direct:{}", self.b.name), "--timeout", "30s"]);
        self.b.ctl(&["wait", "--for", &format!("direct:{}", self.a.name), "--timeout", "30s"]);
        wait(3.0);
    }

    /// The longest pause between two replies around and after `since`.
    fn outage(&self, since: f64) -> f64 {
        let before = self.arrivals().len();
        until("replies arrive again", Duration::from_secs(30), || self.arrivals().len() > before + 10);
        wait(4.0);
        let arrivals = self.arrivals();
        let pauses = arrivals.windows(2).filter(|two| two[1] >= since).map(|two| two[1] - two[0]);
        pauses.fold(0.0, f64::max)
    }

    /// Lets something happen a few times, and gives how long each was noticed.
    fn measure(&mut self, what: &str, mut happens: impl FnMut(&mut Story, usize) -> f64) -> f64 {
        let mut outages: Vec<f64> = Vec::new();
        for round in 0..ROUNDS {
            self.settle();
            outages.push(happens(self, round));
        }
        println!("{what}: {outages:.2?} s");
        assert!(!self.calling.has_ended(), "the TCP connection lives");
        assert!(!self.pinging.has_ended(), "the ping goes on");
        outages.sort_by(f64::total_cmp);
        outages[ROUNDS / 2]
    }
}

fn settled_story() -> Story {
    let story = Story::new();
    story.settle();
    story
}

#[test]
fn one_side_moves() {
    let mut story = settled_story();
    let median = story.measure("address change on one side", |story, round| {
        let to = [&story.elsewhere[0], &story.homes[0]][round % 2].clone();
        let at = now();
        story.lab.move_host(&story.a.host.clone(), &to);
        story.outage(at)
    });
    assert!(median <= 1.5, "{median:.2} s");
    let median = story.measure("address change on the other side", |story, round| {
        let to = [&story.elsewhere[1], &story.homes[1]][round % 2].clone();
        let at = now();
        story.lab.move_host(&story.b.host.clone(), &to);
        story.outage(at)
    });
    assert!(median <= 1.5, "{median:.2} s");
}

#[test]
fn both_sides_move() {
    let mut story = settled_story();
    let median = story.measure("address change on both sides", |story, round| {
        let to = [&story.elsewhere, &story.homes][round % 2].clone();
        let at = now();
        let hosts = [story.a.host.clone(), story.b.host.clone()];
        for (host, segment) in hosts.iter().zip(&to) {
            story.lab.move_host(host, segment);
        }
        story.outage(at)
    });
    assert!(median <= 3.0, "{median:.2} s");
}

#[test]
fn a_router_reboots() {
    let mut story = settled_story();
    for home in ["a", "b"] {
        let mut gateway = story.lab.gateway_of(home).clone();
        let mut address = 200 + usize::from(home == "b") * 20;
        let median = story.measure(&format!("NAT of {home} reboots with another address"), |story, _| {
            address += 1;
            let at = now();
            gateway.reboot_as(&format!("31.7.0.{address}"));
            story.outage(at)
        });
        assert!(median <= 3.0, "{median:.2} s");
    }
}

/// The cable of a host is pulled at the other end, as by a switch that restarts.
fn flap(host: &Host, lan: &Segment, seconds: f64) -> f64 {
    let octet = host.ip.rsplit('.').next().unwrap().to_owned();
    let set = |state: &str| {
        let line = format!("ip -n {} link set p{octet} {state}", lan.namespace);
        assert!(std::process::Command::new("sh").args(["-ec", &line]).status().unwrap().success());
    };
    set("down");
    wait(seconds);
    set("up");
    now()
}

#[test]
fn a_link_flaps() {
    let mut story = settled_story();
    for side in 0..2 {
        let median = story.measure(&format!("link flap of 3 s on side {side}, after its return"), |story, _| {
            let host = [&story.a.host, &story.b.host][side].clone();
            let returned = flap(&host, &story.homes[side].clone(), 3.0);
            story.outage(returned);
            let arrivals = story.arrivals();
            arrivals.into_iter().find(|at| *at >= returned).unwrap() - returned
        });
        assert!(median <= 1.0, "{median:.2} s");
    }
}

#[test]
fn udp_is_blocked() {
    let mut story = settled_story();
    let mut gateway = story.lab.gateway_of("a").clone();
    let median = story.measure("UDP suddenly blocked", |story, _| {
        let at = now();
        gateway.let_udp_through(false);
        let outage = story.outage(at);
        gateway.let_udp_through(true);
        wait(1.0);
        outage
    });
    assert!(median <= 5.0, "{median:.2} s");
}

#[test]
fn a_peer_restarts() {
    let mut pair = TwoHomes::connected();
    let replies = pair.lab.path("replies");
    let _pinging = pair.a.host.spawn(&format!("ping -6 -n -D -i 0.1 {} > {}", pair.b.ipv6, replies.display()));
    let mut outages = Vec::new();
    for _ in 0..ROUNDS {
        wait(3.0);
        let at = now();
        pair.b.kill();
        pair.b.launch();
        wait(6.0);
        let text = std::fs::read_to_string(&replies).unwrap_or_default();
        let times: Vec<f64> = text
            .lines()
            .filter(|line| line.contains("bytes from"))
            .filter_map(|line| line.strip_prefix('[')?.split_once(']')?.0.parse().ok())
            .collect();
        let pauses = times.windows(2).filter(|two| two[1] >= at).map(|two| two[1] - two[0]);
        outages.push(pauses.fold(0.0, f64::max));
    }
    println!("peer restart: {outages:.2?} s");
    outages.sort_by(f64::total_cmp);
    assert!(outages[ROUNDS / 2] <= 2.0, "{outages:.2?} s");
}
