//! What a [`Grant`] means for packets: which of a peer's may come in, and what of ours opens a way for replies.
//!
//! In: packets both ways, from any thread. Out: whether they may pass. A peer with a limited grant has a gate, all others
//! have none and pay nothing.
//!
//! A packet of the peer passes if the grant names what it opens, or if it belongs to what a program here has opened
//! towards the peer. For TCP that is only what began with a SYN of ours, and a SYN of the peer never counts as a reply: so
//! nothing that came by an earlier grant outlives that. Errors of ICMPv6 always pass, and so do fragments after the first,
//! which decides for all of them. What hides its transport behind extension headers is refused.

mod flows;

use super::grant::{Grant, Item, Ports};
use crate::wire::Content;
use crate::wire::packet::Packet;
use crate::wire::transport::tcp;
use flows::{Flow, Flows, State};

pub use flows::Clock;

/// The compiled grant of one peer, and the flows that were opened towards it.
pub struct Gate {
    tcp: Open,
    udp: Open,
    ping: bool,
    flows: Flows,
    clock: Clock,
}

impl Gate {
    /// The gate of a grant; none where all may pass.
    pub fn new(grant: &Grant, clock: Clock) -> Option<Gate> {
        let Grant::Only(items) = grant else {
            return None;
        };
        let tcp = |item: &Item| match item {
            Item::Service(service) => Some(Ports::one(service.port())),
            Item::Tcp(ports) => Some(*ports),
            Item::Ping | Item::Udp(_) => None,
        };
        let udp = |item: &Item| match item {
            Item::Udp(ports) => Some(*ports),
            _ => None,
        };
        Some(Gate {
            tcp: items.iter().filter_map(tcp).collect(),
            udp: items.iter().filter_map(udp).collect(),
            ping: items.contains(&Item::Ping),
            flows: Flows::default(),
            clock,
        })
    }

    /// The same gate with the TCP connections that programs here opened through the former one. Nobody can tell who
    /// opened a flow of UDP, and so none of them is taken over.
    #[must_use]
    pub fn after(self, former: &Gate) -> Gate {
        self.flows.take_over(&former.flows);
        self
    }

    /// Whether a packet of the peer may come in.
    pub fn admits(&self, packet: &Packet<'_>) -> bool {
        let is_reply = |flow| self.flows.knows(flow, self.clock.seconds());
        match Content::of(packet) {
            Content::Tcp { from, to, flags } => self.tcp.has(to) || (!opens(flags) && is_reply(Flow::tcp(to, from))),
            Content::Udp { from, to } => self.udp.has(to) || is_reply(Flow::udp(to, from)),
            Content::EchoRequest { .. } => self.ping,
            Content::EchoReply { id } => is_reply(Flow::echo(id)),
            Content::Error | Content::Rest => true,
            Content::Other => false,
        }
    }

    /// Notes a packet to the peer, so that its replies may come in; whether it may leave. A segment of a connection that
    /// the peer may not have, or not any longer, stays here: there could be no answer to it.
    pub fn notes(&self, packet: &Packet<'_>) -> bool {
        let now = self.clock.seconds();
        match Content::of(packet) {
            Content::Tcp { from, to, flags } if opens(flags) => self.flows.open(Flow::tcp(from, to), now),
            Content::Tcp { from, to, flags } => {
                return self.flows.go_on(Flow::tcp(from, to), now, |state| next(state, flags)) || self.tcp.has(from);
            }
            Content::Udp { from, to } if !self.udp.has(from) => self.flows.open(Flow::udp(from, to), now),
            Content::EchoRequest { id } => self.flows.open(Flow::echo(id), now),
            _ => {}
        }
        true
    }
}

/// Whether a segment asks for a connection.
fn opens(flags: u8) -> bool {
    flags & (tcp::SYN | tcp::ACK) == tcp::SYN
}

/// What a connection of ours is after another segment of ours.
fn next(state: State, flags: u8) -> State {
    match state {
        _ if flags & (tcp::FIN | tcp::RST) != 0 => State::Closing,
        State::Opening => State::Open,
        other => other,
    }
}

/// Ports that stand open: ranges in order, none touching another.
#[derive(Debug, Default, PartialEq, Eq)]
struct Open(Box<[Ports]>);

impl Open {
    fn has(&self, port: u16) -> bool {
        let at = self.0.partition_point(|ports| ports.last() < port);
        self.0.get(at).is_some_and(|ports| ports.first() <= port)
    }
}

impl FromIterator<Ports> for Open {
    fn from_iter<T: IntoIterator<Item = Ports>>(all: T) -> Open {
        let mut sorted: Vec<Ports> = all.into_iter().collect();
        sorted.sort_unstable();
        let mut joined: Vec<Ports> = Vec::new();
        for ports in sorted {
            match joined.last_mut() {
                Some(last) if ports.first() <= last.last().saturating_add(1) => *last = last.joined(ports),
                _ => joined.push(ports),
            }
        }
        Open(joined.into())
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Gate { tcp, udp, ping, .. } = self;
        f.debug_struct("Gate").field("tcp", tcp).field("udp", udp).field("ping", ping).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
