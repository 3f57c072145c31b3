//! The relay streams, as the datapath sees them: frames out by a bounded queue, frames in like datagrams.

use super::{Parts, Slow, inbound::Opener};
use crate::wire::path::MAIN;
use crate::wire::relay::Frame;
use crate::wire::{Drop, Drops, Ecn};
use std::sync::Arc;
use tokio::sync::mpsc;

/// The ways out: one queue for each rendezvous server, by its number.
#[derive(Clone)]
pub struct Streams {
    queues: Arc<[mpsc::Sender<Vec<u8>>]>,
    drops: Arc<Drops>,
}

impl Streams {
    /// Frames that cannot be queued are counted in `drops`.
    pub fn new(queues: Vec<mpsc::Sender<Vec<u8>>>, drops: Arc<Drops>) -> Streams {
        Streams { queues: queues.into(), drops }
    }

    /// Queues a frame; never waits: where there is no room the newest is lost.
    pub fn send(&self, stream: u8, frame: &[u8]) {
        let room = self.queues.get(usize::from(stream)).and_then(|queue| queue.try_reserve().ok());
        match room {
            Some(room) => room.send(frame.to_vec()),
            None => self.drops.count(Drop::StreamFull),
        }
    }
}

/// The way in: takes the frames of one stream to the TUN device, and what the peer table cannot settle to the slow path.
pub struct Injector {
    parts: Parts,
    stream: u8,
    opener: Opener,
}

impl Injector {
    /// For the stream with this number.
    pub fn new(parts: Parts, stream: u8) -> Injector {
        let opener = Opener::new(&parts);
        Injector { parts, stream, opener }
    }

    /// Takes a frame that the relay sent.
    pub fn take(&mut self, frame: &[u8]) {
        let table = self.parts.table.load();
        match (Frame::parse(frame), table.relay_of(self.stream)) {
            // As if it had come from the relay's UDP endpoint: it is the same path.
            (Ok(Frame::Deliver { .. }), Some(relay)) => {
                self.opener.take(&self.parts, &table, (MAIN, relay.server), Ecn::NotCapable, frame);
                self.opener.flush(&self.parts);
            }
            (Ok(_), _) => self.parts.hand_over(Slow::Frame(self.stream, frame.to_vec())),
            (Err(reason), _) => self.parts.drops.count(reason),
        }
    }
}
