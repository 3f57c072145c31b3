//! Who waits to hear what became of a message.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::control::Error;

/// Says that a message was delivered, or why it never will be.
pub type Answer = oneshot::Receiver<Result<(), Error>>;

type Asker = oneshot::Sender<Result<(), Error>>;

/// By the place of the message in the outbox.
#[derive(Default)]
pub struct Answers {
    waiting: Mutex<HashMap<i64, Vec<Asker>>>,
}

impl Answers {
    /// The answer for a message, once there is one.
    pub fn expect(&self, number: i64) -> Answer {
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().entry(number).or_default().push(sender);
        answer
    }

    /// Answers those who wait for a message.
    pub fn answer(&self, number: i64, outcome: &Result<(), Error>) {
        for sender in self.waiting.lock().remove(&number).unwrap_or_default() {
            // Whoever waited may have gone away.
            let _ = sender.send(outcome.clone());
        }
    }

    /// Forgets those who wait no longer.
    pub fn forget(&self, number: i64) {
        let mut waiting = self.waiting.lock();
        if let Some(senders) = waiting.get_mut(&number) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                waiting.remove(&number);
            }
        }
    }
}
