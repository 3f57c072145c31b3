//! A common friend as the last relay that is left.

use std::time::{Duration, Instant};

use crate::lab::{Host, Lab, Node, befriend, output, until};

/// Lets nothing pass between a host and an address, in either direction.
fn block(host: &Host, other: &str) {
    host.run(&format!(
        "nft add table ip block \
         && nft 'add chain ip block out {{ type filter hook output priority 0; }}' \
         && nft 'add chain ip block in {{ type filter hook input priority 0; }}' \
         && nft add rule ip block out ip daddr {other} drop && nft add rule ip block in ip saddr {other} drop"
    ));
}

fn pings(from: &Node, to: &Node) -> bool {
    from.host.try_run(&format!("ping -6 -c1 -W1 -n {}", to.ipv6))
}

#[test]
fn friends_relay_when_the_server_is_gone() {
    let mut lab = Lab::new();
    let hosts = ["rv", "a", "b", "f"].map(|name| lab.public_host(name));
    let [server, host_a, host_b, host_f] = &hosts;
    block(host_a, &host_b.ip);
    let mut rendezvous = lab.rendezvous(server);
    let (a, b) = (lab.node(host_a, "a", Some(&rendezvous)), lab.node(host_b, "b", Some(&rendezvous)));
    let mut friend = lab.stopped_node(host_f, "f", Some(&rendezvous));
    friend.arguments.push("--relay-for-friends".into());
    friend.start();
    for (one, other) in [(&a, &friend), (&b, &friend), (&a, &b)] {
        befriend(one, other);
    }
    for node in [&a, &b] {
        node.ctl(&["wait", "--for", "direct:f", "--timeout", "10s"]);
    }
    a.ctl(&["wait", "--for", "b", "--timeout", "10s"]);
    until("a ping by the server's relay", Duration::from_secs(5), || pings(&a, &b));
    assert!(a.peer(&b)["endpoint"].as_str().expect("an endpoint").starts_with(&server.ip), "the server goes first");

    rendezvous.kill();
    let started = Instant::now();
    until("a ping by the friend", Duration::from_secs(20), || pings(&a, &b));
    println!("through the friend {:.2} s after the server was killed", started.elapsed().as_secs_f64());
    for (node, other) in [(&a, &b), (&b, &a)] {
        let is_by_friend = || {
            let peer = node.peer(other);
            (peer["path"].as_str(), peer["endpoint"].as_str()) == (Some("relayed"), Some(friend.id.as_str()))
        };
        until("both sides use the friend", Duration::from_secs(10), is_by_friend);
    }

    let share = lab.path("share");
    std::fs::create_dir(&share).unwrap();
    host_b.run(&format!("head -c 3000000 /dev/urandom > {}/file", share.display()));
    let _server = host_b.http_server(&b.ipv6, &share);
    let got = lab.path("got");
    let speed = output(
        host_a
            .command("curl")
            .args(["-sf", "-w", "%{speed_download}", "-o"])
            .arg(&got)
            .arg(format!("http://[{}]/file", b.ipv6)),
    );
    assert_eq!(std::fs::read(&got).unwrap(), std::fs::read(share.join("file")).unwrap());
    println!("curl through the friend: {speed} bytes/s");

    friend.ctl(&["untrust", "b"]);
    assert!(!pings(&a, &b), "a node that trusts one side only passes nothing on");
}
