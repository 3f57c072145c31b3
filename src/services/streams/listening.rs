//! What a listener is told, for as long as it listens.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Stream, Streams};

/// A stream that waits to be taken, as its listener is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// Its number, to take it by.
    pub stream: u64,
    /// Who connects.
    pub node_id: String,
    /// Its name, if it has one.
    pub hostname: Option<String>,
    /// Its overlay address.
    pub ipv6: Ipv6Addr,
    /// The port.
    pub port: u16,
}

impl Announced {
    pub(super) fn of(stream: &Stream, number: u64) -> Announced {
        Announced {
            stream: number,
            node_id: stream.node.id.to_string(),
            hostname: stream.node.hostname.as_ref().map(ToString::to_string),
            ipv6: stream.node.address,
            port: stream.port,
        }
    }
}

/// Somebody listens on a port, until this is dropped.
pub struct Listening {
    pub(super) streams: Streams,
    pub(super) port: u16,
    pub(super) number: u64,
    pub(super) announcements: mpsc::Receiver<Announced>,
}

impl Listening {
    /// The next stream that comes in; none when the node goes down.
    pub async fn next(&mut self) -> Option<Announced> {
        self.announcements.recv().await
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.streams.shared.ports.lock().leave(self.port, self.number);
    }
}
