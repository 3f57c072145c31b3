//! Requests for trust, in both directions, and their answers.

use super::{MAX_PENDING, MAX_REQUESTS, Mutual, REQUEST_LIFETIME_MS, Refusal, Terms, TrustBook, only_one};
use crate::identity::{Hostname, NodeId, PublicKey, Target};
use crate::peer::record::{Change, PendingRecord, RequestRecord, Via};
use crate::wire::introduction::{Nonce, TrustAnswer, TrustStatement};
use crate::wire::{Drop, Now};

/// A verified request to us.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who signed it.
    pub key: PublicKey,
    /// Its derived ID.
    pub id: NodeId,
    /// The name that the rendezvous says it has; none when the request came sealed.
    pub known_as: Option<&'a Hostname>,
    /// What it says.
    pub statement: &'a TrustStatement,
}

/// What became of a request to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is trusted, and news: tell it, and introduce the node.
    Approved,
    /// It was trusted already: tell it again, for it may have lost our answer.
    Known,
    /// It waits for the user.
    Pending,
}

impl TrustBook {
    /// Decides about a request to us. Our own open request for the same node is our consent, on its terms and once: or
    /// the other could come back by it when trust is over.
    pub fn asked(&mut self, now: Now, asked: Asked<'_>) -> Result<Verdict, Refusal> {
        if self.peers.contains_key(&asked.key) {
            self.set_hostname(&asked.key, asked.statement.hostname().cloned());
            return Ok(Verdict::Known);
        }
        let consent: Vec<Nonce> =
            self.requests().filter(|ours| self.is_mutual(ours, &asked)).map(|ours| ours.nonce).collect();
        if !consent.is_empty() {
            let hostname = asked.statement.hostname().cloned();
            let terms = self.terms_of(&consent);
            self.trust_on(now, asked.key, asked.id, hostname, Via::Handshake, &terms)?;
            self.remove_requests(&consent);
            return Ok(Verdict::Approved);
        }
        if !self.pending.contains_key(&asked.key) && self.pending.len() >= MAX_PENDING {
            return Err(Refusal::Full);
        }
        let pending = PendingRecord {
            key: asked.key,
            id: asked.id,
            hostname: asked.statement.hostname().cloned(),
            reason: asked.statement.reason().to_owned(),
            at_unix_ms: now.unix_millis,
            nonce: *asked.statement.nonce(),
        };
        self.changes.push_back(Change::PutPending(pending.clone()));
        self.pending.insert(pending.key, pending);
        Ok(Verdict::Pending)
    }

    fn is_mutual(&self, ours: &RequestRecord, asked: &Asked<'_>) -> bool {
        match &ours.target {
            Target::Key(key) => *key == asked.key,
            Target::Node(id) => *id == asked.id,
            Target::Name(name) => self.mutual == Mutual::Name && asked.known_as == Some(name),
        }
    }

    /// What our requests of these nonces say together: of each thing the last word.
    fn terms_of(&self, nonces: &[Nonce]) -> Terms {
        let mut requests: Vec<&RequestRecord> = nonces.iter().filter_map(|nonce| self.requests.get(nonce)).collect();
        requests.sort_by_key(|ours| ours.at_unix_ms);
        requests.into_iter().fold(Terms::default(), |former, ours| ours.terms.clone().said_after(former))
    }

    /// Opens a request of ours, or renews the open one for the same target, whose nonce stays: an
    /// answer to either counts. So do its terms where the new one says nothing.
    pub fn request(
        &mut self,
        now: Now,
        target: Target,
        fresh: Nonce,
        reason: String,
        terms: Terms,
    ) -> Result<RequestRecord, Refusal> {
        let open = self.requests().find(|ours| ours.target == target);
        let nonce = open.map_or(fresh, |ours| ours.nonce);
        let former = open.map(|ours| ours.terms.clone()).unwrap_or_default();
        if !self.requests.contains_key(&nonce) && self.requests.len() >= MAX_REQUESTS {
            return Err(Refusal::Full);
        }
        let terms = terms.said_after(former);
        let request = RequestRecord { nonce, target, reason, at_unix_ms: now.unix_millis, terms };
        self.changes.push_back(Change::PutRequest(request.clone()));
        self.requests.insert(nonce, request.clone());
        Ok(request)
    }

    /// Whether this answers an open request: cheap, before the ID of a stranger is derived.
    pub fn is_awaited(&self, answer: &TrustAnswer) -> bool {
        self.requests.contains_key(&answer.nonce)
    }

    /// Takes the answer that `key` signed. It counts only for the request of its nonce, and from whom
    /// that request meant. Whether the key is a new peer: one that is trusted already keeps its terms, which the user
    /// may have changed since.
    pub fn answered(&mut self, now: Now, key: PublicKey, id: NodeId, answer: &TrustAnswer) -> Result<bool, Drop> {
        let request = self.requests.get(&answer.nonce).ok_or(Drop::Unexpected)?;
        let is_meant = match &request.target {
            Target::Key(meant) => *meant == key,
            Target::Node(meant) => *meant == id,
            Target::Name(_) => key != self.us,
        };
        if !is_meant {
            return Err(Drop::Untrusted);
        }
        let answered = request.nonce;
        let terms = if self.peers.contains_key(&key) {
            Terms::default()
        } else {
            self.terms_of(&[self.requests_for(&key, id), vec![answered]].concat())
        };
        self.remove_requests(&[answered]);
        if !answer.approved {
            return Ok(false);
        }
        let hostname = answer.hostname.clone();
        self.trust_on(now, key, id, hostname, Via::Handshake, &terms).map_err(|_| Drop::Untrusted)
    }

    /// The request to us that is meant; a name is what the sender claims.
    pub fn find_pending(&self, target: &Target) -> Result<&PendingRecord, Refusal> {
        only_one(self.pending().filter(|asked| match target {
            Target::Key(key) => asked.key == *key,
            Target::Node(id) => asked.id == *id,
            Target::Name(name) => asked.hostname.as_ref() == Some(name),
        }))
    }

    /// Trusts who asked, on these terms; the request, for the answer to it.
    pub fn approve(&mut self, now: Now, target: &Target, terms: &Terms) -> Result<PendingRecord, Refusal> {
        let asked = self.find_pending(target)?.clone();
        let hostname = asked.hostname.clone();
        self.trust_on(now, asked.key, asked.id, hostname, Via::Handshake, terms)?;
        Ok(asked)
    }

    /// Forgets a request; who asked is told nothing.
    pub fn reject(&mut self, target: &Target) -> Result<PendingRecord, Refusal> {
        let asked = self.find_pending(target)?.clone();
        self.settle_pending(&asked.key);
        Ok(asked)
    }

    pub(super) fn settle_pending(&mut self, key: &PublicKey) {
        if self.pending.remove(key).is_some() {
            self.changes.push_back(Change::RemovePending(*key));
        }
    }

    pub(super) fn settle_requests(&mut self, key: &PublicKey, id: NodeId) {
        self.remove_requests(&self.requests_for(key, id));
    }

    pub(super) fn withdraw_requests_by_name(&mut self) {
        let by_name = self.requests().filter(|ours| matches!(ours.target, Target::Name(_)));
        let by_name: Vec<Nonce> = by_name.map(|ours| ours.nonce).collect();
        self.remove_requests(&by_name);
    }

    /// Our requests that can mean no other node than this.
    fn requests_for(&self, key: &PublicKey, id: NodeId) -> Vec<Nonce> {
        let is_for = |target: &Target| match target {
            Target::Key(other) => other == key,
            Target::Node(other) => *other == id,
            Target::Name(_) => false,
        };
        self.requests().filter(|ours| is_for(&ours.target)).map(|ours| ours.nonce).collect()
    }

    pub(super) fn expire_requests(&mut self, now: Now) {
        let is_over = |ours: &&RequestRecord| now.unix_millis.saturating_sub(ours.at_unix_ms) > REQUEST_LIFETIME_MS;
        let over: Vec<Nonce> = self.requests().filter(is_over).map(|r| r.nonce).collect();
        self.remove_requests(&over);
    }

    fn remove_requests(&mut self, nonces: &[Nonce]) {
        for nonce in nonces {
            if self.requests.remove(nonce).is_some() {
                self.changes.push_back(Change::RemoveRequest(*nonce));
            }
        }
    }
}
