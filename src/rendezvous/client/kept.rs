//! Messages that wait for a login, and those that a link which just broke may have lost.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::wire::rendezvous::ClientMessage;

/// The most messages that wait for a login; the newest is refused beyond.
pub const MAX_UNSENT: usize = 1024;

/// A broken link is noticed within this time: what was sent since may be lost.
pub(super) const LOSS_WINDOW: Duration = Duration::from_secs(30);
/// The most messages that are sent again after a break.
const MAX_RECENT: usize = 64;

/// Nothing at first.
#[derive(Default)]
pub(super) struct Kept {
    unsent: VecDeque<ClientMessage>,
    /// With when they were sent.
    recent: VecDeque<(Instant, ClientMessage)>,
}

impl Kept {
    /// Keeps a message for the next login; false when too many wait already.
    pub fn wait(&mut self, message: ClientMessage) -> bool {
        let has_room = self.unsent.len() < MAX_UNSENT;
        if has_room {
            self.unsent.push_back(message);
        }
        has_room
    }

    /// A message was sent.
    pub fn sent(&mut self, now: Instant, message: ClientMessage) {
        while self.recent.len() >= MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((now, message));
    }

    /// What was sent lately waits again.
    pub fn link_broke(&mut self, now: Instant) {
        let lost = std::mem::take(&mut self.recent).into_iter().filter(|(at, _)| now < *at + LOSS_WINDOW);
        self.unsent.extend(lost.map(|(_, message)| message));
    }

    /// What waits, in order, to be sent.
    pub fn take(&mut self) -> VecDeque<ClientMessage> {
        std::mem::take(&mut self.unsent)
    }
}
