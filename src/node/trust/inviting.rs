//! Invites of ours: made, redeemed, over.

use super::{MAX_INVITES, Refusal, TrustBook};
use crate::identity::{NodeId, PublicKey};
use crate::peer::record::{Change, InviteRecord, Via};
use crate::wire::introduction::Redemption;
use crate::wire::{Drop, Now};

impl TrustBook {
    /// Opens an invite.
    pub fn invite(&mut self, now: Now, invite: InviteRecord) -> Result<(), Refusal> {
        self.expire_invites(now);
        if self.invites.len() >= MAX_INVITES {
            return Err(Refusal::Full);
        }
        self.changes.push_back(Change::PutInvite(invite.clone()));
        self.invites.push(invite);
        Ok(())
    }

    /// How many more nodes may redeem an invite of ours.
    pub fn invited(&self) -> usize {
        self.invites.iter().map(|i| i.uses_left as usize).sum()
    }

    /// Whether `key` proves to hold a token of ours that it has not used yet, or is trusted: cheap, before the ID of a
    /// stranger is derived.
    pub fn admits(&self, now: Now, key: &PublicKey, redemption: &Redemption) -> bool {
        self.peers.contains_key(key) || self.matching(now, key, redemption).is_some()
    }

    /// Takes the redemption that `key` signed; whether the key is a new peer. One that is a peer
    /// already uses nothing up, and its terms stay: or a token for a time would be one for good.
    pub fn redeemed(&mut self, now: Now, key: PublicKey, id: NodeId, redemption: &Redemption) -> Result<bool, Drop> {
        let hostname = redemption.hostname().cloned();
        if self.peers.contains_key(&key) {
            self.set_hostname(&key, hostname);
            return Ok(false);
        }
        let place = self.matching(now, &key, redemption).ok_or(Drop::Untrusted)?;
        let terms = self.invites.get(place).ok_or(Drop::Untrusted)?.terms.clone();
        self.trust_on(now, key, id, hostname, Via::Invite, &terms).map_err(|_| Drop::Untrusted)?;
        self.use_up(place, &key);
        Ok(true)
    }

    fn matching(&self, now: Now, key: &PublicKey, redemption: &Redemption) -> Option<usize> {
        self.invites.iter().position(|invite| {
            now.unix_seconds() < invite.expires
                && !invite.admitted.contains(key.as_bytes())
                && redemption.proves(&invite.secret, &self.us, key)
        })
    }

    fn use_up(&mut self, place: usize, key: &PublicKey) {
        let Some(invite) = self.invites.get_mut(place) else {
            return;
        };
        invite.uses_left = invite.uses_left.saturating_sub(1);
        invite.admitted.push(*key.as_bytes());
        if invite.uses_left > 0 {
            self.changes.push_back(Change::PutInvite(invite.clone()));
        } else {
            let invite = self.invites.remove(place);
            self.changes.push_back(Change::RemoveInvite(invite));
        }
    }

    pub(super) fn expire_invites(&mut self, now: Now) {
        let is_open = |invite: &InviteRecord| now.unix_seconds() < invite.expires;
        let (open, over) = std::mem::take(&mut self.invites).into_iter().partition(is_open);
        self.invites = open;
        let over: Vec<InviteRecord> = over;
        self.changes.extend(over.into_iter().map(Change::RemoveInvite));
    }
}
