//! What is known of each topic: who gets its events, where they are remembered, and the last of them.
//!
//! In: topics as they come. Out: a place for each, with what was found out about it. Bounded: when there are too many,
//! the half that was quiet for longest is forgotten, with its last values.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::subscriber::Route;

/// What a topic costs beside its last event.
const TOPIC: usize = 256;

/// One topic.
#[derive(Debug, Default)]
pub struct Topic {
    /// Who gets its events, as of `generation`.
    pub route: Arc<Route>,
    /// When that was found out.
    pub generation: u64,
    /// In which ring they are remembered.
    pub ring: Option<usize>,
    /// Which event of the batch in hand is the last so far.
    pub newest: Option<usize>,
    /// The number of the last event.
    seq: u64,
    /// The last event.
    last: Option<Bytes>,
}

/// All topics.
#[derive(Debug)]
pub struct Topics {
    places: HashMap<Arc<str>, usize>,
    topics: Vec<(Arc<str>, Topic)>,
    bytes: usize,
    most_topics: usize,
    most_bytes: usize,
}

impl Topics {
    /// None yet, and at most so many, in so many bytes.
    pub fn new(most_topics: usize, most_bytes: usize) -> Topics {
        Topics { places: HashMap::new(), topics: Vec::new(), bytes: 0, most_topics, most_bytes }
    }

    /// The place of a topic, good until the next [`Topics::shrink`].
    pub fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let (name, place): (Arc<str>, _) = (name.into(), self.topics.len());
        self.bytes += TOPIC;
        self.places.insert(name.clone(), place);
        self.topics.push((name, Topic::default()));
        place
    }

    /// The topic at a place.
    pub fn at(&mut self, place: usize) -> Option<&mut Topic> {
        self.topics.get_mut(place).map(|(_, topic)| topic)
    }

    /// Keeps the last event of the topic at a place.
    pub fn set_last(&mut self, place: usize, seq: u64, element: &[u8]) {
        let Some((_, topic)) = self.topics.get_mut(place) else { return };
        let before = topic.last.replace(Bytes::copy_from_slice(element)).map_or(0, |last| last.len());
        topic.seq = seq;
        self.bytes = self.bytes + element.len() - before;
    }

    /// The last events of topics that `is_wanted`, oldest first.
    pub fn last(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Bytes> {
        let wanted = self.topics.iter().filter(|(name, topic)| topic.last.is_some() && is_wanted(name));
        let mut wanted: Vec<_> = wanted.map(|(_, topic)| (topic.seq, topic.last.clone())).collect();
        wanted.sort_by_key(|(seq, _)| *seq);
        wanted.into_iter().filter_map(|(_, last)| last).collect()
    }

    /// Forgets the quiet half where there is too much.
    pub fn shrink(&mut self) {
        while self.topics.len() > self.most_topics || self.bytes > self.most_bytes && self.topics.len() > 1 {
            let mut topics = std::mem::take(&mut self.topics);
            topics.sort_by_key(|(_, topic)| std::cmp::Reverse(topic.seq));
            topics.truncate(topics.len() / 2);
            self.bytes = topics.iter().map(|(_, topic)| TOPIC + topic.last.as_ref().map_or(0, Bytes::len)).sum();
            self.places = topics.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
            self.topics = topics;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_topics_cost_the_quiet_ones() {
        let mut topics = Topics::new(10, 1 << 20);
        for number in 0..11 {
            let place = topics.place(&format!("t{number}"));
            topics.set_last(place, number + 1, format!("event {number}").as_bytes());
        }
        topics.shrink();
        assert_eq!(topics.last(|_| true), ["event 6", "event 7", "event 8", "event 9", "event 10"]);
        let place = topics.place("t10");
        topics.set_last(place, 12, b"newer");
        assert_eq!(topics.last(|name| name == "t10"), ["newer"]);
    }

    #[test]
    fn large_last_values_are_bounded_together() {
        let mut topics = Topics::new(1_000, 100 << 10);
        for number in 0..200 {
            let place = topics.place(&format!("t{number}"));
            topics.set_last(place, number + 1, &[0; 10 << 10]);
            topics.shrink();
            assert!(topics.bytes <= 100 << 10);
        }
        assert!(!topics.last(|name| name == "t199").is_empty());
    }
}
