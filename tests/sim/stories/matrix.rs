//! Every pair of translators that the matrix of the project names.

use super::{SECOND, becomes_what_the_oracle_says, pair};
use crate::fabric::Link;
use crate::nat::{Behaviour, Timeouts};
use crate::oracle::Class;
use crate::world::World;

/// A world of two homes that have not met yet; they had `seconds` to find out where they are.
fn homes(seed: u64, a: Behaviour, b: Behaviour, seconds: u32) -> (World, usize, usize) {
    let mut world = World::new(seed);
    let zones = [world.lan(a), world.lan(b)];
    let nodes = zones.map(|zone| world.node(Some(zone), Link::GOOD));
    world.run(SECOND * seconds);
    (world, nodes[0], nodes[1])
}

fn all_of(rows: &[(Behaviour, Behaviour, Class)], seed: u64) {
    for (place, (one, other, class)) in rows.iter().enumerate() {
        for (a, b) in [(one, other), (other, one)] {
            println!("{class:?}: {a} and {b}");
            let (mut world, a, b) = homes(seed + place as u64, *a, *b, 3);
            becomes_what_the_oracle_says(&mut world, a, b, *class);
        }
    }
}

#[test]
fn pairs_that_plain_punching_opens() {
    use Behaviour as B;
    let stable = [B::FULL_CONE, B::RESTRICTED, B::PORT_RESTRICTED];
    let mut rows: Vec<_> =
        stable.iter().flat_map(|one| stable.iter().map(move |other| (*one, *other, Class::Plain))).collect();
    for symmetric in [B::SYMMETRIC, B::SEQUENTIAL, B::BY_ADDRESS] {
        rows.extend([B::FULL_CONE, B::RESTRICTED].map(|tolerant| (tolerant, symmetric, Class::Plain)));
    }
    all_of(&rows, 100);
}

#[test]
fn pairs_where_early_datagrams_spoil_a_mapping() {
    use Behaviour as B;
    let others = [B::FULL_CONE, B::RESTRICTED, B::PORT_RESTRICTED];
    let mut rows: Vec<_> = others.iter().map(|other| (B::POISONABLE, *other, Class::Plain)).collect();
    rows.push((B::POISONABLE, B::POISONABLE, Class::Timed));
    all_of(&rows, 200);
}

#[test]
fn pairs_whose_ports_can_be_predicted() {
    use Behaviour as B;
    let rows =
        [(B::PORT_RESTRICTED, B::SEQUENTIAL, Class::Sequential), (B::SEQUENTIAL, B::SEQUENTIAL, Class::Sequential)];
    all_of(&rows, 300);
}

/// How many of ten attempts make the path direct in time.
fn direct_of_ten(a: Behaviour, b: Behaviour) -> usize {
    let became = |seed: u64| {
        let (mut world, a, b) = homes(seed, a, b, 3);
        world.befriend(a, b);
        let limit = world.feasible(a, b).limit().expect("a promise");
        let direct = world.talk_until_direct(a, b, limit).is_some();
        world.check();
        direct
    };
    (400..410).filter(|seed| became(*seed)).count()
}

#[test]
fn nine_of_ten_pairs_with_random_ports_on_one_side_become_direct() {
    for random in [Behaviour::SYMMETRIC, Behaviour::BY_ADDRESS] {
        let direct = direct_of_ten(Behaviour::PORT_RESTRICTED, random);
        assert!(direct >= 9, "{direct} of 10 behind {random}");
    }
}

#[test]
fn pairs_with_random_ports_on_both_sides_stay_relayed() {
    all_of(&[(Behaviour::SYMMETRIC, Behaviour::SYMMETRIC, Class::RelayOnly)], 500);
}

#[test]
fn a_translator_with_several_addresses() {
    let many = |world: &mut World, behaviour| {
        world.fabric.zone(crate::fabric::Access { addresses: 4, ..crate::fabric::Access::carrier(behaviour) })
    };
    let arbitrary = Behaviour { pooling: crate::nat::Pooling::Arbitrary, ..Behaviour::SYMMETRIC };
    for (behaviour, class) in [(Behaviour::CARRIER, Class::Plain), (arbitrary, Class::Chance)] {
        let mut world = World::new(510);
        let zones = [many(&mut world, behaviour), world.lan(Behaviour::PORT_RESTRICTED)];
        let nodes = zones.map(|zone| world.node(Some(zone), Link::GOOD));
        world.run(SECOND * 3);
        becomes_what_the_oracle_says(&mut world, nodes[0], nodes[1], class);
    }
}

#[test]
fn an_idle_pair_behind_short_timeouts_stays_direct() {
    let short = Behaviour { timeouts: Timeouts::SHORT, ..Behaviour::PORT_RESTRICTED };
    let (mut world, a, b) = pair(520, short, short);
    assert!(world.talk_until_direct(a, b, SECOND * 5).is_some());
    world.run(SECOND * 60);
    super::stays_quiet(&mut world, a, b);
    assert!(world.is_direct(a, b) && world.exchange(a, b, SECOND / 5).is_some(), "the next packet goes directly");
}

#[test]
fn a_pair_that_met_where_nobody_knew_its_router_finds_out_later() {
    let (mut world, a, b) = pair(952, Behaviour::SYMMETRIC, Behaviour::PORT_RESTRICTED);
    world.run(SECOND / 5);
    world.kill_server();
    world.run(SECOND * 5);
    world.start_server();
    assert!(world.talk_until_direct(a, b, SECOND * 120).is_some(), "{}\n{}", world.why(a, b), world.why(b, a));
}
