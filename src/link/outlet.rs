//! The way to a node through its relay stream: a bounded queue that those who send to it share fairly.
//!
//! Comes in: frames, each with its sender, without waiting. Goes out: messages with as many as are at hand.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::frames::ROOM;
use crate::rendezvous::relay::{Endpoint, FairQueue};
use crate::wire::Drop as Refusal;
use crate::wire::rendezvous::{MAX_FRAME, MAX_MESSAGE, RelayFrames};

/// Bytes that wait for a node which reads slowly, as long as one other sends to it.
const QUEUE: usize = 768 << 10;

/// Where frames for a stream go; dropping it ends the stream, after what waits.
pub struct Outlet {
    shared: Arc<Shared>,
}

/// The other end: what is to be written.
pub struct Outflow {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    ready: Notify,
}

struct State {
    queue: FairQueue<Endpoint, Vec<u8>>,
    is_closed: bool,
}

/// Both ends of an empty queue.
pub fn outlet() -> (Outlet, Outflow) {
    let state = Mutex::new(State { queue: FairQueue::new(QUEUE), is_closed: false });
    let shared = Arc::new(Shared { state, ready: Notify::new() });
    (Outlet { shared: shared.clone() }, Outflow { shared })
}

impl Outlet {
    /// Queues a frame, or refuses it where the sender's share is full, or no stream carries so long a one.
    pub fn send(&self, sender: Endpoint, frame: Vec<u8>) -> Result<(), Refusal> {
        let len = frame.len();
        if len > MAX_FRAME {
            return Err(Refusal::Oversized);
        }
        self.shared.state.lock().queue.push(sender, frame, len)?;
        self.shared.ready.notify_one();
        Ok(())
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.shared.state.lock().is_closed = true;
        self.shared.ready.notify_one();
    }
}

impl Outflow {
    /// The next message, as soon as there is a frame for it; none once the outlet is dropped and all is written.
    pub async fn next(&mut self) -> Option<RelayFrames> {
        loop {
            match self.gather() {
                (frames, _) if !frames.is_empty() => return Some(RelayFrames { frames }),
                (_, true) => return None,
                _ => self.shared.ready.notified().await,
            }
        }
    }

    /// What waits, as far as it fits a message, and whether nothing more will come.
    fn gather(&self) -> (Vec<Vec<u8>>, bool) {
        let mut state = self.shared.state.lock();
        let (mut frames, mut room) = (Vec::new(), MAX_MESSAGE);
        while room >= ROOM
            && let Some(frame) = state.queue.pop()
        {
            room -= frame.len() + 4;
            frames.push(frame);
        }
        (frames, state.is_closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(port: u16) -> Endpoint {
        Endpoint::Udp { socket: 0, remote: ([192, 0, 2, 1], port).into() }
    }

    #[tokio::test]
    async fn a_slow_readers_queue_is_shared_by_those_who_send_to_it() {
        let (outlet, mut outflow) = outlet();
        let heavy = (0..10_000).map(|_| outlet.send(sender(1), vec![1; 1_400])).filter(Result::is_ok).count();
        assert!((400..600).contains(&heavy), "{heavy}");
        for _ in 0..10 {
            outlet.send(sender(2), vec![2; 100]).unwrap();
        }
        assert_eq!(outlet.send(sender(3), vec![0; MAX_FRAME + 1]), Err(Refusal::Oversized));
        let first = outflow.next().await.unwrap().frames;
        assert_eq!(
            first.iter().filter(|frame| frame[0] == 2).count(),
            10,
            "the light sender's come with the first message"
        );
        drop(outlet);
        let mut left = first.len();
        while let Some(message) = outflow.next().await {
            left += message.frames.len();
        }
        assert_eq!(left, heavy + 10);
    }
}
