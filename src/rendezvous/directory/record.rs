//! What the directory remembers across a restart, and the changes to it that must be durable.

use crate::identity::{Hostname, Network, NodeId, PublicKey, Target};

/// A node that logged in once: it keeps its ID and its name while it is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its whole key.
    pub key: PublicKey,
    /// The ID derived from the key; the first key with an ID keeps it.
    pub id: NodeId,
    /// The network of its last login.
    pub network: Network,
    /// Its name, unique in the network.
    pub hostname: Option<Hostname>,
    /// When it was last seen, in whole seconds since 1970 UTC; up to a day behind.
    pub seen: u64,
}

/// Something kept for a node that may be away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Only nodes of this network receive it.
    pub network: Network,
    /// Whom it is for.
    pub target: Target,
    /// The key that sent it.
    pub sender: PublicKey,
    /// What is delivered.
    pub content: Content,
    /// When it is thrown away, in whole seconds since 1970 UTC.
    pub expires: u64,
}

/// The two kinds of things that are kept; the directory reads neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A sealed envelope.
    Envelope(Vec<u8>),
    /// A signed trust request to a name or an ID.
    Statement(Vec<u8>),
}

impl Content {
    /// The bytes to deliver.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Content::Envelope(bytes) | Content::Statement(bytes) => bytes,
        }
    }
}

/// A change to make durable before anything that follows it is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds a registration, or replaces the one of the same key.
    Register(Registration),
    /// Forgets the registration of a key.
    Forget(PublicKey),
    /// Adds an item under a number that grows with time.
    Store(u64, Item),
    /// Removes the item with this number.
    Remove(u64),
}

/// Everything that was saved, as the store found it at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// All registrations.
    pub registrations: Vec<Registration>,
    /// All items with their numbers.
    pub items: Vec<(u64, Item)>,
}
