//! On what terms a peer is trusted, and when trust ends by itself.

use std::time::Duration;

use super::{Refusal, TrustBook};
use crate::identity::{PublicKey, Target};
use crate::peer::record::{PeerRecord, Terms};
use crate::wire::Now;

impl Terms {
    /// What was said last, and of the rest what was said before.
    pub(super) fn said_after(self, former: Terms) -> Terms {
        Terms { grant: self.grant.or(former.grant), lifetime: self.lifetime.or(former.lifetime) }
    }

    /// The record of a peer on these terms.
    pub(super) fn applied(&self, now: Now, peer: PeerRecord) -> PeerRecord {
        let end = |lifetime: Duration| {
            let millis = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
            now.unix_millis.saturating_add(millis)
        };
        PeerRecord {
            grant: self.grant.clone().unwrap_or_else(|| peer.grant.clone()),
            expires_unix_ms: self.lifetime.map(end).or(peer.expires_unix_ms),
            ..peer
        }
    }
}

impl TrustBook {
    /// Trusts a peer on other terms from now on.
    pub fn set_terms(&mut self, now: Now, target: &Target, terms: &Terms) -> Result<PeerRecord, Refusal> {
        let peer = self.find(target)?.clone();
        let changed = terms.applied(now, peer.clone());
        if changed != peer {
            self.put_peer(changed.clone());
        }
        Ok(changed)
    }

    /// The peers whose trust is over by now.
    pub fn overdue(&self, now: Now) -> Vec<PublicKey> {
        self.ends.iter().take_while(|(at, _)| *at <= now.unix_millis).map(|(_, key)| *key).collect()
    }

    /// When the first trust ends, in milliseconds since 1970.
    pub fn next_end(&self) -> Option<u64> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// Keeps in mind when trust in a peer ends, in place of what stood in its former record.
    pub(super) fn set_end(&mut self, key: PublicKey, former: Option<u64>, end: Option<u64>) {
        if let Some(former) = former {
            self.ends.remove(&(former, key));
        }
        self.ends.extend(end.map(|end| (end, key)));
    }
}
