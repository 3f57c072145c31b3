//! Attempts that cannot succeed, again and again, on gateways whose tables must not overflow.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::run::FLOWS;
use crate::lab::{Lab, Nat, Node, befriend, peak_of_flows};

/// How long the nodes try; a home gateway keeps an unanswered flow for 30 s.
const WATCHED: Duration = Duration::from_secs(60);
/// An attempt leaves at least so many flows: fewer would mean that none was made.
const ATTEMPT: usize = 100;

/// The internet carries nothing but what goes to or comes from the server.
fn wall(lab: &Lab, server: &str) {
    lab.internet().host().run(&format!(
        "nft 'add table ip wall; add chain ip wall through {{ type filter hook forward priority 0; }}; \
         add rule ip wall through ip saddr != {server} ip daddr != {server} drop'"
    ));
}

#[test]
#[ignore = "a minute; run by `make nat-matrix`"]
fn hopeless_attempts_stay_inside_the_budget() {
    let mut lab = Lab::new();
    let server = lab.public_host("rv");
    wall(&lab, &server.ip);
    let kinds =
        [("s1", Nat::Symmetric), ("s2", Nat::Symmetric), ("e1", Nat::PortRestricted), ("e2", Nat::PortRestricted)];
    let hosts = kinds.map(|(name, nat)| lab.home(name, nat));
    let rendezvous = lab.rendezvous(&server);
    let [s1, s2, e1, e2] = [0, 1, 2, 3].map(|nth| lab.node(&hosts[nth], kinds[nth].0, Some(&rendezvous)));
    let pairs: [(&Node, &Node); 4] = [(&s1, &e1), (&s1, &e2), (&s2, &e1), (&s2, &e2)];
    pairs.iter().for_each(|(one, other)| befriend(one, other));

    let over = AtomicBool::new(false);
    let peaks = std::thread::scope(|scope| {
        let watchers = kinds.map(|(name, _)| {
            let (gateway, over) = (lab.gateway_of(name), &over);
            scope.spawn(move || peak_of_flows(gateway, over))
        });
        let demand = pairs.map(|(one, other)| {
            one.runs(&format!("ping -6 -n -i 0.5 {}", other.ipv6), &lab.path(&format!("{}-{}", one.name, other.name)))
        });
        std::thread::sleep(WATCHED);
        over.store(true, Ordering::Relaxed);
        drop(demand);
        watchers.map(|watcher| watcher.join().expect("a watcher ends"))
    });
    println!("most flows open at once, two symmetric homes and two others: {peaks:?}");
    assert!(peaks.iter().all(|peak| *peak <= FLOWS), "{peaks:?}");
    assert!(peaks.iter().any(|peak| *peak >= ATTEMPT), "an attempt was made: {peaks:?}");
    for (one, other) in pairs {
        assert_eq!(one.peer(other)["path"], "relayed", "{}", one.peer(other));
    }
}
