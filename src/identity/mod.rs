//! Names a node.
//!
//! In: bytes and text from files, command lines and the network; randomness as an argument.
//! Out: typed words that are valid by construction: keys, node IDs, overlay addresses, host names,
//! tunnel keys and their certificates, rendezvous URLs, join tokens; signatures, sealed envelopes and the
//! keys that two nodes share.
//! Left to others: files (`store`), what the bodies of envelopes mean (`wire`), whom to trust (`node`).
//!
//! Nothing here does IO, reads a clock or makes randomness. The text and byte forms are described,
//! with test vectors, in `docs/addresses.md`.

mod address;
pub mod envelope;
mod error;
mod hostname;
mod keys;
mod node_id;
mod pairing;
mod prefix;
mod target;
mod text;
mod token;
mod tunnel_key;
mod url;

pub use address::{Address, Network, SocketAddress};
pub use error::IdentityError;
pub use hostname::Hostname;
pub use keys::{Identity, PublicKey};
pub use node_id::NodeId;
pub use pairing::Pairing;
pub use prefix::{Prefix, link_local, link_local_node};
pub use target::Target;
pub use token::Token;
pub use tunnel_key::{TunnelCertificate, TunnelKey, TunnelSecret};
pub use url::{Host, RendezvousUrl};

#[cfg(test)]
mod tests;
