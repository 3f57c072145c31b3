//! Why the link is not up, and what the user can do about it.

use std::io;

use super::ProxyError;
use crate::identity::RendezvousUrl;

/// What keeps the link to a rendezvous server down.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The host in the URL has no address.
    #[error("cannot resolve the host of {url}: {source}; check the name and this machine's DNS")]
    Resolve {
        /// The server that was asked for.
        url: RendezvousUrl,
        /// What the resolver said.
        source: io::Error,
    },
    /// No TCP connection came about.
    #[error("cannot reach {url}: {source}; check that the server runs and that its TCP port is open")]
    Unreachable {
        /// The server that was asked for.
        url: RendezvousUrl,
        /// What the last address tried said.
        source: io::Error,
    },
    /// The proxy gives no way to the server.
    #[error("cannot reach {url} through {proxy}: {source}")]
    Proxy {
        /// The server that was asked for.
        url: RendezvousUrl,
        /// The proxy, without credentials.
        proxy: String,
        /// What it said.
        source: Box<ProxyError>,
    },
    /// Somebody answers who does not own the pinned key.
    #[error(
        "the server at {}:{} has another key than {url} pins; if it was set up anew, take the URL that \
         `pilotd rendezvous --print-url` prints there", url.host, url.port
    )]
    WrongKey {
        /// The server that was asked for.
        url: RendezvousUrl,
    },
    /// Something else than a rendezvous server answers.
    #[error("{url} answers, but not as a Pilot rendezvous server ({source}); check the host and the port")]
    NotPilot {
        /// The server that was asked for.
        url: RendezvousUrl,
        /// What TLS said.
        source: Box<rustls::Error>,
    },
    /// The secure connection failed in another way.
    #[error("cannot secure the connection to {url}: {source}")]
    Tls {
        /// The server that was asked for.
        url: RendezvousUrl,
        /// What TLS said.
        source: Box<rustls::Error>,
    },
    /// The server was reached but did not open the stream of messages.
    #[error("{url} does not open the link: {message}; it may be overloaded or of another version")]
    NotOpened {
        /// The server that was asked for.
        url: RendezvousUrl,
        /// What gRPC said.
        message: String,
    },
    /// The link was up and ended.
    #[error("the link to {url} ended: {message}")]
    Ended {
        /// The server that was asked for.
        url: RendezvousUrl,
        /// What gRPC said.
        message: String,
    },
}
