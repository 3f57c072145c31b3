//! The secret that a login is given for use at the relay.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::path::Allocation;

/// What the rendezvous server gave to this login for use at the relay.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RelayCredential {
    /// Names the login in Bind and Send; known to the node and the relay only.
    pub session: u64,
    /// Authenticates Bind and Bound.
    pub key: [u8; 32],
    /// Where others send to reach this node.
    #[zeroize(skip)]
    pub allocation: Allocation,
}
