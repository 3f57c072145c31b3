//! Two nodes that trust each other, made once and put into each row's networks as they are.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::lab::{Lab, Node, Place, Rendezvous, befriend, output};

static STATES: OnceLock<tempfile::TempDir> = OnceLock::new();

/// The nodes `a` and `b` at their places, stopped: they trust each other and have never met there.
pub fn settle(lab: &Lab, places: [&Place; 2], rendezvous: &Rendezvous) -> [Node; 2] {
    let states = STATES.get_or_init(make);
    let [a, b] = places;
    [("a", a), ("b", b)].map(|(name, place)| {
        copy(&states.path().join(name), &lab.path(name));
        let mut node = lab.stopped_node(&place.host, name, None);
        let url = if place.host.has_ipv4() { Some(&rendezvous.url) } else { rendezvous.url_ipv6.as_ref() };
        node.arguments.extend(["--rendezvous".to_owned(), url.expect("a URL for the family").clone()]);
        node.arguments.extend(["--log".to_owned(), "info,pilot::punch=debug,pilot::node=debug".to_owned()]);
        node.environment.clone_from(&place.environment);
        node
    })
}

/// Makes the two states: each node has been told the other's key.
fn make() -> tempfile::TempDir {
    let mut lab = Lab::new();
    let hosts = [lab.public_host("a"), lab.public_host("b")];
    let [mut a, mut b] = [("a", &hosts[0]), ("b", &hosts[1])].map(|(name, host)| lab.node(host, name, None));
    befriend(&a, &b);
    assert!(a.stop() && b.stop(), "a node stops cleanly on SIGTERM");
    let kept = tempfile::tempdir().expect("a folder for the states");
    for name in ["a", "b"] {
        copy(&lab.path(name), &kept.path().join(name));
    }
    kept
}

fn copy(from: &Path, to: &Path) {
    output(Command::new("cp").arg("-a").arg(from).arg(to));
}
