//! The user's decisions about trust: ask, approve, reject, trust, grant, untrust, invite, join.

use std::time::Duration;

use rand_core::RngCore;
use zeroize::Zeroizing;

use super::Node;
use super::command::{Answer, Asked, CommandId};
use super::commands::{refusal, too_many_open};
use super::derive::Purpose;
use super::error::CommandError;
use super::output::Event;
use super::trust::{MAX_INVITES, Terms};
use crate::identity::{PublicKey, Target, Token};
use crate::peer::Grant;
use crate::peer::record::{InviteRecord, PeerRecord, PendingRecord};
use crate::wire::Now;
use crate::wire::introduction::{MAX_REASON, Nonce};

/// The bounds of an invite.
const MAX_USES: u32 = 1000;
const MAX_LIFETIME: Duration = Duration::from_secs(30 * DAY);
/// How long trust with an end lasts at least and at most.
const MIN_TRUST: Duration = Duration::from_secs(1);
const MAX_TRUST: Duration = Duration::from_secs(3650 * DAY);
const DAY: u64 = 24 * 60 * 60;

impl Node {
    pub(super) fn handshake(
        &mut self,
        now: Now,
        target: Target,
        reason: String,
        terms: Terms,
    ) -> Result<Answer, CommandError> {
        self.refuse_ourselves(&target)?;
        check_terms(&terms)?;
        if reason.len() > MAX_REASON || reason.chars().any(char::is_control) {
            let text = "the reason must be one line of at most 512 bytes";
            return Err(CommandError::BadArgument(text.into()));
        }
        // Who asked us by the same key or ID needs no request of ours. A name alone may be claimed by
        // anybody: there the other side's answer decides.
        let is_certain = !matches!(target, Target::Name(_));
        if is_certain && self.book.find_pending(&target).is_ok() {
            let peer = Some(self.approve(now, &target, &terms)?);
            let approved = true;
            return Ok(Answer::Asked(Asked { target, approved, peer }));
        }
        // Of a trusted node more is known than its name: a request to the key ends with trust.
        let known = self.book.find(&target).ok().map(|peer| Target::Key(peer.key));
        let mut nonce = Nonce::default();
        self.rng.fill_bytes(&mut nonce);
        let named = known.clone().unwrap_or_else(|| target.clone());
        let request = self.book.request(now, named, nonce, reason, terms.clone());
        self.save();
        let request = request.map_err(|why| refusal(why, &target))?;
        self.send_request(now, &request);
        let peer = known.map(|key| self.set_terms(now, &key, &terms)).transpose()?;
        let approved = peer.is_some();
        Ok(Answer::Asked(Asked { target, approved, peer }))
    }

    pub(super) fn approve(&mut self, now: Now, target: &Target, terms: &Terms) -> Result<PeerRecord, CommandError> {
        check_terms(terms)?;
        let asked = self.book.approve(now, target, terms);
        self.save();
        let asked = asked.map_err(|why| refusal(why, target))?;
        self.befriend(now, &asked.key);
        self.approve_request(now, &asked.key, asked.nonce);
        let peer = self.book.peer(&asked.key).cloned();
        peer.ok_or_else(|| CommandError::NotFound(target.clone()))
    }

    pub(super) fn reject(&mut self, target: &Target) -> Result<PendingRecord, CommandError> {
        let rejected = self.book.reject(target);
        self.save();
        rejected.map_err(|why| refusal(why, target))
    }

    pub(super) fn start_trust(&mut self, now: Now, id: CommandId, key: PublicKey, terms: Terms) {
        match check_terms(&terms) {
            Ok(()) => self.derive_for(now, id, key, Purpose::Trust(id, terms)),
            Err(error) => self.answer(id, Err(error)),
        }
    }

    pub(super) fn grant(&mut self, now: Now, target: &Target, grant: Grant) -> Result<PeerRecord, CommandError> {
        self.set_terms(now, target, &Terms { grant: Some(grant), lifetime: None })
    }

    /// Changes what a trusted peer may do, at once.
    fn set_terms(&mut self, now: Now, target: &Target, terms: &Terms) -> Result<PeerRecord, CommandError> {
        let changed = self.book.set_terms(now, target, terms);
        self.save();
        let peer = changed.map_err(|why| refusal(why, target))?;
        self.set_gate(&peer);
        Ok(peer)
    }

    /// Ends the trust that was given for a time.
    pub(super) fn end_trust(&mut self, now: Now) {
        for key in self.book.overdue(now) {
            if let Some(over) = self.book.end(&key) {
                self.save();
                self.part(&over);
            }
        }
    }

    pub(super) fn untrust(&mut self, target: &Target) -> Result<PeerRecord, CommandError> {
        let removed = self.book.untrust(target);
        self.save();
        let removed = removed.map_err(|why| refusal(why, target))?;
        self.part(&removed);
        Ok(removed)
    }

    /// A node is trusted no longer.
    fn part(&mut self, peer: &PeerRecord) {
        self.expel(&peer.key);
        self.end_pings(&peer.key);
        self.event(Event::PeerUntrusted { id: peer.id });
    }

    pub(super) fn invite(
        &mut self,
        now: Now,
        uses: u32,
        lifetime: Duration,
        terms: Terms,
    ) -> Result<Token, CommandError> {
        check_terms(&terms)?;
        if !(1..=MAX_USES).contains(&uses) || lifetime.is_zero() || lifetime > MAX_LIFETIME {
            let text = "an invite has 1 to 1000 uses and lasts at most 30 days";
            return Err(CommandError::BadArgument(text.into()));
        }
        let rendezvous = self.rendezvous.first().cloned().ok_or(CommandError::NoRendezvous)?;
        let mut secret = Zeroizing::new([0; 16]);
        self.rng.fill_bytes(secret.as_mut());
        let expires = now.unix_seconds().saturating_add(lifetime.as_secs().max(1));
        let record = InviteRecord { secret: secret.clone(), expires, uses_left: uses, admitted: Vec::new(), terms };
        let invited = self.book.invite(now, record);
        self.save();
        invited.map_err(|_| CommandError::TooMany { what: "open invites", max: MAX_INVITES })?;
        Ok(Token { rendezvous, inviter: self.me.key, network: self.me.network, secret: *secret, expires })
    }

    pub(super) fn start_join(&mut self, now: Now, id: CommandId, token: Token) {
        match self.check_token(now, &token) {
            Ok(()) => self.derive_for(now, id, token.inviter, Purpose::Join(id, token)),
            Err(error) => self.answer(id, Err(error)),
        }
    }

    fn check_token(&self, now: Now, token: &Token) -> Result<(), CommandError> {
        self.refuse_ourselves(&Target::Key(token.inviter))?;
        let (ours, theirs) = (self.me.network, token.network);
        if theirs != ours {
            return Err(CommandError::WrongNetwork { ours, theirs });
        }
        if self.rendezvous.is_empty() {
            return Err(CommandError::NoRendezvous);
        }
        if self.rendezvous.iter().all(|server| server.key != token.rendezvous.key) {
            let theirs = token.rendezvous.clone();
            return Err(CommandError::WrongRendezvous { theirs });
        }
        match token.expired(now.unix_seconds()) {
            true => Err(CommandError::TokenExpired),
            false => Ok(()),
        }
    }

    pub(super) fn derive_for(&mut self, now: Now, id: CommandId, key: PublicKey, purpose: Purpose) {
        if let Err(error) = self.refuse_ourselves(&Target::Key(key)) {
            return self.answer(id, Err(error));
        }
        if self.derive(now, key, purpose).is_err() {
            self.answer(id, Err(too_many_open()));
        }
    }
}

fn check_terms(terms: &Terms) -> Result<(), CommandError> {
    match terms.lifetime {
        Some(lifetime) if !(MIN_TRUST..=MAX_TRUST).contains(&lifetime) => {
            let text = "trust lasts at least a second and at most 3650 days";
            Err(CommandError::BadArgument(text.into()))
        }
        _ => Ok(()),
    }
}
