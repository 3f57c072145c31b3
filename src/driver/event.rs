//! An event as it came: a view of the batch that brought it.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::draft::Draft;
use super::events::Events;
use crate::control::Error;
use crate::services::events::event::{EventView, JSON};
use crate::services::events::wire::{Fields, Value};

/// What came in one frame, and whom to answer.
pub(super) struct Batch {
    pub bytes: Bytes,
    pub events: Events,
}

/// An event that a subscription received.
///
/// It keeps the memory of the batch that it came in, up to 1 MiB: keep [`Event::into_data`] of what is to be kept for long.
#[derive(Clone)]
pub struct Event {
    batch: Arc<Batch>,
    /// Where its fields are in the batch.
    place: Range<u32>,
    missed: u64,
}

impl Event {
    /// The event in `body`, which lies in `batch`.
    pub(super) fn new(batch: Arc<Batch>, place: Range<u32>, missed: u64) -> Event {
        Event { batch, place, missed }
    }

    fn body(&self) -> &[u8] {
        self.batch.bytes.get(self.place.start as usize..self.place.end as usize).unwrap_or_default()
    }

    fn bytes_of(&self, number: u32) -> &[u8] {
        let mut fields = Fields::of(self.body()).map_while(Result::ok);
        let found = fields.find(|field| field.number == number).map(|field| field.value);
        if let Some(Value::Bytes(bytes)) = found { bytes } else { &[] }
    }

    fn text_of(&self, number: u32) -> &str {
        // A node passes on nothing else than UTF-8.
        str::from_utf8(self.bytes_of(number)).unwrap_or_default()
    }

    fn number_of(&self, number: u32) -> u64 {
        let mut fields = Fields::of(self.body()).map_while(Result::ok);
        let found = fields.find(|field| field.number == number).map(|field| field.value);
        if let Some(Value::Number(number)) = found { number } else { 0 }
    }

    /// Where it was published.
    pub fn topic(&self) -> &str {
        self.text_of(1)
    }

    /// What happened, as the publisher gave it.
    pub fn data(&self) -> &[u8] {
        self.bytes_of(2)
    }

    /// The same, for keeping: the rest of the batch is given back.
    pub fn into_data(self) -> Bytes {
        Bytes::copy_from_slice(self.data())
    }

    /// The data as text; what is no UTF-8 in it is replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.data())
    }

    /// The data, read as JSON.
    ///
    /// # Errors
    /// `invalid_request` where it is no JSON, or not what `T` expects.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(self.data()).map_err(|error| {
            Error::new(
                "invalid_request",
                format!("the data of an event on {:?} is not as expected: {error}", self.topic()),
            )
        })
    }

    /// What the data is.
    pub fn content_type(&self) -> &str {
        match self.text_of(3) {
            "" => JSON,
            content_type => content_type,
        }
    }

    /// Short notes beside the data.
    pub fn headers(&self) -> Vec<(&str, &str)> {
        EventView::parse(self.body()).map(|event| event.headers().collect()).unwrap_or_default()
    }

    /// The first header with a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().into_iter().find(|header| header.0 == name).map(|header| header.1)
    }

    /// On which topic a reply is expected.
    pub fn reply_to(&self) -> Option<&str> {
        Some(self.text_of(5)).filter(|topic| !topic.is_empty())
    }

    /// The publishing node's count of its events; 0 where a peer handed it in directly.
    pub fn seq(&self) -> u64 {
        self.number_of(9)
    }

    /// Node ID of the publisher, as its tunnel proved it.
    pub fn source(&self) -> &str {
        self.text_of(10)
    }

    /// When it was published, by the publisher's clock.
    pub fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(self.number_of(11))
    }

    /// How many events this subscriber has lost just before this one, because it was too slow.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Answers it with a value, as JSON.
    ///
    /// # Errors
    /// `invalid_request` where no reply is expected; as [`Events::publish`].
    pub async fn reply(&self, value: &impl Serialize) -> Result<(), Error> {
        let Some(topic) = self.reply_to() else {
            return Err(Error::new("invalid_request", format!("nobody waits for a reply to {:?}", self.topic())));
        };
        self.batch.events.send(Draft::value(topic, value)?).await?;
        self.batch.events.flush().await
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("topic", &self.topic())
            .field("seq", &self.seq())
            .field("source", &self.source())
            .field("data", &self.text())
            .field("missed", &self.missed)
            .finish()
    }
}
