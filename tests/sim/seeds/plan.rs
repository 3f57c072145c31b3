//! A random world as data: what there is, what happens, and how it is told to a person.

use std::fmt;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::fabric::{Access, INTERNET, Link, ZoneId};
use crate::nat::{Behaviour, DEPENDENCES, Pooling, Ports, Timeouts};

/// A zone, and whether UDP is blocked on its gateway for ever.
#[derive(Clone, Debug)]
pub struct ZonePlan {
    /// How it is connected.
    pub access: Access,
    /// Whether UDP is blocked.
    pub is_blocked: bool,
}

/// A node, and where it begins.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// Its first zone.
    pub zone: ZoneId,
    /// Its link until peace comes.
    pub link: Link,
    /// Whether its gateway opens a port for it.
    pub is_mapped: bool,
    /// How long after the one before it starts.
    pub after: Duration,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node ends without warning and starts.
    Restart(usize),
    /// A node moves to another zone.
    Roam(usize, ZoneId),
    /// A gateway forgets everything; with another address or the same.
    Reboot(ZoneId, bool),
    /// A node's link is cut for so many seconds.
    Flap(usize, u32),
    /// A node sleeps for so many seconds.
    Sleep(usize, u32),
    /// Nothing passes between two nodes, until peace comes.
    Part(usize, usize),
    /// A gateway lets no UDP pass, until peace comes.
    Block(ZoneId),
    /// The server goes away.
    Kill,
    /// The server comes back.
    Start,
}

/// A world, and its history until peace comes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What everything else that is random in it comes from.
    pub seed: u64,
    /// IPv4 addresses of the server.
    pub addresses: usize,
    /// Zones, after the internet.
    pub zones: Vec<ZonePlan>,
    /// Nodes.
    pub nodes: Vec<NodePlan>,
    /// Who trust each other.
    pub friends: Vec<(usize, usize)>,
    /// What happens, and how long until the next.
    pub events: Vec<(Event, Duration)>,
}

/// Draws plans.
struct Draw(ChaCha8Rng);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0.next_u32() as usize % bound.max(1)
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn millis(&mut self, bound: usize) -> Duration {
        Duration::from_millis(self.below(bound) as u64)
    }

    fn behaviour(&mut self) -> Behaviour {
        use Behaviour as B;
        let usual = [B::FULL_CONE, B::RESTRICTED, B::PORT_RESTRICTED, B::POISONABLE, B::SYMMETRIC, B::SEQUENTIAL];
        let behaviour = match self.below(3) {
            0 => self.odd(),
            _ => self.of(&usual),
        };
        Behaviour { timeouts: self.of(&[Timeouts::LINUX, Timeouts::LINUX, Timeouts::SHORT]), ..behaviour }
    }

    /// Any combination.
    fn odd(&mut self) -> Behaviour {
        Behaviour {
            mapping: self.of(&DEPENDENCES),
            filtering: self.of(&DEPENDENCES),
            ports: self.of(&[Ports::Preserved, Ports::Random, Ports::Sequential(1), Ports::Sequential(2)]),
            pooling: self.of(&[Pooling::Paired, Pooling::Paired, Pooling::Paired, Pooling::Arbitrary]),
            hairpin: self.one_in(2),
            poisonable: self.one_in(3),
            ..Behaviour::PORT_RESTRICTED
        }
    }

    fn carrier(&mut self) -> ZonePlan {
        let behaviour = self.of(&[
            Behaviour::CARRIER,
            Behaviour::DEAF_CARRIER,
            Behaviour::SYMMETRIC,
            Behaviour { hairpin: true, ..Behaviour::DEAF_CARRIER },
        ]);
        let firewall = self.one_in(3).then(|| self.of(&DEPENDENCES));
        let access = Access { addresses: 1 + self.below(2), firewall, ..Access::carrier(behaviour) };
        ZonePlan { access, is_blocked: false }
    }

    /// A home in a zone, which may have IPv6 to pass on.
    fn home(&mut self, outer: ZoneId, has_v6: bool) -> ZonePlan {
        let firewall = (has_v6 && self.one_in(3)).then(|| self.of(&DEPENDENCES));
        let access = match (firewall, self.one_in(6)) {
            (Some(firewall), true) => Access::v6_only(firewall),
            (firewall, _) => Access { firewall, ..Access::home(self.behaviour()) },
        };
        let addresses = if access.nat.is_some_and(|nat| nat.pooling == Pooling::Arbitrary) { 2 } else { 1 };
        ZonePlan { access: Access { addresses, ..access }.behind(outer), is_blocked: self.one_in(8) }
    }

    fn event(&mut self, nodes: usize, zones: usize) -> Event {
        let (node, zone) = (self.below(nodes), 1 + self.below(zones));
        match self.below(9) {
            0 => Event::Restart(node),
            1 => Event::Roam(node, self.below(zones + 1)),
            2 => Event::Reboot(zone, false),
            3 => Event::Reboot(zone, true),
            4 => Event::Flap(node, 1 + self.below(8) as u32),
            5 => Event::Sleep(node, 1 + self.below(300) as u32),
            6 => Event::Part(node, self.below(nodes)),
            7 => Event::Block(zone),
            _ => self.of(&[Event::Kill, Event::Start]),
        }
    }
}

impl Plan {
    /// The plan of a seed: two to five nodes on up to four homes, some of them behind a carrier, and up to six events.
    pub fn of_seed(seed: u64) -> Plan {
        let mut draw = Draw(ChaCha8Rng::seed_from_u64(seed));
        let mut zones: Vec<ZonePlan> = Vec::new();
        if draw.one_in(2) {
            zones.push(draw.carrier());
        }
        let carriers = zones.len();
        for _ in 0..2 + draw.below(3) {
            let outer = if draw.one_in(2) { carriers } else { INTERNET };
            let has_v6 = outer == INTERNET || zones[0].access.firewall.is_some();
            zones.push(draw.home(outer, has_v6));
        }
        let nodes: Vec<NodePlan> = (0..2 + draw.below(4)).map(|_| node(&mut draw, &zones)).collect();
        let pairs = (0..nodes.len()).flat_map(|a| (a + 1..nodes.len()).map(move |b| (a, b)));
        let friends = pairs.filter(|_| !draw.one_in(3)).collect();
        let count = draw.below(7);
        let events = (0..count).map(|_| (draw.event(nodes.len(), zones.len()), draw.millis(8_000))).collect();
        Plan { seed, addresses: 1 + draw.below(2), zones, nodes, friends, events }
    }
}

fn node(draw: &mut Draw, zones: &[ZonePlan]) -> NodePlan {
    let zone = if draw.one_in(6) { INTERNET } else { 1 + draw.below(zones.len()) };
    let can_be_mapped = zone != INTERNET && zones[zone - 1].access.nat.is_some();
    NodePlan {
        zone,
        link: draw.of(&[Link::GOOD, Link::GOOD, Link::BAD]),
        is_mapped: can_be_mapped && draw.one_in(8),
        after: draw.millis(500),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, a server with {} IPv4 addresses", self.seed, self.addresses)?;
        for (place, zone) in self.zones.iter().enumerate() {
            let Access { outer, nat, firewall, addresses, .. } = zone.access;
            let inside = if outer == INTERNET { "on the internet".to_owned() } else { format!("inside zone {outer}") };
            write!(f, "zone {}: {inside}", place + 1)?;
            nat.iter().try_for_each(|nat| write!(f, "; IPv4 by {addresses} address(es), {nat}"))?;
            firewall.iter().try_for_each(|firewall| write!(f, "; IPv6 filtered by {firewall:?}"))?;
            writeln!(f, "{}", if zone.is_blocked { "; UDP blocked" } else { "" })?;
        }
        for (number, node) in self.nodes.iter().enumerate() {
            let link = if node.link == Link::GOOD { "a good link" } else { "a bad link" };
            let port = if node.is_mapped { ", a port opened" } else { "" };
            writeln!(f, "{:?} later node {number} starts in zone {}, {link}{port}", node.after, node.zone)?;
        }
        writeln!(f, "friends: {:?}", self.friends)?;
        self.events.iter().try_for_each(|(event, pause)| writeln!(f, "{event:?}, then {pause:?}"))
    }
}
