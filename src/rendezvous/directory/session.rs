//! The connections of nodes, from the first Hello to the end.

use std::collections::BTreeMap;
use std::fmt;

use crate::identity::{Hostname, Network, PublicKey};

/// Names one connection; never used twice by one server process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One connection, and how far it came.
pub struct Session {
    /// The key that the connection proved.
    pub key: PublicKey,
    /// How far it came.
    pub stage: Stage,
}

/// How far a session came.
pub enum Stage {
    /// Connected; Hello is awaited.
    Greeting,
    /// Said Hello; its node ID is being derived.
    Deriving(Login),
    /// Logged in.
    Open(Open),
}

/// What a node asked for in its Hello.
pub struct Login {
    /// The network to be in.
    pub network: Network,
    /// The name to take; none keeps the one it has.
    pub hostname: Option<Hostname>,
}

/// A session that is logged in.
pub struct Open {
    /// The network that it is in.
    pub network: Network,
    /// Its session at the relay.
    pub relay_session: u64,
    /// Items that were sent and not yet acknowledged: their delivery numbers, by item number.
    pub sent: BTreeMap<u64, u64>,
    /// The last delivery number used. Counted for each session, so that it tells nothing of others.
    pub last_delivery: u64,
}

/// All sessions, and which one is logged in for a key.
#[derive(Default)]
pub struct Sessions {
    all: BTreeMap<SessionId, Session>,
    open: BTreeMap<PublicKey, SessionId>,
}

impl Sessions {
    /// Adds a connection.
    pub fn insert(&mut self, id: SessionId, session: Session) {
        self.all.insert(id, session);
    }

    /// The session with this ID.
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.all.get(&id)
    }

    /// The session with this ID, to change its stage.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.all.get_mut(&id)
    }

    /// Makes a session the one of its key.
    pub fn open(&mut self, id: SessionId, open: Open) {
        if let Some(session) = self.all.get_mut(&id) {
            session.stage = Stage::Open(open);
            self.open.insert(session.key, id);
        }
    }

    /// The session that is logged in for a key.
    pub fn of_key(&mut self, key: &PublicKey) -> Option<(SessionId, &mut Open)> {
        let id = *self.open.get(key)?;
        match &mut self.all.get_mut(&id)?.stage {
            Stage::Open(open) => Some((id, open)),
            _ => None,
        }
    }

    /// The sessions that wait for the node ID of a key.
    pub fn deriving(&self, key: &PublicKey) -> Vec<SessionId> {
        let waits = |session: &Session| session.key == *key && matches!(session.stage, Stage::Deriving(_));
        self.all.iter().filter(|(_, session)| waits(session)).map(|(id, _)| *id).collect()
    }

    /// Removes a session.
    pub fn remove(&mut self, id: SessionId) -> Option<Session> {
        let session = self.all.remove(&id)?;
        if self.open.get(&session.key) == Some(&id) {
            self.open.remove(&session.key);
        }
        Some(session)
    }

    /// How many connections there are, logged in or not.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// How many nodes are logged in.
    pub fn logged_in(&self) -> usize {
        self.open.len()
    }
}
