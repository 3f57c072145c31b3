//! One error shape for every refusal, with the codes that scripts may rely on.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A refusal: a stable code for scripts, what is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// One of the documented codes.
    pub code: String,
    /// What is wrong, and where.
    pub message: String,
    /// What to do next; empty when there is nothing to add.
    #[serde(default)]
    pub hint: String,
}

/// Code, HTTP status, exit code of `pilotctl`.
const CODES: &[(&str, u16, u8)] = &[
    ("invalid_request", 400, 2),
    ("bad_argument", 400, 2),
    ("invalid_token", 400, 2),
    ("token_expired", 400, 1),
    ("permission_denied", 403, 5),
    ("not_found", 404, 6),
    ("ambiguous", 409, 6),
    ("this_node", 409, 6),
    ("node_id_taken", 409, 1),
    ("hostname_taken", 409, 1),
    ("wrong_network", 409, 1),
    ("wrong_rendezvous", 409, 1),
    ("no_rendezvous", 409, 1),
    ("too_many", 429, 1),
    ("timeout", 504, 4),
    ("unreachable", 504, 4),
    ("rendezvous_unreachable", 503, 4),
    ("daemon_not_running", 503, 3),
    ("start_failed", 500, 1),
    ("internal", 500, 1),
    ("too_large", 413, 1),
    ("invalid_json", 400, 2),
    ("invalid_topic", 400, 2),
    ("quota_exceeded", 507, 1),
    ("disk_full", 507, 1),
    ("wrong_offset", 409, 1),
    ("wrong_hash", 409, 1),
    ("wrong_state", 409, 1),
    ("no_listener", 503, 7),
    ("port_in_use", 409, 1),
    ("stream_broken", 502, 1),
];

impl Error {
    /// An error without a hint.
    pub fn new(code: &str, message: impl Into<String>) -> Error {
        Error { code: code.to_owned(), message: message.into(), hint: String::new() }
    }

    /// The same error with what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = hint.into();
        self
    }

    /// The answer that a refused request gets, in every dialect of JSON.
    pub fn to_json(&self) -> Value {
        json!({"status": "error", "code": self.code, "message": self.message, "hint": self.hint})
    }

    /// The HTTP status that goes with the code.
    pub fn http_status(&self) -> u16 {
        self.row().map_or(500, |row| row.1)
    }

    /// The exit code of `pilotctl` that goes with the code.
    pub fn exit_code(&self) -> u8 {
        self.row().map_or(1, |row| row.2)
    }

    fn row(&self) -> Option<&'static (&'static str, u16, u8)> {
        CODES.iter().find(|row| row.0 == self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_documented_with_its_exit_code() {
        let page = include_str!("../../docs/cli.md");
        for (code, _, exit) in CODES {
            let row = format!("| `{code}` | {exit} |");
            assert!(page.contains(&row), "docs/cli.md has no row {row}");
        }
    }

    #[test]
    fn an_unknown_code_still_fails() {
        let error = Error::new("from_the_future", "");
        assert_eq!((error.http_status(), error.exit_code()), (500, 1));
    }
}
