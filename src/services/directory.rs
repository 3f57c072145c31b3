//! Who there is: this node and those that it trusts, as services see them.
//!
//! The daemon writes the [`Roster`] anew at each change; services only read it. A node that is missing from it is not
//! trusted, now: whatever was granted to it ends.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use tokio::sync::watch;

use crate::control::Error;
use crate::identity::{Hostname, NodeId, PublicKey, Target};

/// A node, this one or a trusted one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its node ID.
    pub id: NodeId,
    /// Its whole key: what trust is pinned to.
    pub key: PublicKey,
    /// The name that it told us.
    pub hostname: Option<Hostname>,
    /// Its overlay address.
    pub address: Ipv6Addr,
    /// Whether there is a path to it now.
    pub is_online: bool,
}

/// This node and every trusted one.
#[derive(Debug, PartialEq, Eq)]
pub struct Roster {
    /// This node.
    pub me: Arc<Member>,
    /// The trusted nodes, by ID; this node is not among them.
    pub peers: BTreeMap<NodeId, Arc<Member>>,
    by_address: HashMap<Ipv6Addr, NodeId>,
}

impl Roster {
    /// The roster of `me` and `peers`.
    pub fn new(me: Member, peers: impl IntoIterator<Item = Member>) -> Roster {
        let peers: BTreeMap<_, _> = peers.into_iter().map(|peer| (peer.id, Arc::new(peer))).collect();
        let by_address = peers.values().map(|peer| (peer.address, peer.id)).collect();
        Roster { me: Arc::new(me), peers, by_address }
    }

    /// The member with an overlay address.
    pub fn at(&self, address: IpAddr) -> Option<&Arc<Member>> {
        let IpAddr::V6(address) = address else { return None };
        if address == self.me.address {
            return Some(&self.me);
        }
        self.peers.get(self.by_address.get(&address)?)
    }

    /// The member with a node ID.
    pub fn member(&self, id: NodeId) -> Option<&Arc<Member>> {
        if self.me.id == id { Some(&self.me) } else { self.peers.get(&id) }
    }

    /// The member that somebody means.
    ///
    /// # Errors
    /// `not_found` for one that is not trusted, whether it exists or not; `ambiguous` for a name of several.
    pub fn find(&self, target: &Target) -> Result<&Arc<Member>, Error> {
        let is_meant = |member: &Member| match target {
            Target::Key(key) => member.key == *key,
            Target::Node(id) => member.id == *id,
            Target::Name(name) => member.hostname.as_ref() == Some(name),
        };
        let mut meant = std::iter::once(&self.me).chain(self.peers.values()).filter(|member| is_meant(member));
        match (meant.next(), meant.next()) {
            (Some(member), None) => Ok(member),
            (Some(_), Some(_)) => Err(Error::new("ambiguous", format!("several trusted nodes are called {target}"))
                .hint("name the node ID; `pilotctl peers` shows them")),
            (None, _) => Err(Error::new("not_found", format!("no trusted node is called {target}"))
                .hint("`pilotctl peers` lists the trusted nodes, `pilotctl handshake NODE` asks for trust")),
        }
    }
}

/// The roster as it is now; clones see the same.
#[derive(Clone, Debug)]
pub struct Directory {
    roster: watch::Receiver<Arc<Roster>>,
}

impl Directory {
    /// A directory that follows `roster`.
    pub fn new(roster: watch::Receiver<Arc<Roster>>) -> Directory {
        Directory { roster }
    }

    /// Everybody, now.
    pub fn roster(&self) -> Arc<Roster> {
        self.roster.borrow().clone()
    }

    /// This node.
    pub fn me(&self) -> Arc<Member> {
        self.roster.borrow().me.clone()
    }

    /// The member that `text` means: a hostname, node ID, address, overlay IPv6 address or public key.
    ///
    /// # Errors
    /// `invalid_request` where it is none of them; as [`Roster::find`].
    pub fn find(&self, text: &str) -> Result<Arc<Member>, Error> {
        let target = text.parse::<Target>().map_err(|error| Error::new("invalid_request", error.to_string()))?;
        self.roster().find(&target).cloned()
    }

    /// Returns when the roster has changed since this clone last looked; false when it will not change any more.
    pub async fn changed(&mut self) -> bool {
        self.roster.changed().await.is_ok()
    }

    /// Returns once the node is not trusted any more: it may be served no longer.
    pub async fn until_untrusted(&self, member: &Member) {
        let key = member.key;
        let mut roster = self.roster.clone();
        // A daemon that ends serves nobody any longer, either.
        let _ = roster.wait_for(|roster| roster.member(member.id).is_none_or(|now| now.key != key)).await;
    }
}

/// Who is at the other end of a connection, proven by the way it came.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A program on this machine, by the local socket: it may do everything.
    Local(Arc<Member>),
    /// A node, by its overlay address; also this one, for programs that use our own address.
    Node(Arc<Member>),
}

impl Caller {
    /// The node that the caller is, or runs on.
    pub fn member(&self) -> &Arc<Member> {
        match self {
            Caller::Local(member) | Caller::Node(member) => member,
        }
    }

    /// Passes callers of the local socket.
    ///
    /// # Errors
    /// `permission_denied` for everybody else.
    pub fn require_local(&self) -> Result<(), Error> {
        match self {
            Caller::Local(_) => Ok(()),
            Caller::Node(_) => Err(Error::new("permission_denied", "this is answered on the local socket only")),
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A member with node ID `0000.0000.00NN`; at `::1` real connections of a test come from it.
    pub fn member(number: u8, address: &str) -> Member {
        let mut rng = <rand_chacha::ChaCha20Rng as rand_core::SeedableRng>::seed_from_u64(number.into());
        let key = crate::identity::Identity::generate(&mut rng).public_key();
        let id = NodeId::from_bytes([0, 0, 0, 0, 0, number]);
        Member { id, key, hostname: None, address: address.parse().unwrap(), is_online: true }
    }
}
