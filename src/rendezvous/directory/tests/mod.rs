//! The directory by its behaviour: a harness that plays the daemon, and one file a subject.

mod limits;
mod login;
mod mailbox;
mod names;
mod uniformity;

use std::collections::BTreeMap;

use prost::Message;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::identity::Identity;
use crate::wire::RelayCredential;
use crate::wire::rendezvous::{
    Acknowledge, Deliver, Hello, RequestTrust, SetHostname, TrustRequested, Welcome, request_trust, server_message,
};

/// Noon of some day.
const START: u64 = 1_800_000_000_000;

/// A directory, the clock, and what the daemon would keep.
struct Harness {
    directory: Directory,
    now: Now,
    started: Instant,
    /// Everything saved so far, as the store would give it back.
    saved: Saved,
    /// What was sent to each session and not yet looked at.
    sent: BTreeMap<SessionId, Vec<server_message::Body>>,
    closed: Vec<SessionId>,
    relay: Vec<RelayCredential>,
    relay_closed: Vec<u64>,
    /// Derivations that were asked for. Answered at once unless `holds_derivations`.
    derivations: Vec<PublicKey>,
    holds_derivations: bool,
    /// The node IDs that keys are given here in place of Argon2's.
    ids: BTreeMap<PublicKey, NodeId>,
    last_session: u64,
}

fn settings() -> Settings {
    Settings { network: None, secret: Zeroizing::new([1; 32]), seed: Zeroizing::new([2; 32]) }
}

fn key(number: u64) -> PublicKey {
    Identity::generate(&mut ChaCha20Rng::seed_from_u64(number)).public_key()
}

fn hello(hostname: Option<&str>) -> ClientMessage {
    Hello { version: 1, network: 0, hostname: hostname.map(str::to_owned) }.into()
}

fn deliver(to: PublicKey, content: &[u8], durable: bool) -> ClientMessage {
    Deliver { recipient: to.as_bytes().to_vec(), sealed: content.to_vec(), durable }.into()
}

fn ask_name(request: u64, text: &str, statement: &[u8]) -> ClientMessage {
    let target = Some(request_trust::Target::Hostname(text.to_owned()));
    RequestTrust { request, target, sender_statement: statement.to_vec() }.into()
}

fn ask_id(request: u64, node: NodeId, statement: &[u8]) -> ClientMessage {
    let target = Some(request_trust::Target::NodeId(node.to_u64()));
    RequestTrust { request, target, sender_statement: statement.to_vec() }.into()
}

fn take_name(text: Option<&str>) -> ClientMessage {
    SetHostname { request: 1, hostname: text.map(str::to_owned) }.into()
}

fn bytes(message: server_message::Body) -> Vec<u8> {
    ServerMessage { body: Some(message) }.encode_to_vec()
}

impl Harness {
    fn new() -> Harness {
        Harness::with(settings(), Saved::default(), START)
    }

    fn with(settings: Settings, saved: Saved, unix_millis: u64) -> Harness {
        let now = Now { monotonic: Instant::now(), unix_millis };
        Harness {
            directory: Directory::new(settings, saved.clone(), now),
            now,
            started: now.monotonic,
            saved,
            sent: BTreeMap::new(),
            closed: Vec::new(),
            relay: Vec::new(),
            relay_closed: Vec::new(),
            derivations: Vec::new(),
            holds_derivations: false,
            ids: BTreeMap::new(),
            last_session: 0,
        }
    }

    /// A new process that finds what was saved.
    fn restart(self) -> Harness {
        let mut next = Harness::with(settings(), self.saved, self.now.unix_millis);
        next.ids = self.ids;
        next
    }

    /// Far cheaper than Argon2, and as good for tests: the first bytes of the key.
    fn id(&self, key: PublicKey) -> NodeId {
        let [a, b, c, d, e, f, ..] = *key.as_bytes();
        self.ids.get(&key).copied().unwrap_or(NodeId::from_bytes([a, b, c, d, e, f]))
    }

    fn connect(&mut self, key: PublicKey) -> SessionId {
        self.last_session += 1;
        let session = SessionId(self.last_session);
        self.directory.connected(self.now, session, key);
        self.drain();
        session
    }

    fn say(&mut self, session: SessionId, message: ClientMessage) {
        self.directory.message(self.now, session, message);
        self.drain();
    }

    /// Connects and says Hello, and gives the session with its Welcome.
    fn log_in(&mut self, key: PublicKey, hostname: Option<&str>) -> (SessionId, Welcome) {
        let session = self.connect(key);
        self.say(session, hello(hostname));
        match self.sent.get_mut(&session).unwrap().remove(0) {
            server_message::Body::Welcome(welcome) => (session, welcome),
            other => panic!("{other:?}"),
        }
    }

    fn disconnect(&mut self, session: SessionId) {
        self.directory.disconnected(self.now, session);
        self.drain();
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.directory.handle_timeout(self.now);
        self.drain();
    }

    fn answer_derivation(&mut self, key: PublicKey) {
        let id = self.id(key);
        self.directory.handle_derived(self.now, key, id);
        self.drain();
    }

    /// Takes what was sent to a session since the last time, or since its Welcome.
    fn take(&mut self, session: SessionId) -> Vec<server_message::Body> {
        self.sent.remove(&session).unwrap_or_default()
    }

    /// The only message that was sent to a session.
    fn only(&mut self, session: SessionId) -> server_message::Body {
        let mut messages = self.take(session);
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }

    fn refused(&mut self, session: SessionId) -> String {
        assert!(self.closed.contains(&session));
        match self.only(session) {
            server_message::Body::Refused(refused) => refused.code,
            other => panic!("{other:?}"),
        }
    }

    /// The envelopes among what was sent, with their delivery numbers.
    fn envelopes(&mut self, session: SessionId) -> Vec<(Vec<u8>, u64)> {
        let messages = self.take(session).into_iter();
        let envelope = |message| match message {
            server_message::Body::Delivered(delivered) => Some((delivered.sealed, delivered.delivery)),
            _ => None,
        };
        messages.filter_map(envelope).collect()
    }

    /// The trust requests among what was sent.
    fn requests(&mut self, session: SessionId) -> Vec<TrustRequested> {
        let messages = self.take(session).into_iter();
        let request = |message| match message {
            server_message::Body::TrustRequested(requested) => Some(requested),
            _ => None,
        };
        messages.filter_map(request).collect()
    }

    fn acknowledge(&mut self, session: SessionId, delivery: u64) {
        self.say(session, Acknowledge { delivery }.into());
    }

    fn drain(&mut self) {
        loop {
            match self.directory.poll_output() {
                Output::Send(session, message) => self.sent.entry(session).or_default().push(message.body.unwrap()),
                Output::Close(session) => self.closed.push(session),
                Output::OpenRelay(_, credential) => self.relay.push(credential),
                Output::CloseRelay(session) => self.relay_closed.push(session),
                Output::Save(change) => save(&mut self.saved, change),
                Output::Derive(key) => self.derivations.push(key),
                Output::Wait { deadline, .. } => {
                    // The first deadline is the start itself; no other lies behind.
                    assert!(deadline >= self.started);
                    break;
                }
            }
        }
        if !self.holds_derivations {
            for key in std::mem::take(&mut self.derivations) {
                self.answer_derivation(key);
            }
        }
    }
}

/// What the store does.
fn save(saved: &mut Saved, change: Change) {
    match change {
        Change::Register(node) => {
            saved.registrations.retain(|known| known.key != node.key);
            saved.registrations.push(node);
        }
        Change::Forget(key) => saved.registrations.retain(|known| known.key != key),
        Change::Store(number, item) => saved.items.push((number, item)),
        Change::Remove(number) => saved.items.retain(|(known, _)| *known != number),
    }
}
