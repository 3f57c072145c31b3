//! The translators behave as they are named.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::{Behaviour, DEPENDENCES, Dependence, Firewall, Nat, Ports, Timeouts};

struct Probe {
    nat: Nat,
    now: Instant,
    rng: ChaCha8Rng,
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an endpoint")
}

const INSIDE: &str = "192.168.1.2:4000";
const SERVER: &str = "45.83.0.1:9001";

impl Probe {
    fn new(behaviour: Behaviour) -> Probe {
        let outside = vec!["45.83.7.7".parse().expect("an address")];
        Probe { nat: Nat::new(outside, behaviour), now: Instant::now(), rng: ChaCha8Rng::seed_from_u64(1) }
    }

    fn out(&mut self, from: &str, to: &str) -> SocketAddr {
        self.nat.outbound(self.now, at(from), at(to), &mut self.rng).expect("room in the table")
    }

    fn back(&mut self, from: &str, to: SocketAddr) -> Option<SocketAddr> {
        self.nat.inbound(self.now, at(from), to)
    }
}

#[test]
fn mappings_depend_on_what_they_are_named_after() {
    for mapping in DEPENDENCES {
        let mut probe = Probe::new(Behaviour { mapping, ..Behaviour::SYMMETRIC });
        let first = probe.out(INSIDE, SERVER);
        assert_eq!(probe.out(INSIDE, SERVER), first);
        assert_eq!(probe.out(INSIDE, "45.83.0.1:9002") == first, mapping < Dependence::AddressAndPort);
        assert_eq!(probe.out(INSIDE, "45.83.0.2:9001") == first, mapping == Dependence::Endpoint);
    }
}

#[test]
fn filters_depend_on_what_they_are_named_after() {
    for filtering in DEPENDENCES {
        let mut probe = Probe::new(Behaviour { filtering, ..Behaviour::PORT_RESTRICTED });
        let outside = probe.out(INSIDE, SERVER);
        assert_eq!(probe.back(SERVER, outside), Some(at(INSIDE)));
        assert_eq!(probe.back("45.83.0.1:7", outside).is_some(), filtering < Dependence::AddressAndPort);
        assert_eq!(probe.back("45.83.0.9:7", outside).is_some(), filtering == Dependence::Endpoint);
    }
}

#[test]
fn ports_are_preserved_where_they_are_free() {
    let mut probe = Probe::new(Behaviour::PORT_RESTRICTED);
    assert_eq!(probe.out(INSIDE, SERVER).port(), 4000);
    let second = probe.out("192.168.1.3:4000", SERVER);
    assert_ne!(second.port(), 4000);
    assert_eq!(probe.out("192.168.1.3:4000", "45.83.0.2:1"), second, "it stays the same for the second host");
}

#[test]
fn ports_in_sequence_follow_each_other() {
    let mut probe = Probe::new(Behaviour { ports: Ports::Sequential(3), ..Behaviour::SYMMETRIC });
    let first = probe.out(INSIDE, SERVER).port();
    assert_eq!(probe.out(INSIDE, "45.83.0.1:9002").port(), first + 3);
    assert_eq!(probe.out("192.168.1.9:1", SERVER).port(), first + 6);
}

#[test]
fn a_datagram_that_comes_too_early_takes_the_port_of_a_poisonable_gateway_for_a_while() {
    for poisonable in [false, true] {
        let mut probe = Probe::new(Behaviour { poisonable, ..Behaviour::PORT_RESTRICTED });
        let outside = probe.out(INSIDE, SERVER);
        assert_eq!(probe.back("45.83.5.5:5", outside), None);
        assert_eq!(probe.out(INSIDE, "45.83.5.5:5") != outside, poisonable);
        assert_eq!(probe.out(INSIDE, "45.83.5.5:6"), outside, "nobody else suffers");
        probe.now += Duration::from_secs(31);
        let outside = probe.out(INSIDE, SERVER);
        assert_eq!(probe.out(INSIDE, "45.83.5.5:5"), outside, "it is forgotten");
    }
}

#[test]
fn flows_live_as_long_as_they_are_said_to() {
    for (timeouts, alive_after) in [(Timeouts::LINUX, 119), (Timeouts::SHORT, 29)] {
        let mut probe = Probe::new(Behaviour { timeouts, ..Behaviour::SYMMETRIC });
        let lonely = probe.out(INSIDE, "45.83.0.2:1");
        let outside = probe.out(INSIDE, SERVER);
        probe.back(SERVER, outside);
        probe.now += Duration::from_secs(3);
        probe.out(INSIDE, SERVER);
        probe.back(SERVER, outside);
        probe.now += Duration::from_secs(27);
        assert_eq!(probe.back("45.83.0.2:1", lonely), None, "a flow that nobody answered");
        probe.now += Duration::from_secs(alive_after - 27);
        assert!(probe.back(SERVER, outside).is_some());
        probe.now += Duration::from_secs(if timeouts.inbound_refreshes { 121 } else { 2 });
        assert_eq!(probe.back(SERVER, outside), None);
    }
}

#[test]
fn a_full_table_refuses_and_peaks_are_told() {
    let mut probe = Probe::new(Behaviour { capacity: 10, ..Behaviour::PORT_RESTRICTED });
    for port in 1..=10 {
        probe.out(INSIDE, &format!("45.83.0.3:{port}"));
    }
    assert_eq!(probe.nat.outbound(probe.now, at(INSIDE), at(SERVER), &mut probe.rng), None);
    probe.now += Duration::from_secs(31);
    probe.out("192.168.1.3:1", SERVER);
    assert_eq!(probe.nat.peak(), 10);
}

#[test]
fn an_open_port_lets_everybody_in_and_is_the_way_out() {
    let mut probe = Probe::new(Behaviour::SYMMETRIC);
    let outside = probe.nat.open(at(INSIDE), &mut probe.rng).expect("a port");
    assert_eq!(probe.back("45.83.9.9:9", outside), Some(at(INSIDE)));
    assert_eq!(probe.out(INSIDE, "45.83.9.9:9"), outside);
    assert_eq!(probe.out(INSIDE, SERVER), outside);
}

#[test]
fn a_firewall_lets_in_what_answers() {
    let (inside, server, now) = (at("[2a05::2]:4000"), at("[2a05:1::1]:9001"), Instant::now());
    for filtering in DEPENDENCES {
        let mut firewall = Firewall::new(filtering, Timeouts::LINUX);
        assert_eq!(firewall.inbound(now, server, inside), filtering == Dependence::Endpoint);
        firewall.outbound(now, inside, server);
        assert!(firewall.inbound(now, server, inside));
        let other_port = at("[2a05:1::1]:1");
        assert_eq!(firewall.inbound(now, other_port, inside), filtering < Dependence::AddressAndPort);
        let late = now + Duration::from_secs(31);
        assert_eq!(firewall.inbound(late, server, inside), filtering == Dependence::Endpoint);
    }
}
