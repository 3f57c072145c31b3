//! The directory machine: who is connected, who has which name, and what waits for whom.
//!
//! Comes in: connections with the key that TLS proved, their messages, derived node IDs, the time. Goes out, one by one
//! from [`Directory::poll_output`]: messages to sessions, changes to save, sessions to open and close at the relay, keys
//! whose ID must be derived. Sockets, the disk and Argon2 are left to the daemon.
//!
//! Nothing that a sender is told depends on whether somebody else exists, is connected, or has room: envelopes are never
//! answered, and trust requests always are, with the same bytes. The one exception is a name: who claims one that is
//! taken must be told.

mod login;
mod mailboxes;
mod output;
mod record;
mod refusal;
mod registry;
mod requests;
mod session;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zeroize::Zeroizing;

use super::bucket::Rate;
use crate::identity::{Network, NodeId, PublicKey};
use crate::wire::Now;
use crate::wire::rendezvous::{ClientMessage, Refused, ServerMessage};

use mailboxes::Mailboxes;
use registry::Registry;
use session::{Session, Sessions, Stage};

pub use mailboxes::{LIFETIME, MAX_BYTES, MAX_ITEMS, MAX_PER_PAIR, MAX_PER_SENDER, MAX_PER_TARGET};
pub use output::{Counters, Output};
pub use record::{Change, Content, Item, Registration, Saved};
pub use refusal::Refusal;
pub use registry::{MAX_REGISTRATIONS, REGISTRATION_DAYS};
pub use session::SessionId;

/// The most connections at once.
pub const MAX_SESSIONS: usize = 10_000;
/// How many messages a session may send; who sends more is read more slowly, by `link`.
pub const SESSION_RATE: Rate = Rate { per_second: 50, burst: 200 };
/// The most new keys that wait for the derivation of their node ID.
pub const MAX_DERIVING: usize = 256;
/// How long a connection may take to say Hello.
pub const LOGIN_TIME: Duration = Duration::from_secs(10);
/// How long the relay serves a node after its connection broke, so that traffic outlives a reconnection.
pub const RELAY_LINGER: Duration = Duration::from_secs(120);
/// How often expired items and registrations are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// What distinguishes this server from another.
pub struct Settings {
    /// The only network that is served; all, if none is named.
    pub network: Option<Network>,
    /// Makes relay allocations that nobody can guess, the same after a restart.
    pub secret: Zeroizing<[u8; 32]>,
    /// All randomness: relay sessions and their keys. Must be new at every start.
    pub seed: Zeroizing<[u8; 32]>,
}

/// The machine; see the head of this module.
pub struct Directory {
    settings: Settings,
    rng: ChaCha20Rng,
    registry: Registry,
    mailboxes: Mailboxes,
    sessions: Sessions,
    deriving: BTreeSet<PublicKey>,
    greetings: VecDeque<(Instant, SessionId)>,
    lingering: VecDeque<(Instant, u64)>,
    sweep_at: Instant,
    refused: u64,
    outputs: VecDeque<Output>,
}

impl Directory {
    /// A directory that remembers what was saved.
    pub fn new(settings: Settings, saved: Saved, now: Now) -> Directory {
        Directory {
            rng: ChaCha20Rng::from_seed(*settings.seed),
            settings,
            registry: Registry::restore(saved.registrations),
            mailboxes: Mailboxes::restore(saved.items),
            sessions: Sessions::default(),
            deriving: BTreeSet::new(),
            greetings: VecDeque::new(),
            lingering: VecDeque::new(),
            sweep_at: now.monotonic,
            refused: 0,
            outputs: VecDeque::new(),
        }
    }

    /// A connection whose other end proved that it owns `key`.
    pub fn connected(&mut self, now: Now, id: SessionId, key: PublicKey) {
        let has_room = self.sessions.len() < MAX_SESSIONS;
        self.sessions.insert(id, Session { key, stage: Stage::Greeting });
        self.greetings.push_back((now.monotonic + LOGIN_TIME, id));
        if !has_room {
            self.refuse(now, id, Refusal::Full);
        }
    }

    /// A message from a session; one from a session that is over is ignored.
    pub fn message(&mut self, now: Now, id: SessionId, message: ClientMessage) {
        let Some(body) = message.body else {
            return self.refuse(
                now,
                id,
                Refusal::Malformed("a message without content; check that the versions match"),
            );
        };
        match self.sessions.get(id).map(|session| &session.stage) {
            Some(Stage::Greeting) => self.greeting(now, id, body),
            Some(Stage::Open(_)) => self.request(now, id, body),
            Some(Stage::Deriving(_)) => self.refuse(now, id, Refusal::Malformed("a message before Welcome")),
            None => {}
        }
    }

    /// The connection of a session is gone.
    pub fn disconnected(&mut self, now: Now, id: SessionId) {
        self.leave(now, id);
    }

    /// The node ID that an earlier [`Output::Derive`] asked for.
    pub fn handle_derived(&mut self, now: Now, key: PublicKey, id: NodeId) {
        if self.deriving.remove(&key) {
            self.derived(now, &key, id);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.expire_greetings(now);
        while let Some(session) = pop_due(&mut self.lingering, now) {
            self.outputs.push_back(Output::CloseRelay(session));
        }
        if self.sweep_at <= now.monotonic {
            self.sweep_at = now.monotonic + SWEEP;
            self.sweep(now);
        }
    }

    /// The next thing to do; ends with [`Output::Wait`].
    pub fn poll_output(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or_else(|| {
            let (deadline, why) = self.next_deadline();
            Output::Wait { deadline, why }
        })
    }

    /// How much there is at the moment.
    pub fn counters(&self) -> Counters {
        Counters {
            sessions: self.sessions.logged_in(),
            hostnames: self.registry.names(),
            mailbox: self.mailboxes.len(),
            refused: self.refused,
        }
    }

    fn next_deadline(&self) -> (Instant, &'static str) {
        let greeting = self.greetings.front().map(|(at, _)| (*at, "a Hello"));
        let lingering = self.lingering.front().map(|(at, _)| (*at, "the end of a relay session"));
        let sweep = (self.sweep_at, "the next look for expired items");
        [greeting, lingering]
            .into_iter()
            .flatten()
            .fold(sweep, |first, other| if other.0 < first.0 { other } else { first })
    }

    fn expire_greetings(&mut self, now: Now) {
        while let Some(id) = pop_due(&mut self.greetings, now) {
            if matches!(self.sessions.get(id), Some(Session { stage: Stage::Greeting, .. })) {
                self.refuse(now, id, Refusal::Silent);
            }
        }
    }

    fn sweep(&mut self, now: Now) {
        let seconds = now.unix_seconds();
        for number in self.mailboxes.expired(seconds) {
            self.remove_item(number);
        }
        for key in self.registry.expired(seconds) {
            if self.sessions.of_key(&key).is_none() {
                self.registry.forget(&key);
                self.outputs.push_back(Output::Save(Change::Forget(key)));
            }
        }
    }

    fn send(&mut self, id: SessionId, message: impl Into<ServerMessage>) {
        self.outputs.push_back(Output::Send(id, message.into()));
    }

    fn refuse(&mut self, now: Now, id: SessionId, refusal: Refusal) {
        if self.leave(now, id) {
            self.send(id, Refused::from(refusal));
            self.outputs.push_back(Output::Close(id));
        }
    }

    fn remove_item(&mut self, number: u64) {
        if self.mailboxes.remove(number) {
            self.outputs.push_back(Output::Save(Change::Remove(number)));
        }
    }
}

/// The first of a queue in order of time, once its time has come.
fn pop_due<T: Copy>(queue: &mut VecDeque<(Instant, T)>, now: Now) -> Option<T> {
    let (at, due) = *queue.front()?;
    if at > now.monotonic {
        return None;
    }
    queue.pop_front();
    Some(due)
}
