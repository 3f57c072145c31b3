//! A stateful firewall that translates nothing: what guards IPv6 in homes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::{Dependence, Timeouts};

/// Lets in what answers what went out.
pub struct Firewall {
    filtering: Dependence,
    timeouts: Timeouts,
    /// When each flow from inside to outside began, and until when it lives.
    flows: BTreeMap<(SocketAddr, SocketAddr), (Instant, Instant)>,
    /// Until when an address outside may send to an endpoint inside.
    permits: BTreeMap<(SocketAddr, IpAddr), Instant>,
}

impl Firewall {
    /// One that knows no flow.
    pub fn new(filtering: Dependence, timeouts: Timeouts) -> Firewall {
        Firewall { filtering, timeouts, flows: BTreeMap::new(), permits: BTreeMap::new() }
    }

    /// Forgets every flow.
    pub fn reboot(&mut self) {
        self.flows.clear();
        self.permits.clear();
    }

    /// A datagram from inside.
    pub fn outbound(&mut self, now: Instant, from: SocketAddr, to: SocketAddr) {
        let flow = self.flows.entry((from, to)).or_insert((now, now + self.timeouts.fresh));
        if flow.1 <= now {
            *flow = (now, now);
        }
        flow.1 = flow.1.max(now + self.timeouts.fresh);
        self.permits.insert((from, to.ip()), flow.1);
    }

    /// A datagram from outside: whether it may pass.
    pub fn inbound(&mut self, now: Instant, from: SocketAddr, to: SocketAddr) -> bool {
        if let Some((began, until)) = self.flows.get_mut(&(to, from)).filter(|(_, until)| now < *until) {
            let streams = now.saturating_duration_since(*began).as_secs() >= 2;
            let lifetime = if streams { self.timeouts.streaming } else { self.timeouts.fresh };
            *until = (*until).max(now + lifetime);
            return true;
        }
        match self.filtering {
            Dependence::Endpoint => true,
            Dependence::Address => self.permits.get(&(to, from.ip())).is_some_and(|until| now < *until),
            Dependence::AddressAndPort => false,
        }
    }
}
