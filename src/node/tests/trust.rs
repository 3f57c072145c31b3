//! Trust between whole nodes: handshakes, tokens, and what a bad server can do.

use std::time::Duration;

use super::world::{World, records};
use crate::identity::{NodeId, Target};
use crate::node::trust::Terms;
use crate::node::*;

const SECOND: Duration = Duration::from_secs(1);

fn handshake(target: Target) -> Command {
    let reason = "we work together".to_owned();
    Command::Handshake { target, reason, terms: Terms::default() }
}

fn name(text: &str) -> Target {
    Target::Name(text.parse().unwrap())
}

fn trusts(world: &mut World, us: usize, them: usize) -> bool {
    let key = world.hosts[them].key;
    let Ok(Answer::Trusted(peers)) = world.ask(us, Command::Trusted) else {
        panic!("no list of peers");
    };
    peers.iter().any(|peer| peer.key == key)
}

fn pending(world: &mut World, us: usize) -> Vec<NodeId> {
    let Ok(Answer::Pending(pending)) = world.ask(us, Command::Pending) else {
        panic!("no list of requests");
    };
    pending.iter().map(|asked| asked.id).collect()
}

fn pair() -> World {
    let mut world = World::new(&[Some("alpha"), Some("beta")]);
    world.run(SECOND);
    world
}

fn assert_connected(world: &mut World) {
    world.run(SECOND * 3);
    assert!(trusts(world, 0, 1) && trusts(world, 1, 0));
    assert!(matches!(world.path(0, 1), PathView::Direct(_)));
}

#[test]
fn a_handshake_by_name_is_approved_by_hand() {
    let mut world = pair();
    world.ask(0, handshake(name("beta"))).unwrap();
    world.run(SECOND);
    assert!(!trusts(&mut world, 0, 1) && !trusts(&mut world, 1, 0));
    assert_eq!(pending(&mut world, 1), [world.hosts[0].id]);
    let requested = |event: &Event| matches!(event, Event::TrustRequested { .. });
    assert!(world.hosts[1].events.iter().any(requested));
    world.ask(1, Command::Approve(name("alpha"), Default::default())).unwrap();
    assert_connected(&mut world);
    assert!(pending(&mut world, 1).is_empty());
}

#[test]
fn handshakes_with_each_other_approve_each_other() {
    let by_name = (name("beta"), name("alpha"));
    let world = pair();
    let id = |n: usize| Target::Node(world.hosts[n].id);
    let key = |n: usize| Target::Key(world.hosts[n].key);
    let (by_id, by_key) = ((id(1), id(0)), (key(1), key(0)));
    for (to_beta, to_alpha) in [by_name, by_id, by_key] {
        let mut world = pair();
        world.ask(0, handshake(to_beta)).unwrap();
        world.run(SECOND);
        world.ask(1, handshake(to_alpha)).unwrap();
        assert_connected(&mut world);
    }
}

#[test]
fn a_rejected_request_is_met_with_silence() {
    let mut world = pair();
    world.ask(0, handshake(name("beta"))).unwrap();
    world.run(SECOND);
    let alpha = world.hosts[0].id;
    let carried = world.carried.len();
    world.ask(1, Command::Reject(Target::Node(alpha))).unwrap();
    world.run(SECOND * 10);
    assert_eq!(world.carried.len(), carried);
    assert!(pending(&mut world, 1).is_empty());
}

#[test]
fn a_token_is_all_that_it_takes_and_works_once() {
    let mut world = World::new(&[None, None, None]);
    world.run(SECOND);
    let lifetime = SECOND * 3600;
    let Ok(Answer::Invited(token)) = world.ask(0, Command::Invite { uses: 1, lifetime, terms: Terms::default() })
    else {
        panic!("no token");
    };
    world.ask(1, Command::Join(token.clone())).unwrap();
    assert_connected(&mut world);
    world.ask(2, Command::Join(token)).unwrap();
    world.run(SECOND * 3);
    assert!(!trusts(&mut world, 0, 2));
    assert_eq!(world.path(2, 0), PathView::None);
}

#[test]
fn a_token_that_is_over_or_for_others_is_refused() {
    let mut world = pair();
    let lifetime = SECOND * 60;
    let Ok(Answer::Invited(token)) = world.ask(0, Command::Invite { uses: 1, lifetime, terms: Terms::default() })
    else {
        panic!("no token");
    };
    let code = |answer: Result<Answer, CommandError>| answer.unwrap_err().code();
    assert_eq!(code(world.ask(0, Command::Join(token.clone()))), "this_node");
    let mut other = token.clone();
    other.network = crate::identity::Network(5);
    assert_eq!(code(world.ask(1, Command::Join(other))), "wrong_network");
    let mut other = token.clone();
    other.rendezvous.key = world.hosts[1].key;
    assert_eq!(code(world.ask(1, Command::Join(other))), "wrong_rendezvous");
    world.run(SECOND * 61);
    assert_eq!(code(world.ask(1, Command::Join(token))), "token_expired");
    let none = Command::Invite { uses: 0, lifetime, terms: Terms::default() };
    assert_eq!(code(world.ask(0, none)), "bad_argument");
}

#[test]
fn an_envelope_that_the_server_repeats_changes_nothing() {
    let mut world = pair();
    world.befriend(0, 1);
    world.run(SECOND * 3);
    let alpha = world.hosts[0].key;
    let beta = world.hosts[1].id;
    let recorded: Vec<_> = world.carried.iter().filter(|(_, to, _)| *to == alpha).cloned().collect();
    world.ask(0, Command::Untrust(Target::Node(beta))).unwrap();
    for (_, _, sealed) in recorded {
        let delivery = 0;
        world.tell(0, crate::wire::rendezvous::Delivered { sealed, delivery });
    }
    world.run(SECOND * 3);
    assert!(!trusts(&mut world, 0, 1));
    assert_eq!(world.path(0, 1), PathView::None);
}

#[test]
fn the_floor_is_saved_before_the_response_leaves_and_holds_after_a_restart() {
    let mut world = pair();
    world.befriend(0, 1);
    world.run(SECOND * 3);
    let floors: Vec<_> = (0..2).flat_map(|n| records(&world.hosts[n].saved).peers).collect();
    assert!(floors.iter().any(|peer| peer.initiation_floor != [0; 12]));
    assert!(floors.iter().all(|peer| peer.tunnel.is_some()));
}
