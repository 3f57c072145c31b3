//! What outlives a restart: who is trusted, who asked, whom we asked, what we invited, and the changes to it.
//!
//! Plain data that the machines decide upon and the store keeps. A [`Change`] says the new state of one thing,
//! so that applying it twice does no harm.

use super::grant::Grant;
use crate::identity::{Hostname, NodeId, PublicKey, RendezvousUrl, Target, TunnelCertificate};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// How a peer came to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// A handshake that one side asked for and the other approved.
    Handshake,
    /// A token of ours that the peer redeemed, or one of the peer's that we redeemed.
    Invite,
    /// Its whole key was entered here.
    Key,
}

/// What the user says along with trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// What the peer may open here; none leaves that as it is, and is everything for a new peer.
    pub grant: Option<Grant>,
    /// For how long from when it is trusted; none leaves that as it is, and is for good for a new peer.
    pub lifetime: Option<Duration>,
}

/// A trusted peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    /// Its identity: trust is in this key.
    pub key: PublicKey,
    /// Its node ID, derived from the key.
    pub id: NodeId,
    /// The name that it last told us.
    pub hostname: Option<Hostname>,
    /// When trust was made, in milliseconds since 1970.
    pub since_unix_ms: u64,
    /// How trust was made.
    pub via: Via,
    /// What it may open here.
    pub grant: Grant,
    /// When trust ends by itself, in milliseconds since 1970.
    pub expires_unix_ms: Option<u64>,
    /// Its tunnel key as last seen; a certificate of a smaller serial is refused.
    pub tunnel: Option<TunnelCertificate>,
    /// The TAI64N timestamp of the last WireGuard initiation accepted from it; one not later is a replay.
    pub initiation_floor: [u8; 12],
}

/// A node that asked for our trust and waits for our decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRecord {
    /// The key that signed the request.
    pub key: PublicKey,
    /// Its node ID, derived from the key.
    pub id: NodeId,
    /// The name that it claims.
    pub hostname: Option<Hostname>,
    /// What it says it wants.
    pub reason: String,
    /// When it arrived, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Names the request in our answer.
    pub nonce: [u8; 16],
}

/// A request of ours that nobody has answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// Names the request in the answer.
    pub nonce: [u8; 16],
    /// Whom we asked, as the user named it.
    pub target: Target,
    /// What we said we want.
    pub reason: String,
    /// When we asked, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// On what terms whoever approves is trusted; it is not told.
    pub terms: Terms,
}

/// A token of ours that can still be redeemed. `Debug` leaves the secret out; zeroized when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteRecord {
    /// What the redeemer proves to know.
    pub secret: Zeroizing<[u8; 16]>,
    /// End of validity, in seconds since 1970.
    pub expires: u64,
    /// How many more nodes may redeem it.
    pub uses_left: u32,
    /// The keys that it admitted, each of them once.
    pub admitted: Vec<[u8; 32]>,
    /// On what terms each of them is trusted; the token does not tell.
    pub terms: Terms,
}

impl fmt::Debug for InviteRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InviteRecord")
            .field("expires", &self.expires)
            .field("uses_left", &self.uses_left)
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}

/// A change to make durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Trust this peer, or know more about it.
    PutPeer(PeerRecord),
    /// Trust this key no longer.
    RemovePeer(PublicKey),
    /// Refuse initiations of this peer that are not later; nothing if it is no peer.
    SetFloor {
        /// The peer.
        key: PublicKey,
        /// The TAI64N timestamp of the initiation just accepted.
        floor: [u8; 12],
    },
    /// Keep a request to us, in place of an earlier one of the same key.
    PutPending(PendingRecord),
    /// The request of this key is decided.
    RemovePending(PublicKey),
    /// Keep a request of ours, under its nonce.
    PutRequest(RequestRecord),
    /// The request of this nonce is answered or given up.
    RemoveRequest([u8; 16]),
    /// Keep an invite, under its secret.
    PutInvite(InviteRecord),
    /// The invite is used up, expired or withdrawn.
    RemoveInvite(InviteRecord),
    /// Ask the rendezvous for this name from now on, or for none.
    SetHostname(Option<Hostname>),
    /// Use this rendezvous server from now on, or the configured one.
    SetRendezvous(Option<RendezvousUrl>),
}

/// Everything that was made durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// In the order of their keys.
    pub peers: Vec<PeerRecord>,
    /// In the order of their keys.
    pub pending: Vec<PendingRecord>,
    /// In the order of their nonces.
    pub requests: Vec<RequestRecord>,
    /// In the order of their secrets.
    pub invites: Vec<InviteRecord>,
    /// The name that was set by command.
    pub hostname: Option<Hostname>,
    /// The rendezvous server that a token brought.
    pub rendezvous: Option<RendezvousUrl>,
}
