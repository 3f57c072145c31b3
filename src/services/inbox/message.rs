//! What a message may be, and how it is written as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::control::{Error, given};
use crate::services::directory::Roster;
use crate::services::time::rfc3339;
use crate::store::inbox::{Kind, StoredMessage};

/// The longest ID.
const ID_LENGTH: usize = 64;

/// A message that somebody wants to deliver or to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Its ID.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub data: Bytes,
    /// When it was made, milliseconds since 1970; 0 where the sender does not say.
    pub sent: u64,
}

impl Draft {
    /// A message of parts that were not yet looked at; an ID is made where there is none.
    ///
    /// # Errors
    /// `bad_argument` for a bad ID or type, `too_large`, `invalid_json` or `invalid_request` for data that is not of its type.
    pub fn new(id: &str, kind: &str, data: Bytes, sent: u64, longest: usize) -> Result<Draft, Error> {
        let id = if id.is_empty() { new_id() } else { checked_id(id)?.to_owned() };
        let kind: Kind = kind.parse().map_err(|error| Error::new("bad_argument", format!("type {kind:?}: {error}")))?;
        check(kind, &data, longest)?;
        Ok(Draft { id, kind, data, sent })
    }
}

/// An ID that grows with time.
pub fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Passes an ID that is one.
///
/// # Errors
/// `bad_argument` for every other text.
pub fn checked_id(id: &str) -> Result<&str, Error> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if (1..=ID_LENGTH).contains(&id.len()) && id.bytes().all(is_good) {
        return Ok(id);
    }
    let shown: String = id.chars().take(80).collect();
    Err(Error::new("bad_argument", format!("{shown:?} is no message ID"))
        .hint("an ID is 1 to 64 letters, digits, dots, underscores, colons and hyphens"))
}

fn check(kind: Kind, data: &[u8], longest: usize) -> Result<(), Error> {
    if data.len() > longest {
        return Err(Error::new(
            "too_large",
            format!("the message has {} bytes, at most {longest} are taken", data.len()),
        )
        .hint("send large data as a file: `pilotctl send-file NODE PATH`"));
    }
    match kind {
        Kind::Binary => Ok(()),
        Kind::Text => std::str::from_utf8(data).map(drop).map_err(|error| {
            Error::new("invalid_request", format!("the text is no UTF-8: {error}")).hint("send bytes as type binary")
        }),
        Kind::Json | Kind::Task | Kind::File => check_json(data),
    }
}

/// Passes data that is JSON.
///
/// # Errors
/// `invalid_json` that names line and column.
pub fn check_json(data: &[u8]) -> Result<(), Error> {
    serde_json::from_slice::<&RawValue>(data).map(drop).map_err(|error| {
        Error::new("invalid_json", format!("the data is no JSON: {error}"))
            .hint("mind the quotes of the shell, or send it as type text")
    })
}

/// A message as a program writes it.
#[derive(Debug, Deserialize)]
pub struct Letter {
    id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "given")]
    data: Option<Box<RawValue>>,
    data_base64: Option<String>,
    #[serde(default)]
    sent_unix_millis: u64,
    /// For `send`: to whom.
    #[serde(default)]
    pub node: String,
    /// For `send`: how long to keep it.
    #[serde(default)]
    pub expires_secs: u64,
    /// For `send`: how long to wait for its delivery.
    pub wait_ms: Option<u64>,
}

impl Letter {
    /// Reads one.
    ///
    /// # Errors
    /// `invalid_json` or `invalid_request`, with line and column.
    pub fn parse(text: &[u8]) -> Result<Letter, Error> {
        serde_json::from_slice(text).map_err(|error| {
            let code = if error.is_data() { "invalid_request" } else { "invalid_json" };
            Error::new(code, format!("this is no message: {error}"))
                .hint(r#"a message is {"type":"json","data":{…}}; docs/services.md has the fields"#)
        })
    }

    /// The message that it is.
    ///
    /// # Errors
    /// As [`Draft::new`].
    pub fn draft(&self, longest: usize) -> Result<Draft, Error> {
        let (kind, data) = match (&self.data, &self.data_base64) {
            (Some(_), Some(_)) => {
                return Err(Error::new("invalid_request", "a message has `data` or `data_base64`, not both"));
            }
            (None, None) => {
                return Err(Error::new("invalid_request", "the message has no `data`")
                    .hint(r#"write {"type":"text","data":"hello"}, or data_base64 for bytes"#));
            }
            (Some(raw), None) => self.readable(raw)?,
            (None, Some(text)) => (self.kind.as_deref().unwrap_or("binary"), decoded(text)?),
        };
        Draft::new(self.id.as_deref().unwrap_or_default(), kind, data, self.sent_unix_millis, longest)
    }

    /// Type and bytes of `data`: the string itself for text, the JSON to the letter for everything else.
    fn readable(&self, raw: &RawValue) -> Result<(&str, Bytes), Error> {
        let is_string = raw.get().starts_with('"');
        let kind = self.kind.as_deref().unwrap_or(if is_string { "text" } else { "json" });
        match kind {
            "text" => {
                let text: String = serde_json::from_str(raw.get())
                    .map_err(|_| Error::new("invalid_request", "the data of a text is a string"))?;
                Ok((kind, text.into()))
            }
            "binary" => Err(Error::new("invalid_request", "the data of type binary goes into `data_base64`")),
            _ => Ok((kind, Bytes::copy_from_slice(raw.get().as_bytes()))),
        }
    }
}

fn decoded(text: &str) -> Result<Bytes, Error> {
    let bytes = STANDARD.decode(text);
    bytes.map(Bytes::from).map_err(|error| Error::new("invalid_request", format!("data_base64: {error}")))
}

/// A message as it is shown.
#[derive(Debug, Serialize)]
pub struct MessageView {
    id: String,
    from: String,
    from_name: Option<String>,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    size: usize,
    seq: u64,
    sent: String,
    received: String,
    read: bool,
}

impl MessageView {
    /// How `message` is shown, with the name that its sender has now.
    pub fn new(message: &StoredMessage, roster: &Roster) -> MessageView {
        let data = readable(message.kind, &message.data);
        let member = roster.member(message.node).filter(|member| member.key == message.sender);
        MessageView {
            id: message.id.clone(),
            from: message.node.to_string(),
            from_name: member.and_then(|member| member.hostname.as_ref()).map(ToString::to_string),
            kind: message.kind.as_str(),
            data_base64: data.is_none().then(|| STANDARD.encode(&message.data)),
            data,
            size: message.data.len(),
            seq: message.seq,
            sent: rfc3339(message.sent),
            received: rfc3339(message.received),
            read: message.is_read,
        }
    }
}

/// Data as JSON on one line; nothing where it is bytes.
pub fn readable(kind: Kind, data: &[u8]) -> Option<Box<RawValue>> {
    match kind {
        Kind::Binary => None,
        Kind::Text => serde_json::value::to_raw_value(std::str::from_utf8(data).ok()?).ok(),
        Kind::Json | Kind::Task | Kind::File => one_line(data),
    }
}

/// JSON with spaces for its line ends: inside of strings JSON has none.
pub fn one_line(json: &[u8]) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(json).ok()?;
    RawValue::from_string(text.trim().replace(['\n', '\r'], " ")).ok()
}
