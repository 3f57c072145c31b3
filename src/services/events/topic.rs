//! Topics, and the patterns that match them.
//!
//! In: text of a peer or a program. Out: proof that it is well formed, or an error that names what is wrong and where.
//! A topic is tokens separated by dots, at most [`MAX_BYTES`] long. In a pattern `*` stands for one token, and as the
//! last token for one or more; `>` as the last token is the same. A wildcard stands for no token that begins with `_`.

use std::fmt;
use std::sync::Arc;

use crate::control::Error;

/// The longest topic and the longest pattern.
pub const MAX_BYTES: usize = 255;

/// What replies come on: `_reply.NODE.RANDOM`.
pub const REPLY_PREFIX: &str = "_reply.";

/// The topic that `bytes` are.
///
/// # Errors
/// `invalid_topic`, with the place.
#[inline]
pub fn topic(bytes: &[u8]) -> Result<&str, Error> {
    match str::from_utf8(bytes) {
        Ok(text) if is_plain(bytes) => Ok(text),
        Ok(text) => checked(text),
        Err(_) => Err(refused("topic", "", "is not UTF-8")),
    }
}

/// Whether it is a topic of ASCII; every byte is looked at, because that costs less than to stop at the first.
fn is_plain(bytes: &[u8]) -> bool {
    let is_printable = |byte: u8| (0x21..=0x7e).contains(&byte) & (byte != b'*') & (byte != b'>');
    let is_printed = bytes.iter().fold(true, |all, byte| all & is_printable(*byte));
    let pairs = bytes.iter().zip(bytes.iter().skip(1));
    let has_gap = pairs.fold(false, |any, (one, next)| any | ((*one == b'.') & (*next == b'.')));
    let has_ends = bytes.first().is_some_and(|byte| *byte != b'.') && bytes.last().is_some_and(|byte| *byte != b'.');
    is_printed && !has_gap && has_ends && bytes.len() <= MAX_BYTES
}

fn checked(text: &str) -> Result<&str, Error> {
    check_length("topic", text)?;
    text.split('.').enumerate().try_for_each(|(index, token)| {
        check_token("topic", text, index, token)?;
        match token.contains(['*', '>']) {
            true => Err(wildcard_in_topic(text, index)),
            false => Ok(()),
        }
    })?;
    Ok(text)
}

fn check_length(what: &str, text: &str) -> Result<(), Error> {
    match text.len() {
        0 => Err(refused(what, text, "is empty")),
        1..=MAX_BYTES => Ok(()),
        more => Err(refused(what, "", &format!("has {more} bytes, more than {MAX_BYTES}"))),
    }
}

fn check_token(what: &str, text: &str, index: usize, token: &str) -> Result<(), Error> {
    if token.is_empty() {
        return Err(refused(what, text, &format!("has an empty token {}", index + 1)));
    }
    let strange = token.chars().find(|c| c.is_control() || c.is_whitespace());
    strange.map_or(Ok(()), |c| Err(refused(what, text, &format!("has {c:?} in its token {}", index + 1))))
}

fn wildcard_in_topic(text: &str, index: usize) -> Error {
    refused("topic", text, &format!("has a wildcard in its token {}", index + 1))
        .hint("wildcards are for subscribing; publish to one topic")
}

fn refused(what: &str, text: &str, problem: &str) -> Error {
    let named = if text.is_empty() { String::new() } else { format!(" {text:?}") };
    Error::new("invalid_topic", format!("the {what}{named} {problem}"))
        .hint("tokens of printable characters, separated by single dots: metrics.cpu")
}

/// Whether a wildcard may stand for `token`.
pub(super) fn is_public(token: &str) -> bool {
    !token.starts_with('_')
}

/// Whether no token of `topic` is one that wildcards leave out: only such topics are remembered.
pub(super) fn has_public_tokens(topic: &str) -> bool {
    topic.split('.').all(is_public)
}

/// One token of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Itself.
    Literal(&'a str),
    /// Any one.
    One,
    /// Any one or more, to the end.
    Tail,
}

/// What a subscriber wants; the same pattern is always the same text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// The pattern that `text` is; a last `>` becomes `*`.
    ///
    /// # Errors
    /// `invalid_topic`, with the place.
    pub fn parse(text: &str) -> Result<Pattern, Error> {
        check_length("pattern", text)?;
        let last = text.split('.').count() - 1;
        for (index, token) in text.split('.').enumerate() {
            check_token("pattern", text, index, token)?;
            check_wildcard(text, index, token, index == last)?;
        }
        match text.strip_suffix('>') {
            Some(start) => Ok(Pattern(format!("{start}*").into())),
            None => Ok(Pattern(text.into())),
        }
    }

    /// The pattern of every topic.
    pub fn all() -> Pattern {
        Pattern("*".into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its tokens.
    pub(super) fn tokens(&self) -> impl Iterator<Item = Token<'_>> {
        let mut rest = Some(&*self.0);
        std::iter::from_fn(move || {
            let (token, after) = rest?.split_once('.').map_or((rest?, None), |(token, after)| (token, Some(after)));
            rest = after;
            Some(match (token, rest) {
                ("*", None) => Token::Tail,
                ("*", Some(_)) => Token::One,
                _ => Token::Literal(token),
            })
        })
    }

    /// Whether it matches `topic`.
    pub fn matches(&self, topic: &str) -> bool {
        let mut topic = topic.split('.');
        for token in self.tokens() {
            let Some(next) = topic.next() else { return false };
            match token {
                Token::Literal(literal) if literal == next => {}
                Token::Literal(_) => return false,
                Token::One if is_public(next) => {}
                Token::One => return false,
                Token::Tail => return is_public(next) && topic.all(is_public),
            }
        }
        topic.next().is_none()
    }

    /// Whether it matches every topic that `other` matches.
    pub fn covers(&self, other: &Pattern) -> bool {
        let mut theirs = other.tokens();
        for token in self.tokens() {
            match (token, theirs.next()) {
                (Token::Tail, Some(first)) => return can_stand_for(first) && theirs.all(can_stand_for),
                (Token::One, Some(Token::One)) => {}
                (Token::One, Some(Token::Literal(literal))) if is_public(literal) => {}
                (Token::Literal(one), Some(Token::Literal(other))) if one == other => {}
                _ => return false,
            }
        }
        theirs.next().is_none()
    }
}

fn can_stand_for(token: Token<'_>) -> bool {
    match token {
        Token::Literal(literal) => is_public(literal),
        Token::One | Token::Tail => true,
    }
}

fn check_wildcard(text: &str, index: usize, token: &str, is_last: bool) -> Result<(), Error> {
    let place = index + 1;
    match token {
        "*" => Ok(()),
        ">" if is_last => Ok(()),
        ">" => Err(refused("pattern", text, &format!("has `>` as token {place}, where more follow"))
            .hint("`>` is the last token, `*` stands anywhere")),
        _ if token.contains(['*', '>']) => {
            Err(refused("pattern", text, &format!("has a wildcard inside its token {place}, {token:?}"))
                .hint("a wildcard is a token of its own: `metrics.*`"))
        }
        _ => Ok(()),
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn patterns_match_as_the_articles_say() {
        for (text, topic, is_match) in [
            ("*", "a", true),
            ("*", "a.b.c", true),
            (">", "a.b.c", true),
            ("metrics.*", "metrics.cpu", true),
            ("metrics.*", "metrics.cpu.core0", true),
            ("metrics.*", "metrics", false),
            ("metrics.*", "metricsx.cpu", false),
            ("*.cpu", "metrics.cpu", true),
            ("*.cpu", "metrics.x.cpu", false),
            ("a.*.c.>", "a.b.c.d.e", true),
            ("a.*.c.>", "a.b.c", false),
            ("pipeline.stage2.result.anomaly", "pipeline.stage2.result.anomaly", true),
            ("*", "_reply.x", false),
            ("a.*", "a.b._c", false),
            ("_reply.*", "_reply.x", true),
        ] {
            assert_eq!(pattern(text).matches(topic), is_match, "{text} {topic}");
        }
    }

    #[test]
    fn refusals_name_what_is_wrong_and_where() {
        for (text, part) in [
            ("", "is empty"),
            ("a..b", "an empty token 2"),
            (".a", "an empty token 1"),
            ("a.", "an empty token 2"),
            ("a b", "' ' in its token 1"),
            ("a.b\n", "'\\n' in its token 2"),
            ("a.b*", "wildcard in"),
        ] {
            let message = topic(text.as_bytes()).unwrap_err().message;
            assert!(message.contains(part), "{text:?}: {message}");
        }
        assert!(topic(&[b'a', 0xff]).unwrap_err().message.contains("UTF-8"));
        assert!(topic(&[b'a'; 256]).unwrap_err().message.contains("256 bytes"));
        assert!(topic("größe.märz".as_bytes()).is_ok() && topic(&[b'a'; 255]).is_ok());
        assert!(Pattern::parse(">.a").unwrap_err().message.contains("token 1, where more follow"));
        assert!(Pattern::parse("a.b*").unwrap_err().message.contains("inside its token 2"));
    }

    #[test]
    fn a_wider_pattern_covers_a_narrower_one() {
        for (wide, narrow, covers) in [
            ("*", "a.*.b.*", true),
            ("*", "_reply.x", false),
            ("a.*", "a.b", true),
            ("a.*", "a.*", true),
            ("a.*", "a", false),
            ("a.*", "*", false),
            ("*.b", "a.b", true),
            ("a.*.c", "a.*", false),
            ("a.b", "a.*", false),
        ] {
            assert_eq!(pattern(wide).covers(&pattern(narrow)), covers, "{wide} {narrow}");
        }
    }
}
