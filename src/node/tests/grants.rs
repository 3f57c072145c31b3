//! Limited grants between whole nodes: at once, across restarts, and trust that ends by itself.

use std::time::Duration;

use super::world::{World, records};
use crate::identity::Target;
use crate::node::trust::Terms;
use crate::node::*;
use crate::wire::Drop;

const SECOND: Duration = Duration::from_secs(1);

/// Two nodes that do not trust each other.
fn strangers() -> World {
    let mut world = World::new(&[Some("alpha"), Some("beta")]);
    world.run(SECOND);
    world
}

/// Two nodes that trust each other and are connected, the second on these terms.
fn pair(grant: &str, lifetime: Option<Duration>) -> World {
    let mut world = strangers();
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

fn limited(grant: &str, seconds: u32) -> Terms {
    Terms { grant: Some(grant.parse().unwrap()), lifetime: Some(SECOND * seconds) }
}

fn handshake(target: &str, terms: Terms) -> Command {
    Command::Handshake { target: target.parse().unwrap(), reason: String::new(), terms }
}

/// Goes on from what it has saved.
fn restart(world: &mut World, host: usize) {
    let saved = records(&world.hosts[host].saved);
    world.restart(host, saved);
    world.run(SECOND * 2);
}

/// Whom the second node trusts.
fn trusted(world: &mut World) -> Vec<PeerView> {
    let Ok(Answer::Peers(peers)) = world.ask(1, Command::Peers) else { panic!("no peers") };
    peers
}

/// Whether the first may open at the second port 53 alone, until its time is over.
fn assert_limited(world: &mut World, seconds: u32) {
    assert!(arrives(world, 0, (5000, 53)) && !arrives(world, 0, (5000, 54)));
    world.run(SECOND * (seconds - 12));
    assert_eq!(trusted(world).len(), 1);
    world.run(SECOND * 12);
    assert!(trusted(world).is_empty() && !arrives(world, 0, (5000, 53)));
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
    let mut world = strangers();
    world.ask(0, handshake("beta", Terms::default())).unwrap();
    world.run(SECOND);
    let terms = Terms { grant: Some("ping,udp:53".parse().unwrap()), lifetime: Some(SECOND * 60) };
    world.ask(1, Command::Approve("alpha".parse().unwrap(), terms)).unwrap();
    world.run(SECOND * 3);
    assert!(arrives(&mut world, 0, (5000, 53)) && !arrives(&mut world, 0, (5000, 54)));
    let peers = trusted(&mut world);
    assert_eq!(peers[0].grant.to_string(), "ping,udp:53");
    assert!(peers[0].expires_unix_ms.is_some());
}

#[test]
fn a_token_on_terms_limits_whoever_redeems_it_also_after_a_restart() {
    let mut world = strangers();
    let invite = Command::Invite { uses: 1, lifetime: SECOND * 600, terms: limited("udp:53", 100) };
    let Ok(Answer::Invited(token)) = world.ask(1, invite) else { panic!("no token") };
    restart(&mut world, 1);
    world.run(SECOND * 60);
    world.ask(0, Command::Join(token)).unwrap();
    world.run(SECOND * 3);
    assert_limited(&mut world, 100);
}

#[test]
fn a_token_outlives_the_trust_that_it_gave_and_admits_each_node_once() {
    let mut world = World::new(&[Some("alpha"), Some("beta"), Some("gamma")]);
    world.run(SECOND);
    let invite = Command::Invite { uses: 3, lifetime: SECOND * 600, terms: limited("all", 100) };
    let Ok(Answer::Invited(token)) = world.ask(1, invite) else { panic!("no token") };
    world.ask(0, Command::Join(token.clone())).unwrap();
    world.run(SECOND * 110);
    restart(&mut world, 1);
    for guest in [0, 2] {
        world.ask(guest, Command::Join(token.clone())).unwrap();
        world.run(SECOND * 3);
        let expected: &[&str] = if guest == 0 { &[] } else { &["gamma"] };
        let names: Vec<_> =
            trusted(&mut world).iter().map(|peer| peer.hostname.as_ref().unwrap().to_string()).collect();
        assert_eq!(names, expected);
    }
}

#[test]
fn a_handshake_on_terms_limits_whoever_approves_also_after_a_restart() {
    let mut world = strangers();
    world.ask(1, handshake("alpha", limited("udp:53", 100))).unwrap();
    restart(&mut world, 1);
    world.run(SECOND * 60);
    let beta = Target::Key(world.hosts[1].key);
    world.ask(0, Command::Approve(beta, Terms::default())).unwrap();
    world.run(SECOND * 3);
    assert_limited(&mut world, 100);
}

#[test]
fn a_handshake_with_whom_asked_approves_on_its_terms() {
    let mut world = strangers();
    world.ask(0, handshake("beta", Terms::default())).unwrap();
    world.run(SECOND);
    let id = world.hosts[0].id.to_string();
    world.ask(1, handshake(&id, limited("udp:53", 100))).unwrap();
    world.run(SECOND * 3);
    assert_limited(&mut world, 100);
}

#[test]
fn handshakes_with_each_other_hold_on_the_terms_of_each() {
    let mut world = strangers();
    world.ask(1, handshake("alpha", limited("udp:53", 100))).unwrap();
    world.run(SECOND);
    world.ask(0, handshake("beta", Terms::default())).unwrap();
    world.run(SECOND * 3);
    assert!(arrives(&mut world, 1, (5000, 54)), "the first has set no limit");
    assert_limited(&mut world, 100);
    world.ask(0, handshake("beta", Terms::default())).unwrap();
    world.run(SECOND * 3);
    assert!(trusted(&mut world).is_empty(), "the consent was for once");
}

#[test]
fn a_handshake_with_whom_is_trusted_changes_what_it_says_at_once() {
    let mut world = pair("all", None);
    world.ask(1, handshake("alpha", Terms::default())).unwrap();
    assert!(arrives(&mut world, 0, (5000, 54)));
    world.ask(1, handshake("alpha", limited("udp:53", 100))).unwrap();
    assert_limited(&mut world, 100);
}

#[test]
fn a_handshake_with_whom_is_trusted_does_not_outlive_trust() {
    let mut world = pair("all", None);
    world.vanish(0);
    world.ask(1, handshake("alpha", limited("all", 100))).unwrap();
    world.run(SECOND * 101);
    let saved = records(&world.hosts[0].saved);
    world.restart(0, saved);
    world.run(SECOND * 5);
    assert!(trusted(&mut world).is_empty());
    assert!(records(&world.hosts[1].saved).requests.is_empty());
}

#[test]
fn invites_and_handshakes_on_impossible_terms_are_refused() {
    let mut world = strangers();
    for seconds in [0, 86_400 * 3651] {
        let invite = Command::Invite { uses: 1, lifetime: SECOND * 600, terms: limited("all", seconds) };
        for command in [invite, handshake("alpha", limited("all", seconds))] {
            assert_eq!(world.ask(1, command).unwrap_err().code(), "bad_argument");
        }
    }
    let saved = records(&world.hosts[1].saved);
    assert!(saved.invites.is_empty() && saved.requests.is_empty());
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
