//! The link between a node and its rendezvous server: gRPC in TLS 1.3, both ends.
//!
//! Comes in: a URL or listening sockets, our identity, messages to send. Goes out: the other side's messages, together
//! with the key that TLS proved it to own, and whether the link is up. What a message means, and what to answer, is left
//! to the machines in [`rendezvous`](crate::rendezvous).
//!
//! Both sides show raw Ed25519 keys in place of certificates (RFC 7250): the client pins the server's key from the URL,
//! the server takes the client's key as the node that it is.

pub mod client;
pub mod server;
pub mod stream;

mod accept;
mod carried;
mod detour;
mod dial;
mod error;
mod frames;
mod lease;
mod outlet;
mod pauses;
mod proxy;
mod reach;
#[cfg(test)]
mod tests;
mod tls;

pub use carried::{Carried, Incoming};
pub use detour::Detour;
pub use error::LinkError;
pub use outlet::Outlet;
pub use proxy::{Proxy, ProxyError};
pub use reach::Reach;

use std::time::Duration;

/// The gRPC service, generated from `proto/`.
#[allow(missing_docs, clippy::all)]
mod service {
    include!("generated/pilot.rendezvous.v1.rs");
}

/// The application protocol in the TLS handshake: gRPC is HTTP/2.
const ALPN: &[u8] = b"h2";
/// How often each side asks over an idle link whether the other is alive (HTTP/2 PING).
const KEEPALIVE: Duration = Duration::from_secs(10);
/// How long the other side has to answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
