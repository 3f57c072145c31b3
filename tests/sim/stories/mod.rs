//! Named stories: one thing that happens to a network, and what must come of it.

mod basics;
mod faults;
mod lane;
mod lies;
mod matrix;
mod networks;
mod standby;
mod strict;

use std::time::Duration;

use crate::fabric::Link;
use crate::nat::Behaviour;
use crate::oracle::Class;
use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// Two trusting nodes, each behind a translator of its own.
fn pair(seed: u64, a: Behaviour, b: Behaviour) -> (World, usize, usize) {
    let mut world = World::new(seed);
    let (lan_a, lan_b) = (world.lan(a), world.lan(b));
    let (a, b) = (world.node(Some(lan_a), Link::GOOD), world.node(Some(lan_b), Link::GOOD));
    world.befriend(a, b);
    (world, a, b)
}

/// The same, connected, and directly where that is promised.
fn connected(seed: u64, a: Behaviour, b: Behaviour) -> (World, usize, usize) {
    let (mut world, a, b) = pair(seed, a, b);
    assert!(world.exchange(a, b, SECOND * 5).is_some(), "no packet gets through");
    if let Some(limit) = world.feasible(a, b).limit() {
        let direct = world.talk_until_direct(a, b, limit);
        assert!(direct.is_some(), "no direct path: {:?} {:?}", world.path(a, b), world.path(b, a));
    }
    (world, a, b)
}

/// In ten idle minutes two connected nodes send each other what holds a mapping of 30 s, each way a probe and an answer
/// every 20 s, and less than two datagrams a minute more; and the server as many as a node of any number of peers may.
fn stays_quiet(world: &mut World, a: usize, b: usize) {
    let count = |world: &World| [(a, Some(b)), (b, Some(a)), (a, None), (b, None)].map(|pair| world.sent_between(pair));
    let before = count(world);
    world.run(SECOND * 600);
    let after = count(world);
    let each: Vec<u64> = after.iter().zip(before).map(|(after, before)| (after - before) / 10).collect();
    assert!(each[..2].iter().all(|each| *each <= 8), "{each:?} datagrams a minute between idle peers");
    assert!(each[2..].iter().all(|each| *each <= 25), "{each:?} datagrams a minute to the server");
}

/// Two nodes that just met are connected within five seconds, and directly as soon as the oracle says, or never.
fn becomes_what_the_oracle_says(world: &mut World, a: usize, b: usize, expected: Class) {
    let class = world.feasible(a, b);
    assert_eq!(class, expected, "the oracle");
    world.befriend(a, b);
    assert!(world.exchange(a, b, SECOND * 5).is_some(), "{class:?}: no packet gets through");
    let direct = world.talk_until_direct(a, b, class.limit().unwrap_or(SECOND * 10));
    let is_right = match class {
        Class::RelayOnly => direct.is_none(),
        Class::Chance => true,
        _ => direct.is_some(),
    };
    assert!(is_right, "{class:?}, but {direct:?}\n{}\n{}", world.why(a, b), world.why(b, a));
    assert!(world.exchange(a, b, SECOND).is_some(), "{class:?}: lost again");
    world.check();
}
