//! Random worlds: whatever happens to them, they end up as the oracle says.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::fabric::Link;
use crate::nat::Behaviour;
use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

fn pick<T: Copy>(rng: &mut ChaCha8Rng, from: &[T]) -> T {
    from[rng.next_u32() as usize % from.len()]
}

/// Between three and five nodes on random networks with random links, and some random mishaps; then peace, in which
/// every trusting pair must be connected, directly where that is possible, and nobody else.
fn random_world(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World::new(seed);
    let kinds = [Behaviour::FULL_CONE, Behaviour::RESTRICTED, Behaviour::PORT_RESTRICTED, Behaviour::SYMMETRIC];
    let lans: Vec<usize> = (0..3).map(|_| world.lan(pick(&mut rng, &kinds))).collect();
    let count = 3 + rng.next_u32() as usize % 3;
    for _ in 0..count {
        let lan = if rng.next_u32() % 5 == 0 { None } else { Some(pick(&mut rng, &lans)) };
        world.node(lan, pick(&mut rng, &[Link::GOOD, Link::GOOD, Link::BAD]));
        world.run(Duration::from_millis(u64::from(rng.next_u32() % 500)));
    }
    let pairs: Vec<(usize, usize)> = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).collect();
    let trusting: Vec<(usize, usize)> = pairs.iter().copied().filter(|_| rng.next_u32() % 3 > 0).collect();
    for (a, b) in &trusting {
        world.befriend(*a, *b);
    }
    for _ in 0..rng.next_u32() % 6 {
        mishap(&mut world, &mut rng, count, &lans);
        for (a, b) in &pairs {
            world.send(*a, *b);
        }
        world.run(Duration::from_millis(u64::from(rng.next_u32() % 8_000)));
    }
    if !world.server.is_up() {
        world.start_server();
    }
    world.fabric.heal();
    world.run(SECOND * 45);
    for (a, b) in &pairs {
        let mut arrived = false;
        for _ in 0..5 {
            arrived |= world.exchange(*a, *b, SECOND * 2).is_some();
        }
        assert_eq!(arrived, trusting.contains(&(*a, *b)), "seed {seed}: nodes {a} and {b}");
    }
    world.run(SECOND * 45);
    for (a, b) in &trusting {
        let possible = world.fabric.punchable(world.nodes[*a].host, world.nodes[*b].host);
        assert_eq!(world.is_direct(*a, *b), possible, "seed {seed}: nodes {a} and {b} direct");
    }
    world.check_sources();
}

fn mishap(world: &mut World, rng: &mut ChaCha8Rng, count: usize, lans: &[usize]) {
    let node = rng.next_u32() as usize % count;
    match rng.next_u32() % 6 {
        0 => world.restart(node),
        1 => {
            let lan = pick(rng, lans);
            world.roam(node, Some(lan));
        }
        2 => world.fabric.nat(pick(rng, lans)).reboot(),
        3 => {
            let host = world.nodes[node].host;
            world.fabric.cut(host, true);
            world.run(SECOND * 3);
            world.fabric.cut(host, false);
        }
        4 if world.server.is_up() => world.kill_server(),
        5 if !world.server.is_up() => world.start_server(),
        _ => {}
    }
}

fn seeds(from: u64, count: u64) {
    for seed in from..from + count {
        random_world(seed);
    }
}

#[test]
fn fifty_random_worlds_one() {
    seeds(1_000, 50);
}

#[test]
fn fifty_random_worlds_two() {
    seeds(2_000, 50);
}

#[test]
fn fifty_random_worlds_three() {
    seeds(3_000, 50);
}

#[test]
fn fifty_random_worlds_four() {
    seeds(4_000, 50);
}

#[test]
#[ignore = "hours; run by `make sim-long`, from the seed in PILOT_SIM_SEED"]
fn a_night_of_random_worlds() {
    let from = std::env::var("PILOT_SIM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(100_000);
    seeds(from, 1_000);
}
