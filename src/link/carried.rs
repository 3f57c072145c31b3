//! The server's end of a relay stream: frames of one node, and the way back to it.
//!
//! Comes in: an accepted gRPC stream. Goes out: the node's frames in batches, with the key that TLS proved. What they
//! mean is left to the relay.

use tonic::Streaming;

use super::Outlet;
use crate::identity::PublicKey;
use crate::wire::rendezvous::{MAX_FRAME, RelayFrames};

/// A node's frames. The stream ends when `outgoing` is dropped, or its own node ends it.
pub struct Carried {
    /// The node, as TLS proved it.
    pub key: PublicKey,
    /// The way back.
    pub outgoing: Outlet,
    /// What comes in.
    pub incoming: Incoming,
}

/// The half of a relay stream that is read.
pub struct Incoming(pub(super) Streaming<RelayFrames>);

impl Incoming {
    /// The next frames, none once the stream has ended. Longer ones than a relay carries end it, too.
    pub async fn next(&mut self) -> Option<Vec<Vec<u8>>> {
        let frames = self.0.message().await.ok().flatten()?.frames;
        frames.iter().all(|frame| frame.len() <= MAX_FRAME).then_some(frames)
    }
}
