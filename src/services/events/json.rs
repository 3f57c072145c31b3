//! Events as JSON, in and out.
//!
//! In: what a program sends, or an event as it lies. Out: an element of a batch, or one line of JSON. A publisher's
//! JSON is passed on to the letter, but for line breaks between its tokens; what only claims to be JSON is shown as
//! text or as base64, so that nobody's data can break a line of somebody else.

use std::borrow::Cow;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::{EventView, JSON, NewEvent};
use crate::control::{Error, given};
use crate::services::time::Utc;

/// An event as a program writes it; fields that a node fills in are passed over.
#[derive(Debug, Deserialize)]
pub struct EventJson<'a> {
    #[serde(borrow, default)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "given")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content_type: Option<Cow<'a, str>>,
    #[serde(default)]
    headers: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(borrow, default)]
    reply_to: Option<Cow<'a, str>>,
    /// For requests: how long to wait.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

impl<'a> EventJson<'a> {
    /// Reads one JSON object.
    ///
    /// # Errors
    /// `invalid_json` with the place.
    pub fn parse(text: &'a [u8]) -> Result<EventJson<'a>, Error> {
        serde_json::from_slice(text).map_err(|error| invalid(&error))
    }

    /// Whether it is an event at all.
    pub fn has_topic(&self) -> bool {
        self.topic.is_some()
    }

    /// Appends it as an element, with another `reply_to` where one is given.
    ///
    /// # Errors
    /// `invalid_topic` where there is no topic; `bad_argument` for data that does not fit its content type.
    pub fn put(&self, reply_to: Option<&str>, out: &mut BytesMut) -> Result<(), Error> {
        let topic = self.topic.as_deref().ok_or_else(|| {
            Error::new("invalid_topic", "the event has no `topic`").hint(r#"{"topic":"metrics.cpu","data":{}}"#)
        })?;
        let content_type = self.content_type.as_deref().unwrap_or_default();
        let data = self.bytes(content_type)?;
        let headers = self.headers()?;
        let reply_to = reply_to.or(self.reply_to.as_deref()).unwrap_or_default();
        let kind = if content_type == JSON { "" } else { content_type };
        NewEvent { topic, data: &data, content_type: kind, headers: &headers, reply_to }.put(out);
        Ok(())
    }

    fn bytes(&self, content_type: &str) -> Result<Cow<'a, [u8]>, Error> {
        match (self.data, &self.data_base64) {
            (Some(data), None) if is_json(content_type) => Ok(Cow::Borrowed(data.get().as_bytes())),
            (Some(data), None) => text(data, content_type),
            (None, Some(encoded)) => STANDARD
                .decode(encoded.as_bytes())
                .map(Cow::Owned)
                .map_err(|error| Error::new("bad_argument", format!("`data_base64` is not base64: {error}"))),
            (Some(_), Some(_)) => Err(Error::new("bad_argument", "there are both `data` and `data_base64`")),
            (None, None) => Err(Error::new("bad_argument", "the event has no `data`")
                .hint("send `data` (JSON, or text with its `content_type`), or `data_base64`")),
        }
    }

    fn headers(&self) -> Result<Vec<(String, String)>, Error> {
        let pairs = self.headers.iter().flatten().map(|(name, value)| match value {
            serde_json::Value::String(value) => Ok((name.clone(), value.clone())),
            _ => Err(Error::new("bad_argument", format!("the header {name} is not a string"))),
        });
        pairs.collect()
    }
}

fn text<'a>(data: &'a RawValue, content_type: &str) -> Result<Cow<'a, [u8]>, Error> {
    match serde_json::from_str::<Cow<'a, str>>(data.get()) {
        Ok(text) => Ok(Cow::Owned(text.into_owned().into_bytes())),
        Err(_) => Err(Error::new("bad_argument", format!("`data` is not a string, though it is {content_type}"))
            .hint("leave `content_type` out for JSON, or send `data_base64`")),
    }
}

/// What is wrong with JSON, and where.
pub fn invalid(error: &serde_json::Error) -> Error {
    Error::new("invalid_json", format!("not a JSON object of an event: {error}"))
        .hint(r#"{"topic":"metrics.cpu","data":{"percent":73.2}}"#)
}

fn is_json(content_type: &str) -> bool {
    let name = content_type.split(';').next().unwrap_or_default().trim();
    name.is_empty() || name == JSON || name.ends_with("+json")
}

/// Appends an event as one JSON object, without a line end.
pub fn put_json(event: &EventView<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"topic\":");
    put_string(event.topic, out);
    // Writing into memory does not fail.
    let _ = write!(out, ",\"seq\":{},\"source\":", event.seq);
    put_string(event.source, out);
    out.extend_from_slice(b",\"time\":\"");
    put_time(event.time, out);
    out.extend_from_slice(b"\",\"content_type\":");
    put_data(event, out);
    put_headers(event, out);
    if !event.reply_to.is_empty() {
        out.extend_from_slice(b",\"reply_to\":");
        put_string(event.reply_to, out);
    }
    out.push(b'}');
}

/// The content type as it is shown, and the data.
fn put_data(event: &EventView<'_>, out: &mut Vec<u8>) {
    let claims_json = is_json(event.content_type);
    let text = str::from_utf8(event.data).ok();
    if claims_json && serde_json::from_slice::<&RawValue>(event.data).is_ok() {
        put_string(if event.content_type.is_empty() { JSON } else { event.content_type }, out);
        out.extend_from_slice(b",\"data\":");
        let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
        out.extend(event.data.iter().map(|byte| if is_break(byte) { b' ' } else { *byte }));
        return;
    }
    match text.filter(|_| claims_json || event.content_type.starts_with("text/")) {
        Some(text) => {
            put_string(if claims_json { "text/plain" } else { event.content_type }, out);
            out.extend_from_slice(b",\"data\":");
            put_string(text, out);
        }
        None => {
            put_string(if claims_json { "application/octet-stream" } else { event.content_type }, out);
            out.extend_from_slice(b",\"data_base64\":\"");
            out.extend_from_slice(STANDARD.encode(event.data).as_bytes());
            out.push(b'"');
        }
    }
}

fn put_headers(event: &EventView<'_>, out: &mut Vec<u8>) {
    let mut between: &[u8] = b",\"headers\":{";
    for (name, value) in event.headers() {
        out.extend_from_slice(between);
        put_string(name, out);
        out.push(b':');
        put_string(value, out);
        between = b",";
    }
    if between == b"," {
        out.push(b'}');
    }
}

fn put_string(text: &str, out: &mut Vec<u8>) {
    // Text is always JSON, and writing into memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

/// Appends a time in microseconds since 1970 as RFC 3339 says.
fn put_time(micros: u64, out: &mut Vec<u8>) {
    let _ = write!(out, "{}.{:06}Z", Utc(micros / 1_000_000), micros % 1_000_000);
}

#[cfg(test)]
mod tests {
    use super::super::batch::elements;
    use super::super::event::Stamp;
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn through(sent: &[u8]) -> String {
        let mut out = BytesMut::new();
        EventJson::parse(sent).unwrap().put(None, &mut out).unwrap();
        shown(&out)
    }

    fn shown(sent: &[u8]) -> String {
        let body = elements(sent).next().unwrap().1;
        let mut stamped = Vec::new();
        let stamp = Stamp::new("a1b2.c3d4.e5f6".parse().unwrap(), 1_764_072_000_000_001);
        EventView::parse(body).unwrap().offer().put_stamped(&stamp, 42, &mut stamped);
        let mut out = Vec::new();
        put_json(&EventView::parse(elements(&stamped).next().unwrap().1).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn raw(content_type: &str, data: &[u8]) -> Value {
        let mut out = BytesMut::new();
        NewEvent { topic: "t", data, content_type, ..NewEvent::default() }.put(&mut out);
        serde_json::from_str(&shown(&out)).unwrap()
    }

    #[test]
    fn null_is_data_and_an_event_without_data_is_none() {
        assert!(
            through(br#"{"topic":"a","data":null}"#).ends_with(r#""content_type":"application/json","data":null}"#)
        );
        for (sent, text) in [
            (r#"{"topic":"a"}"#, "no `data`"),
            (r#"{"topic":"a","data":null,"content_type":"text/plain"}"#, "not a string"),
            (r#"{"topic":"a","data":null,"data_base64":"AA=="}"#, "both"),
        ] {
            let event = EventJson::parse(sent.as_bytes()).unwrap();
            let error = event.put(None, &mut BytesMut::new()).unwrap_err();
            assert!(error.code == "bad_argument" && error.message.contains(text), "{sent}: {error}");
        }
    }

    #[test]
    fn an_event_is_shown_as_documented() {
        let seen = through(br#"{"topic":"metrics.cpu","data":{"percent":73.2}}"#);
        let expected = r#"{"topic":"metrics.cpu","seq":42,"source":"a1b2.c3d4.e5f6","time":"2025-11-25T12:00:00.000001Z","content_type":"application/json","data":{"percent":73.2}}"#;
        assert_eq!(seen, expected);
    }

    #[test]
    fn data_stays_to_the_letter_but_for_line_breaks() {
        let seen = through("{\"topic\":\"t\",\"data\":{\n \"a\" : 1.50, \"a\":\"\\n\"\r\n}}".as_bytes());
        assert!(seen.ends_with("\"data\":{  \"a\" : 1.50, \"a\":\"\\n\"  }}"), "{seen}");
    }

    #[test]
    fn what_is_no_json_breaks_no_line() {
        let seen = raw("", b"price\n{");
        assert_eq!((&seen["content_type"], &seen["data"]), (&json!("text/plain"), &json!("price\n{")));
        let seen = raw("application/json", &[0xff, b'\n']);
        assert_eq!((&seen["content_type"], &seen["data_base64"]), (&json!("application/octet-stream"), &json!("/wo=")));
        let seen = raw("image/png", b"abc");
        assert_eq!((&seen["content_type"], &seen["data_base64"]), (&json!("image/png"), &json!("YWJj")));
        assert_eq!(raw("", b"")["data"], "");
    }

    #[test]
    fn what_is_shown_can_be_published_again() {
        let sent = br#"{"topic":"t","content_type":"text/x","data":"hi","headers":{"a":"b","c":"d"},"reply_to":"r"}"#;
        let (once, twice) = (through(sent), through(through(sent).as_bytes()));
        assert_eq!(once, twice);
        assert!(once.contains(r#""headers":{"a":"b","c":"d"},"reply_to":"r""#), "{once}");
    }

    #[test]
    fn refusals_name_the_place() {
        let code = |text: &str| {
            let mut out = BytesMut::new();
            EventJson::parse(text.as_bytes()).and_then(|event| event.put(None, &mut out)).unwrap_err()
        };
        assert!(code(r#"{"topic":"t","data":}"#).message.contains("line 1 column 21"));
        assert_eq!(code(r#"{"data":1}"#).code, "invalid_topic");
        assert_eq!(code(r#"{"topic":"t"}"#).code, "bad_argument");
        assert_eq!(code(r#"{"topic":"t","data":1,"content_type":"text/plain"}"#).code, "bad_argument");
        assert_eq!(code(r#"{"topic":"t","data_base64":"?"}"#).code, "bad_argument");
        assert_eq!(code(r#"{"topic":"t","data":1,"headers":{"a":1}}"#).code, "bad_argument");
    }

    proptest! {
        #[test]
        fn any_data_comes_back(data: Vec<u8>, kind in prop::sample::select(vec!["", "text/plain", "a/b", "a/b+json"])) {
            let seen = raw(kind, &data);
            let back = match (&seen["data"], &seen["data_base64"]) {
                (_, Value::String(encoded)) => STANDARD.decode(encoded).unwrap(),
                (Value::String(text), _) if !is_json(seen["content_type"].as_str().unwrap()) => text.clone().into_bytes(),
                _ => data.clone(),
            };
            prop_assert_eq!(back, data);
        }

        #[test]
        fn any_text_is_one_line(text: String, topic in "[a-z]{1,9}") {
            let sent = json!({"topic": topic, "data": text, "headers": {"k": "v"}}).to_string();
            let seen = through(sent.as_bytes());
            prop_assert!(!seen.contains('\n') && !seen.contains('\r'));
            let seen: Value = serde_json::from_str(&seen).unwrap();
            prop_assert_eq!(seen["data"].as_str(), Some(text.as_str()));
        }
    }
}
