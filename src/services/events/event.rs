//! An event as bytes: encoded once, and then only passed on.
//!
//! In: a publisher's `Event`, of whose fields 1 to 5 are taken. Out: an element of an `EventBatch` (`0x0A`, length,
//! event) with our stamp at its end. Elements one after the other are a batch, so the same bytes serve gRPC, frames,
//! links between nodes and drivers. [`EventView`] reads an event where it lies.

use bytes::BytesMut;

use super::topic::topic;
use super::wire::{Field, Fields, Head, Malformed, Value, put_bytes, put_varint, varint_len};
use crate::control::Error;
use crate::identity::NodeId;

/// The longest event that a publisher may send, bytes; with our stamp and a list of groups it still fits a frame.
pub const MAX_EVENT: usize = 960 << 10;
/// Headers of an event.
pub const MAX_HEADERS: usize = 32;
/// Bytes of all headers of an event together.
pub const MAX_HEADER_BYTES: usize = 4 << 10;
/// Bytes of the name of a header.
pub const MAX_HEADER_NAME: usize = 64;
/// Bytes of a content type.
pub const MAX_CONTENT_TYPE: usize = 128;
/// What the data of an event is when it does not say.
pub const JSON: &str = "application/json";
/// The first byte of an element: field 1, a message.
pub const ELEMENT: u8 = 0x0a;

/// An event, read where it lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventView<'a> {
    /// Where subscribers look for it.
    pub topic: &'a str,
    /// What happened.
    pub data: &'a [u8],
    /// What `data` is, as the publisher said it; empty for JSON.
    pub content_type: &'a str,
    /// Where a reply is expected; empty for nowhere.
    pub reply_to: &'a str,
    /// The count of its publisher; 0 where it was handed in.
    pub seq: u64,
    /// Node ID of its publisher.
    pub source: &'a str,
    /// Microseconds since 1970.
    pub time: u64,
    body: &'a [u8],
    /// One bit a field that was there.
    seen: u16,
    headers: usize,
    header_bytes: usize,
    has_unknown: bool,
}

/// The fields that a publisher may set, as bits of [`EventView::seen`].
const PUBLISHED: u16 = 0b11_1110;

impl<'a> EventView<'a> {
    /// Reads and checks an event.
    ///
    /// # Errors
    /// `invalid_request` for bytes that are no event, `invalid_topic`, `bad_argument`, `too_large`.
    pub fn parse(body: &'a [u8]) -> Result<EventView<'a>, Error> {
        EventView::parse_after(body, "")
    }

    /// The same, cheaper where its topic is `known`: that of an event that was checked.
    ///
    /// # Errors
    /// As [`EventView::parse`].
    #[inline]
    pub fn parse_after(body: &'a [u8], known: &'a str) -> Result<EventView<'a>, Error> {
        if body.len() > MAX_EVENT + STAMP_ROOM {
            return Err(too_long(body.len()));
        }
        match EventView::usual(body) {
            Some(event) if !known.is_empty() && event.topic == known => Ok(EventView { topic: known, ..event }),
            Some(event) => topic(event.topic.as_bytes()).map(|topic| EventView { topic, ..event }),
            None => EventView::parse_any(body),
        }
    }

    /// An event that has topic and data and perhaps a stamp, in this order, as most have; its topic is not checked.
    #[inline]
    fn usual(body: &'a [u8]) -> Option<EventView<'a>> {
        let mut fields = Fields::of(body);
        let name = fields.next().and_then(|field| bytes_of(field, 1))?;
        let data = fields.next().and_then(|field| bytes_of(field, 2))?;
        let topic = str::from_utf8(name).ok()?;
        let event = EventView { topic, data, body, seen: 0b110, ..EventView::default() };
        let Some(field) = fields.next() else { return Some(event) };
        let seq = number_of(field, 9)?;
        let source = fields.next().and_then(|field| bytes_of(field, 10)).and_then(|id| str::from_utf8(id).ok())?;
        let time = fields.next().and_then(|field| number_of(field, 11))?;
        let seen = event.seen | 1 << 9 | 1 << 10 | 1 << 11;
        fields.next().is_none().then_some(EventView { seq, source, time, seen, ..event })
    }

    fn parse_any(body: &'a [u8]) -> Result<EventView<'a>, Error> {
        let mut event = EventView { body, ..EventView::default() };
        for field in Fields::of(body) {
            event.take(field?)?;
        }
        if event.seen & 0b10 == 0 {
            return Err(Error::new("invalid_topic", "the event has no topic").hint("set `topic`"));
        }
        Ok(event)
    }

    fn take(&mut self, field: Field<'a>) -> Result<(), Error> {
        match (field.number, field.value) {
            (1, Value::Bytes(bytes)) => self.topic = topic(bytes)?,
            (2, Value::Bytes(bytes)) => self.data = bytes,
            (3, Value::Bytes(bytes)) => self.content_type = content_type(bytes)?,
            (4, Value::Bytes(bytes)) => return self.take_header(bytes),
            (5, Value::Bytes([])) => {}
            (5, Value::Bytes(bytes)) => self.reply_to = topic(bytes)?,
            (9, Value::Number(number)) => self.seq = number,
            (10, Value::Bytes(bytes)) => self.source = str::from_utf8(bytes).map_err(|_| Malformed)?,
            (11, Value::Number(number)) => self.time = number,
            (1..=5 | 9..=11, _) => return Err(Malformed.into()),
            _ => {
                self.has_unknown = true;
                return Ok(());
            }
        }
        let bit = 1 << field.number;
        if self.seen & bit != 0 {
            return Err(Error::new("invalid_request", format!("field {} of the event is there twice", field.number)));
        }
        self.seen |= bit;
        Ok(())
    }

    fn take_header(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let (name, value) = header(bytes)?;
        check_header(name, value)?;
        self.seen |= 1 << 4;
        self.headers += 1;
        self.header_bytes += name.len() + value.len();
        if self.headers > MAX_HEADERS || self.header_bytes > MAX_HEADER_BYTES {
            return Err(Error::new(
                "too_large",
                format!("the event has more than {MAX_HEADERS} headers, or more than {MAX_HEADER_BYTES} bytes of them"),
            )
            .hint("put it into the data"));
        }
        Ok(())
    }

    /// Its headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let fields = Fields::of(self.body).map_while(Result::ok);
        fields.filter_map(|field| match (field.number, field.value) {
            (4, Value::Bytes(bytes)) => header(bytes).ok(),
            _ => None,
        })
    }

    /// Whether it has exactly what a node sends on: a stamp with `source`, and nothing unknown.
    pub fn is_of(&self, source: &str) -> bool {
        self.source == source && !self.has_unknown
    }

    /// What it is made of, without the element around it.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// What is published of it.
    #[inline]
    pub fn offer(&self) -> Offer<'a> {
        let is_clean = !self.has_unknown && self.seen & !PUBLISHED == 0;
        Offer { topic: self.topic, body: self.body, is_clean }
    }
}

#[inline]
fn bytes_of(field: Result<Field<'_>, Malformed>, wanted: u32) -> Option<&[u8]> {
    match field {
        Ok(Field { number, value: Value::Bytes(bytes), .. }) if number == wanted => Some(bytes),
        _ => None,
    }
}

#[inline]
fn number_of(field: Result<Field<'_>, Malformed>, wanted: u32) -> Option<u64> {
    match field {
        Ok(Field { number, value: Value::Number(value), .. }) if number == wanted => Some(value),
        _ => None,
    }
}

/// A checked event on its way to the bus: as little of it as that needs, since a batch has thousands.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Where subscribers look for it.
    pub topic: &'a str,
    body: &'a [u8],
    /// Whether the publisher set nothing that is not his to set.
    is_clean: bool,
}

impl<'a> Offer<'a> {
    /// Bytes that it takes at most, once it is stamped.
    pub fn room(&self) -> usize {
        self.body.len() + STAMP_ROOM
    }

    /// Appends it as an element, with our stamp in place of whatever it had.
    #[inline]
    pub fn put_stamped(&self, stamp: &Stamp, seq: u64, out: &mut Vec<u8>) {
        let body = if self.is_clean { self.body.len() } else { self.published().map(<[u8]>::len).sum() };
        let (mut head, mut number) = (Head::default(), Head::default());
        if seq != 0 {
            number.byte(9 << 3);
            number.varint(seq);
        }
        head.byte(ELEMENT);
        head.varint((body + number.as_slice().len() + stamp.bytes.len()) as u64);
        head.append_to(out);
        match self.is_clean {
            true => out.extend_from_slice(self.body),
            false => self.published().for_each(|field| out.extend_from_slice(field)),
        }
        number.append_to(out);
        out.extend_from_slice(&stamp.bytes);
    }

    fn published(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let fields = Fields::of(self.body).map_while(Result::ok);
        fields.filter(|field| (1..=5).contains(&field.number)).map(|field| field.whole)
    }
}

/// Bytes in front of an element's event at most.
const MAX_ELEMENT_HEADER: usize = 6;
/// What a stamp and the element around it add to an event at most.
pub const STAMP_ROOM: usize = 48;

/// Who published, and when: the same for all events of a batch.
#[derive(Clone, Debug)]
pub struct Stamp {
    bytes: [u8; STAMP],
}

/// Keys, length, node ID and time.
const STAMP: usize = 2 + NODE_ID + 1 + 8;
/// Bytes of a node ID as text.
const NODE_ID: usize = 14;

impl Stamp {
    /// Bytes of a stamp.
    pub const LEN: usize = STAMP;

    /// The part that says who.
    pub fn source(&self) -> &[u8] {
        self.bytes.get(..2 + NODE_ID).unwrap_or_default()
    }

    /// The stamp of a node at a time, in microseconds since 1970.
    pub fn new(source: NodeId, time: u64) -> Stamp {
        let (source, time) = (source.to_string(), time.to_le_bytes());
        let fields = [&[10 << 3 | 2, NODE_ID as u8], source.as_bytes(), &[11 << 3 | 1], &time];
        let mut bytes = [0; STAMP];
        bytes.iter_mut().zip(fields.into_iter().flatten()).for_each(|(place, byte)| *place = *byte);
        Stamp { bytes }
    }
}

fn too_long(length: usize) -> Error {
    Error::new("too_large", format!("an event of {length} bytes, more than {MAX_EVENT}"))
        .hint("send large data as a file: `pilotctl send-file`")
}

fn content_type(bytes: &[u8]) -> Result<&str, Error> {
    let text = str::from_utf8(bytes).map_err(|_| Malformed)?;
    if text.len() <= MAX_CONTENT_TYPE && !text.chars().any(char::is_control) {
        return Ok(text);
    }
    Err(Error::new(
        "bad_argument",
        format!("the content type is longer than {MAX_CONTENT_TYPE} bytes, or not printable"),
    )
    .hint("name it like `text/plain`"))
}

fn header(bytes: &[u8]) -> Result<(&str, &str), Malformed> {
    let (mut name, mut value) = ("", "");
    for field in Fields::of(bytes) {
        match field? {
            Field { number: 1, value: Value::Bytes(bytes), .. } => {
                name = str::from_utf8(bytes).map_err(|_| Malformed)?
            }
            Field { number: 2, value: Value::Bytes(bytes), .. } => {
                value = str::from_utf8(bytes).map_err(|_| Malformed)?
            }
            _ => return Err(Malformed),
        }
    }
    Ok((name, value))
}

fn check_header(name: &str, value: &str) -> Result<(), Error> {
    let is_name = |c: char| !c.is_control() && !c.is_whitespace() && c != ':';
    if name.is_empty() || name.len() > MAX_HEADER_NAME || !name.chars().all(is_name) {
        return Err(Error::new("bad_argument", format!("{name:?} is no name of a header"))
            .hint(format!("1 to {MAX_HEADER_NAME} printable characters without space and colon")));
    }
    match value.chars().any(char::is_control) {
        true => Err(Error::new("bad_argument", format!("the header {name} has a control character in its value"))),
        false => Ok(()),
    }
}

/// An event to be published.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewEvent<'a> {
    /// Where subscribers look for it.
    pub topic: &'a str,
    /// What happened.
    pub data: &'a [u8],
    /// What `data` is; empty for JSON.
    pub content_type: &'a str,
    /// Short notes beside it.
    pub headers: &'a [(String, String)],
    /// Where a reply is expected; empty for nowhere.
    pub reply_to: &'a str,
}

impl NewEvent<'_> {
    /// Appends it as a publisher sends it: an element, without a stamp. What is wrong with it is said by the node.
    pub fn put(&self, out: &mut BytesMut) {
        let length = self.body_len();
        out.reserve(length + MAX_ELEMENT_HEADER);
        let mut head = Head::default();
        head.field(1, length);
        head.field(1, self.topic.len());
        out.extend_from_slice(head.as_slice());
        out.extend_from_slice(self.topic.as_bytes());
        put_bytes(out, 2, self.data);
        put_text(out, 3, self.content_type);
        for (name, value) in self.headers {
            put_varint(out, 4 << 3 | 2);
            put_varint(out, header_len(name, value) as u64);
            put_bytes(out, 1, name.as_bytes());
            put_bytes(out, 2, value.as_bytes());
        }
        put_text(out, 5, self.reply_to);
    }

    fn body_len(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| field_len(header_len(name, value))).sum();
        field_len(self.topic.len())
            + field_len(self.data.len())
            + text_len(self.content_type)
            + headers
            + text_len(self.reply_to)
    }
}

fn field_len(content: usize) -> usize {
    1 + varint_len(content as u64) + content
}

fn text_len(text: &str) -> usize {
    if text.is_empty() { 0 } else { field_len(text.len()) }
}

fn header_len(name: &str, value: &str) -> usize {
    field_len(name.len()) + field_len(value.len())
}

fn put_text(out: &mut BytesMut, field: u32, text: &str) {
    if !text.is_empty() {
        put_bytes(out, field, text.as_bytes());
    }
}

#[cfg(test)]
mod tests;
