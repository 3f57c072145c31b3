//! What a subscriber reads: its subscription, with whatever else brings events into it.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::queue::{Ended, Segment};
use super::subscription::Subscription;
use crate::control::Error;

/// Events for one subscriber; dropped, all that brought them ends.
pub struct Feed {
    subscription: Arc<Subscription>,
    _relays: JoinSet<()>,
}

impl Feed {
    /// A feed of what the bus brings.
    pub fn new(subscription: Subscription) -> Feed {
        Feed { subscription: Arc::new(subscription), _relays: JoinSet::new() }
    }

    /// The same with tasks that bring events of peers.
    pub fn with(self, relays: JoinSet<()>) -> Feed {
        Feed { _relays: relays, ..self }
    }

    /// The subscription.
    pub fn subscription(&self) -> Arc<Subscription> {
        self.subscription.clone()
    }

    /// Takes what is there, about `most` bytes.
    ///
    /// # Errors
    /// Nothing more comes.
    pub fn try_take(&self, most: usize) -> Result<Vec<Segment>, Ended> {
        self.subscription.try_take(most)
    }

    /// Returns when there may be something to take. Cancel safe.
    pub async fn ready(&self) {
        self.subscription.ready().await;
    }

    /// Whether it still reads what is remembered.
    pub fn is_in_the_past(&self) -> bool {
        self.subscription.is_in_the_past()
    }

    /// Waits for events, and takes about `most` bytes of them. Cancel safe.
    ///
    /// # Errors
    /// Nothing more comes.
    pub async fn take(&self, most: usize) -> Result<Vec<Segment>, Ended> {
        self.subscription.take(most).await
    }
}

/// Why a feed ended, for the subscriber.
pub fn ended(ended: Ended) -> Error {
    match ended {
        Ended::Overflow => {
            Error::new("too_many", "more events waited than this subscription allows, and it was to end then")
                .hint("read faster, ask for a longer queue, or subscribe with overflow=drop-oldest")
        }
        Ended::Closed => Error::new("daemon_not_running", "the daemon ends"),
    }
}
