//! Messages to other nodes, and what the inbox holds.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;

use crate::control::{Error, given};

/// A message to send: `Message::text("hello").id("greeting-1")`.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_secs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_ms: Option<u64>,
}

/// How sending went.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Sent {
    /// The message's ID: chosen by the sender, or made.
    pub id: String,
    /// `delivered`: it is on the other node's disk. `queued`: it is on ours, and goes when that node can be reached.
    pub state: String,
}

impl Message {
    fn new(kind: &'static str, data: Option<Box<RawValue>>, data_base64: Option<String>) -> Message {
        Message { kind, data, data_base64, id: None, expires_secs: None, wait_ms: None }
    }

    /// A value, as JSON.
    ///
    /// # Errors
    /// `invalid_request` for a value that JSON cannot express.
    pub fn json(value: &impl Serialize) -> Result<Message, Error> {
        Ok(Message::new("json", Some(raw(value)?), None))
    }

    /// Text.
    ///
    /// # Errors
    /// None that can be provoked: any text is a string of JSON.
    pub fn text(text: &str) -> Result<Message, Error> {
        Ok(Message::new("text", Some(raw(&text)?), None))
    }

    /// Anything.
    pub fn binary(data: impl AsRef<[u8]>) -> Message {
        Message::new("binary", None, Some(STANDARD.encode(data)))
    }

    /// With an ID of the sender's choice: sent twice under one ID, it arrives once.
    pub fn id(mut self, id: impl Into<String>) -> Message {
        self.id = Some(id.into());
        self
    }

    /// Given up after this time, if it could not be delivered.
    pub fn expires(mut self, after: Duration) -> Message {
        self.expires_secs = Some(after.as_secs());
        self
    }

    /// How long sending waits for the delivery before it says `queued`.
    pub fn wait(mut self, patience: Duration) -> Message {
        self.wait_ms = Some(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
        self
    }
}

fn raw(value: &impl Serialize) -> Result<Box<RawValue>, Error> {
    serde_json::value::to_raw_value(value)
        .map_err(|error| Error::new("invalid_request", format!("the message is no JSON: {error}")))
}

/// A message of the inbox.
#[derive(Clone, Debug, Deserialize)]
pub struct Received {
    /// Chosen by the sender.
    pub id: String,
    /// Node ID of the sender, as its tunnel proved it.
    pub from: String,
    /// The sender's name, if it has one.
    #[serde(default)]
    pub from_name: Option<String>,
    /// `text`, `json`, `binary`, `task` or `file`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its place in the inbox, growing.
    pub seq: u64,
    /// When it was made, RFC 3339.
    pub sent: String,
    /// When it came, RFC 3339.
    pub received: String,
    /// Whether it was acknowledged.
    pub read: bool,
    #[serde(default, deserialize_with = "given")]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    data_base64: Option<String>,
}

impl Received {
    /// What it says: the sender's JSON to the letter, its text, or its bytes.
    ///
    /// # Errors
    /// `internal` for what no node sends.
    pub fn data(&self) -> Result<Bytes, Error> {
        let not_understood =
            |why: String| Error::new("internal", format!("message {} is not understood: {why}", self.id));
        match (&self.data, &self.data_base64) {
            (_, Some(base64)) => {
                STANDARD.decode(base64).map(Bytes::from).map_err(|error| not_understood(error.to_string()))
            }
            (Some(data), None) if self.kind == "text" => serde_json::from_str::<String>(data.get())
                .map(Bytes::from)
                .map_err(|error| not_understood(error.to_string())),
            (Some(data), None) => Ok(Bytes::copy_from_slice(data.get().as_bytes())),
            (None, None) => Ok(Bytes::new()),
        }
    }

    /// What it says, as text; what is no UTF-8 in it is replaced.
    ///
    /// # Errors
    /// As [`Received::data`].
    pub fn text(&self) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.data()?).into_owned())
    }

    /// What it says, read as JSON.
    ///
    /// # Errors
    /// `invalid_request` where it is no JSON, or not what `T` expects.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.data()?)
            .map_err(|error| Error::new("invalid_request", format!("message {} is not as expected: {error}", self.id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_are_written_as_the_docs_say() {
        let written = |message: Message| serde_json::to_value(message).unwrap();
        assert_eq!(written(Message::text("a\"b").unwrap().id("x")), json!({"type":"text","data":"a\"b","id":"x"}));
        assert_eq!(
            written(
                Message::json(&json!({"z":1})).unwrap().wait(Duration::from_secs(1)).expires(Duration::from_secs(9))
            ),
            json!({"type":"json","data":{"z":1},"wait_ms":1000,"expires_secs":9})
        );
        assert_eq!(written(Message::binary([0, 255])), json!({"type":"binary","data_base64":"AP8="}));
    }

    fn received(kind: &str, rest: &str) -> Received {
        let text = format!(
            r#"{{"id":"1","from":"a1b2.c3d4.e5f6","from_name":"alpha","type":"{kind}","size":1,"seq":4,
                "sent":"2026-11-25T12:00:00Z","received":"2026-11-25T12:00:01Z","read":false,{rest}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn data_comes_back_as_it_was_given() {
        assert_eq!(received("text", r#""data":"a\"b""#).data().unwrap(), "a\"b");
        assert_eq!(received("json", r#""data":{"z":1.50}"#).data().unwrap(), r#"{"z":1.50}"#);
        assert_eq!(received("json", r#""data":null"#).data().unwrap(), "null");
        assert_eq!(received("json", r#""data":"x""#).json::<String>().unwrap(), "x");
        assert_eq!(received("binary", r#""data_base64":"AP8=""#).data().unwrap(), &[0u8, 255][..]);
        assert_eq!(received("binary", r#""data_base64":"?""#).data().unwrap_err().code, "internal");
    }
}
