//! Relay frames in gRPC messages: as many as are at hand go into one.
//!
//! Comes in: a bounded queue of frames. Goes out: messages of at most 64 KiB, at once when the stream has room.

use futures_util::{Stream, stream};
use tokio::sync::mpsc;

use crate::wire::rendezvous::{MAX_FRAME, MAX_MESSAGE, RelayFrames};

/// What a frame of the largest length takes in a message: its tag and a length of up to three bytes.
pub(super) const ROOM: usize = MAX_FRAME + 4;

/// The messages that carry the frames of a queue, until its senders are gone.
pub fn messages(queue: mpsc::Receiver<Vec<u8>>) -> impl Stream<Item = RelayFrames> {
    stream::unfold(queue, |mut queue| async {
        let first = queue.recv().await?;
        Some((gather(first, &mut queue), queue))
    })
}

/// The first frame and those that wait behind it, as far as they fit.
fn gather(first: Vec<u8>, queue: &mut mpsc::Receiver<Vec<u8>>) -> RelayFrames {
    let mut bytes = first.len() + 4;
    let mut frames = vec![first];
    while bytes + ROOM <= MAX_MESSAGE {
        let Ok(frame) = queue.try_recv() else { break };
        bytes += frame.len() + 4;
        frames.push(frame);
    }
    RelayFrames { frames }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::StreamExt;
    use prost::Message;

    use super::*;

    #[tokio::test]
    async fn everything_at_hand_goes_in_order_and_no_message_is_too_long() {
        let (sender, queue) = mpsc::channel(128);
        let sent: Vec<Vec<u8>> = (0..128).map(|n| vec![n; MAX_FRAME - usize::from(n % 3)]).collect();
        for frame in &sent {
            sender.send(frame.clone()).await.unwrap();
        }
        drop(sender);
        let messages: Vec<RelayFrames> = pin!(messages(queue)).collect().await;
        assert!(messages.iter().all(|message| message.encoded_len() <= MAX_MESSAGE));
        assert_eq!(messages.len(), 128_usize.div_ceil(MAX_MESSAGE / ROOM));
        assert_eq!(messages.into_iter().flat_map(|message| message.frames).collect::<Vec<_>>(), sent);
    }
}
