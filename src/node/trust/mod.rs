//! Who is trusted, who asks, whom we asked, whom we invited: decisions only.
//!
//! Comes in: proven facts (this key signed that, this key has this ID, the rendezvous calls it so) and
//! the user's will. Goes out: a verdict, and the [`Change`]s that make it durable. Envelopes, sending
//! and the derivation of IDs are left to the node. Everything is keyed by the whole key; a node ID or
//! a name only finds it.

mod asking;
mod inviting;
mod terms;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::identity::{Hostname, NodeId, PublicKey, Target, TunnelCertificate};
use crate::peer::Grant;
use crate::peer::record::{Change, InviteRecord, PeerRecord, PendingRecord, Records, RequestRecord, Via};
use crate::wire::Now;
use crate::wire::introduction::Nonce;

pub use crate::peer::record::Terms;
pub use asking::{Asked, Verdict};

/// The most trusted peers.
pub const MAX_PEERS: usize = 16_384;
/// The most requests to us that wait for a decision; a newer one is refused.
pub const MAX_PENDING: usize = 256;
/// The most requests of ours that wait for an answer.
pub const MAX_REQUESTS: usize = 256;
/// The most invites that can be redeemed at once.
pub const MAX_INVITES: usize = 256;
/// A request is given up after so many milliseconds: as long as a rendezvous keeps it.
const REQUEST_LIFETIME_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// What makes two requests to each other approve each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutual {
    /// Also the name that the rendezvous says the other has.
    #[default]
    Name,
    /// Only its ID or key.
    Id,
}

/// Why a decision could not be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody like this.
    NotFound,
    /// Several that the name fits.
    Ambiguous,
    /// No room for one more peer.
    FullOfPeers,
    /// No room for one more request or invite.
    Full,
    /// Another trusted key has the same node ID.
    IdTaken,
}

/// All trust of this node.
pub struct TrustBook {
    us: PublicKey,
    our_id: NodeId,
    mutual: Mutual,
    peers: BTreeMap<PublicKey, PeerRecord>,
    ids: BTreeMap<NodeId, PublicKey>,
    /// When trust ends by itself, in milliseconds since 1970, and in whom.
    ends: BTreeSet<(u64, PublicKey)>,
    pending: BTreeMap<PublicKey, PendingRecord>,
    requests: BTreeMap<Nonce, RequestRecord>,
    invites: Vec<InviteRecord>,
    changes: VecDeque<Change>,
}

impl TrustBook {
    /// The book as it was saved.
    pub fn new(us: PublicKey, our_id: NodeId, mutual: Mutual, saved: &Records) -> TrustBook {
        let peers = saved.peers.iter().map(|peer| (peer.key, peer.clone()));
        let pending = saved.pending.iter().map(|asked| (asked.key, asked.clone()));
        let requests = saved.requests.iter().map(|ours| (ours.nonce, ours.clone()));
        TrustBook {
            us,
            our_id,
            mutual,
            ids: saved.peers.iter().map(|peer| (peer.id, peer.key)).collect(),
            ends: saved.peers.iter().filter_map(|peer| Some((peer.expires_unix_ms?, peer.key))).collect(),
            peers: peers.collect(),
            pending: pending.collect(),
            requests: requests.collect(),
            invites: saved.invites.clone(),
            changes: VecDeque::new(),
        }
    }

    /// The next change to make durable, before anything that follows from it leaves the node.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// The trusted peer with this key.
    pub fn peer(&self, key: &PublicKey) -> Option<&PeerRecord> {
        self.peers.get(key)
    }

    /// The ID of a key, if it was derived before.
    pub fn id_of(&self, key: &PublicKey) -> Option<NodeId> {
        let peer = self.peers.get(key).map(|peer| peer.id);
        peer.or_else(|| self.pending.get(key).map(|asked| asked.id))
    }

    /// All trusted peers, by key.
    pub fn peers(&self) -> impl Iterator<Item = &PeerRecord> {
        self.peers.values()
    }

    /// All requests that wait for a decision, by key.
    pub fn pending(&self) -> impl Iterator<Item = &PendingRecord> {
        self.pending.values()
    }

    /// All requests of ours that wait for an answer.
    pub fn requests(&self) -> impl Iterator<Item = &RequestRecord> {
        self.requests.values()
    }

    /// The trusted peer that is meant; a name is what the peer last told us.
    pub fn find(&self, target: &Target) -> Result<&PeerRecord, Refusal> {
        match target {
            Target::Key(key) => self.peers.get(key).ok_or(Refusal::NotFound),
            Target::Node(id) => self.ids.get(id).and_then(|key| self.peers.get(key)).ok_or(Refusal::NotFound),
            Target::Name(name) => only_one(self.peers().filter(|peer| peer.hostname.as_ref() == Some(name))),
        }
    }

    /// Trusts a key with its derived ID. Whether it is news; everything open with it is settled.
    pub fn trust(
        &mut self,
        now: Now,
        key: PublicKey,
        id: NodeId,
        hostname: Option<Hostname>,
        via: Via,
    ) -> Result<bool, Refusal> {
        self.trust_on(now, key, id, hostname, via, &Terms::default())
    }

    /// The same on these terms, which hold at once for a peer that is trusted already.
    pub fn trust_on(
        &mut self,
        now: Now,
        key: PublicKey,
        id: NodeId,
        hostname: Option<Hostname>,
        via: Via,
        terms: &Terms,
    ) -> Result<bool, Refusal> {
        self.settle_pending(&key);
        self.settle_requests(&key, id);
        if self.peers.contains_key(&key) {
            self.set_hostname(&key, hostname);
            self.set_terms(now, &Target::Key(key), terms)?;
            return Ok(false);
        }
        if id == self.our_id || self.ids.contains_key(&id) {
            return Err(Refusal::IdTaken);
        }
        if self.peers.len() >= MAX_PEERS {
            return Err(Refusal::FullOfPeers);
        }
        let peer = PeerRecord {
            key,
            id,
            hostname,
            since_unix_ms: now.unix_millis,
            via,
            tunnel: None,
            initiation_floor: [0; 12],
            grant: Grant::All,
            expires_unix_ms: None,
        };
        self.ids.insert(id, key);
        self.put_peer(terms.applied(now, peer));
        Ok(true)
    }

    /// Trusts a peer no longer. Where a token admitted it, it may still hold that token, and use it under another key:
    /// every open invite is withdrawn then.
    pub fn untrust(&mut self, target: &Target) -> Result<PeerRecord, Refusal> {
        let key = self.find(target)?.key;
        let peer = self.end(&key).ok_or(Refusal::NotFound)?;
        if peer.via == Via::Invite {
            for invite in std::mem::take(&mut self.invites) {
                self.changes.push_back(Change::RemoveInvite(invite));
            }
        }
        Ok(peer)
    }

    /// Ends trust whose time is over. The token that admitted the peer stays good for others, but what we asked by name is
    /// withdrawn: the peer may be who was asked, by whatever name it goes now, and its answer would be trust again.
    pub fn end(&mut self, key: &PublicKey) -> Option<PeerRecord> {
        let peer = self.peers.remove(key)?;
        self.ids.remove(&peer.id);
        self.set_end(*key, peer.expires_unix_ms, None);
        self.settle_requests(key, peer.id);
        self.withdraw_requests_by_name();
        self.changes.push_back(Change::RemovePeer(*key));
        Some(peer)
    }

    /// Keeps the name that a peer says it has; none keeps the former.
    pub fn set_hostname(&mut self, key: &PublicKey, hostname: Option<Hostname>) {
        if let Some(peer) = self.peers.get(key)
            && hostname.is_some()
            && peer.hostname != hostname
        {
            let peer = peer.clone();
            self.put_peer(PeerRecord { hostname, ..peer });
        }
    }

    /// Keeps a peer's verified certificate; false when a later one, or another of the same serial, is
    /// known already.
    pub fn set_certificate(&mut self, key: &PublicKey, certificate: TunnelCertificate) -> bool {
        let Some(peer) = self.peers.get(key) else {
            return false;
        };
        match peer.tunnel {
            Some(known) if known.serial > certificate.serial => false,
            Some(known) if known.serial == certificate.serial => known.key == certificate.key,
            _ => {
                let peer = peer.clone();
                self.put_peer(PeerRecord { tunnel: Some(certificate), ..peer });
                true
            }
        }
    }

    /// Raises the floor under a peer's initiations; false, and nothing, when this one is not above it.
    pub fn raise_floor(&mut self, key: &PublicKey, timestamp: [u8; 12]) -> bool {
        let Some(peer) = self.peers.get_mut(key) else {
            return false;
        };
        // TAI64N is big-endian: it compares as bytes.
        if timestamp <= peer.initiation_floor {
            return false;
        }
        peer.initiation_floor = timestamp;
        self.changes.push_back(Change::SetFloor { key: *key, floor: timestamp });
        true
    }

    /// Gives up requests and invites that are over.
    pub fn expire(&mut self, now: Now) {
        self.expire_requests(now);
        self.expire_invites(now);
    }

    fn put_peer(&mut self, peer: PeerRecord) {
        self.changes.push_back(Change::PutPeer(peer.clone()));
        let (key, end) = (peer.key, peer.expires_unix_ms);
        let former = self.peers.insert(key, peer);
        self.set_end(key, former.and_then(|former| former.expires_unix_ms), end);
    }
}

/// The only one, or why there is none.
fn only_one<'a, T>(mut found: impl Iterator<Item = &'a T>) -> Result<&'a T, Refusal> {
    let first = found.next().ok_or(Refusal::NotFound)?;
    match found.next() {
        None => Ok(first),
        Some(_) => Err(Refusal::Ambiguous),
    }
}
