//! What our endpoints look like from outside, by STUN (RFC 8489) from the node's own socket.
//!
//! A round asks every UDP port of the server, with retries. Rounds repeat every [`ROUND`], which
//! notices a NAT that changed its mind; the mapping itself is held by the more frequent relay Binds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;

use crate::wire::Drop;
use crate::wire::stun::{self, Transaction};

/// Between the starts of two rounds.
const ROUND: Duration = Duration::from_secs(25);
/// Between the requests of a round to one port that does not answer.
const RETRIES: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];
/// The most ports that are asked: two of each of four addresses.
const MAX_SERVERS: usize = 8;

/// How our NAT maps one socket towards different destinations (RFC 4787, section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// No two ports have answered yet.
    Unknown,
    /// The same endpoint towards every destination, or no NAT at all: punching works.
    EndpointIndependent,
    /// Another endpoint for each destination: what STUN saw, peers cannot use.
    PerDestination,
}

/// Asks the server's ports and keeps what they saw.
pub(super) struct Reflexive {
    rng: ChaCha20Rng,
    asked: BTreeMap<SocketAddr, Asked>,
    next_round: Option<Instant>,
    changed: bool,
}

#[derive(Default)]
struct Asked {
    transaction: Transaction,
    /// Requests of this round.
    sent: usize,
    /// When the next one is due; none when this round is over here.
    due: Option<Instant>,
    seen: Option<SocketAddr>,
}

impl Reflexive {
    pub fn new(rng: ChaCha20Rng) -> Reflexive {
        Reflexive { rng, asked: BTreeMap::new(), next_round: None, changed: false }
    }

    /// Asks these ports from now on; what those that stay have seen is kept.
    pub fn set_servers(&mut self, now: Instant, servers: Vec<SocketAddr>) {
        let mut former = std::mem::take(&mut self.asked);
        for server in servers.into_iter().take(MAX_SERVERS) {
            self.asked.insert(server, former.remove(&server).unwrap_or_default());
        }
        self.changed |= former.values().any(|asked| asked.seen.is_some());
        self.start_round(now);
    }

    /// Forgets what was seen and asks again.
    pub fn restart(&mut self, now: Instant) {
        for asked in self.asked.values_mut() {
            self.changed |= asked.seen.take().is_some();
        }
        self.start_round(now);
    }

    /// The endpoints seen, each once, in the order of the ports that saw them.
    pub fn endpoints(&self) -> Vec<SocketAddr> {
        let mut endpoints = Vec::new();
        for seen in self.asked.values().filter_map(|asked| asked.seen) {
            if !endpoints.contains(&seen) {
                endpoints.push(seen);
            }
        }
        endpoints
    }

    /// A port that answered over IPv4.
    pub fn server(&self) -> Option<SocketAddr> {
        self.asked.iter().find(|(server, asked)| server.is_ipv4() && asked.seen.is_some()).map(|(server, _)| *server)
    }

    /// Compares what different ports of one address saw; IPv4 decides where it is there, for IPv6 is
    /// seldom translated.
    pub fn mapping(&self) -> Mapping {
        match self.mapping_of(SocketAddr::is_ipv4) {
            Mapping::Unknown => self.mapping_of(SocketAddr::is_ipv6),
            known => known,
        }
    }

    fn mapping_of(&self, family: fn(&SocketAddr) -> bool) -> Mapping {
        let seen: Vec<_> = self
            .asked
            .iter()
            .filter(|(server, _)| family(server))
            .filter_map(|(server, asked)| Some((server.ip(), asked.seen?)))
            .collect();
        let mut mapping = Mapping::Unknown;
        for pair in seen.windows(2) {
            match pair {
                [(a, first), (b, second)] if a == b && first != second => {
                    return Mapping::PerDestination;
                }
                [(a, _), (b, _)] if a == b => mapping = Mapping::EndpointIndependent,
                _ => {}
            }
        }
        mapping
    }

    /// Whether every port has answered, or will not in this round.
    pub fn is_complete(&self) -> bool {
        let is_done = |asked: &Asked| asked.seen.is_some() || asked.due.is_none();
        self.asked.values().all(is_done)
    }

    pub fn due(&self) -> Option<Instant> {
        let retries = self.asked.values().filter_map(|asked| asked.due);
        retries.chain(self.next_round).min()
    }

    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// A request that is due, if one is.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        if self.next_round.is_some_and(|at| at <= now) {
            self.start_round(now);
        }
        let is_due = |asked: &&mut Asked| asked.due.is_some_and(|at| at <= now);
        let due = self.asked.iter_mut().filter(|(_, asked)| is_due(asked));
        for (server, asked) in due {
            let Some(pause) = RETRIES.get(asked.sent) else {
                asked.due = None;
                continue;
            };
            asked.sent += 1;
            asked.due = Some(now + *pause);
            return Some((*server, stun::request(asked.transaction)));
        }
        None
    }

    /// Takes an answer: counts only from the port that was asked, with its transaction.
    pub fn handle_response(&mut self, from: SocketAddr, bytes: &[u8]) -> Result<(), Drop> {
        let (transaction, seen) = stun::parse_response(bytes)?;
        let asked = self.asked.get_mut(&from).ok_or(Drop::Unexpected)?;
        if asked.sent == 0 || asked.due.is_none() || asked.transaction != transaction {
            return Err(Drop::Unexpected);
        }
        asked.due = None;
        self.changed |= asked.seen != Some(seen);
        asked.seen = Some(seen);
        Ok(())
    }

    fn start_round(&mut self, now: Instant) {
        self.next_round = (!self.asked.is_empty()).then_some(now + ROUND);
        for asked in self.asked.values_mut() {
            self.rng.fill_bytes(&mut asked.transaction);
            asked.sent = 0;
            asked.due = Some(now);
        }
    }
}
