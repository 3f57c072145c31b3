//! What a subscription wants beside its patterns.

use std::time::Duration;

use crate::services::api::{self, SubscribeRequest};

/// What happens when a subscriber is too slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest events are lost, and [`Event::missed`](super::Event::missed) says how many.
    #[default]
    DropOldest,
    /// The newest events are lost, and [`Event::missed`](super::Event::missed) says how many.
    DropNewest,
    /// The subscription ends.
    Disconnect,
}

/// How to subscribe: `Options::new("metrics.*").last().group("workers")`.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(super) request: SubscribeRequest,
}

impl Options {
    /// From now on, the events that match `pattern`.
    pub fn new(pattern: impl Into<String>) -> Options {
        Options { request: SubscribeRequest { patterns: vec![pattern.into()], ..SubscribeRequest::default() } }
    }

    /// Also the events that match this pattern.
    pub fn and(mut self, pattern: impl Into<String>) -> Options {
        self.request.patterns.push(pattern.into());
        self
    }

    /// Of this node alone: a hostname, a node ID, an address or a public key.
    pub fn node(mut self, node: impl Into<String>) -> Options {
        self.request.node = node.into();
        self
    }

    /// Begins after this sequence number of the publisher, as far back as it remembers.
    pub fn since_seq(mut self, seq: u64) -> Options {
        self.request.since_seq = Some(seq);
        self
    }

    /// Begins so long ago, as far back as publishers remember.
    pub fn since(mut self, age: Duration) -> Options {
        self.request.since_millis = Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Begins with the last event of each topic that matches.
    pub fn last(mut self) -> Options {
        self.request.last = true;
        self
    }

    /// Shares the events with the other subscribers of a queue group: one of them gets each.
    pub fn group(mut self, group: impl Into<String>) -> Options {
        self.request.group = group.into();
        self
    }

    /// What happens when this subscriber is too slow.
    pub fn overflow(mut self, overflow: Overflow) -> Options {
        let overflow = match overflow {
            Overflow::DropOldest => api::Overflow::DropOldest,
            Overflow::DropNewest => api::Overflow::DropNewest,
            Overflow::Disconnect => api::Overflow::Disconnect,
        };
        self.request.overflow = overflow.into();
        self
    }

    /// How many events wait for this subscriber at most.
    pub fn queue(mut self, events: u32) -> Options {
        self.request.queue = events;
        self
    }
}

impl From<&str> for Options {
    fn from(pattern: &str) -> Options {
        Options::new(pattern)
    }
}

impl From<String> for Options {
    fn from(pattern: String) -> Options {
        Options::new(pattern)
    }
}
