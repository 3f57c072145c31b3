//! An event as a NATS message, and a message as an event.
//!
//! The header `Pilot-Source` says of which node an event is, `Pilot-Seq` its number there: what carries our own is not
//! taken back in. `Nats-Subject` says of an event that it came from NATS: it is not sent there again.

use async_nats::header::{HeaderMap, HeaderName, HeaderValue};
use async_nats::{Message, Subject};
use bytes::{Bytes, BytesMut};

use super::names;
use crate::services::events::event::{EventView, JSON, MAX_HEADER_BYTES, MAX_HEADER_NAME, MAX_HEADERS, NewEvent};

const SOURCE: &str = "Pilot-Source";
const SEQ: &str = "Pilot-Seq";
const SUBJECT: &str = "Nats-Subject";
const CONTENT_TYPE: &str = "Content-Type";

/// An event on its way to NATS.
pub struct Outgoing {
    /// Where to.
    pub subject: String,
    /// With what beside it.
    pub headers: HeaderMap,
    /// What it says.
    pub payload: Bytes,
    /// The same for every attempt to send it.
    pub id: String,
}

/// The message of an event; none for one that came from NATS.
pub fn outgoing(event: &EventView<'_>, prefix: &str) -> Option<Outgoing> {
    if event.headers().any(|(name, _)| name == SUBJECT) {
        return None;
    }
    let mut headers = HeaderMap::new();
    for (name, value) in event.headers().filter(|(name, _)| !is_ours(name)) {
        put(&mut headers, name, value);
    }
    put(&mut headers, CONTENT_TYPE, if event.content_type.is_empty() { JSON } else { event.content_type });
    put(&mut headers, SOURCE, event.source);
    put(&mut headers, SEQ, &event.seq.to_string());
    Some(Outgoing {
        subject: names::subject(prefix, event.topic),
        headers,
        payload: Bytes::copy_from_slice(event.data),
        id: format!("{}:{}:{}", event.source, event.seq, event.time),
    })
}

/// A header that NATS does not allow stays behind.
fn put(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
        headers.append(name, value);
    }
}

fn is_ours(name: &str) -> bool {
    [SOURCE, SEQ, SUBJECT, CONTENT_TYPE].iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

/// Whether a message is an event of the node called `me`.
pub fn is_of(message: &Message, me: &str) -> bool {
    header(message, SOURCE) == Some(me)
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let headers = message.headers.as_ref()?.iter();
    let mut named = headers.filter(|(own, _)| AsRef::<str>::as_ref(*own).eq_ignore_ascii_case(name));
    named.next().and_then(|(_, values)| values.last()).map(HeaderValue::as_str)
}

/// The event of a message, as a publisher sends it. What is wrong with it is said by the bus.
pub fn incoming(message: &Message, prefix: &str) -> BytesMut {
    let topic = names::topic(prefix, &message.subject);
    let content_type = match header(message, CONTENT_TYPE) {
        Some(JSON) => "",
        Some(content_type) => content_type,
        None => guessed(&message.payload),
    };
    let headers = kept(message.headers.as_ref(), &message.subject);
    let event = NewEvent { topic: &topic, data: &message.payload, content_type, headers: &headers, reply_to: "" };
    let mut out = BytesMut::new();
    event.put(&mut out);
    out
}

fn guessed(payload: &[u8]) -> &'static str {
    match std::str::from_utf8(payload) {
        Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => "",
        Ok(_) => "text/plain",
        Err(_) => "application/octet-stream",
    }
}

/// The headers of a message that an event may have: as many as fit, after the one that says where it came from.
fn kept(headers: Option<&HeaderMap>, subject: &Subject) -> Vec<(String, String)> {
    let mut kept = vec![(SUBJECT.to_owned(), subject.to_string())];
    let mut bytes = SUBJECT.len() + subject.len();
    let all = headers.into_iter().flat_map(HeaderMap::iter);
    let all =
        all.flat_map(|(name, values)| values.iter().map(move |value| (AsRef::<str>::as_ref(name), value.as_str())));
    for (name, value) in all {
        let length = name.len() + value.len();
        let is_foreign =
            name.starts_with("Nats-") || [SUBJECT, CONTENT_TYPE].iter().any(|own| own.eq_ignore_ascii_case(name));
        let is_allowed = !name.is_empty() && name.len() <= MAX_HEADER_NAME && !value.chars().any(char::is_control);
        if !is_foreign && is_allowed && kept.len() < MAX_HEADERS && bytes + length <= MAX_HEADER_BYTES {
            bytes += length;
            kept.push((name.to_owned(), value.to_owned()));
        }
    }
    kept
}
