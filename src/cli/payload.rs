//! What a command sends: from the command line, a file or standard input, as JSON, text or bytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use serde_json::value::RawValue;

use crate::control::Error;

/// The most that is read from a file or from standard input, bytes: more than any service takes.
const MAX: u64 = 2 << 20;

/// What data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// JSON; refused where it is none
    Json,
    /// UTF-8 text
    Text,
    /// Any bytes
    Binary,
}

impl Kind {
    /// What `data` looks like: JSON, or else text, or else bytes.
    pub fn of(data: &[u8]) -> Kind {
        match std::str::from_utf8(data) {
            Ok(text) if serde_json::from_str::<&RawValue>(text).is_ok() => Kind::Json,
            Ok(_) => Kind::Text,
            Err(_) => Kind::Binary,
        }
    }

    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Kind::Json => "application/json",
            Kind::Text => "text/plain",
            Kind::Binary => "application/octet-stream",
        }
    }
}

/// `text` itself, or standard input for `-`.
pub fn read(text: &str) -> Result<Vec<u8>, Error> {
    if text == "-" { bounded(io::stdin(), "standard input") } else { Ok(text.as_bytes().to_owned()) }
}

/// The content of a file, or standard input for `-`.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    if path.as_os_str() == "-" {
        return bounded(io::stdin(), "standard input");
    }
    let file = File::open(path).map_err(|error| unreadable(&path.display().to_string(), &error))?;
    bounded(file, &path.display().to_string())
}

fn bounded(input: impl Read, name: &str) -> Result<Vec<u8>, Error> {
    let mut data = Vec::new();
    input.take(MAX + 1).read_to_end(&mut data).map_err(|error| unreadable(name, &error))?;
    if data.len() as u64 > MAX {
        return Err(Error::new("too_large", format!("{name} has more than {MAX} bytes"))
            .hint("send it as a file: `pilotctl send-file NODE PATH`"));
    }
    Ok(data)
}

fn unreadable(name: &str, error: &io::Error) -> Error {
    Error::new("bad_argument", format!("cannot read {name}: {error}"))
}

/// The members `"data":…` or `"data_base64":…` of a JSON object, JSON to the letter.
///
/// # Errors
/// `invalid_json` with line and column; `bad_argument` for text that is no UTF-8.
pub fn members(data: &[u8], kind: Kind) -> Result<String, Error> {
    match kind {
        Kind::Json => {
            let json: &RawValue = serde_json::from_slice(data).map_err(|error| {
                Error::new("invalid_json", format!("the data is no JSON: {error}"))
                    .hint("quote it for the shell: '{\"key\":\"value\"}'; or send it with --type text")
            })?;
            Ok(format!("\"data\":{}", json.get()))
        }
        Kind::Text => {
            let text = std::str::from_utf8(data).map_err(|error| {
                Error::new("bad_argument", format!("the data is no UTF-8 text: {error}")).hint("use --type binary")
            })?;
            Ok(format!("\"data\":{}", serde_json::Value::from(text)))
        }
        Kind::Binary => Ok(format!("\"data_base64\":\"{}\"", STANDARD.encode(data))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_taken_for_what_it_is_and_kept_to_the_letter() {
        for (data, members_of_it) in [
            (&b"{\"b\":1.50,\"a\":2}"[..], "\"data\":{\"b\":1.50,\"a\":2}"),
            (b"price_spike", "\"data\":\"price_spike\""),
            (b"\"price_spike\"", "\"data\":\"price_spike\""),
            (b"\xff\x00", "\"data_base64\":\"/wA=\""),
        ] {
            assert_eq!(members(data, Kind::of(data)).unwrap(), members_of_it);
        }
    }

    #[test]
    fn what_is_claimed_must_hold() {
        let error = members(b"{broken", Kind::Json).unwrap_err();
        assert_eq!(error.code, "invalid_json");
        assert!(error.message.contains("line 1 column 2"), "{error}");
        assert_eq!(members(b"\xff", Kind::Text).unwrap_err().code, "bad_argument");
    }
}
