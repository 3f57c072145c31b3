//! What a node says about the networks around it.

use std::time::Duration;

use super::world::{SERVER, World};
use crate::node::*;

const SECOND: Duration = Duration::from_secs(1);

fn check(world: &mut World) -> Box<Netcheck> {
    match world.ask(0, Command::Netcheck) {
        Ok(Answer::Netcheck(check)) => check,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_server_is_asked_anew_and_its_round_trip_told() {
    let mut world = World::new(&[None]);
    world.run(SECOND * 5);
    let check = check(&mut world);
    assert!(check.rendezvous[0].is_up);
    assert_eq!(check.hosts, [world.hosts[0].endpoint]);
    assert!(!check.servers[0].stun.is_empty());
    for port in &check.servers[0].stun {
        assert_eq!(port.seen, Some(world.hosts[0].endpoint));
        assert_eq!(port.rtt.unwrap().last, Duration::from_millis(10), "{port:?}");
    }
    assert_eq!((check.servers[0].relay, check.rendezvous[0].relay.is_some()), (SERVER.parse().ok(), true));
}

#[test]
fn silence_is_told_after_two_seconds() {
    let mut world = World::new(&[None]);
    world.run(SECOND * 5);
    world.is_server_down = true;
    let started = world.now.monotonic;
    let check = check(&mut world);
    assert!(world.now.monotonic - started <= SECOND * 2 + Duration::from_millis(100));
    assert!(check.servers[0].stun.iter().all(|port| port.seen.is_none()), "{:?}", check.servers);
}
