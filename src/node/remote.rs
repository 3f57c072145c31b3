//! One peer as the node runs it.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attempt::Attempt;
use super::bucket::Bucket;
use super::command::PathView;
use crate::identity::{NodeId, PublicKey, TunnelKey};
use crate::peer::{Gate, Tunnel, Waiting, initiation};
use crate::punch::Agent;
use crate::rendezvous::bucket::Bucket as ByteBucket;
use crate::wire::{Candidate, Nat, Now, Path};

/// One peer.
pub(super) struct Remote {
    pub id: NodeId,
    pub address: Ipv6Addr,
    /// None for a WireGuard peer from the configuration.
    pub key: Option<PublicKey>,
    /// Its current tunnel key, as soon as it is known.
    pub tunnel_key: Option<TunnelKey>,
    /// Made on first use, dropped when it expires.
    pub tunnel: Option<Arc<Tunnel>>,
    /// Whether a session is up.
    pub is_up: bool,
    /// Whether the session that is up belongs to an earlier start of the peer.
    pub is_renewing: bool,
    pub ways: Ways,
    /// The candidates as the peer told them.
    pub told: Vec<Candidate>,
    /// Its NAT, as it told.
    pub nat: Nat,
    /// The peer's boot number.
    pub boot: Option<u64>,
    /// The timestamp of the last initiation that was answered.
    pub floor: initiation::Timestamp,
    pub waiting: Waiting,
    pub attempt: Attempt,
    /// Handshakes that it may start, each of which is a durable change here.
    pub handshakes: Bucket,
    /// Introductions that it may send, each of which can be one.
    pub introductions: Bucket,
    pub seen: Seen,
    /// How large packets to a peer without an agent may be.
    pub fixed_mtu: u16,
    /// What keeps its packets to its grant; none where that is everything.
    pub gate: Option<Arc<Gate>>,
    /// Whether it passes on what we send.
    pub relays: bool,
    /// Through whom it can be reached, as it told us.
    pub friends: Vec<u64>,
    /// What it may have passed on by us.
    pub carried: Option<ByteBucket>,
}

/// How paths to a peer are found.
pub(super) enum Ways {
    /// By probing its candidates.
    Agent(Box<Agent>),
    /// As configured, or where its last authenticated packet came from.
    Fixed(Option<Path>),
}

impl Ways {
    /// All paths by which the peer may be reached.
    pub fn all(&self) -> Vec<Path> {
        match self {
            Ways::Agent(agent) => agent.known().collect(),
            Ways::Fixed(path) => path.iter().copied().collect(),
        }
    }
}

/// The tunnel's counters at the last sample, and when that was.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    sent: u64,
    large: u64,
    heard: u64,
    data: u64,
    at: Option<Now>,
}

/// What went through a tunnel between two samples.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sampled {
    Nothing,
    /// No packets of programs.
    Words,
    Data,
}

impl Remote {
    /// Where data goes now.
    pub fn path(&self) -> Option<Path> {
        let path = match &self.ways {
            Ways::Agent(agent) => agent.chosen(),
            Ways::Fixed(path) => *path,
        };
        path.filter(|_| self.is_up)
    }

    /// The ways by which a word arrives if any does: the path in use, and the relayed one.
    pub fn sure_paths(&self) -> impl Iterator<Item = Path> + use<> {
        let chosen = self.path();
        let relay = match &self.ways {
            Ways::Agent(agent) => agent.relay(),
            Ways::Fixed(_) => None,
        };
        chosen.into_iter().chain(relay.filter(|relay| chosen.is_some() && chosen != Some(*relay)))
    }

    /// Whether nothing that we send arrives, as far as is known: only the rendezvous can bring us together again.
    pub fn is_away(&self) -> bool {
        let is_stranded = matches!(&self.ways, Ways::Agent(agent) if agent.is_stranded());
        !self.is_up || is_stranded
    }

    /// Whether its tunnel could seal a packet now.
    pub fn has_session(&self) -> bool {
        let tunnel = self.tunnel.as_ref();
        tunnel.is_some_and(|tunnel| tunnel.has_session())
    }

    /// Tells the agent what went through the tunnel since the last sample.
    pub fn sample(&mut self, now: Now) -> Sampled {
        let (Some(tunnel), Ways::Agent(agent)) = (&self.tunnel, &mut self.ways) else {
            return Sampled::Nothing;
        };
        let counts = tunnel.traffic().sample();
        let latest = Seen {
            sent: counts.sent_packets,
            large: counts.sent_large,
            heard: counts.heard_on_path,
            data: counts.data_on_path,
            at: Some(now),
        };
        let seen = std::mem::replace(&mut self.seen, latest);
        if counts.sent_packets != seen.sent {
            agent.sent(seen.at.unwrap_or(now));
        }
        if counts.sent_large != seen.large {
            agent.sent_large(now);
        }
        if let Some(path) = agent.chosen().filter(|_| counts.heard_on_path != seen.heard) {
            agent.received(now, path);
        }
        if counts.data_on_path != seen.data {
            agent.replied(now);
        }
        match counts.sent_packets != seen.sent || counts.data_on_path != seen.data {
            true => Sampled::Data,
            false if counts.heard_on_path != seen.heard => Sampled::Words,
            false => Sampled::Nothing,
        }
    }

    /// Whether data goes straight to it now, and arrives.
    pub fn is_direct(&self) -> bool {
        self.is_up
            && match &self.ways {
                Ways::Agent(agent) => agent.settled(),
                Ways::Fixed(path) => path.is_some(),
            }
    }

    pub fn path_view(&self) -> PathView {
        view(self.path())
    }

    pub fn rtt(&self) -> Option<Duration> {
        match &self.ways {
            Ways::Agent(agent) if self.is_up => agent.rtt(),
            _ => None,
        }
    }

    /// When it needs attention, and why.
    pub fn due(&self) -> Option<(Instant, &'static str)> {
        let agent = match &self.ways {
            Ways::Agent(agent) => agent.poll_timeout(),
            Ways::Fixed(_) => None,
        };
        agent.into_iter().chain(self.attempt.due()).min()
    }

    /// Whether it needs a look every now and then.
    pub fn is_live(&self) -> bool {
        self.tunnel.is_some() || !self.waiting.is_empty()
    }

    /// Where a handshake message goes now.
    pub fn handshake_paths(&self) -> Vec<Path> {
        match &self.ways {
            Ways::Agent(agent) => agent.handshake_paths(self.attempt.is_first()),
            Ways::Fixed(path) => path.iter().copied().collect(),
        }
    }
}

pub(super) fn view(path: Option<Path>) -> PathView {
    match path {
        None => PathView::None,
        Some(Path::Direct(endpoint) | Path::Spare { remote: endpoint, .. }) => PathView::Direct(endpoint),
        Some(Path::Relayed(relay)) => PathView::Relayed(relay.server),
        Some(Path::Friend { friend, .. }) => PathView::Friend(friend),
    }
}
