//! `pilotctl netcheck` in the networks of the lab, standard STUN servers, and a rendezvous that serves both families.

use std::time::Duration;

use serde_json::Value;

use crate::lab::{Host, Lab, Nat, Node, Place, Process, Rendezvous, Site, befriend, output, program, until};

const HOME: Site = Site::Home(Nat::PortRestricted);

/// A stock STUN server.
fn coturn(host: &Host, lab: &Lab) -> (Process, String) {
    let process = host.spawn(&format!(
        "turnserver -n --stun-only --no-cli --no-tls --no-dtls --listening-ip={} --log-file=/dev/null --pidfile={}",
        host.ip,
        lab.path("turnserver.pid").display()
    ));
    until("coturn listens", Duration::from_secs(10), || host.try_run("ss -Hlun | grep -q :3478"));
    (process, format!("{}:3478", host.ip))
}

fn node(lab: &Lab, place: &Place, name: &str, rendezvous: Option<&Rendezvous>, more: &[&str]) -> Node {
    let mut node = lab.stopped_node(&place.host, name, rendezvous);
    node.environment.clone_from(&place.environment);
    node.arguments.extend(more.iter().map(|word| (*word).to_owned()));
    node.start();
    node
}

fn codes(check: &Value) -> Vec<&str> {
    let advice = check["advice"].as_array().expect("a list");
    advice.iter().filter_map(|advice| advice["code"].as_str()).collect()
}

fn stun<'a>(check: &'a Value, kind: &str) -> Vec<&'a Value> {
    let all = check["stun"].as_array().expect("a list");
    all.iter().filter(|server| server["kind"] == kind).collect()
}

#[test]
fn netcheck_tells_how_a_home_is_connected() {
    let mut lab = Lab::new();
    let server = lab.public_host("rv");
    let rendezvous = lab.rendezvous(&server);
    let other = lab.public_host("stun");
    let (_coturn, name) = coturn(&other, &lab);
    let place = lab.place("a", HOME);
    let a = node(&lab, &place, "a", Some(&rendezvous), &["--stun", &name]);
    let is_settled = || a.ctl(&["netcheck"])["nat"]["filtering"] == "address-and-port-dependent";
    until("the NAT is known", Duration::from_secs(10), is_settled);
    println!("{}", a.says("pilotctl netcheck"));
    let check = a.ctl(&["netcheck"]);
    assert_eq!((check["udp"].as_str(), check["nat"]["mapping"].as_str()), (Some("open"), Some("endpoint-independent")));
    assert_eq!((check["ipv4"]["stun"].as_bool(), check["ipv4"]["mtu"].as_u64()), (Some(true), Some(1_500)));
    assert_eq!(check["ipv4"]["source"].as_str(), Some(place.host.ip.as_str()));
    let [configured] = stun(&check, "configured")[..] else { panic!("{check}") };
    assert_eq!((configured["name"].as_str(), configured["server"].as_str()), (Some(&name[..]), Some(&name[..])));
    let own = stun(&check, "rendezvous");
    assert_eq!((own.len(), &own[0]["endpoint"]), (2, &configured["endpoint"]), "coturn sees what our server sees");
    assert!(configured["rtt_ms"].as_f64().is_some_and(|millis| millis > 0.0));
    let link = &check["rendezvous"][0];
    assert_eq!((link["state"].as_str(), link["relay"].as_str()), (Some("connected"), Some("udp")));
    assert!(link["rtt_ms"].is_f64() && link["stun_rtt_ms"].is_f64(), "{link}");
    assert_eq!(codes(&check), Vec::<&str>::new());
}

#[test]
fn netcheck_tells_what_is_wrong_with_a_network_and_what_to_do() {
    let mut lab = Lab::new();
    let server = lab.public_host("rv");
    let rendezvous = lab.rendezvous(&server);
    let place = lab.place("a", Site::UdpBlocked);
    let a = node(&lab, &place, "a", Some(&rendezvous), &["--stun", "no-such-host.invalid"]);
    let is_found_out = |check: &Value| {
        let is_looked_up = check["stun_failed"][0]["name"] == "no-such-host.invalid";
        is_looked_up && check["rendezvous"][0]["relay"] == "tls"
    };
    until("the relay is reached", Duration::from_secs(20), || is_found_out(&a.ctl(&["netcheck"])));
    println!("{}", a.says("pilotctl netcheck"));
    let check = a.ctl(&["netcheck"]);
    assert_eq!((check["udp"].as_str(), check["ipv4"]["stun"].as_bool()), (Some("blocked"), Some(false)));
    assert!(check["rendezvous"][0]["rtt_ms"].is_f64());
    assert_eq!(codes(&check), ["udp_blocked", "stun_silent"]);

    let place = lab.place("b", Site::Home(Nat::Symmetric));
    let b = node(&lab, &place, "b", Some(&rendezvous), &[]);
    until("the NAT is known", Duration::from_secs(10), || codes(&b.ctl(&["netcheck"])) == ["symmetric"]);
    println!("{}", b.says("pilotctl netcheck"));

    befriend(&a, &b);
    until("a ping over the relay", Duration::from_secs(10), || b.pings(&a));
    assert_eq!(b.ctl(&["why", "a"])["reason"], "peer_udp_blocked");
    println!("{}\n{}", b.says("pilotctl why a"), b.says("pilotctl traceroute a"));
}

#[test]
fn a_stock_stun_server_is_enough_for_a_direct_path() {
    let mut lab = Lab::new();
    let server = lab.public_host("rv");
    let rendezvous = lab.rendezvous(&server);
    server.run(
        "nft add table inet closed
         nft 'add chain inet closed in { type filter hook input priority 0; }'
         nft add rule inet closed in udp dport 9001-9002 drop",
    );
    let other = lab.public_host("stun");
    let (_coturn, name) = coturn(&other, &lab);
    let places = [lab.place("a", HOME), lab.place("b", HOME)];
    let [a, b] = [("a", &places[0]), ("b", &places[1])]
        .map(|(who, place)| node(&lab, place, who, Some(&rendezvous), &["--stun", &name]));
    befriend(&a, &b);
    a.ctl(&["wait", "--for", "direct:b", "--timeout", "20s"]);
    let check = a.ctl(&["netcheck"]);
    assert!(stun(&check, "rendezvous").iter().all(|server| server["endpoint"].is_null()), "{check}");
    assert_eq!((check["udp"].as_str(), check["rendezvous"][0]["relay"].as_str()), (Some("open"), Some("tls")));
}

#[test]
fn a_rendezvous_serves_both_families_by_default() {
    let mut lab = Lab::new();
    let internet = lab.internet();
    let server = lab.host("rv", &internet);
    let state = lab.path("rendezvous");
    let urls = output(server.command(program("pilotd")).args(["rendezvous", "--print-url", "--state"]).arg(&state));
    let [url] = urls.lines().collect::<Vec<_>>()[..] else { panic!("one URL: {urls}") };
    assert!(url.ends_with(&format!("@{}:9000", server.ip)), "{url}");
    let pilotd = program("pilotd").display().to_string();
    let _process = server.spawn(&format!("{pilotd} rendezvous --state {}", state.display()));
    until("it listens", Duration::from_secs(10), || server.try_run("ss -Hltn | grep -q :9000"));

    let over_v6 = url.replace(&server.ip, &format!("[{}]", server.ipv6.as_deref().expect("IPv6")));
    let places = [lab.place("a", Site::Public), lab.place("b", Site::Ipv6Only)];
    let a = node(&lab, &places[0], "a", None, &["--rendezvous", url]);
    let b = node(&lab, &places[1], "b", None, &["--rendezvous", &over_v6]);
    befriend(&a, &b);
    until("a ping", Duration::from_secs(10), || a.pings(&b));
    let check = b.ctl(&["netcheck"]);
    println!("{}", b.says("pilotctl netcheck"));
    assert_eq!((check["ipv6"]["stun"].as_bool(), check["ipv4"]["stun"].as_bool()), (Some(true), None));
    assert_eq!(check["rendezvous"][0]["relay"].as_str(), Some("udp"));
}

#[test]
fn a_node_without_ipv4_is_a_complete_network_of_one() {
    let mut lab = Lab::new();
    let place = lab.place("a", Site::Ipv6Only);
    let a = node(&lab, &place, "a", None, &[]);
    let info = a.ctl(&["info"]);
    let expected = format!("@[{}]:9000", place.host.ipv6.as_deref().expect("IPv6"));
    let url = info["rendezvous"]["url"].as_str().expect("a URL");
    assert!(url.ends_with(&expected), "{url} {expected}");
    until("it is logged in", Duration::from_secs(10), || a.ctl(&["info"])["rendezvous"]["state"] == "connected");
}
