//! An event on its way out: what a program says, encoded as an element of a `LinkRequest` or an `EventBatch`.

use std::borrow::Cow;

use bytes::BytesMut;
use serde::Serialize;

use crate::control::Error;
use crate::services::events::event::{MAX_EVENT, NewEvent};
use crate::services::events::topic::topic;

/// What the fields of an event add to what they hold, at most.
const ELEMENT_ROOM: usize = 32;
/// The same for a header.
const HEADER_ROOM: usize = 12;

/// An event to publish.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    topic: Cow<'a, str>,
    data: Cow<'a, [u8]>,
    content_type: Cow<'a, str>,
    headers: Vec<(String, String)>,
    reply_to: Cow<'a, str>,
}

impl<'a> Draft<'a> {
    fn new(topic: impl Into<Cow<'a, str>>, data: impl Into<Cow<'a, [u8]>>, content_type: &'a str) -> Draft<'a> {
        Draft {
            topic: topic.into(),
            data: data.into(),
            content_type: content_type.into(),
            headers: Vec::new(),
            reply_to: "".into(),
        }
    }

    /// An event whose data is JSON already.
    pub fn json(topic: impl Into<Cow<'a, str>>, data: impl Into<Cow<'a, [u8]>>) -> Draft<'a> {
        Draft::new(topic, data, "")
    }

    /// An event whose data is a value, as JSON.
    ///
    /// # Errors
    /// `invalid_request` for a value that JSON cannot express.
    pub fn value(topic: impl Into<Cow<'a, str>>, value: &impl Serialize) -> Result<Draft<'a>, Error> {
        let topic = topic.into();
        let data = serde_json::to_vec(value)
            .map_err(|error| Error::new("invalid_request", format!("data of {topic:?} is no JSON: {error}")))?;
        Ok(Draft::new(topic, data, ""))
    }

    /// An event whose data is text.
    pub fn text(topic: impl Into<Cow<'a, str>>, text: &'a str) -> Draft<'a> {
        Draft::new(topic, text.as_bytes(), "text/plain")
    }

    /// An event whose data is anything.
    pub fn binary(topic: impl Into<Cow<'a, str>>, data: impl Into<Cow<'a, [u8]>>) -> Draft<'a> {
        Draft::new(topic, data, "application/octet-stream")
    }

    /// Says what the data is.
    pub fn content_type(mut self, content_type: impl Into<Cow<'a, str>>) -> Draft<'a> {
        self.content_type = content_type.into();
        self
    }

    /// Adds a short note: at most 32, 4 KiB together.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Draft<'a> {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Says on which topic a reply is expected.
    pub fn reply_to(mut self, topic: impl Into<Cow<'a, str>>) -> Draft<'a> {
        self.reply_to = topic.into();
        self
    }

    /// The same as the message that gRPC carries.
    pub(super) fn into_message(self) -> crate::services::api::Event {
        let header = |(name, value)| crate::services::api::Header { name, value };
        crate::services::api::Event {
            topic: self.topic.into_owned(),
            data: self.data.into_owned().into(),
            content_type: self.content_type.into_owned(),
            headers: self.headers.into_iter().map(header).collect(),
            reply_to: self.reply_to.into_owned(),
            ..Default::default()
        }
    }

    /// Checks what can be known without the node, and gives the bytes that it takes at most.
    ///
    /// # Errors
    /// `invalid_topic` for a topic that no node takes, `too_large` for what does not fit into a frame.
    pub(super) fn checked_length(&self) -> Result<usize, Error> {
        topic(self.topic.as_bytes())?;
        if !self.reply_to.is_empty() {
            topic(self.reply_to.as_bytes())?;
        }
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + HEADER_ROOM).sum();
        let texts = self.topic.len() + self.content_type.len() + self.reply_to.len();
        let length = self.data.len() + texts + headers + ELEMENT_ROOM;
        if length <= MAX_EVENT {
            return Ok(length);
        }
        Err(Error::new("too_large", format!("the event on {:?} has {length} bytes, more than {MAX_EVENT}", self.topic))
            .hint("send large data as a file: `pilotctl send-file`"))
    }

    /// Appends it as field 1 of a message, which is an event in a `LinkRequest` and in an `EventBatch`.
    pub(super) fn encode(&self, out: &mut BytesMut) {
        let event = NewEvent {
            topic: &self.topic,
            data: &self.data,
            content_type: &self.content_type,
            headers: &self.headers,
            reply_to: &self.reply_to,
        };
        event.put(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::api::LinkRequest;
    use prost::Message;

    #[test]
    fn two_drafts_are_a_link_request() {
        let drafts = [
            Draft::json("metrics.cpu", &br#"{"percent":1}"#[..]),
            Draft::binary("a", vec![0u8; 300]).header("name", "value").header("n", "").reply_to("_reply.x"),
        ];
        let mut bytes = BytesMut::new();
        for draft in &drafts {
            let before = bytes.len();
            draft.encode(&mut bytes);
            assert!(bytes.len() - before <= draft.checked_length().unwrap(), "the room that was made");
        }
        let events: Vec<_> = drafts.into_iter().map(Draft::into_message).collect();
        assert_eq!(LinkRequest::decode(&bytes[..]).unwrap().publish, events);
    }

    #[test]
    fn what_no_node_takes_is_refused_here() {
        for (draft, code) in [
            (Draft::text("", "x"), "invalid_topic"),
            (Draft::text("a.*", "x"), "invalid_topic"),
            (Draft::text("a", "x").reply_to("a..b"), "invalid_topic"),
            (Draft::binary("a", vec![0u8; MAX_EVENT]), "too_large"),
        ] {
            assert_eq!(draft.checked_length().unwrap_err().code, code);
        }
    }
}
