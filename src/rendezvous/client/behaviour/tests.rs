//! A scripted NAT in front of the machine, and a server with two ports and perhaps two addresses behind it.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::SeedableRng;

use super::*;
use crate::wire::path::MAIN;

/// What the NAT is to be like.
#[derive(Clone, Copy)]
struct Box {
    symmetric: bool,
    filtering: Filtering,
    ports: Ports,
    hairpin: bool,
    poisonable: bool,
}

const HOME: Box = Box {
    symmetric: false,
    filtering: Filtering::AddressAndPortDependent,
    ports: Ports::Preserved,
    hairpin: false,
    poisonable: false,
};

const OUTSIDE: [u8; 4] = [198, 51, 7, 1];
const SERVER: [u8; 4] = [203, 0, 5, 1];
const OTHER: [u8; 4] = [203, 0, 5, 2];

fn at(ip: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

fn local(socket: u16) -> u16 {
    50_000 + 7 * socket
}

struct Scene {
    nat: Box,
    two_addresses: bool,
    /// Outside port by socket and, where mapping depends on it, destination.
    mappings: BTreeMap<(u16, Option<SocketAddr>), u16>,
    sent: BTreeSet<(u16, SocketAddr)>,
    spoilt: BTreeSet<(u16, SocketAddr)>,
    next: u16,
    lost: Option<usize>,
    count: usize,
    machine: Behaviour,
    rng: ChaCha20Rng,
}

impl Scene {
    fn new(nat: Box, two_addresses: bool) -> Scene {
        Scene {
            nat,
            two_addresses,
            mappings: BTreeMap::new(),
            sent: BTreeSet::new(),
            spoilt: BTreeSet::new(),
            next: 0,
            lost: None,
            count: 0,
            machine: Behaviour::new(),
            rng: ChaCha20Rng::seed_from_u64(1),
        }
    }

    fn map(&mut self, socket: u16, to: SocketAddr) -> u16 {
        let is_spoilt = self.spoilt.contains(&(socket, to));
        let key = (socket, (self.nat.symmetric || is_spoilt).then_some(to));
        self.next += 1;
        let n = self.next;
        let port = match self.nat.ports {
            _ if is_spoilt => 61_000 + n,
            Ports::Sequential { step } => 40_000u16.wrapping_add_signed(step * n as i16),
            Ports::Random => 1024 + (u32::from(n) * 40_503 % 60_000) as u16,
            _ => local(socket),
        };
        if self.mappings.contains_key(&key) {
            self.next -= 1;
        }
        *self.mappings.entry(key).or_insert(port)
    }

    /// Whether a datagram for the mapping of `socket` is let in.
    fn admits(&self, socket: u16, from: SocketAddr) -> bool {
        self.sent.iter().filter(|(of, _)| *of == socket).any(|(_, to)| match self.nat.filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => to.ip() == from.ip(),
            _ => *to == from,
        })
    }

    fn lose(&mut self) -> bool {
        self.count += 1;
        self.lost == Some(self.count)
    }

    /// Carries a request out, and whatever comes of it back in.
    fn carry(&mut self, socket: u16, to: SocketAddr, request: &[u8]) {
        if self.lose() {
            return;
        }
        let seen = at(OUTSIDE, self.map(socket, to));
        self.sent.insert((socket, to));
        if to.ip() == seen.ip() {
            if self.nat.hairpin {
                self.machine.handle(MAIN, seen, request);
            }
            return;
        }
        let mut out = [0; stun::RESPONSE_MAX_LEN];
        let Ok(reflection) = stun::respond(request, seen, None, &mut out) else { panic!("no answer") };
        let port = if reflection.from.port { if to.port() == 1 { 2 } else { 1 } } else { to.port() };
        if reflection.from.ip && !self.two_addresses {
            return;
        }
        let source = at(
            if reflection.from.ip {
                OTHER
            } else {
                to.ip().to_string().parse::<std::net::Ipv4Addr>().unwrap().octets()
            },
            port,
        );
        if self.admits(socket, source) {
            if !self.lose() {
                self.machine.handle(socket, source, &out[..reflection.len]);
            }
        } else if self.nat.poisonable {
            self.spoilt.insert((socket, source));
        }
    }

    fn run(&mut self) -> Findings {
        let mut now = Instant::now();
        self.machine.restart(now);
        assert!(self.machine.wants_sockets(now));
        let sockets: Vec<(u16, u16)> = (1..=SOCKETS).map(|socket| (socket, local(socket))).collect();
        let (server, other_port) = (at(SERVER, 1), at(SERVER, 2));
        let ours = at(OUTSIDE, self.map(MAIN, server));
        let targets = Targets { server, other_port, has_other_address: self.two_addresses, ours };
        self.machine.begin(now, Some(targets), &sockets, &mut self.rng);
        let start = now;
        while !self.machine.is_idle() {
            while let Some((socket, to, request)) = self.machine.poll_transmit(now, &mut self.rng) {
                self.carry(socket, to, &request);
            }
            now += Duration::from_millis(1);
            assert!(now - start < Duration::from_secs(4), "a run ends");
        }
        self.machine.findings()
    }
}

#[test]
fn every_kind_of_nat_is_told_from_the_others() {
    for filtering in [Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent] {
        for (symmetric, ports) in [
            (false, Ports::Preserved),
            (true, Ports::Sequential { step: 1 }),
            (true, Ports::Sequential { step: -2 }),
            (true, Ports::Random),
        ] {
            for hairpin in [false, true] {
                let nat = Box { symmetric, filtering, ports, hairpin, poisonable: false };
                let found = Scene::new(nat, true).run();
                assert_eq!((found.filtering, found.ports, found.hairpin), (filtering, ports, Some(hairpin)));
            }
        }
    }
}

#[test]
fn a_mapping_that_is_spoilt_by_early_datagrams_is_found() {
    for poisonable in [false, true] {
        for two_addresses in [false, true] {
            let found = Scene::new(Box { poisonable, ..HOME }, two_addresses).run();
            assert_eq!(found.is_moved, Some(poisonable));
        }
    }
}

#[test]
fn one_address_is_enough_for_what_punching_needs() {
    let open = Box { filtering: Filtering::EndpointIndependent, ..HOME };
    assert_eq!(Scene::new(open, false).run().filtering, Filtering::AddressDependent);
    assert_eq!(Scene::new(HOME, false).run().filtering, Filtering::AddressAndPortDependent);
}

#[test]
fn one_lost_datagram_changes_no_finding() {
    for nat in [HOME, Box { symmetric: true, ports: Ports::Random, ..HOME }, Box { poisonable: true, ..HOME }] {
        let expected = Scene::new(nat, true).run();
        for lost in 1..25 {
            let mut scene = Scene::new(nat, true);
            scene.lost = Some(lost);
            assert_eq!(scene.run(), expected, "without datagram {lost}");
        }
    }
}

#[test]
fn silence_everywhere_concludes_nothing() {
    let mut scene = Scene::new(HOME, true);
    let now = Instant::now();
    scene.machine.restart(now);
    assert!(scene.machine.wants_sockets(now));
    let targets =
        Targets { server: at(SERVER, 1), other_port: at(SERVER, 2), has_other_address: true, ours: at(OUTSIDE, 9) };
    let sockets: Vec<(u16, u16)> = (1..=SOCKETS).map(|socket| (socket, local(socket))).collect();
    scene.machine.begin(now, Some(targets), &sockets, &mut scene.rng);
    for millis in 0..5_000 {
        let now = now + Duration::from_millis(millis);
        while scene.machine.poll_transmit(now, &mut scene.rng).is_some() {}
    }
    assert!(scene.machine.is_idle());
    assert_eq!(scene.machine.findings(), Findings::default());
}

#[test]
fn without_sockets_there_is_no_run_and_later_another_try() {
    let mut scene = Scene::new(HOME, true);
    let now = Instant::now();
    scene.machine.restart(now);
    assert!(scene.machine.wants_sockets(now));
    scene.machine.begin(now, None, &[], &mut scene.rng);
    assert!(scene.machine.is_idle());
    assert!(scene.machine.due().is_some_and(|due| due > now));
}
