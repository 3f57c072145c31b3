//! Topics as subjects and subjects as topics, token by token.
//!
//! Both are dot-separated tokens. What one side does not allow in a token is percent-encoded there, and `%` itself, so
//! that a topic that went out and comes back is the same. A subject never begins with `$`: those belong to the server.

/// The subject of a topic.
pub fn subject(prefix: &str, topic: &str) -> String {
    let mut out = String::with_capacity(prefix.len() + topic.len());
    out.push_str(prefix);
    for c in topic.chars() {
        if c == '%' || c.is_control() || c.is_whitespace() || (c == '$' && out.is_empty()) {
            encode(&mut out, c);
        } else {
            out.push(c);
        }
    }
    out
}

/// The topic of a subject; whether it is one, is left to the bus.
pub fn topic(prefix: &str, subject: &str) -> String {
    let tokens: Vec<String> = subject.split('.').map(token).collect();
    format!("{prefix}{}", tokens.join("."))
}

/// A token of ours; where its percent signs mean nothing that a token may have, they are only characters.
fn token(text: &str) -> String {
    if let Some(decoded) = decode(text).filter(|decoded| !decoded.is_empty() && decoded.chars().all(is_allowed)) {
        return decoded;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_allowed(c) { out.push(c) } else { encode(&mut out, c) }
    }
    out
}

fn is_allowed(c: char) -> bool {
    !c.is_control() && !c.is_whitespace() && !matches!(c, '.' | '*' | '>')
}

fn encode(out: &mut String, c: char) {
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        out.push_str(&format!("%{byte:02X}"));
    }
}

fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok())?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = rest.get(2..)?;
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_keep_their_tokens() {
        for (topic_, subject_) in
            [("metrics.cpu", "pilot.metrics.cpu"), ("größe.50%", "pilot.größe.50%25"), ("a.$SYS", "pilot.a.$SYS")]
        {
            assert_eq!(subject("pilot.", topic_), subject_);
            assert_eq!(topic("", subject_), format!("pilot.{topic_}"));
        }
        assert_eq!(subject("", "$SYS.x"), "%24SYS.x");
        assert_eq!(topic("nats.", "alerts.a*b.c%2Ed.%zz"), "nats.alerts.a%2Ab.c%2Ed.%zz");
    }

    proptest! {
        #[test]
        fn what_went_out_comes_back_the_same(topic_ in "[^.*> \\p{C}\\p{Z}]{1,8}(\\.[^.*> \\p{C}\\p{Z}]{1,8}){0,3}") {
            let there = subject("", &topic_);
            prop_assert!(!there.starts_with('$'));
            prop_assert_eq!(topic("", &there), topic_);
        }

        #[test]
        fn any_subject_is_survived(text: String) {
            let _ = topic("", &text);
        }
    }
}
