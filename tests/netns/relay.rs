//! The relay where UDP is blocked: over TLS, and back.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Lab, Nat, Node, Place, Process, Rendezvous, Site, befriend, json, until};

/// A node at a site without UDP, and one at home.
struct Pair {
    a: Node,
    b: Node,
    places: [Place; 2],
    _rendezvous: Rendezvous,
    lab: Lab,
}

impl Pair {
    fn new(sites: [Site; 2]) -> Pair {
        let mut lab = Lab::new();
        let server = lab.public_host("rv");
        let rendezvous = lab.rendezvous(&server);
        let places = [lab.place("a", sites[0]), lab.place("b", sites[1])];
        let [a, b] = [("a", &places[0]), ("b", &places[1])].map(|(name, place)| {
            let mut node = lab.stopped_node(&place.host, name, Some(&rendezvous));
            node.environment.clone_from(&place.environment);
            node.start();
            node
        });
        befriend(&a, &b);
        Pair { a, b, places, _rendezvous: rendezvous, lab }
    }

    fn way(&self) -> String {
        let peer = self.a.peer(&self.b);
        let word = |name: &str| peer[name].as_str().unwrap_or("-").to_owned();
        format!("{}/{}", word("path"), word("relay"))
    }
}

const HOME: Site = Site::Home(Nat::PortRestricted);

#[test]
fn where_udp_is_blocked_the_relay_is_reached_over_tls() {
    let pair = Pair::new([Site::UdpBlocked, HOME]);
    let started = Instant::now();
    until("a reply over TLS", Duration::from_secs(10), || pair.a.pings(&pair.b));
    println!("first reply {:.2} s after trust", started.elapsed().as_secs_f64());
    assert_eq!(pair.way(), "relayed/tls");
    let b = pair.b.peer(&pair.a);
    assert_eq!((b["path"].as_str(), b["relay"].as_str()), (Some("relayed"), Some("udp")));
    let server = pair.b.host.spawn(&format!("iperf3 -s -1 -B {}", pair.b.ipv6));
    until("iperf3 listens", Duration::from_secs(5), || pair.b.host.try_run("ss -Hltn | grep -q :5201"));
    let report = json(&pair.a.host.run(&format!("iperf3 -J -t 3 -c {}", pair.b.ipv6)));
    let rate = report["end"]["sum_received"]["bits_per_second"].as_f64().expect("a rate") / 1e6;
    println!("through the relay over TLS: {rate:.0} Mbit/s");
    assert!(rate > 5.0, "{rate} Mbit/s");
    drop(server);
}

/// A TCP connection that talks ten times a second.
struct Talk {
    path: std::path::PathBuf,
    client: Process,
    _server: Process,
}

impl Talk {
    fn start(pair: &Pair) -> Talk {
        let path = pair.lab.path("gap");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/tcp_gap.py");
        let server = pair.b.host.spawn(&format!("python3 {script} serve {}", pair.b.ipv6));
        until("the echo listens", Duration::from_secs(5), || pair.b.host.try_run("ss -Hltn | grep -q :7000"));
        let client = pair.a.host.spawn(&format!("python3 {script} call {} {}", pair.b.ipv6, path.display()));
        let talk = Talk { path, client, _server: server };
        until("the connection talks", Duration::from_secs(5), || talk.read().is_some());
        talk
    }

    /// The longest pause so far, and when the last byte came back.
    fn read(&self) -> Option<(f64, f64)> {
        let text = std::fs::read_to_string(&self.path).ok()?;
        let (longest, at) = text.split_once(' ')?;
        Some((longest.parse().ok()?, at.parse().ok()?))
    }

    /// Waits until it talks again, and gives the longest pause.
    fn longest_pause(&self) -> f64 {
        let before = self.read().map_or(0.0, |(_, at)| at);
        let talks = || self.read().filter(|(_, at)| *at > before + 0.5);
        until("the connection talks on", Duration::from_secs(20), || talks().is_some());
        self.read().map_or(0.0, |(longest, _)| longest)
    }
}

#[test]
fn udp_that_is_suddenly_blocked_is_replaced_and_taken_up_again() {
    let mut pair = Pair::new([HOME, HOME]);
    pair.a.ctl(&["wait", "--for", "direct:b", "--timeout", "20s"]);
    pair.b.ctl(&["wait", "--for", "direct:a", "--timeout", "20s"]);
    let mut talk = Talk::start(&pair);

    pair.places[0].gateways[0].let_udp_through(false);
    let blocked = Instant::now();
    until("a reply over TLS", Duration::from_secs(5), || pair.a.pings_within(&pair.b, 0.2));
    println!("UDP blocked: {:.2} s until a ping is answered", blocked.elapsed().as_secs_f64());
    assert_eq!(pair.way(), "relayed/tls");
    println!("the TCP connection paused for {:.2} s", talk.longest_pause());

    pair.places[0].gateways[0].let_udp_through(true);
    pair.a.ctl(&["wait", "--for", "direct:b", "--timeout", "60s"]);
    assert!(!talk.client.has_ended(), "the TCP connection lives");
}

#[test]
fn where_only_a_proxy_leads_out_the_relay_is_reached_through_it() {
    let mut pair = Pair::new([Site::Proxied, HOME]);
    until("a reply through the proxy", Duration::from_secs(10), || pair.a.pings(&pair.b));
    assert_eq!(pair.way(), "relayed/tls");

    let proxy = pair.a.environment.remove(0).1;
    assert!(pair.a.stop());
    pair.a.arguments.extend(["--proxy".to_owned(), proxy.clone()]);
    pair.a.start();
    until("a reply through the configured proxy", Duration::from_secs(10), || pair.a.pings(&pair.b));
    assert!(pair.a.stop());
    *pair.a.arguments.last_mut().expect("the proxy") = proxy.replace(":3128", ":3129");
    pair.a.start();
    let reason = pair.a.ctl(&["info"])["rendezvous"]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("http://192.168.1.1:3129: the proxy is not reached"), "{reason}");
}

/// Two servers, and nodes behind translators between which no direct path exists.
struct Twins {
    servers: [Rendezvous; 2],
    a: Node,
    b: Node,
    lab: Lab,
}

impl Twins {
    fn connected() -> Twins {
        let mut lab = Lab::new();
        let servers = ["rv1", "rv2"].map(|name| {
            let host = lab.public_host(name);
            lab.rendezvous_named(name, &host, &[])
        });
        let [a, b] = ["a", "b"].map(|name| Twins::node(&mut lab, &servers, name));
        befriend(&a, &b);
        until("the first reply", Duration::from_secs(15), || a.pings(&b));
        Twins { servers, a, b, lab }
    }

    fn node(lab: &mut Lab, servers: &[Rendezvous; 2], name: &str) -> Node {
        let place = lab.place(name, Site::Home(Nat::Symmetric));
        let mut node = lab.stopped_node(&place.host, name, Some(&servers[0]));
        node.arguments.extend(["--rendezvous".to_owned(), servers[1].url.clone()]);
        node.start();
        node
    }

    /// Which server's relay is between the two nodes.
    fn in_use(&self) -> usize {
        let endpoint = self.a.peer(&self.b)["endpoint"].as_str().unwrap_or_default().to_owned();
        let ip = endpoint.rsplit_once(':').map_or("", |(ip, _)| ip);
        let found = self.servers.iter().position(|server| server.url.contains(&format!("@{ip}:")));
        found.unwrap_or_else(|| panic!("relayed by neither server: {endpoint}"))
    }

    /// How many relayed paths have carried something.
    fn proven_relays(&self) -> usize {
        let why = self.a.ctl(&["why", &self.b.name]);
        let paths = why["paths"].as_array().expect("a list").clone();
        let is_proven =
            |path: &&Value| path["kind"] == "relayed" && (path["state"] == "proven" || path["state"] == "chosen");
        paths.iter().filter(is_proven).count()
    }

    fn states(&self) -> Vec<String> {
        let info = self.a.ctl(&["info"]);
        let servers = info["rendezvous_servers"].as_array().expect("a list").clone();
        servers.iter().map(|server| server["state"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// The longest run of pings, ten a second, that were not answered.
fn longest_gap(report: &str) -> f64 {
    let answered = report.lines().filter_map(|line| {
        let (_, rest) = line.split_once("icmp_seq=")?;
        rest.split_whitespace().next()?.parse::<u32>().ok()
    });
    let answered: Vec<u32> = std::iter::once(0).chain(answered).collect();
    let longest = answered.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or(u32::MAX);
    f64::from(longest) / 10.0
}

#[test]
fn the_loss_of_one_of_two_servers_is_hardly_noticed() {
    let mut twins = Twins::connected();
    until("both servers are there", Duration::from_secs(10), || twins.states() == ["connected", "connected"]);
    until("both relays are proven", Duration::from_secs(15), || twins.proven_relays() == 2);
    let dead = twins.in_use();
    let log = twins.lab.path("pings");
    let mut pings = twins.a.runs(&format!("ping -6 -n -i 0.1 -c 80 -W 1 {}", twins.b.ipv6), &log);
    twins.servers[dead].kill();
    until("the pings are over", Duration::from_secs(20), || pings.has_ended());
    let report = std::fs::read_to_string(&log).expect("what ping says");
    let gap = longest_gap(&report);
    println!("one of two servers is killed: pings stop for {gap:.1} s");
    assert!(gap <= 3.0 && report.contains("icmp_seq=80"), "{report}");
    assert_ne!(twins.in_use(), dead);
    assert_ne!(twins.states()[dead], "connected");

    let c = Twins::node(&mut twins.lab, &twins.servers, "c");
    befriend(&twins.a, &c);
    until("a new connection by the other server", Duration::from_secs(15), || twins.a.pings(&c));
    twins.servers[dead].start();
    until("both servers are there again", Duration::from_secs(20), || twins.states() == ["connected", "connected"]);
    assert!(twins.a.pings_within(&twins.b, 1.0) && twins.a.pings_within(&c, 1.0));
}
