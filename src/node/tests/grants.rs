//! Limited grants between whole nodes: at once, across restarts, and trust that ends by itself.

use std::time::Duration;

use super::world::{World, records};
use crate::identity::Target;
use crate::node::trust::Terms;
use crate::node::*;
use crate::wire::Drop;

const SECOND: Duration = Duration::from_secs(1);

/// Two nodes that trust each other and are connected, the second on these terms.
fn pair(grant: &str, lifetime: Option<Duration>) -> World {
    let mut world = World::new(&[Some("alpha"), Some("beta")]);
    world.run(SECOND);
    let [alpha, beta] = [0, 1].map(|number| world.hosts[number].key);
    let terms = Terms { grant: Some(grant.parse().unwrap()), lifetime };
    world.ask(0, Command::Trust(beta, Terms::default())).unwrap();
    world.ask(1, Command::Trust(alpha, terms)).unwrap();
    world.run(SECOND * 3);
    world
}

fn alpha(world: &World) -> Target {
    Target::Key(world.hosts[0].key)
}

fn grant(world: &mut World, grant: &str) {
    let target = alpha(world);
    world.ask(1, Command::Grant(target, grant.parse().unwrap())).unwrap();
}

/// A datagram of UDP from a port to another.
fn udp(from: u16, to: u16) -> Vec<u8> {
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0, 12, 0, 0], b"data"].concat()
}

/// Whether a datagram arrives on the other node's device.
fn arrives(world: &mut World, from: usize, ports: (u16, u16)) -> bool {
    let to = 1 - from;
    let before = world.hosts[to].packets.len();
    world.send(from, to, &udp(ports.0, ports.1));
    world.run(SECOND);
    world.hosts[to].packets.len() > before
}

#[test]
fn a_peer_reaches_what_it_was_granted_and_no_more() {
    let mut world = pair("udp:53", None);
    assert!(arrives(&mut world, 0, (5000, 53)));
    assert!(!arrives(&mut world, 0, (5000, 54)));
    assert_eq!(world.dropped(1, Drop::NotGranted), 1);
    assert!(arrives(&mut world, 1, (6000, 7000)), "the other direction is the other node's matter");
    assert!(arrives(&mut world, 0, (7000, 6000)), "a reply");
    assert!(!arrives(&mut world, 0, (7000, 6001)));
}

#[test]
fn another_grant_holds_at_once() {
    let mut world = pair("all", None);
    assert!(arrives(&mut world, 0, (5000, 54)));
    grant(&mut world, "udp:53");
    assert!(!arrives(&mut world, 0, (5000, 54)));
    assert!(arrives(&mut world, 0, (5000, 53)));
    grant(&mut world, "none");
    assert!(!arrives(&mut world, 0, (5000, 53)));
    grant(&mut world, "all");
    assert!(arrives(&mut world, 0, (5000, 53)));
    let nobody = "nobody".parse().unwrap();
    let error = world.ask(1, Command::Grant(nobody, "all".parse().unwrap())).unwrap_err();
    assert_eq!(error.code(), "not_found");
}

#[test]
fn a_grant_survives_a_restart() {
    let mut world = pair("udp:53", None);
    let saved = records(&world.hosts[1].saved);
    world.restart(1, saved);
    world.run(SECOND * 5);
    assert!(arrives(&mut world, 0, (5000, 53)) && !arrives(&mut world, 0, (5000, 54)));
}

#[test]
fn trusting_again_keeps_the_grant_unless_another_is_said() {
    let mut world = pair("udp:53", None);
    let key = world.hosts[0].key;
    world.ask(1, Command::Trust(key, Terms::default())).unwrap();
    assert!(!arrives(&mut world, 0, (5000, 54)));
    let terms = Terms { grant: Some("udp:54".parse().unwrap()), lifetime: None };
    world.ask(1, Command::Trust(key, terms)).unwrap();
    assert!(arrives(&mut world, 0, (5000, 54)) && !arrives(&mut world, 0, (5000, 53)));
}

#[test]
fn a_request_is_approved_on_terms() {
    let mut world = World::new(&[Some("alpha"), Some("beta")]);
    world.run(SECOND);
    let reason = String::new();
    world.ask(0, Command::Handshake { target: "beta".parse().unwrap(), reason }).unwrap();
    world.run(SECOND);
    let terms = Terms { grant: Some("ping,udp:53".parse().unwrap()), lifetime: Some(SECOND * 60) };
    world.ask(1, Command::Approve("alpha".parse().unwrap(), terms)).unwrap();
    world.run(SECOND * 3);
    assert!(arrives(&mut world, 0, (5000, 53)) && !arrives(&mut world, 0, (5000, 54)));
    let Ok(Answer::Peers(peers)) = world.ask(1, Command::Peers) else { panic!("no peers") };
    assert_eq!(peers[0].grant.to_string(), "ping,udp:53");
    assert!(peers[0].expires_unix_ms.is_some());
}

#[test]
fn trust_for_a_time_ends_as_if_it_were_withdrawn() {
    let mut world = pair("all", Some(SECOND * 100));
    assert!(arrives(&mut world, 0, (5000, 53)));
    let is_over =
        |world: &World| world.hosts[1].events.iter().any(|event| matches!(event, Event::PeerUntrusted { .. }));
    world.run(SECOND * 94);
    assert!(!is_over(&world));
    world.run(SECOND * 3);
    assert!(is_over(&world) && !arrives(&mut world, 0, (5000, 53)));
    assert!(records(&world.hosts[1].saved).peers.is_empty());
    let key = world.hosts[0].key;
    for lifetime in [Duration::from_millis(999), SECOND * 86_400 * 3651] {
        let terms = Terms { grant: None, lifetime: Some(lifetime) };
        let error = world.ask(1, Command::Trust(key, terms)).unwrap_err();
        assert_eq!(error.code(), "bad_argument");
    }
}

#[test]
fn trust_that_ended_while_the_node_was_off_is_not_taken_up_again() {
    let mut world = pair("all", Some(SECOND * 100));
    let saved = records(&world.hosts[1].saved);
    assert_eq!(saved.peers.len(), 1);
    world.vanish(1);
    world.run(SECOND * 100);
    world.restart(1, saved);
    let Ok(Answer::Trusted(peers)) = world.ask(1, Command::Trusted) else { panic!("no list") };
    assert!(peers.is_empty());
    assert!(!arrives(&mut world, 0, (5000, 53)));
}
