//! What the events of a node may cost.

use std::time::Duration;

use super::retention::Rule;
use super::topic::Pattern;

/// Limits of the bus, its links and its callers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is remembered of this node's events, for `since`; the first rule that matches a topic holds, the default
    /// below them all is [`Settings::retention_bytes`] and [`Settings::retention_age`].
    pub retention: Vec<(Pattern, usize, Duration)>,
    /// Bytes that are remembered of topics without a rule.
    pub retention_bytes: usize,
    /// How long events of topics without a rule are remembered.
    pub retention_age: Duration,
    /// Topics of which the last event is kept.
    pub last_topics: usize,
    /// Bytes of last events.
    pub last_bytes: usize,
    /// Subscriptions at once.
    pub subscriptions: usize,
    /// Events that wait for a subscriber that does not say how many.
    pub queue_events: usize,
    /// Events that may wait for a subscriber that says how many.
    pub longest_queue: usize,
    /// Bytes that may wait for one subscriber.
    pub queue_bytes: usize,
    /// Bytes that may wait for all; above that, [`Settings::queue_share`] for each.
    pub queues_bytes: usize,
    /// Bytes for one subscriber when too much waits for all.
    pub queue_share: usize,
    /// How long a peer may be silent before its link is given up.
    pub silence: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            retention: Vec::new(),
            retention_bytes: 16 << 20,
            retention_age: Duration::from_secs(3_600),
            last_topics: 10_000,
            last_bytes: 16 << 20,
            subscriptions: 4_096,
            queue_events: 65_536,
            longest_queue: 1 << 20,
            queue_bytes: 32 << 20,
            queues_bytes: 256 << 20,
            queue_share: 256 << 10,
            silence: Duration::from_secs(20),
        }
    }
}

impl Settings {
    /// The rules of retention, down to the default.
    pub fn rules(&self) -> Vec<Rule> {
        let own = self.retention.iter().map(|(pattern, bytes, age)| Rule {
            pattern: pattern.clone(),
            bytes: *bytes,
            age: *age,
        });
        let rest = Rule { pattern: Pattern::all(), bytes: self.retention_bytes, age: self.retention_age };
        own.chain([rest]).collect()
    }
}
