//! What our endpoints look like from outside, by STUN (RFC 8489) from the node's own socket.
//!
//! A round asks every UDP port of the server, with retries. Rounds repeat every [`ROUND`], which
//! notices a NAT that changed its mind; the mapping itself is held by the more frequent relay Binds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;

use super::behaviour::Targets;
use crate::wire::Drop;
use crate::wire::nat::Mapping;
use crate::wire::stun::{self, Transaction};

/// Between the starts of two rounds.
const ROUND: Duration = Duration::from_secs(120);
/// The same while a port does not answer: UDP may pass again.
const SILENT_ROUND: Duration = Duration::from_secs(25);
/// Between the requests of a round to one port that does not answer.
const RETRIES: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];
/// A round this young tells what is true now.
const RECENT: Duration = Duration::from_millis(500);
/// The most ports that are asked: two of each of four addresses.
const MAX_SERVERS: usize = 8;
/// The most other servers, and addresses that servers name, that are asked beside.
const MAX_OTHERS: usize = 8;

/// Asks the server's ports and keeps what they saw.
pub(super) struct Reflexive {
    rng: ChaCha20Rng,
    asked: BTreeMap<SocketAddr, Asked>,
    /// Servers that the user named.
    extra: Vec<SocketAddr>,
    next_round: Option<Instant>,
    /// When the last round started.
    started: Option<Instant>,
    changed: bool,
}

#[derive(Default)]
struct Asked {
    whose: Whose,
    transaction: Transaction,
    /// Requests of this round.
    sent: usize,
    /// When the next one is due; none when this round is over here.
    due: Option<Instant>,
    seen: Option<SocketAddr>,
}

/// Which server a port belongs to.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Whose {
    /// The rendezvous, at the address by which we reach it.
    #[default]
    Rendezvous,
    /// The rendezvous, at another address that it named.
    Named,
    /// Somebody else's.
    Extra,
}

impl Reflexive {
    pub fn new(rng: ChaCha20Rng) -> Reflexive {
        Reflexive { rng, asked: BTreeMap::new(), extra: Vec::new(), next_round: None, started: None, changed: false }
    }

    /// Asks these servers, too, from the next round on.
    pub fn set_extra(&mut self, servers: &[SocketAddr]) {
        self.extra = servers.iter().copied().take(MAX_OTHERS).collect();
    }

    /// Asks these ports from now on; what those that stay have seen is kept.
    pub fn set_servers(&mut self, now: Instant, servers: Vec<SocketAddr>) {
        let mut former = std::mem::take(&mut self.asked);
        for server in servers.into_iter().take(MAX_SERVERS) {
            self.asked.insert(server, Asked { whose: Whose::Rendezvous, ..former.remove(&server).unwrap_or_default() });
        }
        for server in &self.extra {
            let asked = Asked { whose: Whose::Extra, ..former.remove(server).unwrap_or_default() };
            self.asked.entry(*server).or_insert(asked);
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

    /// Asks again, and keeps what was seen until an answer says otherwise. Not so soon after the last time.
    pub fn ask_again(&mut self, now: Instant) {
        if self.started.is_none_or(|started| started + RECENT <= now) {
            self.start_round(now);
        }
    }

    /// The endpoints seen, each once, in the order of the ports that saw them; the rendezvous' own come first.
    pub fn endpoints(&self) -> Vec<SocketAddr> {
        let mut endpoints = Vec::new();
        let by = |own: bool| self.asked.values().filter(move |asked| (asked.whose == Whose::Rendezvous) == own);
        for seen in by(true).chain(by(false)).filter_map(|asked| asked.seen) {
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

    /// Compares what different ports and addresses saw over IPv4.
    pub fn mapping(&self) -> Mapping {
        let seen: Vec<_> = self.asked.iter().filter_map(|(server, asked)| Some((*server, asked.seen?))).collect();
        let seen: Vec<_> = seen.into_iter().filter(|(server, _)| server.is_ipv4()).collect();
        let pairs =
            || seen.iter().enumerate().flat_map(|(n, one)| seen.iter().skip(n + 1).map(move |other| (one, other)));
        let differ = |same_address: bool| {
            let mut comparable = pairs().filter(|(one, other)| (one.0.ip() == other.0.ip()) == same_address);
            comparable.any(|(one, other)| one.1 != other.1)
        };
        match seen.len() {
            0 | 1 => Mapping::Unknown,
            _ if differ(true) => Mapping::AddressAndPortDependent,
            _ if differ(false) => Mapping::AddressDependent,
            _ => Mapping::EndpointIndependent,
        }
    }

    /// Whom to ask about our NAT's behaviour: two ports of one address of the rendezvous that answered over IPv4.
    pub fn targets(&self) -> Option<Targets> {
        let answered = |whose: Whose| {
            let of = move |(server, asked): (&SocketAddr, &Asked)| {
                Some((*server, asked.seen?)).filter(|_| asked.whose == whose && server.is_ipv4())
            };
            self.asked.iter().filter_map(of)
        };
        let (server, ours) = answered(Whose::Rendezvous).next()?;
        let (other_port, _) =
            answered(Whose::Rendezvous).find(|(other, _)| other.ip() == server.ip() && *other != server)?;
        let has_other_address = answered(Whose::Named).any(|(other, _)| other.ip() != server.ip());
        Some(Targets { server, other_port, has_other_address, ours })
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
                self.next_round = self.next_round.map(|at| at.min(now + SILENT_ROUND));
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
        if asked.whose == Whose::Rendezvous {
            self.named(from, stun::other_address(bytes));
        }
        Ok(())
    }

    /// The rendezvous names another address of its own: it is asked from now on.
    fn named(&mut self, server: SocketAddr, other: Option<SocketAddr>) {
        let others = self.asked.values().filter(|asked| asked.whose != Whose::Rendezvous).count();
        let is_usable = |other: &SocketAddr| other.ip() != server.ip() && other.is_ipv4() && other.port() != 0;
        let Some(other) = other.filter(is_usable).filter(|_| others < MAX_OTHERS) else {
            return;
        };
        let mut transaction = Transaction::default();
        self.rng.fill_bytes(&mut transaction);
        // Due at once: any time that has passed is.
        let asked = Asked { whose: Whose::Named, transaction, sent: 0, due: self.started, seen: None };
        self.asked.entry(other).or_insert(asked);
    }

    fn start_round(&mut self, now: Instant) {
        self.next_round = (!self.asked.is_empty()).then_some(now + ROUND);
        self.started = Some(now);
        for asked in self.asked.values_mut() {
            self.rng.fill_bytes(&mut asked.transaction);
            asked.sent = 0;
            asked.due = Some(now);
        }
    }
}
