//! What a caller asks for when it subscribes, in whatever dialect.
//!
//! In: a `SubscribeRequest`, or the same as words. Out: an [`Ask`] of known limits, or what is wrong with it.

use std::time::Duration;

use super::topic::Pattern;
use super::wishes::Wanted;
use crate::control::Error;
use crate::services::api::{Overflow, SubscribeRequest};

/// The longest name of a queue group, bytes.
pub const MAX_GROUP: usize = 64;
/// Queue groups of all that a node wants of another.
pub const MAX_GROUPS: usize = 256;

/// A subscription that is asked for.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The patterns, each for the queue group of the whole.
    pub wanted: Vec<Wanted>,
    /// The node whose events are meant; empty for all.
    pub node: String,
    /// After which number.
    pub since_seq: Option<u64>,
    /// From how long ago on, milliseconds.
    pub since_millis: Option<u64>,
    /// Whether the last event of each topic comes first.
    pub last: bool,
    /// Events that wait at most; 0 for the default.
    pub queue: u32,
    /// What happens above.
    pub overflow: Overflow,
}

impl Ask {
    /// Reads a request.
    ///
    /// # Errors
    /// `invalid_topic`, `bad_argument`.
    pub fn of(request: &SubscribeRequest) -> Result<Ask, Error> {
        let overflow = Overflow::try_from(request.overflow)
            .map_err(|_| Error::new("bad_argument", format!("{} is no way to overflow", request.overflow)))?;
        Ok(Ask {
            wanted: wanted(request.patterns.iter().map(String::as_str), &request.group)?,
            node: request.node.clone(),
            since_seq: request.since_seq,
            since_millis: request.since_millis,
            last: request.last,
            queue: request.queue,
            overflow,
        })
    }

    /// Reads options as words: `pattern` (also `subscribe`), `since`, `last`, `group`, `overflow`, `queue`, `node`;
    /// others are left to the caller, who is given them back.
    ///
    /// # Errors
    /// `invalid_topic`, `bad_argument`.
    pub fn of_words(words: impl Iterator<Item = (String, String)>) -> Result<(Ask, Vec<(String, String)>), Error> {
        let (mut ask, mut patterns, mut group, mut others) = (Ask::default(), Vec::new(), String::new(), Vec::new());
        for (name, value) in words {
            match name.as_str() {
                "pattern" | "subscribe" => patterns.push(value),
                "since" => ask.set_since(&value)?,
                "last" => ask.last = number_or_word(&name, &value)?,
                "group" => group = value,
                "overflow" => ask.overflow = overflow(&value)?,
                "queue" => ask.queue = number_or_word(&name, &value)?,
                "node" => ask.node = value,
                _ => others.push((name, value)),
            }
        }
        ask.wanted = wanted(patterns.iter().map(String::as_str), &group)?;
        Ok((ask, others))
    }

    fn set_since(&mut self, text: &str) -> Result<(), Error> {
        match text.parse() {
            Ok(seq) => self.since_seq = Some(seq),
            Err(_) => self.since_millis = Some(u64::try_from(duration(text)?.as_millis()).unwrap_or(u64::MAX)),
        }
        Ok(())
    }

    /// The request that asks another node for the same.
    pub fn request(&self) -> SubscribeRequest {
        let group = self.wanted.first().and_then(|one| one.group.as_deref()).unwrap_or_default();
        SubscribeRequest {
            patterns: self.wanted.iter().map(|one| one.pattern.to_string()).collect(),
            node: String::new(),
            since_seq: self.since_seq,
            since_millis: self.since_millis,
            last: self.last,
            group: group.to_owned(),
            overflow: self.overflow.into(),
            queue: self.queue,
        }
    }
}

/// The number or word that an option holds.
///
/// # Errors
/// `bad_argument` with the option's name.
pub fn number_or_word<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, Error> {
    value.parse().map_err(|_| Error::new("bad_argument", format!("{name}={value:?} is not understood")))
}

/// Patterns for one queue group, or for none where its name is empty.
///
/// # Errors
/// `invalid_topic`, `bad_argument` for a name that is too long.
pub fn wanted<'a>(patterns: impl Iterator<Item = &'a str>, group: &str) -> Result<Vec<Wanted>, Error> {
    if group.len() > MAX_GROUP || group.chars().any(char::is_control) {
        return Err(Error::new("bad_argument", format!("{group:?} is no name of a queue group"))
            .hint(format!("1 to {MAX_GROUP} printable bytes")));
    }
    let group = (!group.is_empty()).then(|| group.into());
    patterns.map(|text| Ok(Wanted { pattern: Pattern::parse(text)?, group: group.clone() })).collect()
}

fn overflow(text: &str) -> Result<Overflow, Error> {
    match text {
        "drop-oldest" => Ok(Overflow::DropOldest),
        "drop-newest" => Ok(Overflow::DropNewest),
        "disconnect" => Ok(Overflow::Disconnect),
        _ => Err(Error::new("bad_argument", format!("overflow={text:?} is not understood"))
            .hint("drop-oldest, drop-newest or disconnect")),
    }
}

fn duration(text: &str) -> Result<Duration, Error> {
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    let parsed = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis));
    parsed.filter(|_| millis > 0).map(Duration::from_millis).ok_or_else(|| {
        Error::new("bad_argument", format!("since={text:?} is neither a sequence number nor a time"))
            .hint("a number, or a time like 30s, 5m, 2h")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(words: &[(&str, &str)]) -> Result<(Ask, Vec<(String, String)>), Error> {
        Ask::of_words(words.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn words_are_read_and_sent_on() {
        let words = [("pattern", "a.>"), ("pattern", "b"), ("since", "30s"), ("group", "g"), ("count", "7")];
        let (read, others) = ask(&words).unwrap();
        assert_eq!(others, [("count".to_owned(), "7".to_owned())]);
        let again = Ask::of(&read.request()).unwrap();
        assert_eq!(again.wanted, read.wanted);
        assert_eq!((again.since_millis, again.wanted[0].group.as_deref()), (Some(30_000), Some("g")));
        assert_eq!(ask(&[("since", "42")]).unwrap().0.since_seq, Some(42));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, value) in
            [("since", "soon"), ("since", "99999999999999999999d"), ("overflow", "up"), ("queue", "-1")]
        {
            let error = ask(&[(name, value)]).unwrap_err();
            assert!(error.code == "bad_argument" && error.message.contains(value), "{error:?}");
        }
        assert_eq!(ask(&[("pattern", "a..b")]).unwrap_err().code, "invalid_topic");
        assert_eq!(ask(&[("group", &"g".repeat(65))]).unwrap_err().code, "bad_argument");
    }
}
