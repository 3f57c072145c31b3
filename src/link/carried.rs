//! The server's end of a relay stream: frames of one node, and the way back to it.
//!
//! Comes in: an accepted gRPC stream. Goes out: the node's frames in batches, with the key that TLS proved. What they
//! mean is left to the relay.

use tokio::sync::mpsc;
use tonic::Streaming;

use crate::identity::PublicKey;
use crate::wire::rendezvous::{MAX_FRAME, RelayFrames};

/// Frames that wait for a node which reads slowly: beyond that the newest are lost.
pub const STREAM_QUEUE: usize = 512;

/// A node's frames. The stream ends when every clone of `outgoing` is dropped, or its own node ends it.
pub struct Carried {
    /// The node, as TLS proved it.
    pub key: PublicKey,
    /// The way back: whole frames, to be given without waiting.
    pub outgoing: mpsc::Sender<Vec<u8>>,
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
