//! Who has something new waiting.

use std::collections::HashSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::identity::PublicKey;

/// Receivers with new messages; each is there once, however many messages there are.
#[derive(Default)]
pub struct Wakes {
    receivers: Mutex<HashSet<PublicKey>>,
    notify: Notify,
}

impl Wakes {
    /// A message waits for `receiver`.
    pub fn wake(&self, receiver: PublicKey) {
        self.wake_all([receiver]);
    }

    /// Messages wait for all of these.
    pub fn wake_all(&self, receivers: impl IntoIterator<Item = PublicKey>) {
        self.receivers.lock().extend(receivers);
        self.notify.notify_one();
    }

    /// Returns when there is somebody.
    pub async fn woken(&self) -> HashSet<PublicKey> {
        loop {
            let woken = std::mem::take(&mut *self.receivers.lock());
            if !woken.is_empty() {
                return woken;
            }
            self.notify.notified().await;
        }
    }
}
