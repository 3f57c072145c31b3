//! Two nodes, or a few: connecting, trust, restarts, strangers.

use std::time::Duration;

use pilot::node::{Answer, Command, PathView};
use pilot::wire::Drop;

use super::{SECOND, connected, pair};
use crate::fabric::{INTERNET, Link};
use crate::nat::Behaviour;
use crate::world::World;

#[test]
fn two_homes_are_connected_over_the_relay_and_then_directly() {
    let (mut world, a, b) = pair(1, Behaviour::PORT_RESTRICTED, Behaviour::PORT_RESTRICTED);
    let first = world.exchange(a, b, SECOND * 2).expect("a packet each way");
    assert!(world.server.relayed() > 0, "the first packets take the relay");
    assert!(first < SECOND, "the first exchange took {first:?}");
    assert!(world.run_until(SECOND * 3, |world| world.is_direct(a, b)).is_some());
    world.run(SECOND * 3);
    let before = world.server.relayed();
    for _ in 0..50 {
        assert!(world.exchange(a, b, SECOND).is_some(), "a direct path loses nothing");
    }
    assert_eq!(world.server.relayed(), before, "the relay carries nothing any more");
    world.check_sources();
}

#[test]
fn neighbours_on_one_lan_use_it_though_their_router_does_not_hairpin() {
    let mut world = World::new(2);
    let lan = world.lan(Behaviour::SYMMETRIC);
    let (a, b) = (world.node(Some(lan), Link::GOOD), world.node(Some(lan), Link::GOOD));
    world.befriend(a, b);
    assert!(world.run_until(SECOND * 5, |world| world.is_direct(a, b)).is_some());
}

#[test]
fn the_takeover_by_the_direct_path_loses_no_packet() {
    let (mut world, a, b) = pair(3, Behaviour::PORT_RESTRICTED, Behaviour::PORT_RESTRICTED);
    assert!(world.exchange(a, b, SECOND * 5).is_some());
    let mut sent = Vec::new();
    for _ in 0..500 {
        sent.push(world.send(a, b));
        world.run(Duration::from_millis(5));
    }
    assert!(world.is_direct(a, b));
    world.run(SECOND);
    let received = world.received(b);
    assert!(sent.iter().all(|marker| received.contains(marker)), "a packet was lost in the change of paths");
}

#[test]
fn nothing_flows_before_trust_and_nothing_after_it_is_withdrawn() {
    let mut world = World::new(4);
    let (a, b) = (world.node(None, Link::GOOD), world.node(None, Link::GOOD));
    world.run(SECOND);
    let early = world.send(a, b);
    world.run(SECOND * 3);
    assert!(!world.received(b).contains(&early));
    world.befriend(a, b);
    assert!(world.exchange(a, b, SECOND * 5).is_some());
    let key = world.nodes[a].key();
    world.command(b, Command::Untrust(pilot::identity::Target::Key(key)));
    let late = world.send(a, b);
    world.run(SECOND * 3);
    assert!(!world.received(b).contains(&late), "trust is withdrawn at once");
}

#[test]
fn a_handshake_by_name_reaches_a_node_that_was_offline() {
    let mut world = World::new(5);
    let a = world.node(None, Link::GOOD);
    world.run(SECOND);
    world.command(
        a,
        Command::Handshake {
            target: "node-1".parse().expect("a name"),
            reason: "to work together".to_owned(),
            terms: Default::default(),
        },
    );
    world.run(SECOND * 5);
    let b = world.node(None, Link::GOOD);
    world.run(SECOND * 5);
    world.command(b, Command::Pending);
    let answer = &world.nodes[b].answers[&world.nodes[b].last_command()];
    let Ok(Answer::Pending(pending)) = answer else { panic!("{answer:?}") };
    assert_eq!((pending.len(), pending[0].key), (1, world.nodes[a].key()));
    let key = world.nodes[a].key();
    world.command(b, Command::Approve(pilot::identity::Target::Key(key), Default::default()));
    world.run(SECOND);
    assert!(world.exchange(a, b, SECOND * 5).is_some());
}

#[test]
fn two_handshakes_that_name_each_other_need_no_approval() {
    let mut world = World::new(6);
    let (a, b) = (world.node(None, Link::GOOD), world.node(None, Link::GOOD));
    world.run(SECOND);
    for (one, other) in [(a, "node-1"), (b, "node-0")] {
        let target = other.parse().expect("a name");
        world.command(one, Command::Handshake { target, reason: String::new(), terms: Default::default() });
        world.run(SECOND);
    }
    assert!(world.exchange(a, b, SECOND * 5).is_some());
}

#[test]
fn an_invitation_is_good_for_one() {
    let mut world = World::new(7);
    let nodes = [world.node(None, Link::GOOD), world.node(None, Link::GOOD), world.node(None, Link::GOOD)];
    world.run(SECOND);
    world.command(nodes[0], Command::Invite { uses: 1, lifetime: SECOND * 600, terms: Default::default() });
    let inviter = &mut world.nodes[nodes[0]];
    let answer = inviter.answers.remove(&inviter.last_command());
    let Some(Ok(Answer::Invited(token))) = answer else { panic!("{answer:?}") };
    world.command(nodes[1], Command::Join(token.clone()));
    world.run(SECOND);
    assert!(world.exchange(nodes[0], nodes[1], SECOND * 5).is_some());
    world.command(nodes[2], Command::Join(token));
    world.run(SECOND);
    assert!(world.exchange(nodes[0], nodes[2], SECOND * 5).is_none(), "the token was used up");
}

#[test]
fn a_restarted_node_is_reached_again_within_three_seconds() {
    let (mut world, a, b) = connected(8, Behaviour::PORT_RESTRICTED, Behaviour::PORT_RESTRICTED);
    for (round, restarted) in [a, b, b].into_iter().enumerate() {
        world.run(SECOND * 20);
        world.restart(restarted);
        let mut back = None;
        for tenth in 0..30 {
            if world.exchange(a, b, SECOND / 10).is_some() {
                back = Some(tenth);
                break;
            }
        }
        assert!(back.is_some(), "round {round}: not reached within 3 s\n{}\n{}", world.why(a, b), world.why(b, a));
    }
}

#[test]
fn a_lost_server_is_not_noticed_and_a_new_one_introduces_again() {
    let (mut world, a, b) = connected(9, Behaviour::PORT_RESTRICTED, Behaviour::PORT_RESTRICTED);
    world.kill_server();
    for _ in 0..40 {
        assert!(world.exchange(a, b, SECOND).is_some(), "connected nodes need no server");
        world.run(SECOND * 5);
    }
    let c = world.node(None, Link::GOOD);
    world.befriend(a, c);
    assert!(world.exchange(a, c, SECOND * 5).is_none(), "nobody introduces c");
    world.start_server();
    let back = (0..15).find(|_| world.exchange(a, c, SECOND).is_some());
    assert!(back.is_some(), "after the longest pause between dials it introduces c");
}

#[test]
fn relayed_nodes_go_on_after_the_server_restarts() {
    let (mut world, a, b) = connected(10, Behaviour::SYMMETRIC, Behaviour::SYMMETRIC);
    world.kill_server();
    world.run(SECOND * 5);
    world.start_server();
    world.run(SECOND * 15);
    assert!(world.exchange(a, b, SECOND * 2).is_some(), "the relay carries them again");
}

#[test]
fn a_rebooted_router_is_overcome() {
    let (mut world, a, b) = connected(11, Behaviour::PORT_RESTRICTED, Behaviour::PORT_RESTRICTED);
    world.run(SECOND * 10);
    for node in [a, b] {
        let home = world.fabric.home_of(world.nodes[node].host);
        world.fabric.reboot(home, false);
    }
    let mut outage = Duration::ZERO;
    while world.exchange(a, b, SECOND).is_none() {
        outage += SECOND;
        assert!(outage < SECOND * 15, "not overcome");
    }
    assert!(world.run_until(SECOND * 30, |world| world.is_direct(a, b)).is_some(), "direct again");
}

#[test]
fn a_node_that_moves_keeps_its_address_and_its_peers() {
    let (mut world, a, b) = connected(12, Behaviour::PORT_RESTRICTED, Behaviour::PORT_RESTRICTED);
    let elsewhere = world.lan(Behaviour::RESTRICTED);
    world.roam(a, Some(elsewhere));
    let mut outage = Duration::ZERO;
    while world.exchange(a, b, SECOND).is_none() {
        outage += SECOND;
        assert!(outage < SECOND * 15, "not found again");
    }
    assert!(world.run_until(SECOND * 30, |world| world.is_direct(a, b)).is_some(), "direct again");
}

#[test]
fn an_idle_tunnel_is_alive_and_quiet() {
    let (mut world, a, b) = connected(13, Behaviour::PORT_RESTRICTED, Behaviour::PORT_RESTRICTED);
    for idle in [20, 40, 200, 600] {
        world.run(SECOND * idle);
        assert!(world.exchange(a, b, SECOND).is_some(), "deaf after {idle} s");
        assert!(world.is_direct(a, b));
    }
    super::stays_quiet(&mut world, a, b);
}

#[test]
fn bad_links_delay_but_do_not_prevent() {
    let mut world = World::new(14);
    let lans = [world.lan(Behaviour::PORT_RESTRICTED), world.lan(Behaviour::PORT_RESTRICTED)];
    let (a, b) = (world.node(Some(lans[0]), Link::BAD), world.node(Some(lans[1]), Link::BAD));
    world.befriend(a, b);
    assert!(world.run_until(SECOND * 20, |world| world.is_direct(a, b)).is_some());
    let arrived = (0..100).filter(|_| world.exchange(a, b, SECOND).is_some()).count();
    assert!(arrived > 60, "{arrived} of 100 exchanges");
}

#[test]
fn a_stranger_is_answered_nothing() {
    let (mut world, a, b) = connected(15, Behaviour::PORT_RESTRICTED, Behaviour::PORT_RESTRICTED);
    let stranger = world.fabric.host(INTERNET, Link::GOOD);
    let victim = world.node(None, Link::GOOD);
    world.befriend(a, victim);
    world.run(SECOND * 5);
    let at = world.endpoint(victim);
    let recorded = std::mem::take(&mut world.recorded);
    let recorded: Vec<Vec<u8>> = recorded.into_iter().map(|(_, payload)| payload).collect();
    assert!(recorded.len() > 20);
    for datagram in recorded.iter().chain(&garbage()) {
        world.throw(stranger, at, datagram.clone());
    }
    world.run(SECOND * 5);
    world.restart(victim);
    for datagram in &recorded {
        world.throw(stranger, at, datagram.clone());
    }
    world.run(SECOND * 5);
    assert!(world.overheard.is_empty(), "{} datagrams went to a stranger", world.overheard.len());
    assert!(world.nodes[victim].drops.iter().map(|(_, count)| count).sum::<u64>() > 20, "they are counted");
    assert!(world.exchange(a, b, SECOND).is_some() && world.exchange(a, victim, SECOND * 5).is_some());
}

fn garbage() -> Vec<Vec<u8>> {
    let lengths = [0, 1, 4, 20, 32, 40, 64, 92, 148, 1400];
    lengths
        .iter()
        .flat_map(|length| (0..=255u8).step_by(5).map(move |first| vec![first; *length]))
        .chain((1..=4u8).map(|kind| [&[kind, 0, 0, 0][..], &[9; 144]].concat()))
        .collect()
}

#[test]
fn packets_that_claim_another_source_are_dropped_before_they_leave() {
    let (mut world, a, b) = connected(16, Behaviour::PORT_RESTRICTED, Behaviour::PORT_RESTRICTED);
    let before = world.nodes[a].drops.get(Drop::WrongSource);
    let c = world.node(None, Link::GOOD);
    let marker = world.send_as(a, c, b);
    world.run(SECOND);
    assert!(!world.received(b).contains(&marker));
    assert!(world.nodes[a].drops.get(Drop::WrongSource) > before);
    assert_ne!(world.path(a, b), PathView::None);
}

#[test]
fn a_clock_that_jumps_breaks_nothing() {
    let (mut world, a, b) = connected(17, Behaviour::PORT_RESTRICTED, Behaviour::PORT_RESTRICTED);
    world.now.unix_millis -= 86_400_000;
    world.run(SECOND * 200);
    assert!(world.exchange(a, b, SECOND).is_some());
    world.now.unix_millis += 40 * 86_400_000;
    world.run(SECOND * 200);
    assert!(world.exchange(a, b, SECOND).is_some());
}
