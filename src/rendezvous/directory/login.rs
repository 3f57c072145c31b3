//! A session's way in and out: Hello, the node ID, Welcome; and what stays behind when it ends.

use blake2::Blake2sMac;
use blake2::digest::consts::U8;
use blake2::digest::{KeyInit, Mac};
use rand_core::RngCore;

use super::registry::Claim;
use super::session::{Login, Open, Session, Stage};
use super::{Change, Directory, MAX_DERIVING, MAX_SESSIONS, Output, RELAY_LINGER, Refusal, SessionId};
use crate::identity::{Hostname, Network, NodeId, PublicKey};
use crate::wire::rendezvous::{Hello, VERSION, Welcome, client_message};
use crate::wire::{Allocation, Now, RelayCredential};

impl Directory {
    /// The first message of a session.
    pub(super) fn greeting(&mut self, now: Now, id: SessionId, body: client_message::Body) {
        let login = match body {
            client_message::Body::Hello(hello) => self.read_hello(hello),
            _ => Err(Refusal::Malformed("the first message must be Hello")),
        };
        let Some(key) = self.sessions.get(id).map(|session| session.key) else {
            return;
        };
        let known = self.registry.get(&key).map(|node| node.id);
        match (login, known) {
            (Ok(login), Some(node)) => self.log_in(now, id, node, login),
            (Ok(login), None) => self.derive(now, id, key, login),
            (Err(refusal), _) => self.refuse(now, id, refusal),
        }
    }

    fn read_hello(&self, hello: Hello) -> Result<Login, Refusal> {
        if hello.version != VERSION {
            return Err(Refusal::Version);
        }
        let network = u16::try_from(hello.network).map(Network).map_err(|_| Refusal::Network)?;
        if self.settings.network.is_some_and(|served| served != network) {
            return Err(Refusal::Network);
        }
        let hostname = hello.hostname.map(read_hostname).transpose()?;
        Ok(Login { network, hostname })
    }

    /// A key without a registration waits for its node ID; those with one log in at once, however many wait.
    fn derive(&mut self, now: Now, id: SessionId, key: PublicKey, login: Login) {
        if !self.deriving.contains(&key) {
            if self.deriving.len() >= MAX_DERIVING {
                return self.refuse(now, id, Refusal::Busy);
            }
            self.deriving.insert(key);
            self.outputs.push_back(Output::Derive(key));
        }
        if let Some(session) = self.sessions.get_mut(id) {
            session.stage = Stage::Deriving(login);
        }
    }

    /// The node ID of a key is known: those who waited for it log in.
    pub(super) fn derived(&mut self, now: Now, key: &PublicKey, node: NodeId) {
        for id in self.sessions.deriving(key) {
            let stage = self.sessions.get_mut(id).map(|session| std::mem::replace(&mut session.stage, Stage::Greeting));
            if let Some(Stage::Deriving(login)) = stage {
                self.log_in(now, id, node, login);
            }
        }
    }

    fn log_in(&mut self, now: Now, id: SessionId, node: NodeId, login: Login) {
        let Some(key) = self.sessions.get(id).map(|session| session.key) else {
            return;
        };
        let is_news = match self.registry.admit(key, node, login.network, now.unix_seconds()) {
            Ok(is_news) => is_news,
            Err(refusal) => return self.refuse(now, id, refusal),
        };
        if let Some((former, _)) = self.sessions.of_key(&key) {
            self.refuse(now, former, Refusal::Replaced);
        }
        let claim = match login.hostname {
            Some(name) => self.registry.claim(&key, Some(name)),
            None => Claim::Same,
        };
        if is_news || claim == Claim::Changed {
            self.save_registration(&key);
        }
        let relay = self.relay_credential(&key);
        let relay_session = relay.session;
        self.sessions
            .open(id, Open { network: login.network, relay_session, sent: Default::default(), last_delivery: 0 });
        self.welcome(id, &key, relay, claim == Claim::Taken);
        self.deliver_waiting(&key);
    }

    fn welcome(&mut self, id: SessionId, key: &PublicKey, relay: RelayCredential, hostname_taken: bool) {
        let hostname = self.registry.get(key).and_then(|node| node.hostname.as_ref());
        let welcome = Welcome {
            relay_session: relay.session,
            relay_key: relay.key.to_vec(),
            relay_allocation: relay.allocation.0,
            hostname: hostname.map(Hostname::to_string),
            hostname_taken,
        };
        self.outputs.push_back(Output::OpenRelay(*key, relay));
        self.send(id, welcome);
    }

    /// A new session and key at each login; the allocation depends on the node and the server's secret alone.
    fn relay_credential(&mut self, node: &PublicKey) -> RelayCredential {
        let mut key = [0; 32];
        self.rng.fill_bytes(&mut key);
        let keyed = <Blake2sMac<U8> as KeyInit>::new((&*self.settings.secret).into());
        let tag: [u8; 8] = keyed.chain_update(node.as_bytes()).finalize().into_bytes().into();
        RelayCredential { session: self.rng.next_u64(), key, allocation: Allocation(u64::from_be_bytes(tag)) }
    }

    pub(super) fn save_registration(&mut self, key: &PublicKey) {
        if let Some(node) = self.registry.get(key) {
            self.outputs.push_back(Output::Save(Change::Register(node.clone())));
        }
    }

    /// Forgets a session. Its relay session stays for a while, its registration and mailbox stay.
    pub(super) fn leave(&mut self, now: Now, id: SessionId) -> bool {
        let Some(Session { key, stage }) = self.sessions.remove(id) else {
            return false;
        };
        if let Stage::Open(open) = stage {
            self.linger(now, open.relay_session);
            if self.registry.touch(&key, now.unix_seconds()) {
                self.save_registration(&key);
            }
        }
        true
    }

    /// The relay serves the node for a while longer; where too many linger the oldest ends at once.
    fn linger(&mut self, now: Now, relay_session: u64) {
        self.lingering.push_back((now.monotonic + RELAY_LINGER, relay_session));
        if self.lingering.len() > MAX_SESSIONS
            && let Some((_, oldest)) = self.lingering.pop_front()
        {
            self.outputs.push_back(Output::CloseRelay(oldest));
        }
    }
}

/// A host name from the wire.
pub(super) fn read_hostname(text: String) -> Result<Hostname, Refusal> {
    text.parse()
        .map_err(|_| Refusal::Malformed("the host name is not 1 to 63 lowercase letters, digits and inner hyphens"))
}
