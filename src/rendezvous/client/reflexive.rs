//! What our endpoints look like from outside, by STUN (RFC 8489) from the node's own socket.
//!
//! A round asks every UDP port of the server, and the servers that the user named, with retries. Rounds repeat every
//! [`ROUND`], which notices a NAT that changed its mind; the mapping itself is held by the more frequent relay Binds.
//! Answers of different rounds are not compared: in between the NAT may have moved us.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;

use super::behaviour::Targets;
use super::report::{StunReport, Whose};
use super::rtt::Rtt;
use crate::wire::Drop;
use crate::wire::nat::Mapping;
use crate::wire::stun::{self, Transaction};

/// Between the starts of two rounds.
const ROUND: Duration = Duration::from_secs(120);
/// The same while a port of the rendezvous does not answer: UDP may pass again.
const SILENT_ROUND: Duration = Duration::from_secs(25);
/// Between the requests of a round to one port that does not answer.
const RETRIES: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];
/// A round this young tells what is true now.
const RECENT: Duration = Duration::from_millis(500);
/// The most ports that are asked: two of each of four addresses.
const MAX_SERVERS: usize = 8;
/// The most addresses that servers name, and the most servers of the user, that are asked beside.
const MAX_OTHERS: usize = 8;

/// Asks the server's ports and keeps what they saw.
pub(super) struct Reflexive {
    rng: ChaCha20Rng,
    asked: BTreeMap<SocketAddr, Asked>,
    /// Servers that the user named.
    extra: Vec<SocketAddr>,
    mapping: Mapping,
    next_round: Option<Instant>,
    /// When the last round started.
    started: Option<Instant>,
    changed: bool,
}

#[derive(Default)]
struct Asked {
    whose: Whose,
    /// Of the first request of this round; the last byte counts those after it.
    transaction: Transaction,
    /// When the requests of this round were sent.
    sent: Vec<Instant>,
    /// When the next one is due; none when this round is over here.
    due: Option<Instant>,
    /// Whether it has answered in this round.
    answered: bool,
    seen: Option<SocketAddr>,
    rtt: Option<Rtt>,
}

impl Asked {
    /// A server that is asked at once.
    fn at_once(whose: Whose, due: Option<Instant>, rng: &mut ChaCha20Rng) -> Asked {
        let mut asked = Asked { whose, due, ..Asked::default() };
        rng.fill_bytes(&mut asked.transaction);
        asked
    }

    /// The next request of this round; none when there were enough.
    fn request(&mut self, now: Instant) -> Option<Vec<u8>> {
        let number = self.sent.len();
        let pause = RETRIES.get(number).copied();
        self.due = pause.map(|pause| now + pause);
        pause?;
        self.sent.push(now);
        Some(stun::request(numbered(self.transaction, number)))
    }

    /// When the request was sent that has this transaction.
    fn sent_at(&self, transaction: Transaction) -> Option<Instant> {
        let mut sent = self.sent.iter().enumerate();
        sent.find(|(number, _)| numbered(self.transaction, *number) == transaction).map(|(_, at)| *at)
    }

    /// Whether a whole round brought no answer from a server that only the user vouches for: what it saw may be long gone.
    fn is_lost(&self) -> bool {
        self.whose == Whose::Extra && !self.answered && self.sent.len() == RETRIES.len()
    }

    fn start_round(&mut self, now: Instant, rng: &mut ChaCha20Rng) {
        rng.fill_bytes(&mut self.transaction);
        self.sent.clear();
        self.due = Some(now);
        self.answered = false;
    }
}

/// The transaction of the n-th request of a round: an answer tells which one it is to.
fn numbered(transaction: Transaction, number: usize) -> Transaction {
    let [first @ .., last] = transaction;
    let mut numbered = [0; 12];
    numbered[..11].copy_from_slice(&first);
    numbered[11] = last.wrapping_add(number as u8);
    numbered
}

impl Reflexive {
    pub fn new(rng: ChaCha20Rng) -> Reflexive {
        Reflexive {
            rng,
            asked: BTreeMap::new(),
            extra: Vec::new(),
            mapping: Mapping::Unknown,
            next_round: None,
            started: None,
            changed: false,
        }
    }

    /// Asks these servers, too, in place of those that were given before; new ones at once.
    pub fn set_extra(&mut self, now: Instant, servers: &[SocketAddr]) {
        self.extra = servers.iter().copied().take(MAX_OTHERS).collect();
        let stays = |server: &SocketAddr, asked: &Asked| asked.whose != Whose::Extra || self.extra.contains(server);
        let is_lost = |(server, asked): (&SocketAddr, &Asked)| asked.seen.is_some() && !stays(server, asked);
        self.changed |= self.asked.iter().any(is_lost);
        self.asked.retain(|server, asked| stays(server, asked));
        for server in &self.extra {
            let new = || Asked::at_once(Whose::Extra, Some(now), &mut self.rng);
            self.asked.entry(*server).or_insert_with(new);
        }
        if !self.extra.is_empty() {
            self.next_round.get_or_insert(now + ROUND);
        }
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
            asked.rtt = None;
        }
        self.mapping = Mapping::Unknown;
        self.start_round(now);
    }

    /// Asks again, and keeps what was seen until an answer says otherwise. Not so soon after the last time.
    pub fn ask_again(&mut self, now: Instant) {
        if self.started.is_none_or(|started| started + RECENT <= now) {
            self.start_round(now);
        }
    }

    /// What every server said in this round.
    pub fn report(&self) -> Vec<StunReport> {
        let report = |(server, asked): (&SocketAddr, &Asked)| StunReport {
            server: *server,
            whose: asked.whose,
            seen: asked.seen.filter(|_| asked.answered),
            rtt: asked.rtt.filter(|_| asked.answered),
        };
        self.asked.iter().map(report).collect()
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

    /// Which destinations share a mapping, over IPv4.
    pub fn mapping(&self) -> Mapping {
        self.mapping
    }

    /// Concludes what this round shows: a difference at once, that there is none when all have answered.
    fn conclude(&mut self) {
        match self.compare() {
            Mapping::Unknown => {}
            Mapping::EndpointIndependent if self.mapping != Mapping::Unknown && !self.is_over() => {}
            found => self.changed |= std::mem::replace(&mut self.mapping, found) != found,
        }
    }

    /// Compares what different ports and addresses saw in this round.
    fn compare(&self) -> Mapping {
        let of_round = self.asked.iter().filter(|(server, asked)| server.is_ipv4() && asked.answered);
        let seen: Vec<_> = of_round.filter_map(|(server, asked)| Some((*server, asked.seen?))).collect();
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

    /// Whether every port of the rendezvous has answered, or will not in this round. The user's servers are not waited
    /// for: one that is gone would delay every login.
    pub fn is_complete(&self) -> bool {
        let is_done = |asked: &Asked| asked.whose == Whose::Extra || asked.seen.is_some() || asked.due.is_none();
        self.asked.values().all(is_done)
    }

    /// Whether every server has answered in this round, or will not.
    pub fn is_over(&self) -> bool {
        self.asked.values().all(|asked| asked.due.is_none())
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
        for (server, asked) in self.asked.iter_mut().filter(|(_, asked)| is_due(asked)) {
            if let Some(request) = asked.request(now) {
                return Some((*server, request));
            }
            if asked.whose != Whose::Extra {
                self.next_round = self.next_round.map(|at| at.min(now + SILENT_ROUND));
            }
        }
        self.conclude();
        None
    }

    /// Takes an answer: counts only from the port that was asked, with its transaction.
    pub fn handle_response(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Result<(), Drop> {
        let (transaction, seen) = stun::parse_response(bytes)?;
        let asked = self.asked.get_mut(&from).filter(|asked| asked.due.is_some()).ok_or(Drop::Unexpected)?;
        let sent = asked.sent_at(transaction).ok_or(Drop::Unexpected)?;
        asked.due = None;
        asked.answered = true;
        asked.rtt = Some(Rtt::after(asked.rtt, now.saturating_duration_since(sent)));
        self.changed |= asked.seen != Some(seen);
        asked.seen = Some(seen);
        if asked.whose == Whose::Rendezvous {
            self.named(from, stun::other_address(bytes));
        }
        self.conclude();
        Ok(())
    }

    /// The rendezvous names another address of its own: it is asked from now on.
    fn named(&mut self, server: SocketAddr, other: Option<SocketAddr>) {
        let others = self.asked.values().filter(|asked| asked.whose == Whose::Named).count();
        let is_usable = |other: &SocketAddr| other.ip() != server.ip() && other.is_ipv4() && other.port() != 0;
        let Some(other) = other.filter(is_usable).filter(|_| others < MAX_OTHERS) else {
            return;
        };
        // Due at once: any time that has passed is.
        let new = || Asked::at_once(Whose::Named, self.started, &mut self.rng);
        self.asked.entry(other).or_insert_with(new);
    }

    fn start_round(&mut self, now: Instant) {
        self.next_round = (!self.asked.is_empty()).then_some(now + ROUND);
        self.started = Some(now);
        for asked in self.asked.values_mut() {
            self.changed |= asked.is_lost() && asked.seen.take().is_some();
            asked.start_round(now, &mut self.rng);
        }
    }
}
