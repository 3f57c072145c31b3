//! Our binding at the relay: tells it where we are, and thereby holds the NAT mapping towards it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::wire::relay::{self, Binding as Frame};
use crate::wire::{Drop, RelayAddress, RelayCredential};

/// Between two Binds that were answered: NAT mappings live 30 s or more (RFC 4787 asks for 120 s, Linux
/// gives a one-way flow 30 s), so one lost Bind does not lose the mapping.
const REFRESH: Duration = Duration::from_secs(15);
/// Between Binds that were not answered, by how many there were.
const RETRIES: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
/// After so many unanswered Binds the relay's next address is tried.
const PATIENCE: usize = 3;

/// The relay session of the last login, and which of the relay's addresses answers us.
pub(super) struct Binding {
    /// In use as soon as it is bound.
    credential: Option<RelayCredential>,
    /// Of a newer login: replaces the other once it is bound, so that relayed traffic does not stop. The
    /// relay likewise keeps the former session until then.
    next: Option<RelayCredential>,
    servers: Vec<SocketAddr>,
    current: usize,
    is_bound: bool,
    /// Binds since the last answer.
    unanswered: usize,
    due: Option<Instant>,
    /// Grows with each Bind: the relay refuses a nonce that does not.
    nonce: u64,
    changed: bool,
}

impl Binding {
    pub fn new(nonce: u32) -> Binding {
        Binding {
            credential: None,
            next: None,
            servers: Vec::new(),
            current: 0,
            is_bound: false,
            unanswered: 0,
            due: None,
            nonce: nonce.into(),
            changed: false,
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
        if self.is_bound {
            self.next = Some(credential);
        } else {
            self.credential = Some(credential);
        }
        self.restart(now);
    }

    /// Binds anew at once.
    pub fn restart(&mut self, now: Instant) {
        self.unanswered = 0;
        self.due = Some(now);
    }

    pub fn address(&self) -> Option<RelayAddress> {
        let credential = self.credential()?;
        Some(RelayAddress { server: self.server()?, allocation: credential.allocation })
    }

    pub fn credential(&self) -> Option<&RelayCredential> {
        self.credential.as_ref().filter(|_| self.is_bound)
    }

    pub fn due(&self) -> Option<Instant> {
        self.due.filter(|_| self.can_bind())
    }

    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The Bind that is due, if one is.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        if !self.can_bind() || self.due.is_none_or(|due| now < due) {
            return None;
        }
        if self.unanswered >= PATIENCE && self.unanswered.is_multiple_of(PATIENCE) {
            self.unbind();
            self.credential = self.next.take().or(self.credential.take());
            self.current = (self.current + 1) % self.servers.len().max(1);
        }
        let last = RETRIES.len() - 1;
        let pause = RETRIES.get(self.unanswered.min(last)).copied();
        self.due = Some(now + pause.unwrap_or(REFRESH));
        self.unanswered += 1;
        self.nonce += 1;
        let frame = relay::bind(self.newest()?, self.nonce);
        Some((self.server()?, frame.to_vec()))
    }

    /// Takes a Bound: counts only from the server that was asked, for the last Bind, with its MAC.
    pub fn handle_bound(&mut self, now: Instant, from: SocketAddr, bound: &Frame) -> Result<(), Drop> {
        let credential = self.newest().ok_or(Drop::Unexpected)?;
        let is_answer = bound.session == credential.session
            && bound.nonce == self.nonce
            && self.unanswered > 0
            && self.server() == Some(from);
        if !is_answer {
            return Err(Drop::Unexpected);
        }
        bound.verify(&credential.key)?;
        self.changed |= !self.is_bound || self.next.is_some();
        self.credential = self.next.take().or(self.credential.take());
        self.is_bound = true;
        self.unanswered = 0;
        self.due = Some(now + REFRESH);
        Ok(())
    }

    fn newest(&self) -> Option<&RelayCredential> {
        self.next.as_ref().or(self.credential.as_ref())
    }

    fn unbind(&mut self) {
        self.changed |= self.is_bound;
        self.is_bound = false;
    }

    fn can_bind(&self) -> bool {
        self.credential.is_some() && !self.servers.is_empty()
    }

    fn server(&self) -> Option<SocketAddr> {
        self.servers.get(self.current).copied()
    }
}
