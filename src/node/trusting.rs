//! How decisions about trust reach other nodes, and theirs us.

use rand_core::RngCore;

use super::Node;
use super::command::{Answer, Asked, CommandId};
use super::commands::refusal;
use super::derive::Purpose;
use super::error::CommandError;
use super::output::Event;
use super::trust::{self, Terms, Verdict};
use crate::identity::{Hostname, NodeId, PublicKey, Target, Token};
use crate::peer::record::{PeerRecord, RequestRecord, Via};
use crate::wire::introduction::{EnvelopeKind, Nonce, Redemption, TrustAnswer, TrustStatement};
use crate::wire::rendezvous::{RequestTrust, request_trust};
use crate::wire::{Drop, Now};

/// The most redemptions of ours that wait for an answer.
const MAX_JOINING: usize = 64;

impl Node {
    /// Goes on at once with a key whose ID is known, and otherwise when it is derived.
    pub(super) fn derive(&mut self, now: Now, key: PublicKey, purpose: Purpose) -> Result<(), Drop> {
        if let Some(id) = self.book.id_of(&key) {
            self.derived(now, key, id, purpose);
            return Ok(());
        }
        if !self.derivations.push(key, purpose) {
            return Err(Drop::RateLimited);
        }
        self.derive_next();
        Ok(())
    }

    pub(super) fn derive_next(&mut self) {
        if let Some(key) = self.derivations.poll() {
            self.outputs.push_back(super::Output::Derive(key));
        }
    }

    /// Goes on with a key whose ID is known now.
    pub(super) fn derived(&mut self, now: Now, key: PublicKey, id: NodeId, purpose: Purpose) {
        match purpose {
            Purpose::Trust(command, terms) => self.trust_key(now, command, key, id, &terms),
            Purpose::Join(command, token) => self.join(now, command, token, id),
            Purpose::Asked { statement, known_as, receipt } => {
                self.asked(now, key, id, &statement, known_as.as_ref());
                self.acknowledge(now, receipt);
            }
            Purpose::Answered { answer, receipt } => {
                self.answered(now, key, id, &answer);
                self.acknowledge(now, receipt);
            }
            Purpose::Redeemed { redemption, receipt } => {
                self.redeemed(now, key, id, &redemption);
                self.acknowledge(now, receipt);
            }
        }
    }

    fn asked(&mut self, now: Now, key: PublicKey, id: NodeId, statement: &TrustStatement, known_as: Option<&Hostname>) {
        let asked = trust::Asked { key, id, known_as, statement };
        let verdict = self.book.asked(now, asked);
        self.save();
        match verdict {
            Ok(Verdict::Approved) => self.befriend(now, &key),
            Ok(Verdict::Known) => {}
            Ok(Verdict::Pending) => {
                return self.event(Event::TrustRequested {
                    id,
                    hostname: statement.hostname().cloned(),
                    reason: statement.reason().to_owned(),
                });
            }
            Err(_) => return self.drops.count(Drop::Untrusted),
        }
        self.approve_request(now, &key, *statement.nonce());
    }

    fn answered(&mut self, now: Now, key: PublicKey, id: NodeId, answer: &TrustAnswer) {
        if self.joining.get(&answer.nonce) == Some(&key) {
            self.joining.remove(&answer.nonce);
            self.book.set_hostname(&key, answer.hostname.clone());
            self.save();
            return self.introduce(now, &key, false);
        }
        let result = self.book.answered(now, key, id, answer);
        self.save();
        match result {
            Ok(true) => self.befriend(now, &key),
            Ok(false) => {}
            Err(reason) => self.drops.count(reason),
        }
    }

    fn redeemed(&mut self, now: Now, key: PublicKey, id: NodeId, redemption: &Redemption) {
        let result = self.book.redeemed(now, key, id, redemption);
        self.save();
        match result {
            Ok(true) => self.befriend(now, &key),
            Ok(false) => {}
            Err(reason) => return self.drops.count(reason),
        }
        self.approve_request(now, &key, *redemption.nonce());
    }

    /// Whether this node redeems one of our tokens or answers our redemption.
    pub(super) fn is_joining(&self, answer: &TrustAnswer, inviter: &PublicKey) -> bool {
        self.joining.get(&answer.nonce) == Some(inviter)
    }

    /// Tells a node that we trust it, in answer to its request or redemption.
    pub(super) fn approve_request(&mut self, now: Now, key: &PublicKey, nonce: Nonce) {
        let answer = TrustAnswer { nonce, approved: true, hostname: self.me.hostname.clone() };
        self.deliver(now, key, EnvelopeKind::TrustAnswer, &answer.encode(), true);
    }

    /// A node is trusted now: give it a place among the peers, and introduce ourselves.
    pub(super) fn befriend(&mut self, now: Now, key: &PublicKey) {
        let Some(peer) = self.book.peer(key).cloned() else {
            return;
        };
        self.admit(now, &peer);
        self.publish();
        self.event(Event::PeerTrusted { id: peer.id, hostname: peer.hostname });
        self.introduce(now, key, false);
    }

    /// Sends a request of ours: sealed where the key is known, otherwise by name or ID.
    pub(super) fn send_request(&mut self, now: Now, request: &RequestRecord) {
        let statement = TrustStatement::sign(
            &self.me.identity,
            request.nonce,
            request.target.clone(),
            &request.reason,
            self.me.hostname.clone(),
            now.unix_millis,
        );
        let Ok(statement) = statement.map(|statement| statement.encode()) else {
            return;
        };
        let target = match &request.target {
            Target::Key(key) => {
                let kind = EnvelopeKind::TrustStatement;
                return self.deliver(now, key, kind, &statement, true);
            }
            Target::Node(id) => request_trust::Target::NodeId(id.to_u64()),
            Target::Name(name) => request_trust::Target::Hostname(name.to_string()),
        };
        let message =
            RequestTrust { request: self.clients.next_request(), target: Some(target), sender_statement: statement };
        if !self.clients.send(now, &message.into()) {
            self.drops.count(Drop::QueueFull);
        }
        self.drain_clients(now);
    }

    fn trust_key(&mut self, now: Now, command: CommandId, key: PublicKey, id: NodeId, terms: &Terms) {
        let result = self.trust_now(now, key, id, Via::Key, terms);
        self.answer(command, result.map(Answer::Trusting));
    }

    /// Trusts the inviter, and proves to it that we hold its token.
    fn join(&mut self, now: Now, command: CommandId, token: Token, id: NodeId) {
        let key = token.inviter;
        let result = self.trust_now(now, key, id, Via::Invite, &Terms::default());
        if result.is_ok() {
            self.redeem(now, &token);
        }
        let asked = result.map(|peer| Asked { target: Target::Key(key), approved: true, peer: Some(peer) });
        self.answer(command, asked.map(Answer::Asked));
    }

    fn trust_now(
        &mut self,
        now: Now,
        key: PublicKey,
        id: NodeId,
        via: Via,
        terms: &Terms,
    ) -> Result<PeerRecord, CommandError> {
        let result = self.book.trust_on(now, key, id, None, via, terms);
        self.save();
        let target = Target::Key(key);
        let is_news = result.map_err(|why| refusal(why, &target))?;
        let peer = self.book.peer(&key).cloned().ok_or(CommandError::NotFound(target))?;
        match is_news {
            true => self.befriend(now, &key),
            false => self.set_gate(&peer),
        }
        Ok(peer)
    }

    fn redeem(&mut self, now: Now, token: &Token) {
        let mut nonce = Nonce::default();
        self.rng.fill_bytes(&mut nonce);
        if self.joining.len() >= MAX_JOINING {
            self.joining.pop_first();
        }
        self.joining.insert(nonce, token.inviter);
        let hostname = self.me.hostname.clone();
        let (us, inviter) = (&self.me.key, &token.inviter);
        let redemption = Redemption::new(&token.secret, inviter, us, nonce, hostname);
        let kind = EnvelopeKind::Redemption;
        self.deliver(now, inviter, kind, &redemption.encode(), true);
    }
}
