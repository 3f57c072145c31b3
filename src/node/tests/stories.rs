//! Connecting, carrying packets, losing and finding the way.

use std::net::SocketAddr;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::world::{STRANGER, World, identity, is_initiation, records};
use crate::identity::{Identity, Target, TunnelCertificate, TunnelSecret, envelope};
use crate::node::*;
use crate::wire::Nat;
use crate::wire::introduction::Introduction;
use crate::wire::rendezvous::Delivered;
use crate::wire::{CandidateKind, Drop};

const SECOND: Duration = Duration::from_secs(1);

/// Two nodes that trust each other.
fn friends() -> World {
    let mut world = World::new(&[None, None]);
    world.run(SECOND);
    world.befriend(0, 1);
    world
}

fn is_direct(path: PathView) -> bool {
    matches!(path, PathView::Direct(_))
}

fn is_relayed(path: PathView) -> bool {
    matches!(path, PathView::Relayed(_))
}

#[test]
fn friends_connect_by_themselves_over_the_relay_and_then_directly() {
    let mut world = friends();
    world.run(SECOND * 3);
    for (us, them) in [(0, 1), (1, 0)] {
        assert!(is_direct(world.path(us, them)), "{us} → {them}");
        let id = world.hosts[them].id;
        let paths: Vec<PathView> = world.hosts[us]
            .events
            .iter()
            .filter_map(|event| match event {
                Event::PeerPath { id: other, path } if *other == id => Some(*path),
                _ => None,
            })
            .collect();
        assert!(is_direct(*paths.last().unwrap()), "{paths:?}");
    }
}

#[test]
fn packets_go_both_ways_and_those_that_waited_are_not_lost() {
    let mut world = friends();
    for n in 0..5 {
        world.send(0, 1, &[n; 9]);
        world.send(1, 0, &[n + 100; 9]);
    }
    world.run(SECOND * 3);
    let expected =
        |from, to, plus: u8| -> Vec<Vec<u8>> { (0..5).map(|n| world.packet(from, to, &[n + plus; 9])).collect() };
    assert_eq!(world.hosts[1].packets, expected(0, 1, 0));
    assert_eq!(world.hosts[0].packets, expected(1, 0, 100));
}

#[test]
fn where_no_direct_way_is_open_the_relay_carries_on() {
    let mut world = World::new(&[None, None]);
    world.is_direct_open = false;
    world.run(SECOND);
    world.befriend(0, 1);
    world.run(SECOND * 20);
    assert!(is_relayed(world.path(0, 1)) && is_relayed(world.path(1, 0)));
    world.send(0, 1, b"over the relay");
    world.run(SECOND);
    assert_eq!(world.hosts[1].packets.len(), 1);
}

#[test]
fn a_direct_path_that_dies_gives_way_to_the_relay_and_comes_back() {
    let mut world = friends();
    world.run(SECOND * 3);
    assert!(is_direct(world.path(0, 1)));
    world.is_direct_open = false;
    for n in 0..40 {
        world.send(0, 1, &[n]);
        world.run(SECOND / 4);
    }
    assert!(is_relayed(world.path(0, 1)));
    let before = world.hosts[1].packets.len();
    world.send(0, 1, b"still there");
    world.run(SECOND);
    assert_eq!(world.hosts[1].packets.len(), before + 1);
    world.is_direct_open = true;
    world.run(SECOND * 180);
    assert!(is_direct(world.path(0, 1)));
}

#[test]
fn a_peer_that_restarts_is_connected_again_at_once() {
    let mut world = friends();
    world.run(SECOND * 3);
    let saved = records(&world.hosts[1].saved);
    world.restart(1, saved);
    world.run(SECOND * 3);
    assert!(is_direct(world.path(0, 1)) && is_direct(world.path(1, 0)));
    world.send(0, 1, b"to the new one");
    world.run(SECOND);
    assert_eq!(world.hosts[1].packets.len(), 1);
}

#[test]
fn trust_that_ends_leaves_silence_at_once() {
    let mut world = friends();
    world.run(SECOND * 3);
    let id = world.hosts[1].id;
    world.ask(0, Command::Untrust(Target::Node(id))).unwrap();
    let (packets, transmitted) = (world.hosts[0].packets.len(), world.hosts[0].transmitted);
    let carried = world.carried.iter().filter(|(from, ..)| *from == 0).count();
    for n in 0..20 {
        world.send(1, 0, &[n]);
        world.run(SECOND / 2);
    }
    assert_eq!(world.hosts[0].packets.len(), packets);
    // Only the server hears from it: Binds and STUN, of at most 4 datagrams each 10 s.
    assert!(world.hosts[0].transmitted - transmitted <= 8);
    assert_eq!(world.carried.iter().filter(|(from, ..)| *from == 0).count(), carried);
    world.send(0, 1, b"no more");
    assert!(world.dropped(0, Drop::NoRoute) > 0);
}

#[test]
fn a_stranger_gets_no_answer_of_any_kind() {
    let mut world = World::new(&[None, None]);
    world.run(SECOND);
    // 1 trusts 0, not the other way round: it introduces itself and is met by silence.
    let key = world.hosts[0].key;
    world.ask(1, Command::Trust(key, Default::default())).unwrap();
    let carried = world.carried.len();
    world.send(1, 0, b"hello?");
    world.run(SECOND * 5);
    assert!(world.carried.len() > carried);
    assert!(world.carried.iter().all(|(from, ..)| *from != 0));
    assert!(world.dropped(0, Drop::Untrusted) > 0);
    assert!(world.hosts[0].packets.is_empty());
    assert_eq!(world.path(1, 0), PathView::None);
}

#[test]
fn recorded_initiations_and_garbage_are_met_with_silence() {
    let mut world = friends();
    world.run(SECOND * 3);
    let stranger: SocketAddr = "192.0.2.9:1234".parse().unwrap();
    let transmitted = world.hosts[0].transmitted;
    for len in [0, 1, 32, 64, 92, 148, 1500, 70_000] {
        for kind in [0, 1, 2, 3, 4, 0x10, 0x11, 0x13, 0xff] {
            let mut datagram = vec![0; len];
            if let Some(first) = datagram.first_mut() {
                *first = kind;
            }
            world.inject(stranger, 0, &datagram);
        }
    }
    assert_eq!(world.hosts[0].transmitted, transmitted);
}

#[test]
fn a_recorded_initiation_is_met_with_silence_even_after_a_restart() {
    let mut world = friends();
    world.run(SECOND * 3);
    for number in 0..2 {
        let saved = records(&world.hosts[number].saved);
        let unwrapped = |payload: &[u8]| payload.get(20..).map(<[u8]>::to_vec).unwrap_or_default();
        let inner: Vec<Vec<u8>> = world
            .arrived
            .iter()
            .filter(|(_, host, _)| *host == number)
            .flat_map(|(_, _, payload)| [payload.clone(), unwrapped(payload)])
            .filter(|payload| is_initiation(payload))
            .collect();
        world.restart(number, saved);
        world.unlink(number);
        let before = world.hosts[number].transmitted;
        for initiation in &inner {
            world.inject("192.0.2.9:1234".parse().unwrap(), number, initiation);
        }
        assert_eq!(world.hosts[number].transmitted, before);
        assert_eq!(world.dropped(number, Drop::Replayed), inner.len() as u64);
    }
    let initiations = |number| world.dropped(number, Drop::Replayed);
    assert!(initiations(0) + initiations(1) > 0);
}

#[test]
fn under_load_cookies_go_to_where_a_peer_may_be_and_nowhere_else() {
    let mut world = friends();
    world.run(SECOND * 3);
    let mut initiations = world.arrived.iter().filter(|(_, _, payload)| is_initiation(payload));
    let (peer, number, initiation) = initiations.next_back().cloned().unwrap();
    let stranger = STRANGER.parse().unwrap();
    world.arrived.clear();
    for _ in 0..200 {
        world.inject(stranger, number, &initiation);
        world.inject(peer, number, &initiation);
    }
    world.run(SECOND);
    assert!(world.dropped(number, Drop::UnderLoad) >= 200);
    assert_eq!(world.stranger_heard, 0);
    let cookies = world.arrived.iter().filter(|(_, _, payload)| matches!(payload[..], [3, 0, 0, 0, ..]));
    assert!(cookies.count() > 50);
}

#[test]
fn an_introduction_needs_a_certificate_that_is_its_own_and_not_older() {
    let mut world = friends();
    world.run(SECOND * 3);
    // The copies of a handshake that came by other paths.
    let replayed = world.dropped(0, Drop::Replayed);
    let (sender, other) = (identity(1), identity(2));
    let secret = TunnelSecret::from_bytes([99; 32]);
    let certificates = [
        TunnelCertificate::issue(&other, &secret, 5),
        TunnelCertificate::issue(&sender, &secret, 0),
        TunnelCertificate::issue(&sender, &secret, 1),
    ];
    for certificate in certificates {
        introduce(&mut world, &sender, certificate);
    }
    world.run(SECOND);
    assert_eq!(world.dropped(0, Drop::MalformedIntroduction), 1);
    assert_eq!(world.dropped(0, Drop::Replayed), replayed + 2);
    world.send(0, 1, b"as before");
    world.run(SECOND);
    assert_eq!(world.hosts[1].packets.len(), 1);
}

#[test]
fn a_peer_cannot_speak_for_another() {
    let mut world = friends();
    world.run(SECOND * 3);
    let mut spoofed = world.packet(1, 0, b"whose?");
    spoofed[23] ^= 1;
    let id = world.hosts[0].id;
    let node = &world.hosts[1].node;
    let remote = node.remotes.get(node.remotes.of_id(id).unwrap()).unwrap();
    let mut sealed = [0; 200];
    let len = remote.tunnel.as_ref().unwrap().seal(&spoofed, &mut sealed).unwrap();
    world.inject(world.hosts[1].endpoint, 0, &sealed[..len]);
    assert_eq!(world.dropped(0, Drop::WrongSource), 1);
    assert!(world.hosts[0].packets.is_empty());
}

#[test]
fn the_relay_carries_on_through_a_new_login() {
    let mut world = World::new(&[None, None]);
    world.is_direct_open = false;
    world.run(SECOND);
    world.befriend(0, 1);
    world.run(SECOND * 20);
    for step in 0..20 {
        if step == 5 {
            world.unlink(0);
        }
        if step == 10 {
            world.link(0);
        }
        world.send(0, 1, b"on and on");
        world.run(SECOND / 100);
    }
    world.run(SECOND);
    assert_eq!(world.hosts[1].packets.len(), 20);
}

#[test]
fn a_program_cannot_speak_for_the_node_or_for_another() {
    let mut world = friends();
    world.run(SECOND * 3);
    let mut spoofed = world.packet(0, 1, b"not from me");
    spoofed[8..24].copy_from_slice(&world.address(1).octets());
    let transmitted = world.hosts[0].transmitted;
    world.hosts[0].node.handle_packet(world.now, &spoofed);
    let (a, b) = (world.hosts[0].id, world.hosts[1].id);
    let control = crate::wire::control::Control::Ping { id: 1 };
    let control = crate::wire::control::encode(a, b, &control);
    world.hosts[0].node.handle_packet(world.now, &control);
    world.drain(0);
    assert_eq!(world.hosts[0].transmitted, transmitted);
    assert_eq!(world.dropped(0, Drop::WrongSource), 1);
    assert_eq!(world.dropped(0, Drop::TunControl), 1);
}

#[test]
fn a_ping_connects_first_and_one_to_nobody_times_out() {
    let mut world = friends();
    let id = world.hosts[1].id;
    let Ok(Answer::Pong(pong)) = world.ask(0, Command::Ping(Target::Node(id))) else {
        panic!("no pong");
    };
    assert_eq!(pong.id, id);
    assert!(pong.rtt >= Duration::from_millis(10) && pong.rtt < SECOND, "{pong:?}");
    world.unlink(1);
    let other = world.add(None, Default::default());
    let key = world.hosts[other].key;
    world.ask(0, Command::Trust(key, Default::default())).unwrap();
    let error = world.ask(0, Command::Ping(Target::Key(key))).unwrap_err();
    assert_eq!(error.code(), "timeout");
}

#[test]
fn commands_about_nobody_and_about_ourselves_are_refused() {
    let mut world = World::new(&[Some("alpha"), Some("beta")]);
    world.run(SECOND);
    let code = |answer: Result<Answer, CommandError>| answer.unwrap_err().code();
    let beta = || "beta".parse().unwrap();
    assert_eq!(code(world.ask(0, Command::Ping(beta()))), "not_found");
    assert_eq!(code(world.ask(0, Command::Find(beta()))), "not_found");
    assert_eq!(code(world.ask(0, Command::Approve(beta(), Default::default()))), "not_found");
    let ourselves = || "alpha".parse().unwrap();
    assert_eq!(code(world.ask(0, Command::Ping(ourselves()))), "this_node");
    assert!(matches!(world.ask(0, Command::Find(ourselves())), Ok(Answer::Found(_))));
    let taken = world.ask(0, Command::SetHostname("beta".parse().ok()));
    assert_eq!(code(taken), "hostname_taken");
    let free = world.ask(0, Command::SetHostname("gamma".parse().ok()));
    assert!(matches!(free, Ok(Answer::Hostname(Some(_)))));
    world.unlink(0);
    let down = world.ask(0, Command::SetHostname(None));
    assert_eq!(code(down), "rendezvous_unreachable");
}

#[test]
fn an_idle_connection_costs_little_for_ten_minutes() {
    let mut world = friends();
    world.run(SECOND * 30);
    let before: usize = world.hosts.iter().map(|host| host.transmitted).sum();
    world.run(SECOND * 600);
    let after: usize = world.hosts.iter().map(|host| host.transmitted).sum();
    // Each node: a Bind each 15 s, two STUN requests each 25 s, a probe and an answer each 20 s.
    let expected = 2 * (40 + 48 + 60);
    assert!(after - before <= expected + expected / 4, "{}", after - before);
}

#[test]
fn a_port_mapping_is_a_candidate_that_peers_are_told() {
    let mut world = friends();
    world.run(SECOND * 3);
    let outside: SocketAddr = "203.0.113.77:4000".parse().unwrap();
    let told = |world: &mut World| {
        let target = Target::Node(world.hosts[0].id);
        let Ok(Answer::Why(why)) = world.ask(1, Command::Why(target)) else { panic!("no reasons") };
        let told = why.candidacy.told;
        let mapped = told.iter().filter(|candidate| candidate.kind == CandidateKind::Mapped);
        mapped.map(|candidate| candidate.path.first_hop()).collect::<Vec<_>>()
    };
    world.hosts[0].node.handle_mappings(world.now, &[outside]);
    world.drain(0);
    world.run(SECOND * 3);
    assert_eq!(told(&mut world), [outside]);
    world.hosts[0].node.handle_mappings(world.now, &[]);
    world.drain(0);
    world.run(SECOND * 3);
    assert_eq!(told(&mut world), [], "a mapping that has ended is taken back");
}

#[test]
fn candidates_stand_in_the_order_of_their_worth() {
    let mut world = friends();
    world.run(SECOND * 3);
    let host = world.hosts[0].endpoint;
    let outsides: Vec<SocketAddr> = (1..20).map(|port| SocketAddr::new([203, 0, 113, 77].into(), port)).collect();
    world.hosts[0].node.handle_mappings(world.now, &[&[host], outsides.as_slice()].concat());
    world.drain(0);
    let Ok(Answer::Status(status)) = world.ask(0, Command::Status) else { panic!("no status") };
    let kinds: Vec<CandidateKind> = status.candidates.iter().map(|candidate| candidate.kind).collect();
    let mut sorted = kinds.clone();
    let rank = |kind: &CandidateKind| match kind {
        CandidateKind::Relayed => 0,
        CandidateKind::Host => 1,
        CandidateKind::Mapped => 2,
        CandidateKind::Reflexive => 3,
    };
    sorted.sort_by_key(rank);
    assert_eq!(kinds, sorted);
    let mapped = kinds.iter().filter(|kind| **kind == CandidateKind::Mapped).count();
    assert_eq!(mapped, 3, "a few, and none that is a host candidate already: {:?}", status.candidates);
}

#[test]
fn a_tunnel_that_ended_is_gone_from_the_table_at_once() {
    let mut world = friends();
    world.run(SECOND * 3);
    let address = world.address(1);
    let key = |world: &World| {
        let table = world.hosts[0].node.table();
        table.by_address(address).unwrap().tunnel.as_ref().map(|tunnel| tunnel.peer_key())
    };
    let former = key(&world).unwrap();
    world.is_cut = true;
    let (sender, secret) = (identity(1), TunnelSecret::from_bytes([99; 32]));
    introduce(&mut world, &sender, TunnelCertificate::issue(&sender, &secret, 5));
    assert_ne!(key(&world), Some(former), "the peer has another key now, and the former opens nothing");
    world.run(SECOND * 3);
    assert_eq!(key(&world), Some(secret.public()));
}

/// Brings node 0 an introduction with this certificate, as if from node 1.
fn introduce(world: &mut World, sender: &Identity, certificate: TunnelCertificate) {
    let introduction = Introduction {
        certificate,
        hostname: None,
        candidates: Vec::new(),
        boot: 1,
        answer: false,
        nat: Nat::default(),
        relays: false,
        friends: Vec::new(),
    };
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let recipient = world.hosts[0].key;
    let sealed = envelope::seal(sender, &recipient, 1, &introduction.encode(), &mut rng);
    world.tell(0, Delivered { sealed, delivery: 0 });
    world.run(Duration::from_millis(6));
}
