//! A translator's table: flows as Linux tracks them, and the mappings that they share.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand_core::RngCore;

use super::{Behaviour, Dependence, Pooling, Ports, Timeouts};

/// What goes both ways for so long is a stream.
const STREAM: Duration = Duration::from_secs(2);
/// Between two looks for what has expired.
const SWEEP: Duration = Duration::from_secs(1);
/// Where outside ports begin.
const FIRST_PORT: u16 = 1024;

/// An inside endpoint, and as much of the remote one as mappings depend on.
type Key = (SocketAddr, Option<IpAddr>, Option<u16>);

/// One pair of endpoints, as connection tracking knows it.
struct Flow {
    outside: SocketAddr,
    began: Instant,
    until: Instant,
    is_replied: bool,
}

impl Flow {
    fn refresh(&mut self, now: Instant, timeouts: Timeouts) {
        let is_stream = self.is_replied && now.saturating_duration_since(self.began) >= STREAM;
        self.until = self.until.max(now + if is_stream { timeouts.streaming } else { timeouts.fresh });
    }
}

/// Who holds an outside endpoint, and until when.
struct Holder {
    inside: SocketAddr,
    until: Instant,
}

/// One translator with its table.
pub struct Nat {
    /// How it behaves.
    pub behaviour: Behaviour,
    outside: Vec<IpAddr>,
    mappings: BTreeMap<Key, SocketAddr>,
    holders: BTreeMap<SocketAddr, Holder>,
    flows: BTreeMap<(SocketAddr, SocketAddr), Flow>,
    /// The inside of a flow, by its outside and its remote endpoint.
    back: BTreeMap<(SocketAddr, SocketAddr), SocketAddr>,
    permits: BTreeMap<(SocketAddr, IpAddr), Instant>,
    /// Entries for datagrams that nobody inside asked for: outside and remote endpoint, until when.
    strays: BTreeMap<(SocketAddr, SocketAddr), Instant>,
    /// Open ports: inside to outside.
    opened: BTreeMap<SocketAddr, SocketAddr>,
    last_port: u16,
    swept: Option<Instant>,
    fullest: usize,
    /// Flows of each inside host, and the most that there were.
    counts: BTreeMap<IpAddr, (usize, usize)>,
}

impl Nat {
    /// A translator with the given outside addresses.
    pub fn new(outside: Vec<IpAddr>, behaviour: Behaviour) -> Nat {
        Nat {
            behaviour,
            outside,
            mappings: BTreeMap::new(),
            holders: BTreeMap::new(),
            flows: BTreeMap::new(),
            back: BTreeMap::new(),
            permits: BTreeMap::new(),
            strays: BTreeMap::new(),
            opened: BTreeMap::new(),
            last_port: 40_000,
            swept: None,
            fullest: 0,
            counts: BTreeMap::new(),
        }
    }

    /// Its outside addresses.
    pub fn outside(&self) -> &[IpAddr] {
        &self.outside
    }

    /// The most flows that one inside host had at once.
    pub fn peak(&self) -> usize {
        self.counts.values().map(|(_, most)| *most).max().unwrap_or(0)
    }

    /// The most entries that its table had at once: flows, and what datagrams to the translator itself made.
    pub fn fullest(&self) -> usize {
        self.fullest
    }

    /// Forgets every flow, as a reboot does; a new outside address where one is given.
    pub fn reboot(&mut self, address: Option<IpAddr>) {
        let outside = address.map_or_else(|| self.outside.clone(), |address| vec![address]);
        let mut counts = std::mem::take(&mut self.counts);
        counts.values_mut().for_each(|(now, _)| *now = 0);
        *self = Nat { fullest: self.fullest, counts, ..Nat::new(outside, self.behaviour) };
    }

    /// Opens a port for an inside endpoint, as PCP or a user does; gives its outside.
    pub fn open(&mut self, inside: SocketAddr, rng: &mut impl RngCore) -> Option<SocketAddr> {
        if let Some(outside) = self.opened.get(&inside) {
            return Some(*outside);
        }
        let ip = *self.outside.first()?;
        let outside = self.free(ip, inside.port(), rng)?;
        self.opened.insert(inside, outside);
        Some(outside)
    }

    /// Whether an inside host has a port open.
    pub fn is_open(&self, inside: IpAddr) -> bool {
        self.opened.keys().any(|of| of.ip() == inside)
    }

    /// A datagram from inside to `to`: the source endpoint it leaves with, unless the table is full.
    pub fn outbound(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: SocketAddr,
        rng: &mut impl RngCore,
    ) -> Option<SocketAddr> {
        self.sweep(now);
        let timeouts = self.behaviour.timeouts;
        if let Some(flow) = self.flows.get_mut(&(from, to)).filter(|flow| now < flow.until) {
            flow.refresh(now, timeouts);
            let (outside, until) = (flow.outside, flow.until);
            self.hold(outside, from, to, until);
            return Some(outside);
        }
        let outside = self.mapping(now, from, to, rng)?;
        self.begin(now, from, to, outside)?;
        Some(outside)
    }

    /// The outside endpoint that a new flow shares with others, or gets for itself.
    fn mapping(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: SocketAddr,
        rng: &mut impl RngCore,
    ) -> Option<SocketAddr> {
        let key = match self.behaviour.mapping {
            Dependence::Endpoint => (from, None, None),
            Dependence::Address => (from, Some(to.ip()), None),
            Dependence::AddressAndPort => (from, Some(to.ip()), Some(to.port())),
        };
        let is_held = |outside: &SocketAddr| self.holders.get(outside).is_some_and(|holder| now < holder.until);
        let known = self.opened.get(&from).or(self.mappings.get(&key).filter(|outside| is_held(outside))).copied();
        let is_taken = |outside: SocketAddr| self.strays.get(&(outside, to)).is_some_and(|until| now < *until);
        if let Some(outside) = known {
            return if is_taken(outside) { self.elsewhere(outside, rng) } else { Some(outside) };
        }
        let outside = self.assign(from, rng)?;
        let is_spoilt = self.strays.get(&(outside, to)).is_some_and(|until| now < *until);
        let outside = if is_spoilt { self.elsewhere(outside, rng)? } else { outside };
        self.mappings.insert(key, outside);
        Some(outside)
    }

    fn assign(&mut self, from: SocketAddr, rng: &mut impl RngCore) -> Option<SocketAddr> {
        let place = match (self.behaviour.pooling, from.ip()) {
            (Pooling::Paired, IpAddr::V4(ip)) => usize::from(ip.octets()[3]),
            _ => rng.next_u32() as usize,
        };
        let ip = *self.outside.get(place % self.outside.len())?;
        let wanted = match self.behaviour.ports {
            Ports::Preserved => from.port(),
            Ports::Random => any_port(rng),
            Ports::Sequential(step) => {
                self.last_port = self.last_port.wrapping_add(step).max(FIRST_PORT);
                self.last_port
            }
        };
        self.free(ip, wanted, rng)
    }

    /// The wanted port, or another one if that is in use.
    fn free(&mut self, ip: IpAddr, wanted: u16, rng: &mut impl RngCore) -> Option<SocketAddr> {
        let mut outside = SocketAddr::new(ip, wanted);
        for _ in 0..u16::MAX {
            let is_opened = self.opened.values().any(|opened| *opened == outside);
            if !is_opened && !self.holders.contains_key(&outside) {
                return Some(outside);
            }
            let port = match self.behaviour.ports {
                Ports::Sequential(step) => {
                    self.last_port = self.last_port.wrapping_add(step).max(FIRST_PORT);
                    self.last_port
                }
                Ports::Preserved | Ports::Random => any_port(rng),
            };
            outside.set_port(port);
        }
        None
    }

    fn elsewhere(&mut self, outside: SocketAddr, rng: &mut impl RngCore) -> Option<SocketAddr> {
        let port = any_port(rng);
        self.free(outside.ip(), port, rng)
    }

    fn begin(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, outside: SocketAddr) -> Option<()> {
        if self.flows.len() + self.strays.len() >= self.behaviour.capacity {
            return None;
        }
        let until = now + self.behaviour.timeouts.fresh;
        self.flows.insert((from, to), Flow { outside, began: now, until, is_replied: false });
        self.back.insert((outside, to), from);
        self.hold(outside, from, to, until);
        self.count(from.ip());
        Some(())
    }

    fn hold(&mut self, outside: SocketAddr, inside: SocketAddr, remote: SocketAddr, until: Instant) {
        let holder = self.holders.entry(outside).or_insert(Holder { inside, until });
        holder.until = holder.until.max(until);
        self.permits.insert((outside, remote.ip()), until);
    }

    fn count(&mut self, inside: IpAddr) {
        self.fullest = self.fullest.max(self.flows.len() + self.strays.len());
        let (now, most) = self.counts.entry(inside).or_default();
        *now += 1;
        *most = (*most).max(*now);
    }

    /// A datagram from outside to the outside endpoint `to`: where it goes inside, if it may.
    pub fn inbound(&mut self, now: Instant, from: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        self.sweep(now);
        if let Some(inside) = self.reply(now, from, to) {
            return Some(inside);
        }
        let opened = self.opened.iter().find(|(_, outside)| **outside == to).map(|(inside, _)| *inside);
        let holder = || self.holders.get(&to).filter(|holder| now < holder.until).map(|holder| holder.inside);
        let permitted = opened.or_else(|| holder().filter(|_| self.permits(now, from, to)));
        match permitted {
            Some(inside) => {
                if !self.flows.contains_key(&(inside, from)) {
                    self.begin(now, inside, from, to)?;
                }
                Some(inside)
            }
            None => {
                self.spoil(now, from, to);
                None
            }
        }
    }

    /// The inside of a flow that this is the other direction of.
    fn reply(&mut self, now: Instant, from: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        let inside = *self.back.get(&(to, from))?;
        let timeouts = self.behaviour.timeouts;
        let flow = self.flows.get_mut(&(inside, from)).filter(|flow| now < flow.until && flow.outside == to)?;
        flow.is_replied = true;
        if timeouts.inbound_refreshes {
            flow.refresh(now, timeouts);
            let until = flow.until;
            self.hold(to, inside, from, until);
        }
        Some(inside)
    }

    fn permits(&self, now: Instant, from: SocketAddr, to: SocketAddr) -> bool {
        match self.behaviour.filtering {
            Dependence::Endpoint => true,
            Dependence::Address => self.permits.get(&(to, from.ip())).is_some_and(|until| now < *until),
            Dependence::AddressAndPort => false,
        }
    }

    fn spoil(&mut self, now: Instant, from: SocketAddr, to: SocketAddr) {
        let has_room = self.flows.len() + self.strays.len() < self.behaviour.capacity;
        if self.behaviour.poisonable && has_room {
            self.strays.insert((to, from), now + self.behaviour.timeouts.fresh);
            self.fullest = self.fullest.max(self.flows.len() + self.strays.len());
        }
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|at| now.saturating_duration_since(at) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        self.flows.retain(|_, flow| now < flow.until);
        self.holders.retain(|_, holder| now < holder.until);
        self.permits.retain(|_, until| now < *until);
        self.strays.retain(|_, until| now < *until);
        self.back.retain(|(outside, remote), inside| {
            self.flows.get(&(*inside, *remote)).is_some_and(|flow| flow.outside == *outside)
        });
        self.counts.values_mut().for_each(|(now, _)| *now = 0);
        for (inside, _) in self.flows.keys() {
            self.counts.entry(inside.ip()).or_default().0 += 1;
        }
        self.mappings.retain(|_, outside| self.holders.contains_key(outside));
    }
}

fn any_port(rng: &mut impl RngCore) -> u16 {
    FIRST_PORT + (rng.next_u32() % (u32::from(u16::MAX - FIRST_PORT) + 1)) as u16
}
