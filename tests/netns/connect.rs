//! Two homes, two NATs, one public rendezvous: what people install Pilot for.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::lab::{Host, Lab, Nat, TwoHomes, is_public, output, until};

fn sha256(host: &Host, file: &Path) -> String {
    host.run(&format!("sha256sum < {}", file.display()))
}

#[test]
fn curl_fetches_100_mb_over_a_direct_path() {
    let mut homes = TwoHomes::new(Nat::PortRestricted, Nat::PortRestricted);
    let first_reply = homes.up_to_first_reply();
    assert!(first_reply < 2.0, "first reply after {first_reply:.2} s");
    let started = Instant::now();
    homes.a.ctl(&["wait", "--for", &format!("direct:{}", homes.b.id), "--timeout", "3s"]);
    let direct = first_reply + started.elapsed().as_secs_f64();

    let share = homes.lab.path("share");
    std::fs::create_dir(&share).unwrap();
    homes.b.host.run(&format!("head -c 100000000 /dev/urandom > {}/file", share.display()));
    let _server = homes.b.host.http_server(&homes.b.ipv6, &share);
    let got = homes.lab.path("got");
    let figures = output(
        homes
            .a
            .host
            .command("curl")
            .args(["-sf", "-w", "%{time_starttransfer} %{speed_download}", "-o"])
            .arg(&got)
            .arg(format!("http://[{}]/file", homes.b.ipv6)),
    );
    assert_eq!(sha256(&homes.a.host, &got), sha256(&homes.b.host, &share.join("file")));

    let peer = homes.a.peer(&homes.b);
    assert_eq!(peer["path"], "direct", "{peer}");
    let relayed = homes.rendezvous.status()["relay"]["bytes"].as_u64().expect("the relay counts its bytes");
    assert!(relayed < 1_000_000, "the relay carried {relayed} bytes");
    println!(
        "first reply {first_reply:.2} s, direct {direct:.2} s, curl first byte and bytes/s {figures}, relay carried {relayed} bytes"
    );
}

#[test]
fn the_first_ping_goes_through_the_relay_and_the_path_becomes_direct() {
    let mut homes = TwoHomes::new(Nat::PortRestricted, Nat::PortRestricted);
    homes.up_to_first_reply();
    let relayed = homes.rendezvous.status()["relay"]["datagrams"].as_u64().expect("the relay counts its datagrams");
    assert!(relayed > 0, "nothing went through the relay");
    homes.a.ctl(&["wait", "--for", &format!("direct:{}", homes.b.id), "--timeout", "3s"]);
    homes.b.ctl(&["wait", "--for", &format!("direct:{}", homes.a.id), "--timeout", "3s"]);
    let ping = homes.a.ctl(&["ping", "b", "--count", "3"]);
    assert_eq!((&ping["sent"], &ping["received"]), (&3.into(), &3.into()), "{ping}");
    assert!(is_public(homes.a.peer(&homes.b)["endpoint"].as_str().expect("an endpoint")));
}

#[test]
fn a_handshake_by_name_and_an_approval_make_a_direct_connection() {
    let mut lab = Lab::new();
    let server = lab.public_host("rv");
    let (home_a, home_b) = (lab.home("a", Nat::PortRestricted), lab.home("b", Nat::PortRestricted));
    let rendezvous = lab.rendezvous(&server);
    let (a, b) = (lab.node(&home_a, "alpha", Some(&rendezvous)), lab.node(&home_b, "beta", Some(&rendezvous)));
    a.ctl(&["handshake", "beta", "for the weekly report"]);
    until("the request is pending", Duration::from_secs(5), || {
        b.ctl(&["pending"])["pending"][0]["node_id"] == a.id.as_str()
    });
    assert_eq!(b.ctl(&["pending"])["pending"][0]["reason"], "for the weekly report");
    assert!(!b.host.try_run(&format!("ping -6 -c1 -W1 -n {}", a.ipv6)), "no data flows before the approval");
    b.ctl(&["approve", "alpha"]);
    a.ctl(&["wait", "--for", "direct:beta", "--timeout", "10s"]);
    assert!(a.host.try_run(&format!("ping -6 -c1 -W2 -n {}", b.ipv6)));
    b.ctl(&["untrust", "alpha"]);
    assert!(!a.host.try_run(&format!("ping -6 -c1 -W1 -n {}", b.ipv6)), "no data flows after trust is withdrawn");
}

#[test]
fn a_join_token_is_all_that_a_second_machine_needs() {
    let mut lab = Lab::new();
    let (first, second) = (lab.public_host("first"), lab.home("second", Nat::PortRestricted));
    let mut a = lab.stopped_node(&first, "first", None);
    a.arguments.extend(["--advertise".into(), first.ip.clone()]);
    a.start();
    let token = a.ctl(&["invite"])["token"].as_str().expect("a token").to_owned();
    let mut b = lab.stopped_node(&second, "second", None);
    b.arguments.extend(["--join".into(), token.clone()]);
    b.start();
    b.ctl(&["wait", "--for", "first", "--timeout", "10s"]);
    assert!(b.host.try_run(&format!("ping -6 -c1 -W2 -n {}", a.ipv6)));
    assert!(!a.read_log().contains(&token) && !b.read_log().contains(&token), "a token is never logged");

    let third = lab.home("third", Nat::PortRestricted);
    let mut c = lab.stopped_node(&third, "third", None);
    c.arguments.extend(["--join".into(), token]);
    c.start();
    assert!(c.try_ctl(&["wait", "--for", "first", "--timeout", "3s"]).is_err(), "a token is good for one use");
}

#[test]
fn two_symmetric_nats_are_relayed() {
    let mut homes = TwoHomes::new(Nat::Symmetric, Nat::Symmetric);
    let first_reply = homes.up_to_first_reply();
    assert!(first_reply < 2.0, "first reply after {first_reply:.2} s");
    let share = homes.lab.path("share");
    std::fs::create_dir(&share).unwrap();
    homes.b.host.run(&format!("head -c 5000000 /dev/urandom > {}/file", share.display()));
    let _server = homes.b.host.http_server(&homes.b.ipv6, &share);
    let got = homes.lab.path("got");
    output(homes.a.host.command("curl").args(["-sf", "-o"]).arg(&got).arg(format!("http://[{}]/file", homes.b.ipv6)));
    assert_eq!(sha256(&homes.a.host, &got), sha256(&homes.b.host, &share.join("file")));
    for (node, other) in [(&homes.a, &homes.b), (&homes.b, &homes.a)] {
        let peer = node.peer(other);
        assert_eq!(peer["path"], "relayed", "{peer}");
    }
    println!("symmetric against symmetric: first reply {first_reply:.2} s, relayed");
}

#[test]
fn stock_grpc_unary_and_streaming_run_unchanged() {
    let mut homes = TwoHomes::new(Nat::PortRestricted, Nat::PortRestricted);
    homes.up_to_first_reply();
    let python = std::env::var("PILOT_TEST_PYTHON")
        .expect("PILOT_TEST_PYTHON names a Python that has grpcio (make test sets it)");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/grpc_echo.py");
    let _server = homes.b.host.spawn(&format!("{python} {script} serve '[{}]:50051'", homes.b.ipv6));
    let said = output(homes.a.host.command(python).args([script, "call", &format!("[{}]:50051", homes.b.ipv6)]));
    assert_eq!(said.trim(), "unary ok\nserver stream ok 1000\nclient stream ok 1000\nbidirectional ok 1000");
}

#[test]
fn overlay_services_are_bound_to_the_overlay() {
    let mut homes = TwoHomes::new(Nat::PortRestricted, Nat::PortRestricted);
    homes.up_to_first_reply();
    let said = homes.a.host.run(&format!(
        "python3 -c 'import socket; s=socket.create_connection((\"{}\",7),5); s.sendall(b\"hello\"); s.shutdown(1); print(s.makefile().read())'",
        homes.b.ipv6
    ));
    assert_eq!(said.trim(), "hello");
    let measured = homes.a.ctl(&["bench", "b", "--time", "200ms"]);
    assert!(measured["bytes"].as_u64() > Some(0) && measured["rtt_p50_ms"].as_f64() > Some(0.0), "{measured}");
}
