//! The logins that may use the relay, and which of them receives for an allocation.
//!
//! After a new login the former keeps its allocation until the new one binds, so that traffic does not stop while a node
//! reconnects.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Endpoint, MAX_SESSIONS};
use crate::identity::PublicKey;
use crate::rendezvous::bucket::Bucket;
use crate::wire::relay::Binding;
use crate::wire::{Allocation, Drop, RelayCredential};

/// How long a session may send from where it was bound before.
const GRACE: Duration = Duration::from_secs(2);

/// One login.
pub struct Session {
    /// Whose login it is.
    owner: PublicKey,
    /// What the directory gave to it.
    pub credential: RelayCredential,
    /// Where its datagrams come from and go to, once a Bind proved it.
    pub bound: Option<Endpoint>,
    /// Where it was bound before, and until when it may still send from there: what was under way when it moved.
    former: Option<(Endpoint, Instant)>,
    /// What it may still send.
    pub bucket: Bucket,
    /// The largest nonce of its Binds.
    nonce: u64,
}

impl Session {
    fn new(now: Instant, owner: PublicKey, credential: RelayCredential) -> Session {
        Session { owner, credential, bound: None, former: None, bucket: Bucket::full(now), nonce: 0 }
    }

    /// Takes a Bind. To move from one endpoint to another its nonce must be a new one; from the endpoint that is bound
    /// already a repetition does no harm.
    fn bind(&mut self, now: Instant, from: Endpoint, binding: &Binding) -> Result<(), Drop> {
        binding.verify(&self.credential.key)?;
        if matches!(from, Endpoint::Stream { key, .. } if key != self.owner) {
            return Err(Drop::RelayWrongKey);
        }
        let moves = self.bound.is_some_and(|bound| bound != from);
        if moves && binding.nonce <= self.nonce {
            return Err(Drop::Replayed);
        }
        if moves {
            self.former = self.bound.map(|bound| (bound, now + GRACE));
        }
        self.bound = Some(from);
        self.nonce = self.nonce.max(binding.nonce);
        Ok(())
    }
}

impl Session {
    /// Whether it has just moved from there.
    fn was_at(&self, now: Instant, endpoint: Endpoint) -> bool {
        self.former.is_some_and(|(former, until)| former == endpoint && now < until)
    }
}

/// Which session receives for an allocation, and which follows it as soon as it binds.
struct Holder {
    current: u64,
    next: Option<u64>,
}

/// All sessions, by their secret number and by allocation.
#[derive(Default)]
pub struct Sessions {
    all: HashMap<u64, Session>,
    holders: HashMap<Allocation, Holder>,
}

impl Sessions {
    /// Adds a session; beyond [`MAX_SESSIONS`] nothing happens.
    pub fn open(&mut self, now: Instant, owner: PublicKey, credential: RelayCredential) {
        if self.all.len() < MAX_SESSIONS {
            self.close(credential.session);
            self.queue_for(credential.allocation, credential.session);
            self.all.insert(credential.session, Session::new(now, owner, credential));
        }
    }

    /// Makes `session` the next holder, in place of one that never bound.
    fn queue_for(&mut self, allocation: Allocation, session: u64) {
        let free = Holder { current: session, next: None };
        let holder = self.holders.entry(allocation).or_insert(free);
        if holder.current == session {
            return;
        }
        let is_bound = self.all.get(&holder.current).is_some_and(|former| former.bound.is_some());
        let replaced =
            if is_bound { holder.next.replace(session) } else { Some(std::mem::replace(&mut holder.current, session)) };
        if let Some(replaced) = replaced {
            self.all.remove(&replaced);
        }
    }

    /// Removes a session; the next one follows it.
    pub fn close(&mut self, session: u64) {
        let Some(ended) = self.all.remove(&session) else {
            return;
        };
        let allocation = ended.credential.allocation;
        let Some(holder) = self.holders.get_mut(&allocation) else {
            return;
        };
        match holder.next {
            Some(next) if holder.current == session => *holder = Holder { current: next, next: None },
            None if holder.current == session => {
                self.holders.remove(&allocation);
            }
            Some(next) if next == session => holder.next = None,
            _ => {}
        }
    }

    /// Binds a session to the endpoint that its Bind came from; it ends the one that held its allocation before.
    pub fn bind(&mut self, now: Instant, from: Endpoint, binding: &Binding) -> Result<&Session, Drop> {
        let session = self.all.get_mut(&binding.session).ok_or(Drop::RelayUnknownSession)?;
        session.bind(now, from, binding)?;
        let holder = self.holders.get(&session.credential.allocation);
        let former = holder.filter(|holder| holder.next == Some(binding.session)).map(|holder| holder.current);
        if let Some(former) = former {
            self.close(former);
        }
        self.all.get(&binding.session).ok_or(Drop::RelayUnknownSession)
    }

    /// The session that may send from an endpoint.
    pub fn sender(&mut self, now: Instant, session: u64, from: Endpoint) -> Result<&mut Session, Drop> {
        let sender = self.all.get_mut(&session).ok_or(Drop::RelayUnknownSession)?;
        match sender.bound {
            None => Err(Drop::RelayUnbound),
            Some(endpoint) if endpoint == from || sender.was_at(now, from) => Ok(sender),
            Some(_) => Err(Drop::RelayWrongEndpoint),
        }
    }

    /// Where an allocation is reached.
    pub fn receiver(&self, allocation: Allocation) -> Result<Endpoint, Drop> {
        let holder = self.holders.get(&allocation).ok_or(Drop::RelayUnknownDestination)?;
        let receiver = self.all.get(&holder.current).ok_or(Drop::RelayUnknownDestination)?;
        receiver.bound.ok_or(Drop::RelayUnbound)
    }

    /// How many sessions are open, bound or not.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether nothing is left, not even a holder.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.holders.is_empty()
    }

    /// How many sessions are bound.
    pub fn bound(&self) -> usize {
        self.all.values().filter(|session| session.bound.is_some()).count()
    }
}
