//! Patterns by their tokens: a topic finds the ones that match it without trying the others.
//!
//! In: patterns with a value each. Out: the values of those that match a topic. A search visits each node of the trie
//! at most once.

use std::collections::HashMap;

use super::topic::{Pattern, Token, is_public};

/// Values by pattern.
#[derive(Debug)]
pub struct Trie<V> {
    literal: HashMap<Box<str>, Trie<V>>,
    one: Option<Box<Trie<V>>>,
    /// Of patterns that end here.
    here: Vec<V>,
    /// Of patterns that end with a wildcard for what follows.
    tail: Vec<V>,
}

impl<V> Default for Trie<V> {
    fn default() -> Trie<V> {
        Trie { literal: HashMap::new(), one: None, here: Vec::new(), tail: Vec::new() }
    }
}

impl<V: PartialEq> Trie<V> {
    /// Adds `value` under `pattern`, beside what is there.
    pub fn insert(&mut self, pattern: &Pattern, value: V) {
        let mut node = self;
        for token in pattern.tokens() {
            node = match token {
                Token::Literal(literal) => node.literal.entry(literal.into()).or_default(),
                Token::One => node.one.get_or_insert_default(),
                Token::Tail => return node.tail.push(value),
            };
        }
        node.here.push(value);
    }

    /// Takes `value` from under `pattern`.
    pub fn remove(&mut self, pattern: &Pattern, value: &V) {
        let tokens: Vec<_> = pattern.tokens().collect();
        self.remove_at(&tokens, value);
    }

    fn remove_at(&mut self, tokens: &[Token<'_>], value: &V) {
        let Some((token, rest)) = tokens.split_first() else { return forget(&mut self.here, value) };
        match token {
            Token::Tail => forget(&mut self.tail, value),
            Token::One => {
                if let Some(next) = &mut self.one {
                    next.remove_at(rest, value);
                }
                self.one.take_if(|next| next.is_empty());
            }
            Token::Literal(literal) => {
                if let Some(next) = self.literal.get_mut(*literal) {
                    next.remove_at(rest, value);
                    if next.is_empty() {
                        self.literal.remove(*literal);
                    }
                }
            }
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.literal.is_empty() && self.one.is_none() && self.here.is_empty() && self.tail.is_empty()
    }

    /// Calls `found` with the value of each pattern that matches `topic`.
    pub fn matches<'t>(&'t self, topic: &str, found: &mut impl FnMut(&'t V)) {
        let rest_is_public = topic.split('.').all(is_public);
        self.search(topic, rest_is_public, found);
    }

    fn search<'t>(&'t self, rest: &str, is_all_public: bool, found: &mut impl FnMut(&'t V)) {
        if !self.tail.is_empty() && (is_all_public || rest.split('.').all(is_public)) {
            self.tail.iter().for_each(&mut *found);
        }
        let (token, after) = rest.split_once('.').map_or((rest, None), |(token, after)| (token, Some(after)));
        let literal = if self.literal.is_empty() { None } else { self.literal.get(token) };
        let one = self.one.as_deref().filter(|_| is_public(token));
        for next in literal.into_iter().chain(one) {
            match after {
                Some(after) => next.search(after, is_all_public, found),
                None => next.here.iter().for_each(&mut *found),
            }
        }
    }
}

fn forget<V: PartialEq>(values: &mut Vec<V>, value: &V) {
    if let Some(place) = values.iter().position(|held| held == value) {
        values.swap_remove(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "_c", "*"])
    }

    fn pattern() -> impl Strategy<Value = Pattern> {
        prop::collection::vec(token(), 1..5).prop_map(|tokens| Pattern::parse(&tokens.join(".")).unwrap())
    }

    fn topic() -> impl Strategy<Value = String> {
        let token = prop::sample::select(vec!["a", "b", "_c", "d"]);
        prop::collection::vec(token, 1..6).prop_map(|tokens| tokens.join("."))
    }

    fn found(trie: &Trie<usize>, topic: &str) -> Vec<usize> {
        let mut found = Vec::new();
        trie.matches(topic, &mut |value| found.push(*value));
        found.sort();
        found
    }

    proptest! {
        #[test]
        fn it_finds_what_trying_each_pattern_finds(
            patterns in prop::collection::vec((pattern(), any::<bool>()), 0..30),
            topics in prop::collection::vec(topic(), 1..20),
        ) {
            let mut trie = Trie::default();
            patterns.iter().enumerate().for_each(|(index, (pattern, _))| trie.insert(pattern, index));
            for (index, (pattern, _)) in patterns.iter().enumerate().filter(|(_, (_, leaves))| *leaves) {
                trie.remove(pattern, &index);
            }
            for topic in topics {
                let stay = patterns.iter().enumerate().filter(|(_, (_, leaves))| !leaves);
                let naive: Vec<_> = stay.filter(|(_, (p, _))| p.matches(&topic)).map(|(index, _)| index).collect();
                prop_assert_eq!(found(&trie, &topic), naive);
            }
        }

        #[test]
        fn nothing_is_left_of_what_was_removed(patterns in prop::collection::vec(pattern(), 0..30)) {
            let mut trie = Trie::default();
            patterns.iter().enumerate().for_each(|(index, pattern)| trie.insert(pattern, index));
            patterns.iter().enumerate().for_each(|(index, pattern)| trie.remove(pattern, &index));
            prop_assert!(trie.is_empty());
        }

        #[test]
        fn what_a_pattern_covers_it_matches(wide in pattern(), narrow in pattern(), topic in topic()) {
            if wide.covers(&narrow) && narrow.matches(&topic) {
                prop_assert!(wide.matches(&topic), "{wide} {narrow} {topic}");
            }
        }
    }
}
