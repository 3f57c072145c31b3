//! Our binding at the relay: tells it where we are, and thereby holds the NAT mapping towards it.
//!
//! Binds go by UDP to one of the relay's addresses. Where they are not answered a stream over TLS is wished for, and as
//! soon as it is open the binding moves there. It moves back when STUN shows that UDP passes again: a Bind sent in the
//! dark would take the binding away from the stream that works.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::output::{Via, Wish};
use crate::wire::relay::{self, Binding as Frame};
use crate::wire::{Drop, RelayAddress, RelayCredential, RelayId};

/// Between two Binds that were answered: NAT mappings live 30 s or more (RFC 4787 asks for 120 s, Linux
/// gives a one-way flow 30 s), so one lost Bind does not lose the mapping.
const REFRESH: Duration = Duration::from_secs(15);
/// Between Binds that were not answered, by how many there were.
const RETRIES: [Duration; 6] = [
    Duration::from_millis(250),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
/// After so many unanswered Binds the relay's next address is tried, and a stream is wished for.
const PATIENCE: usize = 3;
/// After so many a stream is wished for where the relay has answered before.
const SURPRISE: usize = 2;
/// A relay that answered this lately is not doubted.
const FRESH: Duration = Duration::from_millis(500);
/// How long UDP is left alone after it let STUN pass and Binds not.
const HOLD: Duration = Duration::from_secs(60);

/// The relay session of the last login, and by which way the relay answers us.
pub(super) struct Binding {
    /// In use as soon as it is bound.
    credential: Option<RelayCredential>,
    /// Of a newer login: replaces the other once it is bound, so that relayed traffic does not stop. The
    /// relay likewise keeps the former session until then.
    next: Option<RelayCredential>,
    servers: Vec<SocketAddr>,
    current: usize,
    /// By which way Binds go.
    way: Way,
    /// By which way the last Bound came.
    bound: Option<Way>,
    wish: Wish,
    /// Whether the stream of `wish` is open.
    is_open: bool,
    /// Binds since the last answer, or since they go this way.
    unanswered: usize,
    answered: Option<Instant>,
    sent: Option<Instant>,
    rtt: Option<Duration>,
    due: Option<Instant>,
    /// Grows with each Bind: the relay refuses a nonce that does not.
    nonce: u64,
    held_until: Option<Instant>,
    changed: bool,
    moved: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Udp,
    Stream,
}

impl Binding {
    pub fn new(nonce: u32) -> Binding {
        Binding {
            credential: None,
            next: None,
            servers: Vec::new(),
            current: 0,
            way: Way::Udp,
            bound: None,
            wish: Wish::default(),
            is_open: false,
            unanswered: 0,
            answered: None,
            sent: None,
            rtt: None,
            due: None,
            nonce: nonce.into(),
            held_until: None,
            changed: false,
            moved: false,
        }
    }

    /// The relay's addresses; the one in use stays in use if it is still among them.
    pub fn set_servers(&mut self, servers: Vec<SocketAddr>) {
        let former = self.server();
        self.servers = servers;
        let place = self.servers.iter().position(|s| Some(*s) == former);
        self.current = place.unwrap_or(0);
        if place.is_none() {
            self.unbind();
        }
    }

    /// A new login.
    pub fn set_credential(&mut self, now: Instant, credential: RelayCredential) {
        if self.bound.is_some() {
            self.next = Some(credential);
        } else {
            self.credential = Some(credential);
        }
        self.go(now, self.way);
    }

    /// Binds anew at once: our own addresses changed, so that UDP may pass now, and an open stream leads nowhere.
    pub fn restart(&mut self, now: Instant) {
        self.held_until = None;
        self.redial();
        self.go(now, Way::Udp);
    }

    /// Something that goes through the relay, or as the Binds do by UDP, was not answered.
    pub fn doubt(&mut self, now: Instant) {
        let is_fresh = self.answered.is_some_and(|at| now < at + FRESH);
        if self.bound == Some(self.way) && self.unanswered == 0 && !is_fresh {
            self.due = Some(now);
        }
    }

    /// A UDP port of the relay answered STUN: Binds pass there, too.
    pub fn reachable(&mut self, now: Instant, server: SocketAddr) {
        let Some(place) = self.servers.iter().position(|known| *known == server) else {
            return;
        };
        let is_held = self.held_until.is_some_and(|until| now < until);
        let is_better = match self.way {
            Way::Stream => !is_held,
            Way::Udp => self.bound.is_none() && self.unanswered > 0 && place != self.current,
        };
        if is_better {
            self.changed |= self.bound.is_some() && place != self.current;
            self.current = place;
            self.go(now, Way::Udp);
        }
    }

    /// The stream is open: it is used unless the relay has answered by UDP meanwhile.
    pub fn stream_up(&mut self, now: Instant) {
        self.is_open = true;
        if self.wish.is_open && self.way == Way::Udp && self.unanswered > 0 {
            self.go(now, Way::Stream);
        }
    }

    /// The stream is closed.
    pub fn stream_down(&mut self, now: Instant) {
        self.is_open = false;
        if self.bound == Some(Way::Stream) {
            self.unbind();
        }
        if self.way == Way::Stream {
            self.go(now, Way::Udp);
        }
    }

    /// Our place at the relay; a relay without a known UDP endpoint goes by its name.
    pub fn address(&self, relay: RelayId) -> Option<RelayAddress> {
        let credential = self.credential()?;
        let server = self.server().unwrap_or_else(|| relay.endpoint());
        Some(RelayAddress { server, allocation: credential.allocation })
    }

    /// Where the relay takes datagrams, as far as that is known.
    pub fn endpoint(&self) -> Option<SocketAddr> {
        self.server().filter(|_| self.credential.is_some())
    }

    /// Whether no answer is waited for.
    pub fn is_settled(&self) -> bool {
        !self.can_bind() || (self.bound == Some(self.way) && self.unanswered == 0)
    }

    /// The last round trip to the relay.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt.filter(|_| self.bound.is_some())
    }

    pub fn credential(&self) -> Option<&RelayCredential> {
        self.credential.as_ref().filter(|_| self.bound.is_some())
    }

    /// How frames for the relay leave, while it knows us.
    pub fn via(&self) -> Option<Via> {
        self.by(self.bound?)
    }

    /// Whether a stream is wanted.
    pub fn wish(&self) -> Wish {
        self.wish
    }

    pub fn due(&self) -> Option<Instant> {
        self.due.filter(|_| self.can_bind())
    }

    /// Whether our address at the relay is another than before.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether frames leave by another way than before.
    pub fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// The Bind that is due, if one is.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(Via, Vec<u8>)> {
        if !self.can_bind() || self.due.is_none_or(|due| now < due) {
            return None;
        }
        match self.way {
            Way::Udp => self.udp_is_silent(now),
            Way::Stream => self.stream_is_silent(now),
        }
        let last = RETRIES.len() - 1;
        let pause = RETRIES.get(self.unanswered.min(last)).copied();
        self.due = Some(now + pause.unwrap_or(REFRESH));
        self.unanswered += 1;
        self.nonce += 1;
        self.sent = Some(now);
        let frame = relay::bind(self.newest()?, self.nonce);
        Some((self.by(self.way)?, frame.to_vec()))
    }

    /// Takes a Bound: counts only from where the Binds go, for one of the last series, with its MAC.
    pub fn handle_bound(&mut self, now: Instant, via: Option<SocketAddr>, bound: &Frame) -> Result<(), Drop> {
        let credential = self.newest().ok_or(Drop::Unexpected)?;
        let series = self.nonce - self.unanswered as u64;
        let is_from_relay = match self.way {
            Way::Udp => via.is_some() && via == self.server(),
            Way::Stream => via.is_none(),
        };
        let is_answer =
            bound.session == credential.session && (series + 1..=self.nonce).contains(&bound.nonce) && is_from_relay;
        if !is_answer {
            return Err(Drop::Unexpected);
        }
        bound.verify(&credential.key)?;
        self.changed |= self.bound.is_none() || self.next.is_some();
        self.moved |= self.bound.is_some_and(|former| former != self.way);
        self.credential = self.next.take().or(self.credential.take());
        self.bound = Some(self.way);
        self.wish.is_open = self.way == Way::Stream;
        if bound.nonce == self.nonce {
            self.rtt = self.sent.map(|sent| now.saturating_duration_since(sent));
        }
        self.unanswered = 0;
        self.answered = Some(now);
        self.due = Some(now + REFRESH);
        Ok(())
    }

    /// What follows from Binds by UDP that were not answered.
    fn udp_is_silent(&mut self, now: Instant) {
        let patience = if self.answered.is_some() { SURPRISE } else { PATIENCE };
        if self.unanswered >= patience {
            self.wish.is_open = true;
            if self.is_open {
                self.held_until = Some(now + HOLD);
                return self.go(now, Way::Stream);
            }
        }
        if self.unanswered >= PATIENCE && self.unanswered.is_multiple_of(PATIENCE) {
            self.unbind();
            self.current = (self.current + 1) % self.servers.len().max(1);
        }
    }

    /// A stream that carries no answers is replaced, and UDP tried meanwhile.
    fn stream_is_silent(&mut self, now: Instant) {
        if self.unanswered >= PATIENCE {
            self.unbind();
            self.redial();
            self.go(now, Way::Udp);
        }
    }

    /// Sends Binds this way, from now on.
    fn go(&mut self, now: Instant, way: Way) {
        self.way = way;
        self.unanswered = 0;
        self.due = Some(now);
    }

    /// Wishes for another stream in place of the one that is wished for now.
    fn redial(&mut self) {
        if self.wish.is_open {
            self.wish.epoch += 1;
            self.is_open = false;
        }
    }

    fn newest(&self) -> Option<&RelayCredential> {
        self.next.as_ref().or(self.credential.as_ref())
    }

    fn unbind(&mut self) {
        self.changed |= self.bound.is_some();
        self.bound = None;
        self.credential = self.next.take().or(self.credential.take());
    }

    fn can_bind(&self) -> bool {
        self.credential.is_some()
    }

    fn by(&self, way: Way) -> Option<Via> {
        match way {
            Way::Udp => self.server().map(Via::Udp),
            Way::Stream => Some(Via::Stream),
        }
    }

    fn server(&self) -> Option<SocketAddr> {
        self.servers.get(self.current).copied()
    }
}
