//! Every pair of behaviours, played: what the oracle promises works, and what it calls impossible does not.

use std::net::SocketAddr;
use std::time::Instant;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use super::{Class, between, compose};
use crate::nat::{Behaviour, DEPENDENCES, Dependence, Nat, Ports};

const SERVER: &str = "45.83.0.1:9001";
const STEP: u16 = 2;

/// A host behind a row of translators.
struct Side {
    inside: SocketAddr,
    nats: Vec<Nat>,
}

/// From which port of one's own to whom.
type Shot = (u16, SocketAddr);

impl Side {
    fn new(number: u8, behaviours: &[Behaviour]) -> Side {
        let last = behaviours.len() - 1;
        let outside = |place: usize| match place == last {
            true => [45, 83, 7, number],
            false => [100, 64, number, place as u8],
        };
        let row = behaviours.iter().enumerate();
        let nats = row.map(|(place, behaviour)| Nat::new(vec![outside(place).into()], *behaviour)).collect();
        Side { inside: SocketAddr::new([192, 168, 1, 2].into(), 0), nats }
    }

    fn send(&mut self, now: Instant, (port, to): Shot, rng: &mut ChaCha8Rng) -> SocketAddr {
        let from = SocketAddr::new(self.inside.ip(), port);
        self.nats.iter_mut().fold(from, |from, nat| nat.outbound(now, from, to, rng).expect("room"))
    }

    /// The port of ours at which a datagram arrives, if it does.
    fn receive(&mut self, now: Instant, from: SocketAddr, to: SocketAddr) -> Option<u16> {
        let outermost = self.nats.iter_mut().rev();
        outermost.into_iter().try_fold(to, |to, nat| nat.inbound(now, from, to)).map(|inside| inside.port())
    }
}

/// Both sides shoot, one of them first, and then answer whatever reaches them. Whether each hears that the other heard it.
fn meet(sides: &mut [Side; 2], shots: [Vec<Shot>; 2], first: usize, rng: &mut ChaCha8Rng) -> bool {
    let now = Instant::now();
    let mut heard: [Vec<Shot>; 2] = Default::default();
    let mut confirmed = [false; 2];
    for round in 0..4 {
        for sender in [first, 1 - first] {
            let answers = heard[sender].iter().take(8).copied();
            let targets: Vec<Shot> =
                if round < 2 { answers.chain(shots[sender].clone()).collect() } else { answers.collect() };
            for shot in targets {
                let has_heard = heard[sender].contains(&shot);
                let from = sides[sender].send(now, shot, rng);
                if let Some(port) = sides[1 - sender].receive(now, from, shot.1) {
                    heard[1 - sender].push((port, from));
                    confirmed[1 - sender] |= has_heard;
                }
            }
        }
    }
    confirmed == [true; 2]
}

/// The strategies that nodes know.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Strategy {
    Plain,
    Predicted,
    Birthday,
}

fn shots(strategy: Strategy, own: Kind, theirs: Kind, aim: SocketAddr, rng: &mut ChaCha8Rng) -> Vec<Shot> {
    let ahead = |n: u16| SocketAddr::new(aim.ip(), aim.port().wrapping_add(n * STEP));
    match (strategy, own.is_symmetric, theirs.is_symmetric) {
        (Strategy::Plain, ..) | (_, false, false) => vec![(5_000, aim)],
        (Strategy::Predicted, true, true) => (1..5).map(|n| (5_000 + n, ahead(n))).collect(),
        (Strategy::Predicted, true, false) => (1..5).map(|n| (5_000 + n, aim)).collect(),
        (Strategy::Predicted, false, true) => (1..10).map(|n| (5_000, ahead(n))).collect(),
        (Strategy::Birthday, true, _) => (0..256).map(|n| (5_000 + n, aim)).collect(),
        (Strategy::Birthday, false, true) => {
            let mut port = || 1_024 + (rng.next_u32() % 64_512) as u16;
            (0..1_050).map(|_| (5_000, SocketAddr::new(aim.ip(), port()))).collect()
        }
    }
}

#[derive(Clone, Copy)]
struct Kind {
    is_symmetric: bool,
}

/// Whether a strategy works when one of the two, whoever it be, starts.
fn works(strategy: Strategy, rows: [&[Behaviour]; 2], seed: u64) -> bool {
    [0, 1].into_iter().any(|first| works_from(strategy, rows, seed, first))
}

fn works_from(strategy: Strategy, rows: [&[Behaviour]; 2], seed: u64, first: usize) -> bool {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let is_symmetric = |row: &[Behaviour]| compose(row).expect("a translator").mapping != Dependence::Endpoint;
    let kinds = rows.map(|row| Kind { is_symmetric: is_symmetric(row) });
    let mut sides = [Side::new(1, rows[0]), Side::new(2, rows[1])];
    let server = SERVER.parse().expect("an endpoint");
    let seen = [0, 1].map(|side: usize| sides[side].send(Instant::now(), (5_000, server), &mut rng));
    let plans = [0, 1].map(|side: usize| shots(strategy, kinds[side], kinds[1 - side], seen[1 - side], &mut rng));
    meet(&mut sides, plans, first, &mut rng)
}

fn check(one: &[Behaviour], other: &[Behaviour]) {
    let rows = [one, other];
    let class = between(compose(one), compose(other), false, true);
    let said = || format!("{class:?}: {one:?} {other:?}");
    let plain = [0, 1].map(|first| works_from(Strategy::Plain, rows, 1, first));
    match class {
        Class::Plain => assert_eq!(plain, [true, true], "plain, {}", said()),
        Class::Chance => {}
        _ => assert_eq!(plain, [false, false], "plain, {}", said()),
    }
    match class {
        Class::Sequential => assert!(works(Strategy::Predicted, rows, 1), "{}", said()),
        Class::Birthday => {
            let hits = (0..5).filter(|seed| works(Strategy::Birthday, rows, *seed)).count();
            assert!(hits >= 4, "{hits} of 5, {}", said());
        }
        Class::RelayOnly => {
            assert!(!works(Strategy::Predicted, rows, 1) && !works(Strategy::Birthday, rows, 1), "{}", said());
        }
        _ => {}
    }
}

fn every_behaviour() -> Vec<Behaviour> {
    let ports = [Ports::Preserved, Ports::Sequential(STEP), Ports::Random];
    let of = |mapping, filtering, ports| Behaviour { mapping, filtering, ports, ..Behaviour::PORT_RESTRICTED };
    let all = DEPENDENCES.iter().flat_map(|mapping| DEPENDENCES.iter().map(move |filtering| (*mapping, *filtering)));
    all.flat_map(|(mapping, filtering)| ports.map(|ports| of(mapping, filtering, ports))).collect()
}

#[test]
fn every_pair_of_translators_does_what_the_oracle_says() {
    let all = every_behaviour();
    for (place, one) in all.iter().enumerate() {
        all.iter().skip(place).for_each(|other| check(&[*one], &[*other]));
    }
}

#[test]
fn rows_of_translators_act_as_the_one_that_they_compose() {
    let homes = [Behaviour::PORT_RESTRICTED, Behaviour::FULL_CONE, Behaviour::SYMMETRIC, Behaviour::SEQUENTIAL];
    let step = Behaviour { ports: Ports::Sequential(STEP), ..Behaviour::SEQUENTIAL };
    let carriers = [Behaviour::CARRIER, Behaviour::DEAF_CARRIER, Behaviour::SYMMETRIC, step];
    for home in homes {
        for carrier in carriers {
            for other in [Behaviour::FULL_CONE, Behaviour::RESTRICTED, Behaviour::PORT_RESTRICTED, Behaviour::SYMMETRIC]
            {
                check(&[home, carrier], &[other]);
                check(&[home, carrier], &[other, Behaviour::DEAF_CARRIER]);
            }
        }
    }
}

#[test]
fn whoever_is_spoilt_by_early_datagrams_sends_first() {
    let poisonable = Behaviour::POISONABLE;
    assert!(works(Strategy::Plain, [&[poisonable], &[Behaviour::PORT_RESTRICTED]], 1));
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut sides = [Side::new(1, &[poisonable]), Side::new(2, &[Behaviour::PORT_RESTRICTED])];
    let server = SERVER.parse().expect("an endpoint");
    let seen = [0, 1].map(|side: usize| sides[side].send(Instant::now(), (5_000, server), &mut rng));
    let plans = [vec![(5_000, seen[1])], vec![(5_000, seen[0])]];
    assert!(!meet(&mut sides, plans, 1, &mut rng), "the other one first");
}
