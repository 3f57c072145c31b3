//! Crashes, restarts and outages: what is kept, and how soon it works again.

use std::time::{Duration, Instant};

use crate::lab::{Lab, Nat, TwoHomes, befriend, program, until};

#[test]
fn a_killed_daemon_comes_back_with_its_address_and_its_trust() {
    let mut pair = TwoHomes::connected();
    let before = pair.b.ctl(&["info"])["ipv6"].clone();
    for round in 0..2 {
        pair.b.kill();
        let started = Instant::now();
        pair.b.launch();
        until("a ping after a crash", Duration::from_secs(3), || pair.a.pings(&pair.b));
        println!("round {round}: ping {:.2} s after the restart", started.elapsed().as_secs_f64());
        assert_eq!(pair.b.ctl(&["info"])["ipv6"], before);
        assert_eq!(pair.b.peer(&pair.a)["trusted"], true);
    }
    pair.a.kill();
    pair.a.launch();
    until("a ping after the other crash", Duration::from_secs(3), || pair.b.pings(&pair.a));
}

#[test]
fn connected_nodes_do_not_notice_a_lost_rendezvous_and_new_ones_connect_after_its_return() {
    let mut pair = TwoHomes::connected();
    pair.rendezvous.kill();
    let lost = pair.a.host.run(&format!("ping -6 -n -i 0.05 -c 100 -W 1 {}", pair.b.ipv6));
    assert!(lost.contains(" 0% packet loss"), "{lost}");
    pair.rendezvous.start();
    let home = pair.lab.home("c", Nat::PortRestricted);
    let c = pair.lab.node(&home, "c", Some(&pair.rendezvous));
    befriend(&pair.a, &c);
    until("a new connection after the outage", Duration::from_secs(15), || pair.a.pings(&c));
}

#[test]
fn a_node_starts_while_the_rendezvous_is_away_and_says_so() {
    let mut lab = Lab::new();
    let server = lab.public_host("rv");
    let home = lab.home("a", Nat::PortRestricted);
    let mut rendezvous = lab.rendezvous(&server);
    rendezvous.kill();
    let a = lab.node(&home, "a", Some(&rendezvous));
    let info = a.ctl(&["info"]);
    assert_ne!(info["rendezvous"]["state"], "connected", "{info}");
    assert!(a.read_log().contains(&server.ip), "the log names the server that does not answer:\n{}", a.read_log());
    rendezvous.start();
    until("the node finds the rendezvous by itself", Duration::from_secs(15), || {
        a.ctl(&["info"])["rendezvous"]["state"] == "connected"
    });
}

#[test]
fn nothing_is_left_behind_by_a_stop() {
    let mut lab = Lab::new();
    let host = lab.public_host("only");
    let mut a = lab.node(&host, "only", None);
    assert!(host.try_run("ip link show pilot0"));
    assert!(host.try_run("nft list ruleset | grep -q pilot"));
    assert!(a.stop());
    assert!(!host.try_run("ip link show pilot0"), "the interface is gone");
    assert!(!host.try_run("nft list ruleset | grep -q pilot"), "the table is gone");
    assert!(!a.socket.exists(), "the socket is gone");
    a.start();
    a.kill();
    assert!(!host.try_run("ip link show pilot0"), "the interface is gone after a crash");
    a.start();
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused() {
    let mut lab = Lab::new();
    let host = lab.public_host("only");
    let a = lab.node(&host, "only", None);
    let other = lab.public_host("other");
    let out = other
        .command(program("pilotd"))
        .args(["up", "--foreground", "--interface", "pilot9", "--state"])
        .arg(&a.state)
        .arg("--socket")
        .arg(lab.path("second.sock"))
        .output()
        .unwrap();
    assert!(!out.status.success());
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains(a.state.to_str().unwrap()), "{said}");
}

#[test]
fn without_the_privilege_the_error_names_it() {
    let mut lab = Lab::new();
    let host = lab.public_host("only");
    let state = lab.path("unprivileged");
    std::fs::create_dir(&state).unwrap();
    let line = format!(
        "setpriv --bounding-set=-all --inh-caps=-all {} up --foreground --state {} --socket {}",
        program("pilotd").display(),
        state.display(),
        lab.path("unprivileged.sock").display()
    );
    let out = host.command("sh").args(["-ec", &line]).output().unwrap();
    assert!(!out.status.success());
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("CAP_NET_ADMIN"), "{said}");
}

#[test]
fn a_hostname_belongs_to_who_had_it_first() {
    let mut lab = Lab::new();
    let (server, first, second) = (lab.public_host("rv"), lab.public_host("first"), lab.public_host("second"));
    let rendezvous = lab.rendezvous(&server);
    let a = lab.node(&first, "alpha", Some(&rendezvous));
    let b = lab.node(&second, "beta", Some(&rendezvous));
    assert_eq!(b.try_ctl(&["set-hostname", "alpha"]).unwrap_err()["code"], "hostname_taken");
    assert_eq!(b.ctl(&["info"])["hostname"], "beta", "the old name stays");
    a.ctl(&["clear-hostname"]);
    b.ctl(&["set-hostname", "alpha"]);
    assert_eq!(b.ctl(&["info"])["hostname"], "alpha");
}

#[test]
fn a_token_of_another_network_is_refused_with_what_to_do() {
    let mut lab = Lab::new();
    let (first, second) = (lab.public_host("first"), lab.public_host("second"));
    let mut a = lab.stopped_node(&first, "first", None);
    a.arguments.extend(["--network".into(), "5".into()]);
    a.start();
    let token = a.ctl(&["invite"])["token"].as_str().unwrap().to_owned();
    let state = lab.path("second");
    let out = second
        .command(program("pilotd"))
        .args(["up", "--foreground", "--join", &token, "--state"])
        .arg(&state)
        .output()
        .unwrap();
    assert!(!out.status.success());
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("--network 5") && !said.contains(&token), "{said}");
    assert!(!state.exists(), "nothing half-done is left behind");
}

#[test]
fn a_node_starts_in_the_background_and_stops_by_either_command() {
    let mut lab = Lab::new();
    let host = lab.public_host("only");
    let (state, socket) = (lab.path("state"), lab.path("pilotd.sock"));
    let ctl = format!("{} --socket {}", program("pilotctl").display(), socket.display());
    let running = format!("{ctl} daemon status --check");
    let down = format!("{} down --socket {}", program("pilotd").display(), socket.display());
    for stop in [format!("{ctl} daemon stop"), down] {
        assert!(!host.try_run(&running));
        let said = host.run(&format!("{ctl} daemon start --hostname market-monitor-node --state {}", state.display()));
        assert!(said.starts_with("pilot0 is up: market-monitor-node, node "), "{said}");
        assert!(host.try_run(&running));
        host.run(&stop);
        assert!(!socket.exists() && !host.try_run("ip link show pilot0"), "something is left after {stop}");
    }
}
