//! What a limited grant leaves a peer, between real daemons and kernels.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::articles::lines;
use crate::lab::{Lab, Node, Process, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// Whether a web server of another node answers within a second and a half.
fn reaches(from: &Node, to: &Node, port: u16) -> bool {
    from.host.try_run(&format!("curl -sf -o /dev/null --max-time 1.5 'http://[{}]:{port}/'", to.ipv6))
}

fn serve(node: &Node, port: u16, folder: &Path) -> Process {
    let folder = folder.display();
    let server = node.host.spawn(&format!("python3 -m http.server {port} --bind {} --directory {folder}", node.ipv6));
    until("the server listens", PATIENCE, || reaches(node, node, port));
    server
}

fn delivers(from: &Node, to: &Node) -> bool {
    let sent = from.ctl(&["send-message", &to.name, "--data", "hello", "--wait", "15s"]);
    sent["state"] == "delivered"
}

/// Exchanges a byte with the echo of a node again and again, until there is no answer for two seconds.
fn echo_while_it_lasts(from: &Node, to: &Node) -> Process {
    let script = format!(
        "import socket,time\ns=socket.create_connection((\"{}\",7),5)\ns.settimeout(2)\nwhile s.send(b\"x\") and s.recv(1): time.sleep(0.05)",
        to.ipv6
    );
    from.host.spawn(&format!("python3 -c '{script}'"))
}

#[test]
fn a_peer_opens_what_it_was_granted_and_nothing_else() {
    let mut lab = Lab::new();
    let share = lab.path("share");
    std::fs::create_dir(&share).unwrap();
    let hosts = ["rv", "a", "b"].map(|name| lab.public_host(name));
    let rendezvous = lab.rendezvous(&hosts[0]);
    let a = lab.node(&hosts[1], "a", Some(&rendezvous));
    let mut b = lab.node(&hosts[2], "b", Some(&rendezvous));
    a.ctl(&["handshake", "b"]);
    until("the request is pending", PATIENCE, || b.ctl(&["pending"])["pending"][0]["node_id"] == a.id.as_str());
    let refused = b.try_ctl(&["approve", "a", "--allow", "inbox,http"]).unwrap_err();
    assert_eq!(refused["code"], "invalid_request");
    assert!(refused["message"].as_str().unwrap().contains("\"http\""), "{refused}");
    b.ctl(&["approve", "a", "--allow", "inbox,tcp:8080"]);
    a.ctl(&["wait", "--for", "b", "--timeout", "15s"]);
    assert_eq!(b.peer(&a)["grant"], json!(["inbox", "tcp:8080"]));
    assert_eq!(a.peer(&b)["grant"], "all");
    let _servers = [serve(&b, 8080, &share), serve(&b, 8081, &share), serve(&a, 80, &share)];

    assert!(reaches(&a, &b, 8080));
    let before = b.drops("not_granted");
    assert!(!reaches(&a, &b, 8081) && !a.pings(&b));
    assert!(b.drops("not_granted") >= before + 2);
    assert!(delivers(&a, &b));
    assert!(reaches(&b, &a, 80) && b.pings(&a), "replies to what b opens come in");
    let heard = lab.path("heard");
    let _subscriber = a.runs("pilotctl --json subscribe '*'", &heard);
    for _ in 0..20 {
        b.says("pilotctl publish metrics.cpu '{\"percent\":73.2}'");
        assert!(!a.pings_within(&b, 0.1));
    }
    assert!(lines(&heard).is_empty(), "events are not granted");
    assert!(b.says("pilotctl peers").contains("inbox,tcp:8080"));

    b.ctl(&["grant", "a", "all"]);
    assert!(reaches(&a, &b, 8081) && a.pings(&b));
    assert!(!b.says("pilotctl peers").contains("MAY OPEN"));
    // The subscriber waits a while between its attempts.
    until("events are heard", PATIENCE * 2, || {
        b.says("pilotctl publish metrics.cpu '{\"percent\":73.2}'");
        !lines(&heard).is_empty()
    });
    let mut echo = echo_while_it_lasts(&a, &b);
    let connected = || b.host.run("ss -Htn state established sport = :7").contains(&a.ipv6);
    until("the echo is connected", PATIENCE, connected);
    assert!(!echo.has_ended());

    b.ctl(&["grant", "a", "inbox"]);
    assert!(!reaches(&a, &b, 8080) && !a.pings(&b));
    until("what was open is cut", PATIENCE, || echo.has_ended());
    assert!(delivers(&a, &b));
    assert!(reaches(&b, &a, 80));

    assert!(b.stop());
    b.start();
    a.ctl(&["wait", "--for", "b", "--timeout", "15s"]);
    assert!(delivers(&a, &b) && !reaches(&a, &b, 8080));
    assert_eq!(b.peer(&a)["grant"], json!(["inbox"]));

    b.ctl(&["trust", &a.public_key, "--allow", "all", "--for", "6s"]);
    assert!(reaches(&a, &b, 8080));
    assert!(b.peer(&a)["trust_expires"].as_u64().is_some());
    until("trust is over", PATIENCE, || b.peer(&a).is_null());
    assert!(!reaches(&a, &b, 8080) && !b.pings(&a));

    let token = b.ctl(&["invite", "--allow", "tcp:8080"])["token"].as_str().unwrap().to_owned();
    a.ctl(&["join", &token]);
    until("the token lets a in", PATIENCE, || reaches(&a, &b, 8080));
    assert!(!reaches(&a, &b, 8081));
}
